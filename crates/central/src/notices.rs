//! Notices of publications: `SubscribeToPushNotifications` (protocol section 6.6, U6).

use std::{io, sync::Arc};

use bytes::Bytes;
use sorcha_proto::v1::{self, NotificationType};
use sorcha_register::{
    entry::{EntryHeader, SealedEntry},
    view::RegisterView,
};
use sorcha_runtime::parsing::off_the_runtime;
use tokio::sync::watch;
use tonic::Status;

use super::{
    CentralNode,
    outlet::{Inlet, Outlet, TookNothing, outlet},
    push::{PushGuard, finish},
    stream::{Caller, STREAM_BUFFER, ended, too_slow, unreadable},
};

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
            let notice =
                notice(entry, kind, sequence, preview(sealed).await.map_err(|error| unreadable(&error))?);
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

/// The kind of a change, by the view before it.
fn kind_of(entry: &EntryHeader, before: &RegisterView) -> NotificationType {
    match (entry.is_active, before.get(&entry.blueprint_id)) {
        (false, _) => NotificationType::BlueprintDeprecated,
        (true, Some(_)) => NotificationType::BlueprintUpdated,
        (true, None) => NotificationType::BlueprintPublished,
    }
}

/// Whether a notice passes the filters: each kind that is given must match; within a kind any value will do,
/// but metadata must have all pairs (protocol U6).
fn wanted(filters: &v1::SubscriptionFilters, entry: &EntryHeader, kind: NotificationType) -> bool {
    let one_of = |list: &[String], value: &str| list.is_empty() || list.iter().any(|item| item == value);
    one_of(&filters.blueprint_ids, entry.blueprint_id.as_str())
        && one_of(&filters.publisher_ids, entry.published_by())
        && (filters.notification_types.is_empty() || filters.notification_types.contains(&kind.into()))
        && filters
            .metadata_filters
            .iter()
            .all(|(key, value)| entry.metadata().any(|pair| pair == (&**key, &**value)))
}

fn notice(
    entry: &EntryHeader,
    kind: NotificationType,
    sequence_number: i64,
    blueprint_summary: Bytes,
) -> v1::BlueprintNotification {
    v1::BlueprintNotification {
        blueprint_id: entry.blueprint_id.to_string(),
        version: entry.version.get(),
        published_at: entry.published_at.as_millis(),
        published_by: entry.published_by().to_owned(),
        blueprint_summary,
        r#type: kind.into(),
        checksum: entry.document.checksum().to_string(),
        sequence_number,
    }
}

/// The preview of an entry's document, made once for all subscribers.
async fn preview(sealed: &Arc<SealedEntry>) -> io::Result<Bytes> {
    if let Some(preview) = sealed.known_preview() {
        return Ok(preview);
    }
    let made = Arc::clone(sealed);
    off_the_runtime(sealed.length(), move || made.preview()).await
}

#[cfg(test)]
mod tests;
