//! Limits of concurrent streams, for each peer and each certificate. A stream keeps its place until its last byte is written to
//! the connection, so that a caller that reads nothing cannot open more and more of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sorcha_identity::Identity;
use sorcha_register::names::PeerId;
use tonic::{Code, Status};

use super::{CentralNode, counts::Counts, incoming::Connection, validate};

/// Streams of one peer at once. It needs a push stream and a pull, and one more of each while it replaces them.
const OF_A_PEER: usize = 8;
/// Streams of one certificate at once, for each session that it may have: a push stream, a pull, and one that is being replaced.
const OF_A_SESSION: usize = 3;

/// All streams of a central node.
#[derive(Debug)]
pub(super) struct Streams {
    /// Of one certificate.
    most: usize,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    peers: Counts<PeerId>,
    identities: Counts<Identity>,
}

/// The place of one stream; free again when it is dropped.
#[derive(Debug)]
pub(super) struct StreamPlace {
    open: Arc<Mutex<Open>>,
    peer: PeerId,
    identity: Option<Identity>,
}

impl Streams {
    /// None yet; `identity_sessions`: sessions that one certificate may have.
    pub(super) fn new(identity_sessions: usize) -> Self {
        Self { most: identity_sessions.saturating_mul(OF_A_SESSION), open: Arc::default() }
    }

    /// A place for a stream, if there is one.
    fn take(&self, peer: &PeerId, identity: Option<&Identity>) -> Option<StreamPlace> {
        let mut open = lock(&self.open);
        let of_identity = identity.map_or(0, |identity| open.identities.get(identity));
        if open.peers.get(peer) >= OF_A_PEER || of_identity >= self.most {
            return None;
        }
        open.peers.add(peer);
        if let Some(identity) = identity {
            open.identities.add(identity);
        }
        Some(StreamPlace { open: Arc::clone(&self.open), peer: peer.clone(), identity: identity.cloned() })
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.peers.remove(&self.peer);
        if let Some(identity) = &self.identity {
            open.identities.remove(identity);
        }
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CentralNode {
    /// A place for a stream of a peer.
    pub(super) fn stream_place(&self, peer: &PeerId, connection: &Connection) -> Result<StreamPlace, Status> {
        self.streams.take(peer, connection.identity()).ok_or_else(|| {
            self.env.metrics.refused("streams");
            let message = format!(
                "{peer} has {OF_A_PEER} streams open already, or its certificate {} (limits.identity_sessions)",
                self.streams.most
            );
            validate::refused(Code::ResourceExhausted, message, self.config.limits.full_sync_wait)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_and_a_certificate_have_so_many_streams_at_once() {
        let streams = Streams::new(4);
        let peer = |name: &str| PeerId::new(name).unwrap();
        let identity =
            |name: &str| Identity::parse(&format!("spiffe://sorcha.dev/ns/shop/sorchapeer/{name}")).unwrap();
        let edge = identity("edge");
        let mut places: Vec<_> =
            (0..OF_A_PEER).map(|_| streams.take(&peer("edge-0"), Some(&edge)).unwrap()).collect();
        assert!(streams.take(&peer("edge-0"), Some(&edge)).is_none(), "the peer has its share");
        places.extend((0..4).map(|_| streams.take(&peer("edge-1"), Some(&edge)).unwrap()));
        assert!(streams.take(&peer("edge-2"), Some(&edge)).is_none(), "its certificate has its share");
        assert!(streams.take(&peer("other-0"), Some(&identity("other"))).is_some());
        assert!(streams.take(&peer("plain"), None).is_some(), "without certificates peers have their own");
        drop(places);
        assert!(streams.take(&peer("edge-0"), Some(&edge)).is_some());
        let open = lock(&streams.open);
        assert!(open.peers.is_empty() && open.identities.is_empty(), "{open:?}");
    }
}
