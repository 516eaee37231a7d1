//! `Heartbeat`: acknowledgements with a recommended action (protocol sections 3.2, 6.3, ADR 25).

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use sorcha_proto::v1::{self, RecommendedAction, ReplicaComparison, heartbeat_server::Heartbeat};
use sorcha_register::{
    clock::Timestamp,
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
    session::{Beat, Health, NoSession, SessionTable},
    validate,
};

/// The service.
pub struct HeartbeatService(pub Arc<CentralNode>);

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
        let (node, interval) = (&self.0, self.0.config.heartbeat.interval);
        node.authorize(&connection, &peer)?;
        let now = node.env.clock.monotonic();
        let head = node.log.view().head();
        let sessions = node.sessions();
        let (session, health) = sessions
            .look_up(&peer, now)
            .filter(|(session, _)| request.session_id.is_empty() || session.id.as_str() == request.session_id)
            .ok_or_else(|| node.no_session(NoSession::Unknown, &peer, "?", &connection))?;
        if !session.is_of(&connection) {
            return Err(node.foreign_session(&connection, &peer));
        }
        node.limiters.status(&peer).map_err(|wait| node.exhausted("status", &peer, wait))?;
        let live = health != Health::Disconnected;
        Ok(Response::new(v1::HeartbeatStatus {
            peer_id: peer.to_string(),
            // Its owner has it already; nobody else learns it here.
            session_id: if !request.session_id.is_empty() || session.is_told_to(&connection) {
                session.id.as_str().to_owned()
            } else {
                String::new()
            },
            last_heartbeat_time: if session.received == 0 {
                0
            } else {
                session.last_heartbeat_at.as_millis()
            },
            missed_heartbeats: if live { saturated(session.missed(now, interval)) } else { 0 },
            is_healthy: health == Health::Healthy,
            status_message: describe(health).to_owned(),
            total_heartbeats_received: wide(session.received),
            total_heartbeats_missed: wide(session.missed_in_all(now, interval)),
            average_latency_ms: session.average_latency_ms(),
            last_known_sync_version: session.reported.get(),
            version_lag: head.get() - session.reported.get(),
            health_status: wire(health).into(),
        }))
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
    async fn heartbeat(
        &self,
        message: &v1::HeartbeatMessage,
        connection: &Connection,
    ) -> Result<v1::HeartbeatAcknowledgement, Status> {
        let received = self.env.clock.monotonic();
        let received_at = self.env.clock.now();
        let (peer, version) = validate::heartbeat(message, received_at)?;
        self.authorize(connection, &peer)?;
        let beat = Beat {
            sent_at: Timestamp::from_millis(message.timestamp),
            received_at,
            version,
            blueprint_count: message.metrics.as_ref().map(|metrics| metrics.blueprint_count),
        };
        {
            let mut sessions = self.sessions();
            let session = sessions
                .find(&peer, &message.session_id, connection)
                .map_err(|reason| self.no_session(reason, &peer, &message.session_id, connection))?;
            // Only who has the session uses up its limit.
            self.limiters.heartbeat(&peer).map_err(|wait| self.exhausted("heartbeat", &peer, wait))?;
            SessionTable::beat(session, beat, received, self.config.heartbeat.interval);
        }
        let is_complete = self.log.look_for(version).await;
        let view = self.log.view();
        let digest = RegisterDigest::from_slice(&message.register_digest);
        let replica = compare(&view, version, digest, is_complete);
        self.note_content(&peer, &message.session_id, replica);
        // Whoever has a session may claim any version: each claim is one line less for a true one.
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

    /// Remembers what the comparison told; one that told nothing leaves what is known.
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
/// never the register's: only the pull that it is told to make can tell whether it will equal the head.
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
        (RecommendedAction::Failover, _) => "this node is leaving; use the next one",
        (_, ReplicaComparison::Diverged) => "the replica's digest differs at its version; fetch it anew",
        (_, ReplicaComparison::Ahead) => "the replica is ahead of this node's register",
        (RecommendedAction::Sync, _) => "newer versions are there",
        _ => "OK",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{log::RegisterLog, session::SessionId};
    use sorcha_config::Config;
    use sorcha_register::testing::entry;
    use sorcha_runtime::{env::Env, metrics::Metrics};
    use sorcha_store::journal::{JournalStore, Options};

    #[tokio::test]
    async fn a_peer_is_up_to_date_at_the_head_with_the_same_content() {
        let mut view = RegisterView::new(None);
        view.apply(vec![entry("a", 1).seal()], Version::ZERO);
        let (env, config) = (Env::system(Metrics::disabled()), Config::default().with_identity("n0"));
        let store = JournalStore::in_memory(Options { inline: true, ..Options::default() }).unwrap();
        let log = RegisterLog::new(Arc::new(store), view.clone());
        let node = CentralNode::new(Arc::new(config), env, log, Vec::new());
        let (peer, id, here) =
            (PeerId::new("edge-0").unwrap(), SessionId::from_bits(1), Connection::default());
        let now = (node.env.clock.now(), node.env.clock.monotonic());
        node.sessions().open(id.clone(), &peer, Version::ZERO, here.clone(), now).unwrap();
        assert_eq!(node.peer_counts(), (1, 0));
        let beat = async |version: i64, digest: &[u8]| {
            let message = v1::HeartbeatMessage {
                peer_id: peer.to_string(),
                session_id: id.as_str().to_owned(),
                timestamp: node.env.clock.now().as_millis(),
                last_sync_version: version,
                register_digest: Bytes::copy_from_slice(digest),
                ..v1::HeartbeatMessage::default()
            };
            node.heartbeat(&message, &here).await.unwrap();
            node.peer_counts()
        };
        let other = RegisterView::new(None).digest();
        assert_eq!(beat(1, &[]).await, (1, 1), "the position alone, where nothing is known of the content");
        assert_eq!(beat(1, other.as_bytes()).await, (1, 0));
        assert_eq!(beat(1, &[]).await, (1, 0), "a beat without a digest tells nothing new");
        assert_eq!(beat(1, view.digest().as_bytes()).await, (1, 1));
    }

    #[test]
    fn comparison_and_action_by_position_and_digest() {
        let mut view = RegisterView::new(None);
        view.apply(vec![entry("a", 1).seal()], Version::ZERO);
        let at_one = view.digest();
        view.apply(vec![entry("b", 2).seal()], Version::ZERO);
        let number = |n| Version::new("version", n).unwrap();
        let rows = [
            (2, Some(view.digest()), ReplicaComparison::Equal, RecommendedAction::None),
            (1, Some(at_one), ReplicaComparison::Equal, RecommendedAction::Sync),
            (2, Some(at_one), ReplicaComparison::Diverged, RecommendedAction::Sync),
            (1, Some(view.digest()), ReplicaComparison::Unknown, RecommendedAction::Sync),
            (2, None, ReplicaComparison::Unknown, RecommendedAction::None),
            (1, None, ReplicaComparison::Unknown, RecommendedAction::Sync),
            (3, Some(at_one), ReplicaComparison::Ahead, RecommendedAction::None),
        ];
        for (version, digest, comparison, action) in rows {
            let found = compare(&view, number(version), digest, true);
            assert_eq!(found, comparison, "version {version}");
            assert_eq!(recommend(false, found, number(version) < view.head()), action, "version {version}");
            assert_eq!(recommend(true, found, false), RecommendedAction::Failover);
        }
        let unknown = compare(&view, number(3), Some(at_one), false);
        assert_eq!(unknown, ReplicaComparison::Unknown, "the store did not tell whether there is more");
    }
}
