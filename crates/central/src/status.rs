//! `GetCentralNodeStatus`: the node's condition and its list of peers (protocol D25).

use futures::FutureExt as _;
use sorcha_proto::v1;
use sorcha_register::{clock::Monotonic, names::PeerId};
use sorcha_runtime::shares::Place;
use tonic::{Code, Response, Status};

use super::{
    CentralNode, Condition,
    answers::holding,
    connect::saturated,
    incoming::Connection,
    limits::Exhausted,
    session::{Health, Session},
    validate,
};

impl CentralNode {
    pub(super) fn answer_status(
        &self,
        request: &v1::StatusRequest,
        connection: &Connection,
    ) -> Result<Response<v1::CentralNodeStatus>, Status> {
        let filter = match request.peer_id.as_str() {
            "" => None,
            id => Some(validate::peer_id(id)?),
        };
        // A certificate without an identity gets no list, and no place for one.
        let is_wanted = request.include_peer_list && !matches!(connection.credential(), Some(Err(_)));
        let place = if is_wanted { Some(self.peer_list_place(connection)?) } else { None };
        let peers = PeerList { filter: filter.as_ref(), is_wanted, caller: Some(connection) };
        Ok(holding(self.status_for(&peers), place))
    }

    /// A place for a list of peers, kept until its caller has read the list.
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
            session_id: if caller.is_none_or(|caller| session.reveals_id_to(caller)) {
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

/// The list of peers in a status.
struct PeerList<'a> {
    /// The only peer to list (protocol D25).
    filter: Option<&'a PeerId>,
    is_wanted: bool,
    /// The caller; none: the node itself.
    caller: Option<&'a Connection>,
}

impl PeerList<'_> {
    /// Whether the list shows a session. A peer's certificate shows the peers that it speaks for, a central node's of the same
    /// network shows all. On plaintext callers cannot be told apart, and all sessions are listed.
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

#[cfg(test)]
mod tests;
