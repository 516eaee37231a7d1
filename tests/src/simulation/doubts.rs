//! What a peer says of a central node that contradicts its replica.

use sorcha_peer::{PeerNode, status::PeerStatus};
use sorcha_register::clock::Timestamp;

use super::{
    client::health,
    history::{History, What},
    net::{Host, Net},
};

/// Records whenever a peer begins to doubt a central node, or stops, with what its health is then.
pub(super) async fn watch(peer: u8, node: &PeerNode, net: &Net, history: &History) {
    let (mut states, mut last) = (node.subscribe(), None);
    loop {
        let doubt = doubt(&states.borrow_and_update(), node);
        if doubt != last {
            let health = match &doubt {
                Some(_) => health::of(net, Host::Peer(peer)).await,
                None => None,
            };
            let what = doubt.as_ref().map(|(what, _)| what.clone());
            history.record(What::Doubts { peer, what, health });
            last = doubt;
        }
        if states.changed().await.is_err() {
            return;
        }
    }
}

/// Its words, and when it found the reason for them.
fn doubt(status: &PeerStatus, node: &PeerNode) -> Option<(String, Timestamp)> {
    let refused = status.refused.as_ref().map(|refused| (refused.to_string(), refused.at));
    // What it is ahead by changes all the time.
    let ahead = status.ahead_by(node.replica.head()).map(|_| {
        let central = status.central_node_id.as_deref().unwrap_or_default();
        format!("this replica is ahead of {central}")
    });
    match (refused, ahead) {
        (Some((refused, at)), Some(ahead)) => Some((format!("{refused}; {ahead}"), at)),
        (refused, ahead) => refused.or_else(|| Some((ahead?, Timestamp::default()))),
    }
}
