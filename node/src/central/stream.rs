//! What every stream of a session has in common: whose it is, how much it holds, and how it ends.

use std::time::Duration;

use sorcha_proto::EncodedEntry;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::{
    CentralNode,
    incoming::Connection,
    no_session,
    session::{EndReason, SessionEnd, SessionId},
    validate,
};
use crate::register::names::PeerId;

/// Entries in the hands of a stream before its peer has taken them.
pub(super) const STREAM_BUFFER: usize = 32;

/// A stream of encoded entries.
pub(super) type EntryStream = ReceiverStream<Result<EncodedEntry, Status>>;

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
        let mut sessions = self.sessions();
        let session = sessions
            .find(peer, session_id, connection)
            .map_err(|reason| no_session(reason, peer, session_id))?;
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
