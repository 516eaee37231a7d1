//! The node's measurements (protocol section 10). Each carries the `node_id` of the node that made it.

mod instruments;

use std::{sync::Arc, time::Duration};

use opentelemetry::{
    InstrumentationScope, KeyValue,
    metrics::{AsyncInstrument, MeterProvider},
};
use sorcha_register::{clock::Timestamp, succession::Contradiction};

use self::instruments::Instruments;
use super::reading;

/// Handles to all instruments of one node; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Instruments>);

/// Pull kinds, as the label `sync_type` spells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncType {
    /// All active entries.
    Full,
    /// What is newer than the version held.
    Incremental,
}

impl SyncType {
    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "Full",
            Self::Incremental => "Incremental",
        }
    }
}

/// Name and version of the meter and the tracer.
#[must_use]
pub fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("Sorcha.Peer.Service").with_version("1.0.0").build()
}

impl Metrics {
    /// Creates the instruments for a node.
    #[must_use]
    pub fn new(provider: &dyn MeterProvider, node_id: &str) -> Self {
        let metrics = Self(Arc::new(Instruments::new(provider.meter_with_scope(scope()), node_id)));
        // Present from the start: what appears only with its first count escapes `increase()`.
        for counter in [&metrics.0.push_delivered, &metrics.0.push_failed, &metrics.0.findings] {
            counter.add(0, metrics.node());
        }
        for reason in Contradiction::LABELS {
            metrics.0.register_refused.add(0, &metrics.labels([("reason", reason.to_owned())]));
        }
        metrics.observe_reads();
        metrics
    }

    /// Instruments that measure nothing.
    #[must_use]
    pub fn disabled() -> Self {
        Self::new(&opentelemetry::metrics::noop::NoopMeterProvider::new(), "")
    }

    fn node(&self) -> &[KeyValue] {
        std::slice::from_ref(&self.0.node)
    }

