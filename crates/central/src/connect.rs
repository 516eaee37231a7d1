//! `CentralNodeConnection`: sessions open and close here (protocol sections 3.1, 5, 6.2).

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use sorcha_proto::v1::{self, central_node_connection_server::CentralNodeConnection};
use sorcha_register::{
    clock::Monotonic,
    names::{Lineage, PeerId},
    session_name::session_name,
};
use sorcha_runtime::shares::Place;
use tonic::{Code, Request, Response, Status};

use super::{
    CentralNode, Condition,
    answers::holding,
    incoming::Connection,
    limits::Exhausted,
    session::{Health, Refused, Session, SessionId},
    validate,
};

/// The service.
pub struct ConnectionService(pub Arc<CentralNode>);

#[tonic::async_trait]
impl CentralNodeConnection for ConnectionService {
    async fn connect_to_central_node(
        &self,
        request: Request<v1::ConnectRequest>,
    ) -> Result<Response<v1::ConnectionResponse>, Status> {
        let connection = Connection::of(&request);
        let request = request.into_inner();
        let peer = validate::peer_id(&request.peer_id)?;
        let held = validate::version("last_known_version", request.last_known_version)?;
        let node = &self.0;
        validate::peer_info(request.peer_info.as_ref(), &peer)
            .map_err(|status| node.refuse_central(&connection, &peer, status))?;
        node.authorize(&connection, &peer)?;
        node.limiters
            .connect(&peer, connection.identity())
            .map_err(|wait| node.exhausted("connect", &peer, wait))?;
        node.accepts_peers()?;
        node.same_lineage(&peer, &request.lineage)?;

        let (id, clock) = (SessionId::from_bits(node.env.random.bits()), &node.env.clock);
        let at = (clock.now(), clock.monotonic());
        node.sessions()
            .open(id.clone(), &peer, held, connection, at)
            .map_err(|refused| node.refuse(&peer, refused))?;
        node.record_peers();
        tracing::info!(peer_id = %peer, session_id = id.name(), version = held.get(), "peer connected");
        Ok(Response::new(node.connection_response(&id)))
    }

    async fn disconnect_from_central_node(
        &self,
        request: Request<v1::DisconnectRequest>,
    ) -> Result<Response<v1::DisconnectionResponse>, Status> {
        let connection = Connection::of(&request);
        let request = request.into_inner();
        let peer = validate::peer_id(&request.peer_id)?;
        let node = &self.0;
        node.authorize(&connection, &peer)?;
        let closed = node.sessions().close(&peer, &request.session_id, &connection);
        closed.map_err(|reason| node.no_session(reason, &peer, &request.session_id, &connection))?;
        node.record_peers();
        tracing::info!(peer_id = %peer, session_id = session_name(&request.session_id), reason = request.reason, "peer disconnected");
        Ok(Response::new(v1::DisconnectionResponse {
            success: true,
            message: "session closed".to_owned(),
            disconnected_at: node.env.clock.now().as_millis(),
        }))
    }

    async fn get_central_node_status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::CentralNodeStatus>, Status> {
        let connection = Connection::of(&request);
        let request = request.into_inner();
        let filter = match request.peer_id.as_str() {
            "" => None,
            id => Some(validate::peer_id(id)?),
        };
        // Who shows a certificate without an identity is told of no peer, and nothing is looked for.
        let is_wanted = request.include_peer_list && !matches!(connection.credential(), Some(Err(_)));
        let place = if is_wanted { Some(self.0.peer_list_place(&connection)?) } else { None };
        let peers = PeerList { filter: filter.as_ref(), is_wanted, caller: Some(&connection) };
        Ok(holding(self.0.status_for(&peers), place))
    }
}

impl CentralNode {
    /// A place for a list of peers, which is long where there are many, until its caller has taken it.
    fn peer_list_place(&self, connection: &Connection) -> Result<Place, Status> {
        let refusal = |wait| {
            self.env.metrics.refused("peer_list");
            let message = "too many calls ask for the list of peers at once";
            validate::refused(Code::ResourceExhausted, message, wait)
        };
        let identity = connection.identity();
        self.limiters.peer_list(identity).map_err(|Exhausted(wait)| refusal(wait))?;
        let place = self.peer_lists.take(identity).now_or_never().and_then(Result::ok);
        place.ok_or_else(|| refusal(self.config.limits.push_write_timeout))
    }

