//! What every stream of a session has in common: whose it is, how much it holds, and how it ends.

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

/// Messages in the hands of a stream before its peer has taken them.
pub(super) const STREAM_BUFFER: usize = 32;
/// A piece has at least one entry, and no more once it has this many or so many bytes.
const PIECE_ENTRIES: usize = 64;
const PIECE_BYTES: usize = 64 * 1024;

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

    pub(super) fn entries(&self) -> &[Arc<SealedEntry>] {
        &self.entries
    }

    /// As it goes to the wire.
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
    /// What is done for the session uses the connection, also when the session's next call comes on another one.
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
