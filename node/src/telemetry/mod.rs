//! Logs, traces and metrics (protocol section 10).
//!
//! Logs go to stderr; metrics to a Prometheus registry for `/metrics`; with `telemetry.otlp_endpoint`, traces and
//! metrics go to a collector too. The standard `OTEL_*` variables that tune OpenTelemetry's own SDK (headers,
//! sampler, batch sizes, resource attributes) are read by that SDK; the endpoint comes from the configuration only.
//!
//! Spans are at debug level: without a collector each costs one atomic load, unless `log.filter` asks for them, as
//! in `info,sorcha_runtime::spans=debug`, which adds their fields to the log lines.

mod export;
mod log;

use std::{sync::mpsc, thread, time::Duration};

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_sdk::{Resource, metrics::SdkMeterProvider};
use sorcha_config::Config;
use sorcha_runtime::{
    metrics::{Metrics, scope},
    traces,
};
use tracing::Dispatch;
use tracing_subscriber::{Registry, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use self::{export::Export, log::Output};

/// Longest wait for the last export: an unreachable collector delays the end of the process by this much at most.
const SHUTDOWN: Duration = Duration::from_secs(2);

/// Why telemetry can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log.filter` is malformed.
    #[error("log.filter: {filter:?} is not a filter such as info or info,sorcha=debug: {problem}")]
    Filter {
        /// The setting.
        filter: String,
        /// What is wrong with it.
        problem: String,
    },
    /// `telemetry.otlp_endpoint` can't be used.
    #[error("telemetry.otlp_endpoint: {0}")]
    Endpoint(String),
    /// The Prometheus exporter can't be set up.
    #[error("set up metrics: {0}")]
    Metrics(String),
    /// The thread that talks to the collector can't be started.
    #[error("start the export thread")]
    Thread(#[source] std::io::Error),
    /// There is a log subscriber already.
    #[error("install the log subscriber")]
    Install(#[source] tracing_subscriber::util::TryInitError),
}

/// The process's telemetry. Ended by [`Telemetry::shutdown`], or else by dropping it, which may block for 2 s.
#[derive(Debug)]
pub struct Telemetry {
    registry: prometheus::Registry,
    meters: SdkMeterProvider,
    export: Option<Export>,
}

/// Starts telemetry for this process: logs to stderr, metrics, and export if an endpoint is configured. Never waits
/// for the collector. `role` becomes the resource attribute `sorcha.role`.
///
/// # Errors
/// [`TelemetryError`] naming the setting that can't be used.
pub fn init(config: &Config, role: &str) -> Result<Telemetry, TelemetryError> {
    let (telemetry, subscriber) = build(config, role, Output::stderr())?;
    subscriber.try_init().map_err(TelemetryError::Install)?;
    Ok(telemetry)
}

/// Everything but the global state, so that tests can have many of them.
fn build(config: &Config, role: &str, output: Output) -> Result<(Telemetry, Dispatch), TelemetryError> {
    let filter = log::filter(&config.log)?;
    let resource = resource(config, role);
    let endpoint = config.telemetry.otlp_endpoint.as_deref().filter(|endpoint| !endpoint.is_empty());
    let export = endpoint.map(|endpoint| Export::start(endpoint, &resource)).transpose()?;
    let registry = prometheus::Registry::new();
    let scrapes = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .scope_info_enabled(false)
        .build()
        .map_err(|error| TelemetryError::Metrics(error.to_string()))?;
    let mut meters = SdkMeterProvider::builder().with_resource(resource).with_reader(scrapes);
    let subscriber = match &export {
        Some(export) => {
            meters = meters.with_reader(export.metric_reader()?);
            let traces = traces::layer(export.tracers().tracer_with_scope(scope()));
            Dispatch::new(Registry::default().with(traces).with(log::layer(
                config.log.format,
                filter,
                output,
            )))
        }
        None => Dispatch::new(Registry::default().with(log::layer(config.log.format, filter, output))),
    };
    Ok((Telemetry { registry, meters: meters.build(), export }, subscriber))
}

/// Telemetry that leaves the process's log subscriber alone.
#[cfg(test)]
pub(crate) fn for_tests(config: &Config) -> Telemetry {
    build(config, "test", Output::stderr()).expect("telemetry without a collector").0
}

fn resource(config: &Config, role: &str) -> Resource {
    Resource::builder()
        .with_service_name("sorcha-node")
        .with_attributes([
            KeyValue::new("service.instance.id", config.node.id.clone()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("sorcha.role", role.to_owned()),
        ])
        .build()
}

impl Telemetry {
    /// What `/metrics` shows.
    #[must_use]
    pub(crate) const fn registry(&self) -> &prometheus::Registry {
        &self.registry
    }

    /// The instruments of a node of this process; the demo has several.
    #[must_use]
    pub(crate) fn metrics(&self, node_id: &str) -> Metrics {
        Metrics::new(&self.meters, node_id)
    }

    /// Exports what is left and stops, within 2 s whatever the collector does.
    pub async fn shutdown(self) {
        let (done, finished) = tokio::sync::oneshot::channel();
        // On a thread of its own: the SDK blocks, and a runtime waits for its blocking tasks when it ends.
        let stopping = thread::Builder::new().name("sorcha-telemetry-end".into()).spawn(move || {
            drop(self);
            done.send(())
        });
        if stopping.is_ok() {
            // An error means that the thread is gone, which is as good.
            drop(finished.await);
        }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        let (done, finished) = mpsc::channel();
        let meters = self.meters.clone();
        let tracers = self.export.as_ref().map(|export| export.tracers().clone());
        let flush = move || {
            thread::scope(|scope| {
                scope.spawn(|| meters.shutdown());
                tracers.map(|tracers| tracers.shutdown_with_timeout(SHUTDOWN))
            });
            done.send(())
        };
        let flushing = thread::Builder::new().name("sorcha-telemetry-flush".into()).spawn(flush);
        // What failed was reported by the exporters; what is late is left to the end of the process.
        if flushing.is_ok() && finished.recv_timeout(SHUTDOWN).is_err() {
            tracing::warn!(waited = ?SHUTDOWN, "the last traces and metrics were not exported in time");
        }
    }
}

#[cfg(test)]
mod tests;
