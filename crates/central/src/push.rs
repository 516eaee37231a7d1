//! Pushes: each stream is a cursor into the log with its own pace (protocol section 6.6, ADR 1 and 25).
//!
//! No queue per peer can overflow: a slow peer's cursor falls behind and skips entries that were superseded in the meantime. A
//! peer that reads nothing for the write time-out loses its stream and pulls.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::Duration,
};

use sorcha_proto::v1;
use sorcha_register::{clock::Timestamp, entry::SealedEntry, names::Version, view::RegisterView};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tonic::{Code, Response, Status, Streaming};

use super::{
    CentralNode,
    answers::{Unread, of_entries},
    entries::{EntryBody, Pieces},
    incoming::Connection,
    outlet::Outlet,
    stream::{Caller, Piece, ended, too_slow},
    validate,
};

fn second_stream(caller: &Caller) -> Status {
    Status::already_exists(format!("{} has a push stream on this session; one is allowed", caller.peer))
}

/// Marks the session's push stream as open until it is dropped.
pub(super) struct PushGuard {
    pub(super) node: Arc<CentralNode>,
    pub(super) caller: Caller,
}

impl PushGuard {
    pub(super) fn open(node: &Arc<CentralNode>, caller: Caller) -> Result<Self, Status> {
        if !node.config.sync.push {
            return Err(Status::unimplemented(
                "this central node offers no push (sync.push = false); pull instead",
            ));
        }
        if !node.sessions().begin_push(&caller.peer, &caller.session) {
            return Err(second_stream(&caller));
        }
        tracing::info!(peer_id = %caller.peer, session_id = caller.session.name(), "push subscriber added");
        Ok(Self { node: Arc::clone(node), caller })
    }
}

impl Drop for PushGuard {
    fn drop(&mut self) {
        self.node.sessions().end_push(&self.caller.peer, &self.caller.session);
        tracing::info!(peer_id = %self.caller.peer, session_id = self.caller.session.name(), "push subscriber removed");
    }
}

pub(super) fn finish<T>(guard: &PushGuard, outcome: Result<(), Status>, stream: Outlet<T>) {
    let Err(status) = outcome else { return };
    if status.code() == Code::ResourceExhausted {
        guard.node.env.metrics.push_failed();
        tracing::warn!(peer_id = %guard.caller.peer, reason = status.message(), "push stream dropped");
    }
    stream.end(status);
}

/// `ReceivePushNotification`: whole entries from the version that the first acknowledgement names.
pub(super) async fn receive(
    node: &Arc<CentralNode>,
    mut acknowledgements: Streaming<v1::PushAcknowledgement>,
    connection: Connection,
) -> Result<Response<Unread>, Status> {
    let timeout = node.config.heartbeat.timeout;
    let first = tokio::time::timeout(timeout, acknowledgements.message())
        .await
        .map_err(|_| {
            Status::deadline_exceeded(format!(
                "no acknowledgement came within {} s; the first message of the stream names the session and the version held",
                timeout.as_secs()
            ))
        })?
        .map_err(validate::unreadable)?
        .ok_or_else(|| Status::invalid_argument("the stream ended before its first acknowledgement"))?;
    let peer = validate::peer_id(&first.peer_id)?;
    let held = validate::version("acknowledged_version", first.acknowledged_version)?;
    let caller = node.caller(&peer, &first.session_id, &connection)?;
    let place = node.stream_place(&peer, &connection)?;
    let guard = PushGuard::open(node, caller)?;
    let (pieces, body) = EntryBody::new(node.config.limits.max_message_bytes);
    let views = node.log.subscribe();
    // What pulls brought is stored by now. A claim beyond the head is for heartbeats to judge.
    if held <= node.log.view().head() {
        node.sessions().confirm(&peer, &guard.caller.session, held);
    }
    tokio::spawn(async move {
        let end = guard.caller.end.clone();
        let mut delivery = Delivery { sent: held, unacknowledged: VecDeque::new(), views };
        let outcome = tokio::select! {
            outcome = delivery.run(&guard, &mut acknowledgements, &pieces) => outcome,
            reason = end.ended() => Err(ended(reason)),
            () = pieces.closed() => Ok(()),
        };
        finish(&guard, outcome, pieces);
    });
    Ok(of_entries(body, place))
}

