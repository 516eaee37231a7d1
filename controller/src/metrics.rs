//! Measurements of the controller, shown at `/metrics`.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// Counters and histograms; a clone counts into the same ones.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    durations: HistogramVec,
    calls: IntCounterVec,
    events: IntCounterVec,
    publications: IntCounterVec,
    watches: IntGaugeVec,
    leader: IntGauge,
}

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    /// When two measurements have one name, which a test rules out.
    pub fn new() -> prometheus::Result<Self> {
        let counter =
            |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let durations = HistogramOpts::new(
            "sorcha_controller_reconcile_duration_seconds",
            "Time of one reconcile, calls to the API server included",
        )
        .buckets(vec![0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0]);
        let metrics = Self {
            registry: Registry::new(),
            reconciles: counter(
                "sorcha_controller_reconciles_total",
                "Reconciles by kind and result: ok, or the reason of the condition",
                &["kind", "result"],
            )?,
            durations: HistogramVec::new(durations, &["kind"])?,
            calls: counter(
                "sorcha_controller_api_calls_total",
                "Calls to the API server, watches aside, by verb and resource",
                &["verb", "resource"],
            )?,
            events: counter("sorcha_controller_events_total", "Events by reason", &["reason"])?,
            publications: counter(
                "sorcha_controller_publications_total",
                "Steps at registers by action and result; looks that led to none, by the reason of the condition",
                &["action", "result"],
            )?,
            watches: IntGaugeVec::new(
                Opts::new(
                    "sorcha_controller_watch_up",
                    "1 while a kind is listed and watched; 0: what is known of it may be old, and resources may wait for it",
                ),
                &["kind"],
            )?,
            leader: IntGauge::new("sorcha_controller_leader", "1 while this process reconciles")?,
        };
        metrics.register()?;
        Ok(metrics)
    }

    fn register(&self) -> prometheus::Result<()> {
        self.registry.register(Box::new(self.reconciles.clone()))?;
        self.registry.register(Box::new(self.durations.clone()))?;
        self.registry.register(Box::new(self.calls.clone()))?;
        self.registry.register(Box::new(self.events.clone()))?;
        self.registry.register(Box::new(self.publications.clone()))?;
        self.registry.register(Box::new(self.watches.clone()))?;
        self.registry.register(Box::new(self.leader.clone()))
    }

    /// What `/metrics` shows.
    #[must_use]
    pub(crate) const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A reconcile has ended.
    pub(crate) fn reconciled(&self, kind: &str, result: &str, took: Duration) {
        self.reconciles.with_label_values(&[kind, result]).inc();
        self.durations.with_label_values(&[kind]).observe(took.as_secs_f64());
    }

    /// A call to the API server.
    pub(crate) fn called(&self, verb: &str, resource: &str) {
        self.calls.with_label_values(&[verb, resource]).inc();
    }

    /// An Event was sent.
    pub(crate) fn sent_event(&self, reason: &str) {
        self.events.with_label_values(&[reason]).inc();
    }

    /// A step at a register, or a look that led to none.
    pub fn published(&self, action: &str, result: &str) {
        self.publications.with_label_values(&[action, result]).inc();
    }

    /// A kind is followed, or can't be.
    pub(crate) fn watches(&self, kind: &str, well: bool) {
        self.watches.with_label_values(&[kind]).set(well.into());
    }

    /// This process reconciles, or not.
    pub(crate) fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }
}
