//! Logs, traces and metrics (contract section 10).

pub mod metrics;

use std::time::Duration;

use crate::register::{entry::Entry, names::PeerId};

/// W3C `traceparent` of the current span; empty when it is not sampled.
#[must_use]
pub fn current_trace_parent() -> String {
    use opentelemetry::trace::TraceContextExt as _;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;
    let context = tracing::Span::current().context();
    let span = context.span();
    let span = span.span_context();
    if !span.is_valid() || !span.is_sampled() {
        return String::new();
    }
    format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8())
}

/// Records a peer's acknowledgement of a pushed entry in the trace of its publication.
pub fn acknowledged(_entry: &Entry, _peer: &PeerId, _since_publication: Duration) {}
