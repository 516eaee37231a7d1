//! Calls with any content.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use sorcha_proto::v1;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(vec!["edge-0", "edge-1", "edge-9", "a", "Peer", "Central", ""]).prop_map(str::to_owned),
        2 => "[a-z0-9_-]{1,12}",
        1 => ".{0,20}",
        1 => (60..300usize).prop_map(|length| "x".repeat(length)),
        1 => (9000..9100usize).prop_map(|length| "é".repeat(length)),
    ]
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 0..20i64, 1 => any::<i64>(), 1 => Just(i64::MAX), 1 => Just(-1), 2 => Just(now())]
}

#[expect(clippy::disallowed_methods, reason = "a peer's clock")]
fn now() -> i64 {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(elapsed.as_millis()).unwrap()
}

fn small() -> impl Strategy<Value = i32> {
    prop_oneof![4 => 0..10i32, 1 => any::<i32>()]
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![2 => Just(Vec::new()), 1 => vec(any::<u8>(), 32), 1 => vec(any::<u8>(), 0..80)]
        .prop_map(Bytes::from)
}

fn percent() -> impl Strategy<Value = f64> {
    prop_oneof![2 => 0.0..100.0f64, 1 => any::<f64>()]
}

/// Any call that a client can make.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Connect(v1::ConnectRequest),
    Disconnect(v1::DisconnectRequest),
    Status(v1::StatusRequest),
    Beat(v1::HeartbeatMessage),
    Beats(Vec<v1::HeartbeatMessage>),
    BeatStatus(v1::HeartbeatStatusRequest),
    Full(v1::SyncRequest),
    Incremental(v1::SyncRequest),
    Subscribe(v1::SubscriptionRequest),
    Checkpoint(v1::CheckpointRequest),
    Push(Vec<v1::PushAcknowledgement>),
}

fn connect() -> impl Strategy<Value = Call> {
    let capabilities =
        (any::<bool>(), any::<bool>(), small(), any::<bool>()).prop_map(|(push, incremental, size, nat)| {
            v1::PeerCapabilities {
                supports_push_notifications: push,
                supports_incremental_sync: incremental,
                max_blueprint_size: size,
                is_nat_restricted: nat,
            }
        });
    let info = (text(), small(), text(), vec(text(), 0..3), prop::option::of(capabilities)).prop_map(
        |(address, port, node_type, supported_protocols, capabilities)| v1::PeerInfo {
            address,
            port,
            node_type,
            supported_protocols,
            capabilities,
        },
    );
    (text(), prop::option::of(info), number(), number(), bytes()).prop_map(
        |(peer_id, peer_info, last_known_version, connection_time, lineage)| {
            Call::Connect(v1::ConnectRequest {
                peer_id,
                peer_info,
                last_known_version,
                connection_time,
                lineage,
            })
        },
    )
}

fn beat() -> impl Strategy<Value = v1::HeartbeatMessage> {
    let metrics = (small(), percent(), any::<f64>(), percent(), small(), small(), any::<bool>(), number())
        .prop_map(
            |(
                active_connections,
                cpu,
                memory_usage_mb,
                disk,
                blueprint_count,
                pending_syncs,
                is_syncing,
                uptime_seconds,
            )| {
                v1::HealthMetrics {
                    active_connections,
                    cpu_usage_percent: cpu,
                    memory_usage_mb,
                    disk_usage_percent: disk,
                    blueprint_count,
                    pending_syncs,
                    is_syncing,
                    uptime_seconds,
                }
            },
        );
    (text(), number(), number(), number(), text(), text(), prop::option::of(metrics), bytes()).prop_map(
        |(
            peer_id,
            timestamp,
            sequence_number,
            last_sync_version,
            session_id,
            node_type,
            metrics,
            register_digest,
        )| {
            v1::HeartbeatMessage {
                peer_id,
                timestamp,
                sequence_number,
                last_sync_version,
                session_id,
                node_type,
                metrics,
                register_digest,
            }
        },
    )
}

fn sync() -> impl Strategy<Value = v1::SyncRequest> {
    (text(), number(), any::<bool>(), text(), small(), number()).prop_map(
        |(peer_id, last_known_version, full_sync, session_id, max_blueprints, request_time)| {
            v1::SyncRequest {
                peer_id,
                last_known_version,
                full_sync,
                session_id,
                max_blueprints,
                request_time,
            }
        },
    )
}

fn subscribe() -> impl Strategy<Value = Call> {
    let filters = (
        vec(text(), 0..3),
        vec(text(), 0..3),
        vec(small(), 0..3),
        prop::collection::btree_map(text(), text(), 0..3),
    )
        .prop_map(|(blueprint_ids, publisher_ids, notification_types, metadata_filters)| {
            v1::SubscriptionFilters { blueprint_ids, publisher_ids, notification_types, metadata_filters }
        });
    (text(), text(), number(), prop::option::of(filters)).prop_map(
        |(peer_id, session_id, subscribe_time, filters)| {
            Call::Subscribe(v1::SubscriptionRequest { peer_id, session_id, subscribe_time, filters })
        },
    )
}

fn acknowledgement() -> impl Strategy<Value = v1::PushAcknowledgement> {
    (text(), text(), number(), number()).prop_map(
        |(peer_id, session_id, acknowledged_version, acknowledged_at)| v1::PushAcknowledgement {
            peer_id,
            session_id,
            acknowledged_version,
            acknowledged_at,
        },
    )
}

pub(crate) fn call() -> impl Strategy<Value = Call> {
    let disconnect =
        (text(), text(), small(), number()).prop_map(|(peer_id, session_id, reason, disconnect_time)| {
            Call::Disconnect(v1::DisconnectRequest { peer_id, session_id, reason, disconnect_time })
        });
    prop_oneof![
        connect(),
        disconnect,
        (text(), any::<bool>()).prop_map(|(peer_id, include_peer_list)| Call::Status(v1::StatusRequest {
            peer_id,
            include_peer_list
        })),
        beat().prop_map(Call::Beat),
        vec(beat(), 0..4).prop_map(Call::Beats),
        (text(), text()).prop_map(|(peer_id, session_id)| Call::BeatStatus(v1::HeartbeatStatusRequest {
            peer_id,
            session_id
        })),
        sync().prop_map(Call::Full),
        sync().prop_map(Call::Incremental),
        subscribe(),
        (text(), text()).prop_map(|(peer_id, session_id)| Call::Checkpoint(v1::CheckpointRequest {
            peer_id,
            session_id
        })),
        vec(acknowledgement(), 0..4).prop_map(Call::Push),
    ]
}
