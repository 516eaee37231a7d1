//! `CentralNodeConnection`: sessions open and close here (protocol sections 3.1, 5, 6.2).

use std::sync::Arc;

use bytes::Bytes;
use sorcha_proto::v1::{self, central_node_connection_server::CentralNodeConnection};
use sorcha_register::{
    names::{Lineage, PeerId},
    session_name::session_name,
};
use tonic::{Code, Request, Response, Status};

use super::{
    CentralNode, Condition,
    incoming::Connection,
    session::{Refused, SessionId},
    validate,
};

/// The service.
pub(crate) struct ConnectionService(pub Arc<CentralNode>);

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
        self.0.answer_status(&request.into_inner(), &connection)
    }
}

impl CentralNode {
    /// UNAVAILABLE makes a peer try the next central node (protocol section 5).
    pub(super) fn accepts_peers(&self) -> Result<(), Status> {
        let refusal = match self.condition() {
            // What is exchanged or contradicts is the database; peers are served from the log.
            Condition::Healthy
            | Condition::Degraded
            | Condition::Contradicted(_)
            | Condition::Exchanged(_) => return Ok(()),
            Condition::Draining => "this central node is draining; use the next one".to_owned(),
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
}

/// A count as the contract's int32.
pub(super) fn saturated(count: u64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
