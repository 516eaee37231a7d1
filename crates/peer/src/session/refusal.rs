//! A central node whose register contradicts what is held: it is told everywhere, and nothing of it is taken.

use sorcha_register::{names::Version, succession::Contradiction};

use crate::{
    PeerNode,
    status::{Refused, StatusEvent},
};

/// Notes and tells a refusal.
pub(super) fn tell(node: &PeerNode, central: &str, contradiction: &Contradiction) {
    tracing::error!(
        central_node_id = central,
        reason = contradiction.label(),
        version = contradiction.version().map(Version::get),
        blueprint_id = contradiction.blueprint_id().map(tracing::field::display),
        "integrity fault: the central node's register contradicts this replica; nothing of it is taken: {contradiction}"
    );
    node.env.metrics.register_refused(contradiction.label());
    let refused = Refused {
        central_node_id: central.to_owned(),
        at: node.env.clock.now(),
        contradiction: contradiction.clone(),
    };
    node.note(StatusEvent::Refused(refused));
}

/// Notes that a central node's register is a true continuation of what is held.
pub(super) fn settle(node: &PeerNode, central: &str) {
    if node.status.borrow().refused.is_none() {
        return;
    }
    if node.status.borrow().refuses(central) {
        tracing::info!(central_node_id = central, "the central node's register continues this replica");
    }
    node.note(StatusEvent::Continues { central: central.to_owned(), at: node.env.clock.now() });
}
