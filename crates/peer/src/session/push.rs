//! The push stream on the peer's side: whole entries where the central node has them, else notices
//! (protocol section 6.6, ADR 25).

use std::sync::Arc;

use futures::FutureExt as _;
use sorcha_proto::{EncodedEntry, v1};
use sorcha_register::{entry::SealedEntry, names::Version};
use sorcha_runtime::{spans, traces};
use tokio::{sync::watch, time::timeout};
use tokio_stream::wrappers::WatchStream;
use tonic::{Code, Response, Status, Streaming};

use super::{LiveSession, pull::PullError, told::told};
use crate::{
    replica::Batch,
    status::{PushEvent, StatusEvent},
};

/// Once so many bytes have come, they are stored before more is taken.
const BATCH_BYTES: usize = 4 << 20;

/// An open push stream.
pub(super) enum Push {
    /// Whole entries, acknowledged once they are stored. Acknowledgements are cumulative: a central node that does not take
    /// them in time gets the newest, and keeps this peer from nothing.
    Entries {
        entries: Streaming<EncodedEntry>,
        acknowledge: watch::Sender<v1::PushAcknowledgement>,
        /// How far the stream is: it began after the version held.
        position: Version,
    },
    /// Notices of the original contract: each leads to a pull.
    Notices(Streaming<v1::BlueprintNotification>),
}

/// What a push stream brought.
pub(super) enum Arrival {
    /// Entries were stored and acknowledged.
    Stored,
    /// Something was published: pull.
    PullNow,
    /// The stream ended without a fault.
    Ended,
}

/// Opens the stream that the central node has.
///
/// # Errors
/// The central node's status; [`Code::DeadlineExceeded`] when it says nothing within `sync.stall_timeout`.
pub(super) async fn open(session: &LiveSession) -> Result<Push, Status> {
    // The first message names the session and the version held.
    let position = session.node.replica.head();
    let (acknowledge, outgoing) = watch::channel(acknowledgement(session, position));
    let mut client = session.sync_client();
    match answered(session, client.receive_push_notification(WatchStream::new(outgoing))).await {
        Ok(entries) => Ok(Push::Entries { entries, acknowledge, position }),
        Err(status) if status.code() == Code::Unimplemented => {
            let request = v1::SubscriptionRequest {
                peer_id: session.node.id.to_string(),
                session_id: session.id.clone(),
                subscribe_time: session.node.env.clock.now().as_millis(),
                filters: None,
            };
            answered(session, client.subscribe_to_push_notifications(request)).await.map(Push::Notices)
        }
        Err(status) => Err(status),
    }
}

/// Waits for the beginning of an answer, and not for ever.
async fn answered<T>(
    session: &LiveSession,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Status> {
    let patience = session.node.config.sync.stall_timeout;
    let stalled = || {
        let within = humantime::format_duration(patience);
        Status::deadline_exceeded(format!(
            "the central node did not begin to answer within {within} (sync.stall_timeout)"
        ))
    };
    timeout(patience, call).await.unwrap_or_else(|_elapsed| Err(stalled())).map(Response::into_inner)
}

fn acknowledgement(session: &LiveSession, version: Version) -> v1::PushAcknowledgement {
    v1::PushAcknowledgement {
        peer_id: session.node.id.to_string(),
        session_id: session.id.clone(),
        acknowledged_version: version.get(),
        acknowledged_at: session.node.env.clock.now().as_millis(),
    }
}

impl Push {
    /// Waits for what comes next. Cancel safe until something has come; then it is stored before this returns.
    pub(super) async fn next(&mut self) -> Result<First, Status> {
        match self {
            Self::Entries { entries, .. } => {
                entries.message().await.map(|first| first.map_or(First::End, First::Entry))
            }
            Self::Notices(notices) => {
                notices.message().await.map(|first| first.map_or(First::End, |_| First::Notice))
            }
        }
    }

    /// Stores the entry and others that are there already, in one commit, and acknowledges them.
    pub(super) async fn take(&mut self, session: &LiveSession, first: First) -> Result<Arrival, PullError> {
        let first = match first {
            First::Entry(first) => first,
            First::Notice => return Ok(Arrival::PullNow),
            First::End => return Ok(Arrival::Ended),
        };
        let Self::Entries { entries, acknowledge, position } = self else { return Ok(Arrival::PullNow) };
        let mut bytes = first.0.len();
        let mut batch = vec![decode(first)?];
        while batch.len() < session.node.config.sync.batch && bytes < BATCH_BYTES {
            match entries.message().now_or_never() {
                Some(Ok(Some(entry))) => {
                    bytes += entry.0.len();
                    batch.push(decode(entry)?);
                }
                // An end or a fault shows again at the next call, after this batch is stored.
                _ => break,
            }
        }
        let last = batch.iter().map(|sealed| sealed.entry().version).fold(*position, Version::max);
        let version = store(session, batch, *position).await?;
        *position = last;
        acknowledge.send_replace(acknowledgement(session, version));
        Ok(Arrival::Stored)
    }
}

/// The first thing that a stream brought.
pub(super) enum First {
    /// A whole entry.
    Entry(EncodedEntry),
    /// A notice.
    Notice,
    /// The end of the stream.
    End,
}

fn decode(entry: EncodedEntry) -> Result<Arc<SealedEntry>, PullError> {
    SealedEntry::decode(entry.0).map_err(|error| PullError::Entry(told(&error.to_string())))
}

async fn store(
    session: &LiveSession,
    batch: Vec<Arc<SealedEntry>>,
    position: Version,
) -> Result<Version, PullError> {
    let node = &session.node;
    let started = node.env.clock.monotonic();
    let received: Vec<_> = batch.iter().map(|sealed| traces::receive_span(sealed.entry())).collect();
    let taken = Batch {
        entries: batch.clone(),
        position,
        head: Version::ZERO,
        digest: None,
        size: usize::MAX,
        most: node.config.sync.replica_memory(),
    };
    let stored = node.replica.take(taken, session.genesis.as_deref(), &session.provenance()).await;
    let took = node.env.clock.monotonic().since(started);
    received.iter().for_each(|span| spans::finish(span, took, &stored));
    stored?;
    let (at, head) = (node.env.clock.moment(), node.replica.head());
    let published = batch.iter().map(|sealed| sealed.entry().changed_at()).collect();
    node.note(StatusEvent::Push(PushEvent::Stored { published, head, at }));
    node.env.metrics.version(head.get());
    for sealed in &batch {
        let entry = sealed.entry();
        tracing::debug!(blueprint_id = %entry.blueprint_id, version = entry.version.get(), "pushed entry stored");
    }
    Ok(head)
}
