//! `SystemRegisterSync`: pulls, straight from the encoded log (protocol sections 3.3, 6.5).

use std::{sync::Arc, time::Duration};

use sorcha_proto::{
    metadata, raw,
    v1::{self, CheckpointStatus},
};
use sorcha_register::{
    clock::Timestamp,
    entry::SealedEntry,
    names::{PeerId, Version},
    view::RegisterView,
};
use sorcha_runtime::shares::Place;
use tokio::time::{Instant, timeout};
use tonic::{Code, Request, Response, Status, Streaming};

use super::{
    CentralNode,
    answers::{Unread, holding, of_entries},
    connect::saturated,
    entries::{EntryBody, Pieces},
    incoming::Connection,
    notices,
    outlet::{Inlet, TookNothing},
    push,
    slots::Pace,
    stream::{self, Caller, Piece},
    validate,
};

/// Entries that are counted for a peer that has not reported how many it holds.
const COUNTED: usize = 1024;

/// The service.
pub(crate) struct SyncService(pub Arc<CentralNode>);

#[tonic::async_trait]
impl raw::system_register_sync_server::SystemRegisterSync for SyncService {
    type FullSyncStream = Unread;
    type IncrementalSyncStream = Unread;
    type SubscribeToPushNotificationsStream = Inlet<v1::BlueprintNotification>;
    type ReceivePushNotificationStream = Unread;

    async fn full_sync(&self, request: Request<v1::SyncRequest>) -> Result<Response<Unread>, Status> {
        self.sync(request, true).await
    }

    async fn incremental_sync(&self, request: Request<v1::SyncRequest>) -> Result<Response<Unread>, Status> {
        self.sync(request, false).await
    }

    async fn subscribe_to_push_notifications(
        &self,
        request: Request<v1::SubscriptionRequest>,
    ) -> Result<Response<Self::SubscribeToPushNotificationsStream>, Status> {
        let connection = Connection::of(&request);
        let request = request.into_inner();
        let peer = validate::peer_id(&request.peer_id)?;
        let filters = request.filters.unwrap_or_default();
        validate::filters(&filters)?;
        let caller = self.0.caller(&peer, &request.session_id, &connection)?;
        let place = self.0.stream_place(&peer, &connection)?;
        let notices = notices::notify(&self.0, caller, filters)?;
        Ok(holding(notices, place))
    }

    async fn get_sync_checkpoint(
        &self,
        request: Request<v1::CheckpointRequest>,
    ) -> Result<Response<v1::SyncCheckpoint>, Status> {
        let connection = Connection::of(&request);
        let request = request.into_inner();
        let peer = validate::peer_id(&request.peer_id)?;
        self.0.checkpoint(&peer, &request.session_id, &connection).map(Response::new)
    }

    async fn receive_push_notification(
        &self,
        request: Request<Streaming<v1::PushAcknowledgement>>,
    ) -> Result<Response<Unread>, Status> {
        let connection = Connection::of(&request);
        push::receive(&self.0, request.into_inner(), connection).await
    }
}

impl SyncService {
    async fn sync(&self, request: Request<v1::SyncRequest>, full: bool) -> Result<Response<Unread>, Status> {
        let connection = Connection::of(&request);
        let request = request.into_inner();
        let peer = validate::peer_id(&request.peer_id)?;
        let held = validate::version("last_known_version", request.last_known_version)?;
        let node = &self.0;
        let caller = node.caller(&peer, &request.session_id, &connection)?;
        let place = node.stream_place(&peer, &connection)?;
        // Protocol D12: a full sync sends active entries only; an incremental one everything newer, inactive entries too.
        let full = full || request.full_sync || held == Version::ZERO;
        let slot = if full { Some(node.admit_full_sync(&peer, &connection).await?) } else { None };
        if !node.log.look_for(held).await {
            tracing::debug!(held = held.get(), "can't look for what a peer is ahead by");
        }
        let pull = Pull {
            view: node.log.view(),
            after: if full { Version::ZERO } else { held },
            active_only: full,
            // Protocol U5: a negative cap is no cap, as in the reference.
            cap: usize::try_from(request.max_blueprints).ok().filter(|cap| *cap > 0).unwrap_or(usize::MAX),
            write_timeout: node.config.limits.push_write_timeout,
            least_rate: if full { node.config.limits.full_sync_min_rate } else { 0 },
        };
        let snapshot = Arc::clone(&pull.view);
        let mut response = of_entries(pull.start(Arc::clone(node), caller, slot), place);
        describe(&snapshot, response.metadata_mut());
        Ok(response)
    }
}

/// Adds lineage, version and digest of the snapshot to the response metadata.
fn describe(view: &RegisterView, metadata: &mut tonic::metadata::MetadataMap) {
    let lineage = view.lineage().map(|lineage| lineage.to_string()).unwrap_or_default();
    for (key, value) in [
        (metadata::LINEAGE, lineage),
        (metadata::VERSION, view.head().to_string()),
        (metadata::DIGEST, view.digest().to_string()),
    ] {
        if let Ok(value) = value.parse() {
            metadata.insert(key, value);
        }
    }
}

