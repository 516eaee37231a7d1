//! `Heartbeat`: acknowledgements with a recommended action (protocol sections 3.2, 6.3, ADR 25).

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use sorcha_proto::v1::{self, RecommendedAction, ReplicaComparison, heartbeat_server::Heartbeat};
use sorcha_register::{
    clock::{Monotonic, Timestamp},
    limits,
    names::{PeerId, RegisterDigest, Version},
    session_name::session_name,
    view::RegisterView,
};
use tonic::{Code, Request, Response, Status, Streaming};

use super::{
    CentralNode,
    connect::saturated,
    incoming::Connection,
    session::{Beat, Health, Session},
    validate,
};

/// The service.
pub(crate) struct HeartbeatService(pub Arc<CentralNode>);

#[tonic::async_trait]
impl Heartbeat for HeartbeatService {
    async fn send_heartbeat(
        &self,
        request: Request<v1::HeartbeatMessage>,
    ) -> Result<Response<v1::HeartbeatAcknowledgement>, Status> {
        let connection = Connection::of(&request);
        self.0.heartbeat(&request.into_inner(), &connection).await.map(Response::new)
    }

    type MonitorHeartbeatStream =
        Pin<Box<dyn Stream<Item = Result<v1::HeartbeatAcknowledgement, Status>> + Send>>;

    async fn monitor_heartbeat(
        &self,
        request: Request<Streaming<v1::HeartbeatMessage>>,
    ) -> Result<Response<Self::MonitorHeartbeatStream>, Status> {
        let connection = Connection::of(&request);
        let node = Arc::clone(&self.0);
        let acknowledgements = request.into_inner().then(move |message| {
            let (node, connection) = (Arc::clone(&node), connection.clone());
            async move {
                match node.heartbeat(&message.map_err(validate::unreadable)?, &connection).await {
                    Ok(acknowledgement) => Ok(acknowledgement),
                    // On the stream a refusal is an acknowledgement, and the stream lives on (protocol D4, ADR 34).
                    Err(refusal) => Ok(node.refusal(&refusal)),
                }
            }
        });
        Ok(Response::new(Box::pin(acknowledgements)))
    }

    async fn get_heartbeat_status(
        &self,
        request: Request<v1::HeartbeatStatusRequest>,
    ) -> Result<Response<v1::HeartbeatStatus>, Status> {
        let connection = Connection::of(&request);
        let request = request.into_inner();
        let peer = validate::peer_id(&request.peer_id)?;
        let node = &self.0;
        node.authorize(&connection, &peer)?;
        let sessions = node.sessions();
        let found = node.look_up(&sessions, &peer, &request.session_id, &connection)?;
        node.limiters.status(&peer).map_err(|wait| node.exhausted("status", &peer, wait))?;
        // A caller that named the session knows its id.
        let reveals_id = !request.session_id.is_empty() || found.0.reveals_id_to(&connection);
        Ok(Response::new(node.heartbeat_status(found, reveals_id)))
    }
}

const fn describe(health: Health) -> &'static str {
    match health {
        Health::Healthy => "on time",
        Health::Warning => "one heartbeat missed",
        Health::Critical => "two heartbeats missed",
        Health::TimedOut => "taken as failed",
        Health::Disconnected => "the peer left",
    }
}

const fn wire(health: Health) -> v1::HeartbeatHealthStatus {
    match health {
        Health::Healthy => v1::HeartbeatHealthStatus::Healthy,
        Health::Warning => v1::HeartbeatHealthStatus::Warning,
        Health::Critical => v1::HeartbeatHealthStatus::Critical,
        Health::TimedOut => v1::HeartbeatHealthStatus::Timeout,
        Health::Disconnected => v1::HeartbeatHealthStatus::Disconnected,
    }
}

