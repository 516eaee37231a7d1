//! The push stream on the peer's side: whole entries where the central node has them, else notices
//! (contract section 6.6, design decision 2).

use std::{sync::Arc, time::Duration};

use futures::FutureExt as _;
use sorcha_proto::{EncodedEntry, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::{Session, pull::PullError};
use crate::{
    peer::replica::Batch,
    register::{entry::SealedEntry, names::Version},
    telemetry::{self, spans},
};

/// Acknowledgements on their way to the central node.
const ACKNOWLEDGEMENTS: usize = 16;

/// An open push stream.
pub(super) enum Push {
    /// Whole entries, acknowledged once they are stored.
    Entries {
        entries: Streaming<EncodedEntry>,
        acknowledge: mpsc::Sender<v1::PushAcknowledgement>,
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
pub(super) async fn open(session: &Session) -> Result<Push, Status> {
    let (acknowledge, outgoing) = mpsc::channel(ACKNOWLEDGEMENTS);
    // The first message names the session and the version held.
    let position = session.node.replica.head();
    drop(acknowledge.send(acknowledgement(session, position)).await);
    match session.sync_client().receive_push_notification(ReceiverStream::new(outgoing)).await {
        Ok(response) => Ok(Push::Entries { entries: response.into_inner(), acknowledge, position }),
        Err(status) if status.code() == Code::Unimplemented => {
            let request = v1::SubscriptionRequest {
                peer_id: session.node.id.to_string(),
                session_id: session.id.clone(),
                subscribe_time: session.node.env.clock.now().as_millis(),
                filters: None,
            };
            let response = session.sync_client().subscribe_to_push_notifications(request).await?;
            Ok(Push::Notices(response.into_inner()))
        }
        Err(status) => Err(status),
    }
}

fn acknowledgement(session: &Session, version: Version) -> v1::PushAcknowledgement {
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

    /// Stores the entry and all others that are there already, in one commit, and acknowledges them.
    pub(super) async fn take(&mut self, session: &Session, first: First) -> Result<Arrival, PullError> {
        let first = match first {
            First::Entry(first) => first,
            First::Notice => return Ok(Arrival::PullNow),
            First::End => return Ok(Arrival::Ended),
        };
        let Self::Entries { entries, acknowledge, position } = self else { return Ok(Arrival::PullNow) };
        let mut batch = vec![decode(first)?];
        while batch.len() < session.node.config.sync.batch {
            match entries.message().now_or_never() {
                Some(Ok(Some(entry))) => batch.push(decode(entry)?),
                // An end or a fault shows again at the next call, after this batch is stored.
                _ => break,
            }
        }
        let last = batch.iter().map(|sealed| sealed.entry().version).fold(*position, Version::max);
        let version = store(session, batch, *position).await?;
        *position = last;
        drop(acknowledge.send(acknowledgement(session, version)).await);
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
    SealedEntry::decode(entry.0).map_err(|error| PullError::Entry(error.to_string()))
}

async fn store(
    session: &Session,
    batch: Vec<Arc<SealedEntry>>,
    position: Version,
) -> Result<Version, PullError> {
    let node = &session.node;
    let started = node.env.clock.monotonic();
    let received: Vec<_> = batch.iter().map(|sealed| telemetry::receive_span(sealed.entry())).collect();
    let taken =
        Batch { entries: batch.clone(), position, head: Version::ZERO, digest: None, size: usize::MAX };
    let stored = node.replica.take(taken, session.genesis.as_deref(), &session.provenance()).await;
    let took = node.env.clock.monotonic().since(started);
    received.iter().for_each(|span| spans::finish(span, took, &stored));
    stored?;
    let (now, head) = (node.env.clock.moment(), node.replica.head());
    node.status.send_modify(|status| {
        for sealed in &batch {
            let millis = now.wall.millis_since(sealed.entry().changed_at()).max(0).unsigned_abs();
            status.push_latency(Duration::from_millis(millis));
        }
        status.hear_of(status.central_version.max(head), head, true, now);
    });
    node.env.metrics.version(head.get());
    for sealed in &batch {
        let entry = sealed.entry();
        tracing::debug!(blueprint_id = %entry.blueprint_id, version = entry.version.get(), "pushed entry stored");
    }
    Ok(head)
}