/// One pull: a cursor over a snapshot of the register.
struct Pull {
    view: Arc<RegisterView>,
    after: Version,
    active_only: bool,
    cap: usize,
    write_timeout: Duration,
    /// Minimum rate of the peer, bytes per second; 0: none.
    least_rate: u64,
}

impl Pull {
    fn start(self, node: Arc<CentralNode>, caller: Caller, slot: Option<Place>) -> EntryBody {
        let (pieces, body) = EntryBody::new(node.config.limits.max_message_bytes);
        tokio::spawn(async move {
            let Caller { peer, session, end, connection: _until_it_ends } = caller;
            node.sessions().begin_sync(&peer, &session);
            let outcome = tokio::select! {
                outcome = self.send(&pieces) => outcome,
                reason = end.ended() => Err(stream::ended(reason)),
            };
            node.sessions().end_sync(&peer, &session);
            drop(slot);
            match outcome {
                // A finished stream moves the node's view of the peer (protocol D13).
                Ok(Some(version)) => node.sessions().advance(&peer, &session, version, node.env.clock.now()),
                Ok(None) => {}
                Err(status) => pieces.end(status),
            }
        });
        body
    }

    /// Streams the entries; returns the version that the peer has reached, or `None` when it went away.
    async fn send(&self, pieces: &Pieces) -> Result<Option<Version>, Status> {
        let (mut sent, mut last) = (0, self.after);
        let mut pace = Pace::new(self.least_rate, self.write_timeout, Instant::now());
        loop {
            let piece = self.piece(last, self.cap - sent);
            let Some(end) = piece.last() else { break };
            let taken = pieces.send_within(self.write_timeout, piece.encoded().await?);
            let taken = match pace.patience() {
                Some(patience) => timeout(patience, taken).await.map_err(|_elapsed| pace.too_slow())?,
                None => taken.await,
            };
            match taken {
                Ok(Some(())) => (sent, last) = (sent + piece.len(), end),
                Ok(None) => return Ok(None),
                Err(TookNothing) => return Err(stream::too_slow(self.write_timeout)),
            }
            pace.accepted(piece.bytes(), Instant::now());
        }
        Ok(Some(if sent == self.cap { last } else { self.view.head().max(last) }))
    }

    fn piece(&self, after: Version, most: usize) -> Piece {
        let wanted = |sealed: &&Arc<SealedEntry>| sealed.entry().is_active || !self.active_only;
        Piece::of(self.view.after(after).filter(wanted).take(most))
    }
}

impl CentralNode {
    async fn admit_full_sync(&self, peer: &PeerId, connection: &Connection) -> Result<Place, Status> {
        self.limiters
            .full_sync(peer, connection.identity())
            .map_err(|wait| self.exhausted("full sync", peer, wait))?;
        let wait = self.config.limits.full_sync_wait;
        match timeout(wait, self.full_syncs.take(connection.identity())).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_closed)) => Err(Status::unavailable("this central node is draining; use the next one")),
            Err(_elapsed) => {
                self.env.metrics.refused("full_sync_slots");
                let slots = self.config.limits.max_concurrent_full_syncs;
                let message = format!(
                    "all {slots} full-sync slots are taken, or all that one certificate may have; come back in {} ms",
                    wait.as_millis()
                );
                Err(validate::refused(Code::ResourceExhausted, message, wait))
            }
        }
    }

    /// The peer's position as this node knows it (protocol D13).
    fn checkpoint(
        &self,
        peer: &PeerId,
        session_id: &str,
        connection: &Connection,
    ) -> Result<v1::SyncCheckpoint, Status> {
        self.authorize(connection, peer)?;
        let view = self.log.view();
        let Progress { position, is_syncing, synced, count } = self.progress(peer, session_id, connection)?;
        self.limiters.status(peer).map_err(|wait| self.exhausted("status", peer, wait))?;
        let status = match (is_syncing, position < view.head()) {
            (true, _) => CheckpointStatus::Syncing,
            (false, true) => CheckpointStatus::Behind,
            (false, false) => CheckpointStatus::UpToDate,
        };
        let due = synced.map(|at| at.plus(self.config.sync.interval));
        // Until the peer reports its own count: what it holds if it holds everything up to its position.
        let count = count.or_else(|| view.len_up_to(position, COUNTED).map(|count| saturated(count as u64)));
        Ok(v1::SyncCheckpoint {
            peer_id: peer.to_string(),
            current_version: position.get(),
            last_sync_time: synced.map_or(0, Timestamp::as_millis),
            total_blueprints: count.unwrap_or_default(),
            central_node_id: self.id().to_owned(),
            next_sync_due: due.map_or(0, Timestamp::as_millis),
            status: status.into(),
        })
    }

    fn progress(&self, peer: &PeerId, session_id: &str, connection: &Connection) -> Result<Progress, Status> {
        let sessions = self.sessions();
        let (session, _) = self.look_up(&sessions, peer, session_id, connection)?;
        Ok(Progress {
            position: session.position,
            is_syncing: session.syncing > 0,
            synced: session.last_sync_at,
            count: Some(session.blueprint_count).filter(|count| *count > 0),
        })
    }
}

/// A peer's progress by its session, copied so that the table is not locked while the register is read.
struct Progress {
    position: Version,
    is_syncing: bool,
    synced: Option<Timestamp>,
    /// Entries that it reports.
    count: Option<i32>,
}