    fn labels<const N: usize>(&self, labels: [(&'static str, String); N]) -> Vec<KeyValue> {
        std::iter::once(self.0.node.clone())
            .chain(labels.map(|(key, value)| KeyValue::new(key, value)))
            .collect()
    }

    /// State of the connection: 0 disconnected, 1 connected, 2 isolated.
    pub fn connection_status(&self, value: u64) {
        self.0.connection_status.record(value, self.node());
    }

    /// A heartbeat was acknowledged after this round trip.
    pub fn heartbeat_acknowledged(&self, central_node_id: &str, round_trip: Duration) {
        self.0
            .heartbeat_latency
            .record(millis(round_trip), &self.labels([("central_node_id", central_node_id.to_owned())]));
    }

    /// A heartbeat was not acknowledged.
    pub fn heartbeat_missed(&self, central_node_id: &str) {
        self.0.heartbeat_missed.add(1, &self.labels([("central_node_id", central_node_id.to_owned())]));
    }

    /// A pull ended well.
    pub fn sync_done(&self, sync_type: SyncType, entries: usize, duration: Duration) {
        let labels = self.labels([("sync_type", sync_type.as_str().to_owned())]);
        self.0.sync_duration.record(duration.as_secs_f64(), &labels);
        self.0.sync_blueprints.add(entries as u64, &labels);
    }

    /// A pull failed.
    pub fn sync_failed(&self, sync_type: SyncType) {
        self.0.sync_failures.add(1, &self.labels([("sync_type", sync_type.as_str().to_owned())]));
    }

    /// A pushed entry was acknowledged as persisted, this long after its publication.
    pub fn push_acknowledged(&self, since_publication: Duration) {
        self.0.push_delivered.add(1, self.node());
        self.0.push_latency.record(millis(since_publication), self.node());
    }

    /// A notice was handed to a subscriber.
    pub fn notice_sent(&self) {
        self.0.push_delivered.add(1, self.node());
    }

    /// A push stream was dropped because its peer took nothing.
    pub fn push_failed(&self) {
        self.0.push_failed.add(1, self.node());
    }

    /// A failover ended, this long after the loss was noticed.
    pub fn failed_over(&self, from_node: &str, to_node: &str, reason: &str, duration: Duration) {
        let labels = [("from_node", from_node), ("to_node", to_node), ("reason", reason)];
        self.0.failovers.add(1, &self.labels(labels.map(|(key, value)| (key, value.to_owned()))));
        self.0.recovery.record(duration.as_secs_f64(), &self.labels([("reason", reason.to_owned())]));
    }

    /// Head version held.
    pub fn version(&self, version: i64) {
        self.0.version.record(version, self.node());
    }

    /// Versions behind the central node.
    pub fn lag(&self, lag: i64) {
        self.0.lag.record(lag, self.node());
    }

    /// Live peer sessions.
    pub fn peers(&self, count: usize) {
        self.0.peers.record(count as u64, self.node());
    }

    /// Peers that have been behind for too long.
    pub fn lagging(&self, count: usize) {
        self.0.lagging.record(count as u64, self.node());
    }

    /// A call was refused.
    pub fn refused(&self, reason: &'static str) {
        self.0.refusals.add(1, &self.labels([("reason", reason.to_owned())]));
    }

    /// A publication or state change ended.
    pub fn publication(&self, result: &'static str) {
        self.0.publications.add(1, &self.labels([("result", result.to_owned())]));
    }

    /// A write request over HTTP ended.
    pub fn wrote(&self, action: &str, result: &'static str) {
        let labels = self.labels([("action", action.to_owned()), ("result", result.to_owned())]);
        self.0.writes.add(1, &labels);
    }

    /// A status report ended.
    pub fn report_written(&self, result: &'static str) {
        self.0.reports.add(1, &self.labels([("result", result.to_owned())]));
    }

    /// Has the age of the newest status report that was written asked for at each scrape; absent while none was.
    pub fn observe_report_age(&self, age: impl Fn() -> Option<Duration> + Send + Sync + 'static) {
        let node = [self.0.node.clone()];
        let observe = move |observer: &dyn AsyncInstrument<f64>| {
            if let Some(age) = age() {
                observer.observe(age.as_secs_f64(), &node);
            }
        };
        self.0
            .meter
            .f64_observable_gauge("report.age")
            .with_unit("s")
            .with_description("time since the newest status report was written")
            .with_callback(observe)
            .build();
    }

    /// Has the state of the token file asked for at each scrape: the tokens that are good, and whether something in it is not.
    pub fn observe_token_file(&self, state: impl Fn() -> Option<(usize, bool)> + Send + Sync + 'static) {
        let state = std::sync::Arc::new(state);
        let gauge = |name: &'static str, description: &'static str, value: fn((usize, bool)) -> u64| {
            let (node, state) = ([self.0.node.clone()], std::sync::Arc::clone(&state));
            let observe = move |observer: &dyn AsyncInstrument<u64>| {
                if let Some(state) = state() {
                    observer.observe(value(state), &node);
                }
            };
            self.0
                .meter
                .u64_observable_gauge(name)
                .with_description(description)
                .with_callback(observe)
                .build();
        };
        gauge("http.tokens", "tokens of http.token_file that are good", |(count, _)| count as u64);
        gauge("http.token_file.fault", "1 while http.token_file is not sound, or gone", |(_, fault)| {
            fault.into()
        });
    }

    /// Has the reads of stored entries asked for at each scrape, by where they were found.
    fn observe_reads(&self) {
        let of = |from: &'static str| self.labels([("from", from.to_owned())]);
        let labels = [of("memory"), of("file")];
        let observe = move |observer: &dyn AsyncInstrument<u64>| {
            for (count, labels) in reading::counts().into_iter().zip(&labels) {
                observer.observe(count, labels);
            }
        };
        self.0
            .meter
            .u64_observable_counter("entries.read")
            .with_description(
                "reads of stored entries, by where they were found: in memory or in the register's file",
            )
            .with_callback(observe)
            .build();
    }

    /// A TLS handshake ended.
    pub fn handshake(&self, result: &'static str) {
        self.0.handshakes.add(1, &self.labels([("result", result.to_owned())]));
    }

    /// Connections were cut because no session used them.
    pub fn cut(&self, connections: usize) {
        self.0.cut.add(connections as u64, &self.labels([]));
    }

    /// An HTTP connection was ended, for the sake of others or because of a limit.
    pub fn http_cut(&self, reason: &'static str) {
        self.0.http_cut.add(1, &self.labels([("reason", reason.to_owned())]));
    }

    /// A listener could not accept a connection.
    pub(crate) fn accept_failed(&self, listener: &'static str) {
        self.0.accept_failures.add(1, &self.labels([("listener", listener.to_owned())]));
    }

    /// TLS files have changed.
    pub(crate) fn tls_reloaded(&self, result: &'static str) {
        self.0.tls_reloads.add(1, &self.labels([("result", result.to_owned())]));
    }

    /// The last instant of this node's TLS certificate.
    pub fn certificate_not_after(&self, at: Timestamp) {
        self.0.certificate_not_after.record(at.as_millis().div_euclid(1000), self.node());
    }

    /// What a central node or a database sent contradicts what is held.
    pub fn register_refused(&self, reason: &'static str) {
        self.0.register_refused.add(1, &self.labels([("reason", reason.to_owned())]));
    }

    /// A long-running task panicked or ended.
    pub(crate) fn task_died(&self, task: &'static str) {
        self.0.task_deaths.add(1, &self.labels([("task", task.to_owned())]));
    }

    /// A wait for a central node was given up: of a `pull` or of the `push` stream.
    pub fn stalled(&self, way: &'static str) {
        self.0.stalls.add(1, &self.labels([("way", way.to_owned())]));
    }

    /// Whether replication does what it should.
    pub fn replicating(&self, works: bool) {
        self.0.replicating.record(u64::from(works), self.node());
    }

    /// Integrity findings.
    pub fn findings(&self, count: usize) {
        self.0.findings.add(count as u64, self.node());
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
