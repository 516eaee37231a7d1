//! Streams of a session: caller, pieces and final status.

use std::{io, sync::Arc, time::Duration};

use sorcha_register::{
    entry::{Encoded, SealedEntry},
    names::{PeerId, Version},
};
use sorcha_runtime::reading;
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
            piece.bytes += sealed.length();
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

    /// The encoded entries. Small ones are read; a large one is read while it is sent.
    ///
    /// # Errors
    /// DATA_LOSS where the store's file can't be read.
    pub(super) async fn encoded(&self) -> Result<Vec<Encoded>, Status> {
        let mut all = Vec::with_capacity(self.entries.len());
        for sealed in &self.entries {
            let encoded = sealed.encoded();
            all.push(match encoded {
                Encoded::Stored { .. } if encoded.len() <= PIECE_BYTES => {
                    reading::whole(encoded).await.map_err(|error| unreadable(&error))?.into()
                }
                _ => encoded,
            });
        }
        Ok(all)
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

/// The final status of a stream whose entries can't be read.
pub(super) fn unreadable(error: &io::Error) -> Status {
    tracing::error!(%error, "an entry can't be read from the register's file");
    Status::data_loss(format!(
        "this central node can't read an entry of its register: {error}; use another one"
    ))
}

/// The final status of a stream whose peer does not read.
pub(super) fn too_slow(timeout: Duration) -> Status {
    let message =
        format!("the peer took nothing for {} s; pull, then open the stream again", timeout.as_secs());
    validate::refused(Code::ResourceExhausted, message, Duration::from_secs(1))
}
