//! Answers by chance.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use sorcha_proto::{EncodedEntry, v1};

/// A text, sometimes one that is longer than any the contract knows.
pub(crate) fn text(long: usize) -> impl Strategy<Value = String> {
    prop_oneof![3 => ".{0,40}", 1 => "[a-z]".prop_map(move |text: String| text.repeat(long))]
}

pub(crate) fn number() -> impl Strategy<Value = i64> {
    prop_oneof![3 => 0..50i64, 1 => any::<i64>()]
}

pub(crate) fn small() -> impl Strategy<Value = i32> {
    prop_oneof![3 => 0..6i32, 1 => any::<i32>()]
}

pub(crate) fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![2 => Just(Vec::new()), 1 => vec(any::<u8>(), 32), 1 => vec(any::<u8>(), 0..80)]
        .prop_map(Bytes::from)
}

pub(crate) fn connection() -> impl Strategy<Value = v1::ConnectionResponse> {
    let config = (small(), small(), any::<bool>(), small()).prop_map(|(timeout, minutes, push, syncs)| {
        v1::ConnectionConfig {
            heartbeat_timeout_seconds: timeout,
            periodic_sync_interval_minutes: minutes,
            push_notifications_enabled: push,
            max_concurrent_syncs: syncs,
        }
    });
    let session_id = prop_oneof![6 => "[a-f0-9]{32}", 1 => ".{0,40}", 1 => text(300)];
    let texts = (text(100_000), session_id, ".{0,80}");
    let success = prop::bool::weighted(0.8);
    (success, texts, number(), number(), small(), prop::option::of(config), (bytes(), bytes(), bytes()))
        .prop_map(
            |(
                success,
                (message, session_id, central_node_id),
                version,
                connected_at,
                interval,
                config,
                added,
            )| {
                let (lineage, register_digest, genesis) = added;
                v1::ConnectionResponse {
                    success,
                    message,
                    session_id,
                    central_node_id,
                    current_system_register_version: version,
                    connected_at,
                    heartbeat_interval_seconds: interval,
                    config,
                    lineage,
                    register_digest,
                    genesis,
                }
            },
        )
}

pub(crate) fn acknowledgement() -> impl Strategy<Value = v1::HeartbeatAcknowledgement> {
    let message = prop_oneof![1 => ".{0,600}", 1 => text(100_000)];
    (any::<bool>(), number(), message, number(), small(), number(), bytes(), small()).prop_map(
        |(success, timestamp, message, version, action, latency, register_digest, replica)| {
            v1::HeartbeatAcknowledgement {
                success,
                timestamp,
                central_node_id: "babbler".to_owned(),
                current_system_register_version: version,
                message,
                recommended_action: action,
                server_latency_ms: latency,
                register_digest,
                replica,
            }
        },
    )
}

pub(crate) fn notice() -> impl Strategy<Value = v1::BlueprintNotification> {
    (".{0,20}", number(), number(), bytes(), small(), ".{0,80}").prop_map(
        |(blueprint_id, version, published_at, blueprint_summary, kind, checksum)| {
            v1::BlueprintNotification {
                blueprint_id,
                version,
                published_at,
                published_by: "x".to_owned(),
                blueprint_summary,
                r#type: kind,
                checksum,
                sequence_number: version,
            }
        },
    )
}

pub(crate) fn entries() -> impl Strategy<Value = Vec<EncodedEntry>> {
    vec(bytes().prop_map(EncodedEntry), 0..4)
}
