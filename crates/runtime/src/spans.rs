//! The node's spans (protocol section 10). Each is opened here, entered by the work it stands for, and completed
//! by [`finish`].

use std::{any::Any, borrow::Cow, fmt, time::Duration};

use opentelemetry::trace::Status;
use sorcha_register::{
    entry::EntryHeader,
    limits,
    names::{PeerId, Version},
};
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Longest error text in a span, bytes.
const ERROR_BYTES: usize = 1024;

/// A span of the node: its fields, and those that every span ends with.
macro_rules! span {
    ($name:literal, $kind:literal, $($fields:tt)*) => {
        tracing::debug_span!(
            $name,
            otel.kind = $kind,
            $($fields)*,
            success = Empty,
            duration_ms = Empty,
            blueprint_count = Empty,
            error.type = Empty,
            error.message = Empty,
        )
    };
}

/// A peer connects to a central node.
#[must_use]
pub fn connect(central_node_id: &str, priority: u16) -> Span {
    span!("peer.connection.connect", "client", central_node_id, priority = i64::from(priority))
}

/// A peer moves to another central node.
#[must_use]
pub fn failover(from_node: &str, to_node: &str, reason: &str) -> Span {
    span!("peer.connection.failover", "client", from_node, to_node, reason)
}

/// A peer pulls all active entries.
#[must_use]
pub fn full_sync(peer_id: &PeerId, central_node_id: &str) -> Span {
    span!("peer.sync.full", "client", %peer_id, central_node_id, sync_type = "Full")
}

/// A peer pulls what is newer than the version it holds.
#[must_use]
pub fn incremental_sync(peer_id: &PeerId, central_node_id: &str, last_known: Version) -> Span {
    span!(
        "peer.sync.incremental",
        "client",
        %peer_id,
        central_node_id,
        sync_type = "Incremental",
        last_known_version = last_known.get()
    )
}

/// A peer sends a heartbeat.
#[must_use]
pub fn heartbeat(central_node_id: &str, sequence_number: i64) -> Span {
    span!("peer.heartbeat.send", "client", central_node_id, sequence_number)
}

/// A central node publishes a blueprint. The texts are not validated yet, so that only their beginnings count.
#[must_use]
pub fn publish(blueprint_id: &str, published_by: &str) -> Span {
    let blueprint_id = beginning(blueprint_id, limits::BLUEPRINT_ID_CHARS);
    let published_by = beginning(published_by, limits::PUBLISHED_BY_CHARS);
    span!("register.publish", "producer", blueprint_id, published_by, version = Empty)
}

/// A central node deprecates or reactivates a blueprint.
#[must_use]
pub fn set_active(blueprint_id: &str, is_active: bool) -> Span {
    let blueprint_id = beginning(blueprint_id, limits::BLUEPRINT_ID_CHARS);
    span!("register.set_active", "producer", blueprint_id, is_active, version = Empty)
}

/// A peer applies a pushed entry; for [`super::receive_span`], which gives it its parent.
pub(super) fn receive(entry: &EntryHeader) -> Span {
    let blueprint_id = entry.blueprint_id.as_str();
    span!("peer.notification.receive", "server", blueprint_id, version = entry.version.get())
}

/// A node answers an HTTP request; for [`super::request_span`], which gives it its parent.
pub(super) fn request() -> Span {
    span!(
        "http.request",
        "server",
        otel.name = Empty,
        http.request.method = Empty,
        http.route = Empty,
        http.response.status_code = Empty
    )
}

/// Completes a span: how the work ended and how long it took. An error sets the span's status too.
pub fn finish<T, E: fmt::Display + Any>(span: &Span, took: Duration, result: &Result<T, E>) {
    if span.is_disabled() {
        return;
    }
    span.record("duration_ms", took.as_secs_f64() * 1000.0);
    span.record("success", result.is_ok());
    if let Err(error) = result {
        let text = error.to_string();
        let message = beginning(&text, ERROR_BYTES);
        span.record("error.type", error_type(error).as_ref());
        span.record("error.message", message);
        span.set_status(Status::error(message.to_owned()));
    }
}

/// Adds the number of entries that the work moved.
pub fn blueprints(span: &Span, count: usize) {
    span.record("blueprint_count", i64::try_from(count).unwrap_or(i64::MAX));
}

/// The gRPC code of a status, otherwise the name of the error's type.
fn error_type<E: Any>(error: &E) -> Cow<'static, str> {
    match (error as &dyn Any).downcast_ref::<tonic::Status>() {
        Some(status) => format!("{:?}", status.code()).into(),
        None => std::any::type_name::<E>().into(),
    }
}

fn beginning(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_named_by_code_or_type() {
        assert_eq!(error_type(&tonic::Status::unavailable("gone")), "Unavailable");
        assert_eq!(error_type(&fmt::Error), "core::fmt::Error");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(beginning("aäöü", 4), "aä");
        assert_eq!(beginning("a", 4), "a");
    }
}
