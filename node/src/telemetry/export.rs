//! Export to an OpenTelemetry collector over OTLP/gRPC.
//!
//! The connections live on a thread and a runtime of their own. So it does not matter from where the node starts
//! or ends telemetry, and neither a stuck collector nor a stuck node blocks the other.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{PeriodicReader, Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use sorcha_register::clock::{Clock as _, Monotonic};
use sorcha_runtime::clock::SystemClock;
use tokio::{
    runtime::{self, Handle},
    sync::oneshot,
};

use super::TelemetryError;

/// Shortest time between two warnings about failed exports.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// A running export.
#[derive(Debug)]
pub(super) struct Export {
    tracers: SdkTracerProvider,
    endpoint: String,
    failures: Arc<Failures>,
    runtime: Handle,
    /// The runtime ends when this is dropped.
    _stop: oneshot::Sender<()>,
}

impl Export {
    /// Starts the export of spans; the collector need not be there.
    pub(super) fn start(endpoint: &str, resource: &Resource) -> Result<Self, TelemetryError> {
        // Without a scheme the SDK would take it for https, for which TLS would have to be built in.
        if !endpoint.starts_with("http://") {
            return Err(TelemetryError::Endpoint(format!(
                "{endpoint:?} must have the form http://HOST:PORT, without TLS"
            )));
        }
        let (runtime, stop) = start_runtime().map_err(TelemetryError::Thread)?;
        let entered = runtime.enter();
        let spans = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .build()
            .map_err(|error| TelemetryError::Endpoint(error.to_string()))?;
        drop(entered);
        let failures = Arc::new(Failures::default());
        let spans = Reporting { exporter: spans, signal: "traces", failures: Arc::clone(&failures) };
        let tracers =
            SdkTracerProvider::builder().with_resource(resource.clone()).with_batch_exporter(spans).build();
        Ok(Self { tracers, endpoint: endpoint.to_owned(), failures, runtime, _stop: stop })
    }

    pub(super) const fn tracers(&self) -> &SdkTracerProvider {
        &self.tracers
    }

    /// Exports metrics each time the SDK's interval has passed.
    pub(super) fn metric_reader(&self) -> Result<PeriodicReader<impl PushMetricExporter>, TelemetryError> {
        let _entered = self.runtime.enter();
        let exporter = opentelemetry_otlp::MetricExporter::builder()
            .with_tonic()
            .with_endpoint(&self.endpoint)
            .build()
            .map_err(|error| TelemetryError::Endpoint(error.to_string()))?;
        let failures = Arc::clone(&self.failures);
        Ok(PeriodicReader::builder(Reporting { exporter, signal: "metrics", failures }).build())
    }
}

fn start_runtime() -> std::io::Result<(Handle, oneshot::Sender<()>)> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let (stop, stopped) = oneshot::channel();
    std::thread::Builder::new().name("sorcha-otlp".into()).spawn(move || runtime.block_on(stopped))?;
    Ok((handle, stop))
}

/// An exporter whose failures are logged here, now and then, instead of each time by the SDK.
#[derive(Debug)]
struct Reporting<E> {
    exporter: E,
    signal: &'static str,
    failures: Arc<Failures>,
}

impl<E: SpanExporter> SpanExporter for Reporting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        self.failures.note(self.signal, &result);
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Reporting<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.exporter.export(metrics).await;
        self.failures.note(self.signal, &result);
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

/// Failed exports, of which at most one a minute is logged.
#[derive(Debug, Default)]
struct Failures {
    clock: SystemClock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When a failure was logged last.
    warned: Option<Monotonic>,
    /// The signal of which a failure was logged and no success since.
    failing: Option<&'static str>,
    /// Failures since the last one that was logged.
    unlogged: u64,
}

/// What is to be logged of an export.
#[derive(Debug, PartialEq, Eq)]
enum ToLog {
    Nothing,
    Failing { unlogged: u64 },
    Recovered,
}

impl State {
    fn note(&mut self, signal: &'static str, failed: bool, now: Monotonic) -> ToLog {
        if !failed {
            let recovered = self.failing.take_if(|failing| *failing == signal).is_some();
            return if recovered { ToLog::Recovered } else { ToLog::Nothing };
        }
        if self.warned.is_some_and(|warned| now.since(warned) < WARN_EVERY) {
            self.unlogged += 1;
            return ToLog::Nothing;
        }
        self.warned = Some(now);
        self.failing = Some(signal);
        ToLog::Failing { unlogged: std::mem::take(&mut self.unlogged) }
    }
}

impl Failures {
    fn note(&self, signal: &'static str, result: &OTelSdkResult) {
        let now = self.clock.monotonic();
        let report =
            self.state.lock().unwrap_or_else(PoisonError::into_inner).note(signal, result.is_err(), now);
        match (report, result) {
            (ToLog::Failing { unlogged }, Err(error)) => tracing::warn!(
                signal, %error, unlogged_failures = unlogged, "telemetry export failed; the node goes on without it"
            ),
            (ToLog::Recovered, _) => tracing::info!(signal, "telemetry export works again"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_a_minute_is_logged() {
        let at = |seconds| Monotonic::from_start(Duration::from_secs(seconds));
        let mut state = State::default();
        assert_eq!(state.note("traces", false, at(0)), ToLog::Nothing);
        assert_eq!(state.note("traces", true, at(1)), ToLog::Failing { unlogged: 0 });
        assert_eq!(state.note("metrics", true, at(2)), ToLog::Nothing);
        assert_eq!(state.note("traces", true, at(60)), ToLog::Nothing);
        assert_eq!(state.note("traces", true, at(61)), ToLog::Failing { unlogged: 2 });
        assert_eq!(state.note("metrics", false, at(62)), ToLog::Nothing);
        assert_eq!(state.note("traces", false, at(63)), ToLog::Recovered);
        assert_eq!(state.note("traces", false, at(64)), ToLog::Nothing);
        assert_eq!(state.note("traces", true, at(65)), ToLog::Nothing);
    }
}
