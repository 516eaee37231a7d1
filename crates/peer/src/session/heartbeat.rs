//! The heartbeat loop (protocol section 6.3, ADR 25).

use std::time::Duration;

use bytes::Bytes;
use sorcha_proto::v1::{self, RecommendedAction, ReplicaComparison, heartbeat_client::HeartbeatClient};
use sorcha_register::{
    names::{RegisterDigest, Version},
    session_name::session_name,
};
use sorcha_runtime::spans;
use tokio::{sync::watch, time::Instant};
use tonic::Status;
use tracing::Instrument as _;

use super::{
    LiveSession,
    faults::{Meaning, meaning},
    standstill::Standstill,
    told::{ANSWER_BYTES, told},
};
use crate::{
    machine::event::{Action, Event},
    status::{Ahead, Comparison, HeartbeatEvent, Said, StatusEvent},
};

/// Share of the interval by which beats vary, so that peers don't beat in step.
const JITTER: f64 = 0.1;

/// Beats until the session ends: the first at once, for the round trip and the comparison of digests.
pub(super) async fn run(session: LiveSession, mut slowdown: watch::Receiver<u32>) {
    let mut client = HeartbeatClient::new(session.channel.clone()).max_decoding_message_size(ANSWER_BYTES);
    let mut standstill = Standstill::since(session.node.env.clock.monotonic());
    loop {
        let sent = Instant::now();
        beat(&session, &mut client).await;
        standstill.look(&session);
        let factor = *slowdown.borrow_and_update();
        let jitter = 1.0 - JITTER * session.node.env.random.unit();
        tokio::time::sleep_until(sent + session.rhythm.interval.mul_f64(f64::from(factor) * jitter)).await;
    }
}

async fn beat(session: &LiveSession, client: &mut HeartbeatClient<tonic::transport::Channel>) {
    let (node, clock) = (&session.node, &session.node.env.clock);
    node.note(StatusEvent::Heartbeat(HeartbeatEvent::Sent(clock.now())));
    let sequence = node.status.borrow().heartbeat.sequence;
    let message = message(session, sequence);
    let (version, digest) = (message.last_sync_version, message.register_digest.clone());
    let started = clock.monotonic();
    let span = spans::heartbeat(&session.central, sequence);
    let call = tokio::time::timeout(session.rhythm.timeout, client.send_heartbeat(message));
    let answer = call.instrument(span.clone()).await;
    let round_trip = clock.monotonic().since(started);
    match &answer {
        Ok(answer) => spans::finish(&span, round_trip, answer),
        Err(_elapsed) => {
            spans::finish(&span, round_trip, &Err::<(), _>(Status::deadline_exceeded("no answer")))
        }
    }
    match answer {
        Ok(Ok(response)) => acknowledged(session, &response.into_inner(), round_trip, version, &digest).await,
        Ok(Err(status)) => failed(session, sequence, &status).await,
        Err(_elapsed) => missed(session, sequence, "no acknowledgement in time").await,
    }
}

fn message(session: &LiveSession, sequence_number: i64) -> v1::HeartbeatMessage {
    let node = &session.node;
    let state = node.replica.state();
    let view = &state.view;
    // A replica that is known to be damaged is repaired; its digest would only say so once more.
    let digest = if state.findings.is_empty() {
        Bytes::copy_from_slice(view.digest().as_bytes())
    } else {
        Bytes::new()
    };
    let metrics = node.config.heartbeat.include_metrics.then(|| v1::HealthMetrics {
        active_connections: 1,
        memory_usage_mb: resident_megabytes(),
        blueprint_count: i32::try_from(view.len()).unwrap_or(i32::MAX),
        is_syncing: node.status.borrow().syncing,
        uptime_seconds: i64::try_from(node.uptime().as_secs()).unwrap_or(i64::MAX),
        ..v1::HealthMetrics::default()
    });
    v1::HeartbeatMessage {
        peer_id: node.id.to_string(),
        timestamp: node.env.clock.now().as_millis(),
        sequence_number,
        last_sync_version: view.head().get(),
        session_id: session.id.clone(),
        node_type: "Peer".to_owned(),
        metrics,
        register_digest: digest,
    }
}