    /// UNAVAILABLE makes a peer try the next central node (protocol section 5).
    pub(super) fn accepts_peers(&self) -> Result<(), Status> {
        let refusal = match self.condition() {
            // What is exchanged or contradicts is the database; peers are served from the log.
            Condition::Healthy
            | Condition::Degraded
            | Condition::Contradicted(_)
            | Condition::Exchanged(_) => return Ok(()),
            Condition::Draining => "this central node is leaving; use the next one".to_owned(),
            Condition::Unhealthy(findings) => {
                format!(
                    "the register of this central node has {} integrity findings; use the next node",
                    findings.len()
                )
            }
        };
        self.env.metrics.refused("condition");
        Err(Status::unavailable(refusal))
    }

    /// Another lineage is never merged (ADR 26).
    fn same_lineage(&self, peer: &PeerId, stated: &Bytes) -> Result<(), Status> {
        if stated.is_empty() {
            return Ok(());
        }
        let theirs = Lineage::from_slice(stated).ok_or_else(|| {
            Status::invalid_argument(format!("lineage has {} bytes; it must have 32", stated.len()))
        })?;
        match self.log.view().lineage() {
            Some(ours) if ours != theirs => {
                self.env.metrics.refused("lineage");
                tracing::error!(peer_id = %peer, %ours, %theirs, "split brain: a peer holds a replica of another lineage");
                let mut status = Status::failed_precondition(format!(
                    "split brain: {peer} holds lineage {}, this node serves {}; nothing was merged. An administrator \
                     decides with `sorcha-node register adopt`",
                    theirs.short(),
                    ours.short()
                ));
                // The peer tells a split brain from other refusals by the lineage served here.
                if let Ok(lineage) = ours.to_string().parse() {
                    status.metadata_mut().insert(sorcha_proto::metadata::LINEAGE, lineage);
                }
                Err(status)
            }
            _ => Ok(()),
        }
    }

    fn refuse(&self, peer: &PeerId, refused: Refused) -> Status {
        match refused {
            Refused::AlreadyConnected => {
                self.env.metrics.refused("already_connected");
                Status::already_exists(format!(
                    "{peer} has a live session on another connection; disconnect it first"
                ))
            }
            Refused::Full => {
                self.env.metrics.refused("max_peers");
                let message = format!(
                    "this node holds its limit of {} peers; use the next one",
                    self.config.limits.max_peers
                );
                validate::refused(Code::ResourceExhausted, message, self.config.heartbeat.interval)
            }
            Refused::IdentityFull => {
                self.env.metrics.refused("identity_sessions");
                let message = format!(
                    "the certificate of {peer} has {} sessions with this node already, its limit (limits.identity_sessions)",
                    self.config.limits.identity_sessions
                );
                validate::refused(Code::ResourceExhausted, message, self.config.heartbeat.interval)
            }
        }
    }

    fn connection_response(&self, id: &SessionId) -> v1::ConnectionResponse {
        let view = self.log.view();
        v1::ConnectionResponse {
            success: true,
            message: "connected".to_owned(),
            session_id: id.as_str().to_owned(),
            central_node_id: self.id().to_owned(),
            current_system_register_version: view.head().get(),
            connected_at: self.env.clock.now().as_millis(),
            heartbeat_interval_seconds: saturated(self.config.heartbeat.interval.as_secs()),
            config: Some(v1::ConnectionConfig {
                heartbeat_timeout_seconds: saturated(self.config.heartbeat.timeout.as_secs()),
                periodic_sync_interval_minutes: saturated(self.config.sync.interval.as_secs() / 60),
                push_notifications_enabled: self.config.sync.push,
                max_concurrent_syncs: saturated(self.config.limits.max_concurrent_full_syncs as u64),
            }),
            lineage: view
                .lineage()
                .map(|lineage| Bytes::copy_from_slice(lineage.as_bytes()))
                .unwrap_or_default(),
            register_digest: Bytes::copy_from_slice(view.digest().as_bytes()),
            genesis: view.genesis().map(|genesis| genesis.bytes().clone()).unwrap_or_default(),
        }
    }

