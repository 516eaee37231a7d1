//! A central node whose register contradicts what is held: it is told everywhere, and nothing of it is taken.

use sorcha_register::{names::Version, succession::Contradiction};

use crate::{
    PeerNode,
    status::{CentralNodeState, Refused},
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
    node.status.send_modify(|status| {
        status.push_transition(refused.at, refused.to_string());
        if let Some(info) = status.central_node(central) {
            info.state = CentralNodeState::Failed;
            info.consecutive_failures += 1;
            info.last_error = Some(contradiction.to_string());
        }
        status.refuse(refused);
    });
}

/// Notes that a central node's register is a true continuation of what is held.
pub(super) fn settle(node: &PeerNode, central: &str) {
    if node.status.borrow().refused.is_none() {
        return;
    }
    let now = node.env.clock.now();
    node.status.send_modify(|status| {
        if status.settle(central, now) {
            tracing::info!(central_node_id = central, "the central node's register continues this replica");
            status.push_transition(now, format!("the register of {central} continues this replica"));
        }
    });
}