fn wide(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl CentralNode {
    fn heartbeat_status(
        &self,
        (session, health): (&Session, Health),
        reveals_id: bool,
    ) -> v1::HeartbeatStatus {
        let (now, interval) = (self.env.clock.monotonic(), self.config.heartbeat.interval);
        let has_left = health == Health::Disconnected;
        let has_beaten = session.received > 0;
        v1::HeartbeatStatus {
            peer_id: session.peer_id.to_string(),
            session_id: if reveals_id { session.id.as_str().to_owned() } else { String::new() },
            last_heartbeat_time: if has_beaten { session.last_heartbeat_at.as_millis() } else { 0 },
            missed_heartbeats: if has_left { 0 } else { saturated(session.missed(now, interval)) },
            is_healthy: health == Health::Healthy,
            status_message: describe(health).to_owned(),
            total_heartbeats_received: wide(session.received),
            total_heartbeats_missed: wide(session.missed_in_all(now, interval)),
            average_latency_ms: session.average_latency_ms(),
            last_known_sync_version: session.reported.get(),
            version_lag: self.log.view().head().get() - session.reported.get(),
            health_status: wire(health).into(),
        }
    }

    async fn heartbeat(
        &self,
        message: &v1::HeartbeatMessage,
        connection: &Connection,
    ) -> Result<v1::HeartbeatAcknowledgement, Status> {
        let received = self.env.clock.monotonic();
        let received_at = self.env.clock.now();
        let (peer, version) = validate::heartbeat(message, received_at)?;
        self.authorize(connection, &peer)?;
        self.take_beat(message, &peer, version, connection, (received_at, received))?;
        let is_complete = self.log.look_for(version).await;
        let view = self.log.view();
        let digest = RegisterDigest::from_slice(&message.register_digest);
        let replica = compare(&view, version, digest, is_complete);
        self.note_content(&peer, &message.session_id, replica);
        // A peer may claim any version: false claims must not crowd out the lines about true ones.
        if replica == ReplicaComparison::Ahead && self.limiters.may_log_fault() {
            tracing::error!(peer_id = %peer, version = version.get(), head = view.head().get(), "integrity fault: a peer is ahead of this node's register");
        }
        let action = recommend(*self.draining.borrow(), replica, version < view.head());
        if self.config.log.heartbeats {
            tracing::info!(peer_id = %peer, session_id = session_name(&message.session_id), sequence = message.sequence_number, version = version.get(), "heartbeat");
        }
        let latency = self.env.clock.monotonic().since(received);
        Ok(v1::HeartbeatAcknowledgement {
            success: true,
            message: remark(action, replica).to_owned(),
            recommended_action: action.into(),
            server_latency_ms: wide(u64::try_from(latency.as_millis()).unwrap_or(u64::MAX)),
            replica: replica.into(),
            ..self.acknowledgement(&view)
        })
    }

    /// Notes a heartbeat in its session.
    fn take_beat(
        &self,
        message: &v1::HeartbeatMessage,
        peer: &PeerId,
        version: Version,
        connection: &Connection,
        (received_at, received): (Timestamp, Monotonic),
    ) -> Result<(), Status> {
        let mut sessions = self.sessions();
        let session = sessions
            .find(peer, &message.session_id, connection)
            .map_err(|reason| self.no_session(reason, peer, &message.session_id, connection))?;
        // After the session is found: callers without it must not use up the peer's limit.
        self.limiters.heartbeat(peer).map_err(|wait| self.exhausted("heartbeat", peer, wait))?;
        let beat = Beat {
            sent_at: Timestamp::from_millis(message.timestamp),
            received_at,
            version,
            blueprint_count: message.metrics.as_ref().map(|metrics| metrics.blueprint_count),
        };
        session.beat(beat, received, self.config.heartbeat.interval);
        Ok(())
    }

    /// Notes the outcome of a comparison; an unknown one changes nothing.
    fn note_content(&self, peer: &PeerId, id: &str, replica: ReplicaComparison) {
        let differs = match replica {
            ReplicaComparison::Equal => false,
            ReplicaComparison::Diverged | ReplicaComparison::Ahead => true,
            ReplicaComparison::Unknown => return,
        };
        self.sessions().compare(peer, id, differs);
    }

    fn acknowledgement(&self, view: &RegisterView) -> v1::HeartbeatAcknowledgement {
        v1::HeartbeatAcknowledgement {
            timestamp: self.env.clock.now().as_millis(),
            central_node_id: self.id().to_owned(),
            current_system_register_version: view.head().get(),
            register_digest: Bytes::copy_from_slice(view.digest().as_bytes()),
            ..v1::HeartbeatAcknowledgement::default()
        }
    }

    fn refusal(&self, status: &Status) -> v1::HeartbeatAcknowledgement {
        let action = match status.code() {
            Code::NotFound | Code::FailedPrecondition => RecommendedAction::Reconnect,
            Code::ResourceExhausted => RecommendedAction::ReduceFrequency,
            _ => RecommendedAction::None,
        };
        v1::HeartbeatAcknowledgement {
            success: false,
            message: status.message().chars().take(limits::ACK_MESSAGE_CHARS).collect(),
            recommended_action: action.into(),
            ..self.acknowledgement(&self.log.view())
        }
    }
}

/// How a replica at (version, digest) stands to the register (ADR 2, 25 and 41).
///
/// A peer that is behind may have been sent entries without those that were superseded meanwhile, so that its content was
/// never the register's: only its next pull shows whether it equals the head.
/// One that is ahead of a view that may lack what the store holds (`is_complete` is false) proves nothing.
fn compare(
    view: &RegisterView,
    version: Version,
    digest: Option<RegisterDigest>,
    is_complete: bool,
) -> ReplicaComparison {
    if version > view.head() {
        return if is_complete { ReplicaComparison::Ahead } else { ReplicaComparison::Unknown };
    }
    match (digest, view.digest_at(version)) {
        (Some(theirs), Some(ours)) if theirs == ours => ReplicaComparison::Equal,
        (Some(_), Some(_)) if version == view.head() => ReplicaComparison::Diverged,
        _ => ReplicaComparison::Unknown,
    }
}

/// The acknowledgement's recommended action (protocol section 6.3).
const fn recommend(draining: bool, replica: ReplicaComparison, behind: bool) -> RecommendedAction {
    if draining {
        RecommendedAction::Failover
    } else if behind || matches!(replica, ReplicaComparison::Diverged) {
        RecommendedAction::Sync
    } else {
        RecommendedAction::None
    }
}

const fn remark(action: RecommendedAction, replica: ReplicaComparison) -> &'static str {
    match (action, replica) {
        (RecommendedAction::Failover, _) => "this node is draining; use the next one",
        (_, ReplicaComparison::Diverged) => "the replica's digest differs at its version; fetch it anew",
        (_, ReplicaComparison::Ahead) => "the replica is ahead of this node's register",
        (RecommendedAction::Sync, _) => "newer versions are there",
        _ => "OK",
    }
}

#[cfg(test)]
mod tests;