    /// The node's condition, as the node itself knows it; `filter` narrows the peer list (protocol D25).
    #[must_use]
    pub fn status(&self, filter: Option<&PeerId>, include_peers: bool) -> v1::CentralNodeStatus {
        self.status_for(&PeerList { filter, is_wanted: include_peers, caller: None })
    }

    fn status_for(&self, peers: &PeerList<'_>) -> v1::CentralNodeStatus {
        let view = self.log.view();
        let now = self.env.clock.monotonic();
        let sessions = self.sessions();
        let health = match self.condition() {
            Condition::Healthy => v1::NodeHealth::Healthy,
            Condition::Degraded | Condition::Contradicted(_) => v1::NodeHealth::Degraded,
            Condition::Unhealthy(_) | Condition::Exchanged(_) => v1::NodeHealth::Unhealthy,
            Condition::Draining => v1::NodeHealth::Maintenance,
        };
        v1::CentralNodeStatus {
            node_id: self.id().to_owned(),
            health: health.into(),
            current_system_register_version: view.head().get(),
            total_blueprints: saturated(view.len() as u64),
            active_peer_count: saturated(sessions.live().len() as u64),
            last_blueprint_published_at: view.last_published_at().as_millis(),
            uptime_seconds: i64::try_from(self.uptime().as_secs()).unwrap_or(i64::MAX),
            connected_peers: sessions
                .live()
                .take(if peers.is_wanted { usize::MAX } else { 0 })
                .filter(|session| peers.has(session, &self.config.node.network))
                .map(|session| self.connected_peer(session, peers.caller, now))
                .collect(),
        }
    }

    fn connected_peer(
        &self,
        session: &Session,
        caller: Option<&Connection>,
        now: Monotonic,
    ) -> v1::ConnectedPeerInfo {
        use v1::PeerConnectionStatus as Status;
        let status = match session.health(now, self.config.heartbeat.interval) {
            Health::Healthy if session.syncing > 0 => Status::Syncing,
            Health::Healthy => Status::Connected,
            _ => Status::HeartbeatTimeout,
        };
        v1::ConnectedPeerInfo {
            peer_id: session.peer_id.to_string(),
            session_id: if caller.is_none_or(|caller| session.is_told_to(caller)) {
                session.id.as_str().to_owned()
            } else {
                String::new()
            },
            connected_at: session.connected_at.as_millis(),
            last_heartbeat_at: session.last_heartbeat_at.as_millis(),
            last_sync_version: session.position.get(),
            status: status.into(),
        }
    }
}

/// The list of peers that a status is asked for.
struct PeerList<'a> {
    /// The one peer that it is to have (protocol D25).
    filter: Option<&'a PeerId>,
    is_wanted: bool,
    /// Who asks; none: the node itself.
    caller: Option<&'a Connection>,
}

impl PeerList<'_> {
    /// Whether it has a session. Callers that show a certificate are told of the peers that it speaks for, central nodes of the
    /// network of all. On plain text nobody is told from anybody, and all are listed.
    fn has(&self, session: &Session, network: &str) -> bool {
        let peer = &session.peer_id;
        let may_know = match self.caller.and_then(Connection::credential) {
            None => true,
            Some(Err(_)) => false,
            Some(Ok(identity)) => {
                identity.network() == network && (identity.is_central_node() || identity.speaks_for(peer))
            }
        };
        may_know && self.filter.is_none_or(|wanted| wanted == peer)
    }
}

/// A count as the contract's int32.
pub(super) fn saturated(count: u64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PEER_LISTS, testing};
    use sorcha_runtime::metrics::Metrics;

    /// A list is long where there are many peers, and its caller may take it slowly.
    #[tokio::test(start_paused = true)]
    async fn so_many_lists_of_peers_are_on_their_way_at_once() {
        let (node, caller) = (testing::node(Metrics::disabled()), Connection::default());
        let mut places: Vec<_> = (0..64).map(|_| node.peer_list_place(&caller).unwrap()).collect();
        assert_eq!(places.len(), PEER_LISTS);
        assert_eq!(
            node.peer_list_place(&caller).err().map(|status| status.code()),
            Some(Code::ResourceExhausted)
        );
        places.pop();
        assert!(node.peer_list_place(&caller).is_ok());
    }
}