async fn acknowledged(
    session: &LiveSession,
    ack: &v1::HeartbeatAcknowledgement,
    round_trip: Duration,
    sent_version: i64,
    sent_digest: &Bytes,
) {
    let node = &session.node;
    let action = advice(ack.recommended_action());
    if !ack.success && action == Action::None {
        return missed(session, 0, &ack.message).await;
    }
    let (at, held) = (node.env.clock.moment(), node.replica.head());
    let said = said(ack, sent_version, sent_digest, held);
    node.note(StatusEvent::Heartbeat(HeartbeatEvent::Acknowledged { at, round_trip, said }));
    node.env.metrics.heartbeat_acknowledged(&session.central, round_trip);
    node.env.metrics.lag(node.status.borrow().signed_lag(node.replica.head()));
    tell_ahead(session, Version::new("version", sent_version).unwrap_or_default());
    if diverged(ack, sent_version, sent_digest) {
        tracing::error!(
            central_node_id = session.central,
            version = sent_version,
            "replica diverged from its central node; fetching it anew"
        );
        session.tell(Event::ReplicaDiverged { epoch: session.epoch }).await;
    }
    // The peer compares the versions itself, too (protocol D38).
    let behind = said.is_some_and(|said| said.central > node.replica.head());
    let action = if behind && action == Action::None { Action::Sync } else { action };
    session.tell(Event::HeartbeatAcked { epoch: session.epoch, action }).await;
}

const fn advice(recommended: RecommendedAction) -> Action {
    match recommended {
        RecommendedAction::None => Action::None,
        RecommendedAction::Sync => Action::Sync,
        RecommendedAction::ReduceFrequency => Action::ReduceFrequency,
        RecommendedAction::Failover => Action::Failover,
        RecommendedAction::Reconnect => Action::Reconnect,
    }
}

/// What an acknowledgement says of the register, unless it states a version that there can't be.
fn said(
    ack: &v1::HeartbeatAcknowledgement,
    sent_version: i64,
    sent_digest: &Bytes,
    held: Version,
) -> Option<Said> {
    let stated = ack.current_system_register_version;
    Some(Said {
        central: Version::new("current_system_register_version", stated).ok()?,
        sent: Version::new("version", sent_version).unwrap_or_default(),
        equal: stated == sent_version
            && (ack.register_digest.is_empty() || ack.register_digest == *sent_digest),
        told: compared(ack.replica()),
        held,
    })
}

/// Logs that the replica is ahead. A central node that lost what is held is an integrity fault; one that can't read its store
/// is not, and the peer can't tell it from one that lies.
fn tell_ahead(session: &LiveSession, held: Version) {
    let status = session.node.status.borrow();
    let Some(ahead) = status.ahead_in_words(held) else { return };
    let (central_node_id, version) = (session.central.as_str(), held.get());
    match status.ahead {
        Some(Ahead::Told) => tracing::error!(central_node_id, version, "integrity fault: {ahead}"),
        _ => tracing::warn!(central_node_id, version, "{ahead}"),
    }
}

const fn compared(replica: ReplicaComparison) -> Comparison {
    match replica {
        ReplicaComparison::Ahead => Comparison::Ahead,
        ReplicaComparison::Equal | ReplicaComparison::Diverged => Comparison::NotAhead,
        ReplicaComparison::Unknown => Comparison::Untold,
    }
}

fn diverged(ack: &v1::HeartbeatAcknowledgement, sent_version: i64, sent_digest: &Bytes) -> bool {
    let differs = ack.current_system_register_version == sent_version
        && RegisterDigest::from_slice(&ack.register_digest).is_some()
        && !sent_digest.is_empty()
        && ack.register_digest != *sent_digest;
    differs || ack.replica() == ReplicaComparison::Diverged
}

async fn failed(session: &LiveSession, sequence: i64, status: &Status) {
    match meaning(status) {
        Meaning::Lost(loss) => session.tell(Event::ConnectionLost { epoch: session.epoch, loss }).await,
        Meaning::Rejected => session.tell(Event::SessionRejected { epoch: session.epoch }).await,
        Meaning::Call(_) => missed(session, sequence, status.message()).await,
    }
}

async fn missed(session: &LiveSession, sequence: i64, reason: &str) {
    let reason = told(reason);
    tracing::warn!(
        central_node_id = session.central,
        session_id = session_name(&session.id),
        sequence,
        reason,
        "heartbeat missed"
    );
    session.node.note(StatusEvent::Heartbeat(HeartbeatEvent::Missed(reason)));
    session.node.env.metrics.heartbeat_missed(&session.central);
    session.tell(Event::HeartbeatMissed { epoch: session.epoch }).await;
}

/// Memory of this process, where the kernel tells it.
fn resident_megabytes() -> f64 {
    const PAGE_BYTES: f64 = 4096.0;
    std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<f64>().ok())
        .map_or(0.0, |pages| pages * PAGE_BYTES / 1e6)
}