/// A peer's cursor, and the entries that it has not acknowledged yet.
struct Delivery {
    sent: Version,
    unacknowledged: VecDeque<Sent>,
    views: watch::Receiver<Arc<RegisterView>>,
}

/// An unacknowledged entry. A weak reference: the stream does not keep superseded entries alive.
struct Sent {
    version: Version,
    changed_at: Timestamp,
    entry: Weak<SealedEntry>,
}

impl Sent {
    fn of(sealed: &Arc<SealedEntry>) -> Self {
        let (version, changed_at) = (sealed.entry().version, sealed.entry().changed_at());
        Self { version, changed_at, entry: Arc::downgrade(sealed) }
    }
}

impl Delivery {
    async fn run(
        &mut self,
        guard: &PushGuard,
        acknowledgements: &mut Streaming<v1::PushAcknowledgement>,
        pieces: &Pieces,
    ) -> Result<(), Status> {
        let limits = &guard.node.config.limits;
        let patience = limits.push_write_timeout;
        // Start of the wait for the peer.
        let mut waiting = None;
        loop {
            let view = Arc::clone(&self.views.borrow_and_update());
            let window = limits.push_window.saturating_sub(self.unacknowledged.len());
            let has_next = window > 0 && view.next_after(self.sent).is_some();
            let is_owed = has_next || !self.unacknowledged.is_empty();
            waiting = is_owed.then(|| waiting.unwrap_or_else(Instant::now));
            let until = waiting.map(|since| since.max(pieces.taken_at()) + patience);
            tokio::select! {
                acknowledgement = acknowledgements.message() => match acknowledgement.map_err(validate::unreadable)? {
                    // One without news does not extend the time-out.
                    Some(acknowledgement) => if self.acknowledged(guard, &acknowledgement)? {
                        waiting = None;
                    },
                    None => return Ok(()),
                },
                permit = pieces.reserve(), if has_next => {
                    let Some(permit) = permit else { return Ok(()) };
                    let piece = Piece::of(view.after(self.sent).take(window));
                    permit.send(piece.encoded().await?);
                    self.sent = piece.last().unwrap_or(self.sent);
                    self.unacknowledged.extend(piece.entries().iter().map(Sent::of));
                }
                changed = self.views.changed(), if !has_next => if changed.is_err() { return Ok(()) },
                () = until_then(until) => if until.is_some_and(|until| pieces.taken_at() + patience <= until) {
                    return Err(too_slow(patience));
                }
            }
        }
    }

    /// Processes an acknowledgement; returns whether it is news.
    fn acknowledged(&mut self, guard: &PushGuard, message: &v1::PushAcknowledgement) -> Result<bool, Status> {
        let version = validate::version("acknowledged_version", message.acknowledged_version)?;
        if version > self.sent {
            return Err(Status::invalid_argument(format!(
                "acknowledged_version is {version}; only versions up to {} were sent",
                self.sent
            )));
        }
        let now = guard.node.env.clock.now();
        let before = self.unacknowledged.len();
        while let Some(sent) = self.unacknowledged.pop_front_if(|sent| sent.version <= version) {
            let since = Duration::from_millis(now.millis_since(sent.changed_at).max(0).unsigned_abs());
            guard.node.env.metrics.push_acknowledged(since);
            if let Some(sealed) = sent.entry.upgrade() {
                sorcha_runtime::traces::acknowledged(sealed.entry(), &guard.caller.peer, since);
            }
        }
        guard.node.sessions().acknowledge(&guard.caller.peer, &guard.caller.session, version, now);
        Ok(self.unacknowledged.len() < before)
    }
}

async fn until_then(then: Option<Instant>) {
    match then {
        Some(then) => sleep_until(then).await,
        None => std::future::pending().await,
    }
}
