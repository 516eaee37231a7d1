//! What every stream of a session has in common: whose it is, how much it holds, and how it ends.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
    vec,
};

use futures::Stream;
use sorcha_proto::EncodedEntry;
use tonic::{Code, Status};

use super::{
    CentralNode,
    incoming::Connection,
    outlet::{Inlet, Outlet, outlet},
    session::{EndReason, SessionEnd, SessionId},
    validate,
};
use crate::register::{
    entry::SealedEntry,
    names::{PeerId, Version},
};

/// Messages in the hands of a stream before its peer has taken them.
pub(super) const STREAM_BUFFER: usize = 32;
/// Pieces in the hands of a stream of entries before its peer has taken them.
const PIECES: usize = 2;
/// A piece has at least one entry, and no more once it has this many or so many bytes.
const PIECE_ENTRIES: usize = 64;
const PIECE_BYTES: usize = 64 * 1024;

/// Where the pieces of a stream go.
pub(super) type Pieces = Outlet<Vec<EncodedEntry>>;

/// A stream of encoded entries. They are handed over in pieces: a wake-up for each entry would cost more than the entry.
pub struct EntryStream {
    pieces: Inlet<Vec<EncodedEntry>>,
    piece: vec::IntoIter<EncodedEntry>,
}

impl EntryStream {
    pub(super) fn new() -> (Pieces, Self) {
        let (outlet, pieces) = outlet(PIECES);
        (outlet, Self { pieces, piece: Vec::new().into_iter() })
    }
}

impl Stream for EntryStream {
    type Item = Result<EncodedEntry, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(entry) = self.piece.next() {
                return Poll::Ready(Some(Ok(entry)));
            }
            match ready!(Pin::new(&mut self.pieces).poll_next(cx)) {
                Some(Ok(piece)) => self.piece = piece.into_iter(),
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// Entries that go to the wire together.
#[derive(Default)]
pub(super) struct Piece {
    entries: Vec<Arc<SealedEntry>>,
    bytes: usize,
}

impl Piece {
    /// The first entries of those that are to be sent.
    pub(super) fn of<'v>(wanted: impl Iterator<Item = &'v Arc<SealedEntry>>) -> Self {
        let mut piece = Self::default();
        for sealed in wanted {
            piece.bytes += sealed.encoded().len();
            piece.entries.push(Arc::clone(sealed));
            if piece.entries.len() == PIECE_ENTRIES || piece.bytes >= PIECE_BYTES {
                break;
            }
        }
        piece
    }

    /// The version that whoever has taken it is at.
    pub(super) fn last(&self) -> Option<Version> {
        self.entries.last().map(|sealed| sealed.entry().version)
    }

    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn into_entries(self) -> Vec<Arc<SealedEntry>> {
        self.entries
    }

    /// As it goes to the wire.
    pub(super) fn encoded(&self) -> Vec<EncodedEntry> {
        self.entries.iter().map(|sealed| EncodedEntry(sealed.encoded().clone())).collect()
    }
}

/// A call of a peer that has a session.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) peer: PeerId,
    pub(super) session: SessionId,
    pub(super) end: SessionEnd,
}

impl CentralNode {
    pub(super) fn caller(
        &self,
        peer: &PeerId,
        session_id: &str,
        connection: &Connection,
    ) -> Result<Caller, Status> {
        self.authorize(connection, peer)?;
        let mut sessions = self.sessions();
        let session = sessions
            .find(peer, session_id, connection)
            .map_err(|reason| self.no_session(reason, peer, session_id, connection))?;
        Ok(Caller { peer: peer.clone(), session: session.id.clone(), end: session.end.clone() })
    }
}

/// The status that a stream ends with when its session does; OK when the peer itself left.
pub(super) fn ended(reason: EndReason) -> Status {
    match reason {
        EndReason::Disconnected => Status::ok("the peer left"),
        EndReason::TimedOut => Status::not_found("the session is over: its heartbeats stopped"),
        EndReason::Replaced => Status::not_found("the session was replaced by a newer one of the same peer"),
        EndReason::Draining => Status::unavailable("this central node is leaving; use the next one"),
    }
}

/// The status of a stream whose peer takes nothing.
pub(super) fn too_slow(timeout: Duration) -> Status {
    let message =
        format!("the peer took nothing for {} s; pull, then open the stream again", timeout.as_secs());
    validate::refused(Code::ResourceExhausted, message, Duration::from_secs(1))
}
