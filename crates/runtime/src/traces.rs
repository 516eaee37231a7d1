//! One trace from a publication to every peer's acknowledgement: the entry carries its publication's `traceparent`.
//!
//! That text comes from other nodes and from HTTP clients; what is malformed is ignored.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use opentelemetry::{
    Context, KeyValue,
    trace::{
        Span as _, SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, TraceState,
        Tracer as _,
    },
};
use opentelemetry_sdk::trace::SdkTracer;
use sorcha_register::{entry::EntryHeader, names::PeerId};
use tracing::{Level, Metadata, Span, Subscriber, dispatcher, level_filters::LevelFilter};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt as _};
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use crate::spans;

/// All crates of a node log to targets that begin so.
const TARGETS: &str = "sorcha_";
/// Length of a version 00 `traceparent`.
const TRACE_PARENT_BYTES: usize = 55;

/// The layer that exports spans, and gives [`acknowledged`] its tracer.
pub fn layer<S>(tracer: SdkTracer) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    OpenTelemetryLayer::new(tracer.clone())
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .and_then(Exporter(tracer))
        .with_filter(filter_fn(is_exported).with_max_level_hint(LevelFilter::DEBUG))
}

/// The node's own spans, and what it logs at info and above within them. Not what the libraries do: the exporter
/// would trace itself.
fn is_exported(metadata: &Metadata<'_>) -> bool {
    let level = if metadata.is_span() { Level::DEBUG } else { Level::INFO };
    metadata.target().starts_with(TARGETS) && *metadata.level() <= level
}

/// Holds the tracer where it can be found through the subscriber in effect.
struct Exporter(SdkTracer);

impl<S: Subscriber> Layer<S> for Exporter {}

/// W3C `traceparent` of the current span; empty when it is not exported.
#[must_use]
pub fn current_trace_parent() -> String {
    let current = Context::current();
    let span = current.span();
    let span = span.span_context();
    if !span.is_valid() || !span.is_sampled() {
        return String::new();
    }
    format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8())
}

/// Id of the trace that a request belongs to: the current span's, else the one that the caller names.
#[must_use]
pub fn trace_id(headers: &HeaderMap) -> Option<String> {
    let current = Context::current();
    let context = current.span().span_context().clone();
    let named = || headers.get("traceparent")?.to_str().ok().and_then(parse);
    let context = if context.is_valid() { Some(context) } else { named() };
    context.map(|context| context.trace_id().to_string())
}

/// The span in which a peer applies a pushed entry; part of the trace of its publication.
#[must_use]
pub fn receive_span(entry: &EntryHeader) -> Span {
    with_parent(spans::receive(entry), || Some(entry.trace_parent()))
}

/// The span of an HTTP request; part of the caller's trace if it names one. Its fields `otel.name` (before the span
/// is entered), `http.request.method`, `http.route` and `http.response.status_code` are for the caller to record.
#[must_use]
pub fn request_span(headers: &HeaderMap) -> Span {
    with_parent(spans::request(), || headers.get("traceparent")?.to_str().ok())
}

fn with_parent<'a>(span: Span, trace_parent: impl FnOnce() -> Option<&'a str>) -> Span {
    if !span.is_disabled()
        && let Some(parent) = trace_parent().and_then(parse)
    {
        // An error means that spans are logged but not exported.
        drop(span.set_parent(Context::new().with_remote_span_context(parent)));
    }
    span
}

/// Records a peer's acknowledgement of a pushed entry in the trace of its publication: one span from the publication
/// to now.
pub fn acknowledged(entry: &EntryHeader, peer: &PeerId, since_publication: Duration) {
    if entry.trace_parent().is_empty() {
        return;
    }
    dispatcher::get_default(|subscriber| {
        if let Some(Exporter(tracer)) = subscriber.downcast_ref()
            && let Some(parent) = parse(entry.trace_parent())
        {
            export_acknowledgement(tracer, parent, entry, peer, since_publication);
        }
    });
}

fn export_acknowledgement(
    tracer: &SdkTracer,
    parent: SpanContext,
    entry: &EntryHeader,
    peer: &PeerId,
    took: Duration,
) {
    let published_at = Duration::from_millis(entry.changed_at().as_millis().max(0).unsigned_abs());
    let start = SystemTime::UNIX_EPOCH + published_at;
    let builder = tracer
        .span_builder("peer.push.acknowledged")
        .with_kind(SpanKind::Producer)
        .with_start_time(start)
        .with_attributes([
            KeyValue::new("peer_id", peer.to_string()),
            KeyValue::new("blueprint_id", entry.blueprint_id.to_string()),
            KeyValue::new("version", entry.version.get()),
            KeyValue::new("duration_ms", took.as_secs_f64() * 1000.0),
            KeyValue::new("success", true),
        ]);
    let mut span = tracer.build_with_context(builder, &Context::new().with_remote_span_context(parent));
    span.end_with_timestamp(start + took);
}

/// Reads a `traceparent`; higher versions are read as far as version 00 reaches, as the standard asks. The SDK's propagator is not
/// used: it also takes ids of any length, a sign before them, and an empty part at the end.
fn parse(text: &str) -> Option<SpanContext> {
    let (fields, rest) = text.split_at_checked(TRACE_PARENT_BYTES)?;
    let [version, trace, span, flags] = *fields.split('-').collect::<Vec<_>>() else { return None };
    let version = hex(version, 2).filter(|version| *version != 0xff)?;
    if !(rest.is_empty() || version != 0 && rest.starts_with('-')) {
        return None;
    }
    let trace = TraceId::from(hex(trace, 32)?);
    let span = SpanId::from(u64::try_from(hex(span, 16)?).ok()?);
    let flags = TraceFlags::new(u8::try_from(hex(flags, 2)?).ok()?) & TraceFlags::SAMPLED;
    Some(SpanContext::new(trace, span, flags, true, TraceState::NONE)).filter(SpanContext::is_valid)
}

fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let fits = text.len() == digits && text.bytes().all(is_lower_hex);
    fits.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn well_formed_parents_are_read() {
        let parent = parse(GOOD).unwrap();
        assert_eq!(parent.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(parent.span_id().to_string(), "b7ad6b7169203331");
        assert!(parent.is_sampled() && parent.is_remote());
        assert!(!parse(&GOOD.replace("-01", "-00")).unwrap().is_sampled());
        assert!(
            parse("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-brings").is_some()
        );
    }

    #[test]
    fn malformed_parents_are_ignored() {
        let bad = [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "+0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319cb7-ad6b7169203331-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333ä-1",
        ];
        for text in bad {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".{0,80}") {
            drop(parse(&text));
        }
    }
}
