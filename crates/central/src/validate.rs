//! Field validation at the edge of every RPC (protocol sections 3, 5): a refusal names field, limit and value.

use std::time::Duration;

use sorcha_proto::v1;
use sorcha_register::{
    clock::Timestamp,
    limits,
    names::{InvalidField, PeerId, Version, check_length},
};
use tonic::{Code, Status, metadata::MetadataValue};

/// INVALID_ARGUMENT for a field outside its limit.
pub(super) fn invalid(error: &InvalidField) -> Status {
    Status::invalid_argument(error.to_string())
}

pub(super) fn peer_id(value: &str) -> Result<PeerId, Status> {
    PeerId::new(value).map_err(|error| invalid(&error))
}

pub(super) fn version(field: &'static str, value: i64) -> Result<Version, Status> {
    Version::new(field, value).map_err(|error| invalid(&error))
}

fn range(field: &'static str, actual: impl std::fmt::Display, expected: &'static str) -> Status {
    invalid(&InvalidField::Range { field, actual: actual.to_string(), expected })
}

/// A refusal with the standard gRPC hint of when to come back (ADR 36).
pub(super) fn refused(code: Code, message: impl Into<String>, retry_after: Duration) -> Status {
    let mut status = Status::new(code, message);
    let millis = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX).max(1);
    status.metadata_mut().insert(sorcha_proto::metadata::RETRY_PUSHBACK, MetadataValue::from(millis));
    status
}

/// `Peer`, or nothing, is a peer; `Central` is a configuration error at the caller (protocol section 6.1).
pub(super) fn node_type(value: &str, caller: &PeerId) -> Result<(), Status> {
    match value {
        "" | "Peer" => Ok(()),
        "Central" => Err(Status::failed_precondition(format!(
            "{caller} says it is a central node; central nodes don't connect to central nodes: \
                 start it as a peer, or remove its central_nodes setting"
        ))),
        other => Err(range("node_type", format!("{:?}", truncated(other)), "Peer or Central")),
    }
}

fn truncated(value: &str) -> String {
    value.chars().take(40).collect()
}

/// Checks `ConnectRequest.peer_info`; address and port may be absent (protocol D24).
pub(super) fn peer_info(info: Option<&v1::PeerInfo>, caller: &PeerId) -> Result<(), Status> {
    let Some(info) = info else { return Ok(()) };
    check_length("address", &info.address, limits::ADDRESS_CHARS).map_err(|error| invalid(&error))?;
    if !(0..=65535).contains(&info.port) {
        return Err(range("port", info.port, "1 to 65535, or 0 when absent"));
    }
    if let Some(capabilities) = &info.capabilities
        && capabilities.max_blueprint_size < 0
    {
        return Err(range("max_blueprint_size", capabilities.max_blueprint_size, "0 or more"));
    }
    node_type(&info.node_type, caller)
}

/// Checks the size of filters: the central node keeps them as long as the stream lives.
pub(super) fn filters(filters: &v1::SubscriptionFilters) -> Result<(), Status> {
    let texts = filters.blueprint_ids.iter().chain(&filters.publisher_ids);
    let pairs = filters.metadata_filters.iter().flat_map(|(key, value)| [key, value]);
    let texts: usize = texts.chain(pairs).map(|text| limits::FILTER_VALUE_BYTES + text.len()).sum();
    let actual = texts + limits::FILTER_VALUE_BYTES * filters.notification_types.len();
    if actual > limits::FILTER_BYTES {
        let (field, max, unit) = ("filters", limits::FILTER_BYTES, "bytes, with 32 for each value");
        return Err(invalid(&InvalidField::TooLong { field, actual, max, unit }));
    }
    Ok(())
}

/// The status for a message of a caller's stream that could not be read. The library's code for one that is too large is not
/// in the protocol (section 5).
pub(super) fn unreadable(status: Status) -> Status {
    match status.code() {
        Code::OutOfRange => Status::invalid_argument(status.message()),
        _ => status,
    }
}

/// Checks the fields of a heartbeat, its session excepted.
pub(super) fn heartbeat(message: &v1::HeartbeatMessage, now: Timestamp) -> Result<(PeerId, Version), Status> {
    let peer_id = peer_id(&message.peer_id)?;
    let version = version("last_sync_version", message.last_sync_version)?;
    node_type(&message.node_type, &peer_id)?;
    let skew = now.millis_since(Timestamp::from_millis(message.timestamp));
    if skew.unsigned_abs() > limits::CLOCK_SKEW_MILLIS.unsigned_abs() {
        let direction = if skew > 0 { "behind" } else { "ahead of" };
        return Err(Status::invalid_argument(format!(
            "timestamp is {} ms {direction} this node's clock; the limit is {} ms: set the clock that is wrong, the peer's or \
             this central node's",
            skew.unsigned_abs(),
            limits::CLOCK_SKEW_MILLIS
        )));
    }
    if let Some(metrics) = &message.metrics {
        health_metrics(metrics)?;
    }
    Ok((peer_id, version))
}

fn health_metrics(metrics: &v1::HealthMetrics) -> Result<(), Status> {
    let percentages = [
        ("cpu_usage_percent", metrics.cpu_usage_percent),
        ("disk_usage_percent", metrics.disk_usage_percent),
    ];
    for (field, value) in percentages {
        if !(0.0..=100.0).contains(&value) {
            return Err(range(field, value, "0 to 100"));
        }
    }
    if !(metrics.memory_usage_mb >= 0.0 && metrics.memory_usage_mb.is_finite()) {
        return Err(range("memory_usage_mb", metrics.memory_usage_mb, "0 or more"));
    }
    let counts = [
        ("active_connections", i64::from(metrics.active_connections)),
        ("blueprint_count", i64::from(metrics.blueprint_count)),
        ("pending_syncs", i64::from(metrics.pending_syncs)),
        ("uptime_seconds", metrics.uptime_seconds),
    ];
    match counts.into_iter().find(|(_, count)| *count < 0) {
        Some((field, count)) => Err(range(field, count, "0 or more")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stream_of_notices_is_to_leave_out_is_bounded() {
        let of = |values: usize, text: &str| v1::SubscriptionFilters {
            blueprint_ids: vec![text.to_owned(); values],
            ..v1::SubscriptionFilters::default()
        };
        assert!(filters(&v1::SubscriptionFilters::default()).is_ok());
        assert!(filters(&of(300, "an-ordinary-id")).is_ok());
        for too_much in [of(41_000, "a"), of(1, &"a".repeat(limits::FILTER_BYTES))] {
            let status = filters(&too_much).unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument);
            assert!(status.message().contains("filters") && status.message().contains("16384"), "{status}");
        }
        let kinds = v1::SubscriptionFilters {
            notification_types: vec![0; limits::FILTER_BYTES],
            ..v1::SubscriptionFilters::default()
        };
        assert!(filters(&kinds).is_err());
    }
}
