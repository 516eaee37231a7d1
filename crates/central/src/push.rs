//! Pushes: each stream is a cursor into the log with its own pace (protocol section 6.6, ADR 1 and 25).
//!
//! There is no queue per peer that could overflow: a slow peer's cursor falls behind, entries that were superseded
//! in the meantime are skipped, and a peer that takes nothing for the write time-out loses its stream and pulls.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use sorcha_proto::v1::{self, NotificationType};
use sorcha_register::{
    clock::Timestamp,
    entry::{Entry, SealedEntry},
    names::Version,
    view::RegisterView,
};
use sorcha_runtime::parsing::off_the_runtime;
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
    outlet::{Inlet, Outlet, TookNothing, outlet},
    stream::{Caller, Piece, STREAM_BUFFER, ended, too_slow},
    validate,
};

fn second_stream(caller: &Caller) -> Status {
    Status::already_exists(format!("{} has a push stream on this session; one is allowed", caller.peer))
}

/// Releases the session's push stream however the task ends.
struct PushGuard {
    node: Arc<CentralNode>,
    caller: Caller,
}

impl PushGuard {
    fn open(node: &Arc<CentralNode>, caller: Caller) -> Result<Self, Status> {
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

/// `SubscribeToPushNotifications`: notices of what is published from now on.
pub(super) fn notify(
    node: &Arc<CentralNode>,
    caller: Caller,
    filters: v1::SubscriptionFilters,
) -> Result<Inlet<v1::BlueprintNotification>, Status> {
    let guard = PushGuard::open(node, caller)?;
    let (notices, stream) = outlet(STREAM_BUFFER);
    let views = node.log.subscribe();
    tokio::spawn(async move {
        let end = guard.caller.end.clone();
        let outcome = tokio::select! {
            outcome = send_notices(&guard, views, &filters, &notices) => outcome,
            reason = end.ended() => Err(ended(reason)),
            () = notices.closed() => Ok(()),
        };
        finish(&guard, outcome, notices);
    });
    Ok(stream)
}

fn finish<T>(guard: &PushGuard, outcome: Result<(), Status>, stream: Outlet<T>) {
    let Err(status) = outcome else { return };
    if status.code() == Code::ResourceExhausted {
        guard.node.env.metrics.push_failed();
        tracing::warn!(peer_id = %guard.caller.peer, reason = status.message(), "push stream dropped");
    }
    stream.end(status);
}

async fn send_notices(
    guard: &PushGuard,
    mut views: watch::Receiver<Arc<RegisterView>>,
    filters: &v1::SubscriptionFilters,
    notices: &Outlet<v1::BlueprintNotification>,
) -> Result<(), Status> {
    let timeout = guard.node.config.limits.push_write_timeout;
    let mut known = Arc::clone(&views.borrow_and_update());
    let mut sequence = 0;
    while views.changed().await.is_ok() {
        let view = Arc::clone(&views.borrow_and_update());
        for sealed in view.after(known.head()) {
            let entry = sealed.entry();
            let kind = kind_of(entry, &known);
            if !wanted(filters, entry, kind) {
                continue;
            }
            sequence += 1;
            let notice = notice(entry, kind, sequence, preview(sealed).await);
            match notices.send_within(timeout, notice).await {
                Ok(Some(())) => guard.node.env.metrics.notice_sent(),
                Ok(None) => return Ok(()),
                Err(TookNothing) => return Err(too_slow(timeout)),
            }
        }
        known = view;
    }
    Ok(())
}

/// What happened to an entry, by what the subscriber's view held before.
fn kind_of(entry: &Entry, before: &RegisterView) -> NotificationType {
    match (entry.is_active, before.get(&entry.blueprint_id)) {
        (false, _) => NotificationType::BlueprintDeprecated,
        (true, Some(_)) => NotificationType::BlueprintUpdated,
        (true, None) => NotificationType::BlueprintPublished,
    }
}

/// Whether a notice passes the filters: each kind that is given must match; within a kind any value will do,
/// but metadata must have all pairs (protocol U6).
fn wanted(filters: &v1::SubscriptionFilters, entry: &Entry, kind: NotificationType) -> bool {
    let one_of = |list: &[String], value: &str| list.is_empty() || list.iter().any(|item| item == value);
    one_of(&filters.blueprint_ids, entry.blueprint_id.as_str())
        && one_of(&filters.publisher_ids, &entry.published_by)
        && (filters.notification_types.is_empty() || filters.notification_types.contains(&kind.into()))
        && filters.metadata_filters.iter().all(|(key, value)| entry.metadata.get(key) == Some(value))
}

fn notice(
    entry: &Entry,
    kind: NotificationType,
    sequence_number: i64,
    blueprint_summary: Bytes,
) -> v1::BlueprintNotification {
    v1::BlueprintNotification {
        blueprint_id: entry.blueprint_id.to_string(),
        version: entry.version.get(),
        published_at: entry.published_at.as_millis(),
        published_by: entry.published_by.clone(),
        blueprint_summary,
        r#type: kind.into(),
        checksum: entry.document.checksum().to_string(),
        sequence_number,
    }
}

/// The preview of an entry's document. It is made once, for the first subscriber that needs it.
async fn preview(sealed: &Arc<SealedEntry>) -> Bytes {
    if let Some(preview) = sealed.known_preview() {
        return preview.clone();
    }
    let made = Arc::clone(sealed);
    off_the_runtime(sealed.encoded().len(), move || made.preview().clone()).await
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
            Status::deadline_exceeded(
                "no first acknowledgement came; it names the session and the version held",
            )
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

/// A peer's cursor: what was sent, and what of it is not acknowledged yet.
struct Delivery {
    sent: Version,
    unacknowledged: VecDeque<Sent>,
    views: watch::Receiver<Arc<RegisterView>>,
}

/// An entry without acknowledgement. It is not kept: once superseded, it is none of the stream's business.
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
        // Since when the peer is waited for.
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
                    // One that tells nothing new buys no time.
                    Some(acknowledgement) => if self.acknowledged(guard, &acknowledgement)? {
                        waiting = None;
                    },
                    None => return Ok(()),
                },
                permit = pieces.reserve(), if has_next => {
                    let Some(permit) = permit else { return Ok(()) };
                    let piece = Piece::of(view.after(self.sent).take(window));
                    permit.send(piece.encoded());
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

    /// Takes an acknowledgement in; whether it tells anything new.
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

#[cfg(test)]
mod tests {
    use super::*;
    use sorcha_register::testing::entry;

    #[test]
    fn filters_combine_across_kinds() {
        let entry = entry("a", 1);
        let published = NotificationType::BlueprintPublished;
        let matches = |change: fn(&mut v1::SubscriptionFilters)| {
            let mut filters = v1::SubscriptionFilters::default();
            change(&mut filters);
            wanted(&filters, &entry, published)
        };
        assert!(matches(|_| ()));
        assert!(matches(|f| f.blueprint_ids = vec!["b".into(), "a".into()]));
        assert!(!matches(|f| f.blueprint_ids = vec!["b".into()]));
        assert!(!matches(|f| f.publisher_ids = vec!["system".into()]));
        assert!(!matches(|f| f.notification_types = vec![NotificationType::BlueprintDeprecated.into()]));
        assert!(matches(|f| f.metadata_filters = [("category".into(), "test".into())].into()));
        let one_missing = |f: &mut v1::SubscriptionFilters| {
            f.metadata_filters = [("category".into(), "test".into()), ("x".into(), "y".into())].into();
        };
        assert!(!matches(one_missing));
    }

    #[test]
    fn kinds_follow_what_was_known_before() {
        let mut before = RegisterView::new(None);
        let mut off = entry("a", 2);
        off.is_active = false;
        assert_eq!(kind_of(&entry("a", 1), &before), NotificationType::BlueprintPublished);
        before.apply(vec![entry("a", 1).seal()], Version::ZERO);
        assert_eq!(kind_of(&off, &before), NotificationType::BlueprintDeprecated);
        assert_eq!(kind_of(&entry("a", 3), &before), NotificationType::BlueprintUpdated);
    }

    #[tokio::test]
    async fn a_preview_is_made_once_for_all_subscribers() {
        let mut entry = entry("a", 1);
        let json = format!(r#"{{"id":"a","text":"{}"}}"#, "x".repeat(1 << 20));
        entry.document = sorcha_register::canonical::Document::canonicalize(json.as_bytes()).unwrap();
        let sealed = entry.seal();
        assert!(sealed.known_preview().is_none());
        let previews = futures::future::join_all((0..100).map(|_| preview(&sealed))).await;
        let made = sealed.known_preview().expect("it is kept");
        assert_eq!(made, r#"{"id":"a"}"#);
        assert!(previews.iter().all(|preview| preview.as_ptr() == made.as_ptr()), "a copy was made anew");
    }
}
