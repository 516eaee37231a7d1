//! Streams of a session: caller, pieces and final status.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use sorcha_register::{
    entry::SealedEntry,
    names::{PeerId, Version},
};
use tonic::{Code, Status};

use super::{
    CentralNode,
    incoming::{Connection, Hold},
    session::{EndReason, SessionEnd, SessionId},
    validate,
};

/// Messages that a stream buffers.
pub(super) const STREAM_BUFFER: usize = 32;
/// A piece ends at this many entries or bytes; it has at least one entry.
const PIECE_ENTRIES: usize = 64;
const PIECE_BYTES: usize = 64 * 1024;

/// Entries that go to the wire together.
#[derive(Default)]
pub(super) struct Piece {
    entries: Vec<Arc<SealedEntry>>,
    bytes: usize,
}

impl Piece {
    /// The first of some entries.
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

    /// The version that a peer has reached with it.
    pub(super) fn last(&self) -> Option<Version> {
        self.entries.last().map(|sealed| sealed.entry().version)
    }

    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn entries(&self) -> &[Arc<SealedEntry>] {
        &self.entries
    }

    pub(super) fn encoded(&self) -> Vec<Bytes> {
        self.entries.iter().map(|sealed| sealed.encoded().clone()).collect()
    }
}

/// A call of a peer that has a session.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) peer: PeerId,
    pub(super) session: SessionId,
    pub(super) end: SessionEnd,
    /// Keeps the connection in use, also when the session's next call comes on another one.
    pub(super) connection: Hold,
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
        Ok(Caller {
            peer: peer.clone(),
            session: session.id.clone(),
            end: session.end.clone(),
            connection: connection.hold(),
        })
    }
}

/// The final status of a stream whose session has ended; OK when the peer itself left.
pub(super) fn ended(reason: EndReason) -> Status {
    match reason {
        EndReason::Disconnected => Status::ok("the peer left"),
        EndReason::TimedOut => Status::not_found("the session is over: its heartbeats stopped"),
        EndReason::Replaced => Status::not_found("the session was replaced by a newer one of the same peer"),
        EndReason::Draining => Status::unavailable("this central node is draining; use the next one"),
    }
}

/// The final status of a stream whose peer does not read.
pub(super) fn too_slow(timeout: Duration) -> Status {
    let message =
        format!("the peer took nothing for {} s; pull, then open the stream again", timeout.as_secs());
    validate::refused(Code::ResourceExhausted, message, Duration::from_secs(1))
}
