//! Configured central nodes, as a peer knows them.

use serde::Serialize;
use sorcha_config::CentralNodeAddress;
use sorcha_register::clock::Timestamp;

use super::{DialEvent, PeerStatus};

/// How a configured central node stands, as this peer knows it (protocol section 6.11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum CentralNodeState {
    /// Not tried, or left.
    #[default]
    Disconnected,
    /// Being tried.
    Connecting,
    /// In use.
    Connected,
    /// The last try or connection failed.
    Failed,
    /// In use, with a heartbeat missed.
    HeartbeatTimeout,
}

/// A configured central node (protocol section 7).
#[derive(Clone, Debug)]
pub struct CentralNodeInfo {
    /// Its address, identity and priority.
    pub address: CentralNodeAddress,
    /// How it stands.
    pub state: CentralNodeState,
    /// Newest try.
    pub last_attempt: Option<Timestamp>,
    /// Newest success.
    pub last_success: Option<Timestamp>,
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// Why the newest try failed.
    pub last_error: Option<String>,
}

impl CentralNodeInfo {
    /// One that was never tried.
    #[must_use]
    pub const fn new(address: CentralNodeAddress) -> Self {
        Self {
            address,
            state: CentralNodeState::Disconnected,
            last_attempt: None,
            last_success: None,
            consecutive_failures: 0,
            last_error: None,
        }
    }

    /// The one in use; at most one is.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        matches!(self.state, CentralNodeState::Connected | CentralNodeState::HeartbeatTimeout)
    }

    pub(super) fn fail(&mut self, why: String) {
        self.state = CentralNodeState::Failed;
        self.consecutive_failures += 1;
        self.last_error = Some(why);
    }
}

impl PeerStatus {
    /// The configured central node of this id.
    pub(super) fn central_node(&mut self, id: &str) -> Option<&mut CentralNodeInfo> {
        self.central_nodes.iter_mut().find(|central| central.address.id() == id)
    }

    pub(super) fn on_dial(&mut self, central: &str, event: DialEvent) {
        match event {
            DialEvent::Succeeded(_, version) => self.central_version = version,
            DialEvent::Opened => self.configuration_fault = None,
            DialEvent::Began(_) | DialEvent::Failed(_) => {}
        }
        let Some(info) = self.central_node(central) else { return };
        match event {
            DialEvent::Began(at) => {
                (info.state, info.last_attempt) = (CentralNodeState::Connecting, Some(at))
            }
            DialEvent::Succeeded(at, _) => {
                (info.last_success, info.consecutive_failures, info.last_error) = (Some(at), 0, None);
            }
            DialEvent::Failed(why) => info.fail(why),
            DialEvent::Opened => info.state = CentralNodeState::Connected,
        }
    }

    /// Central nodes of which something is so are neither tried nor in use any more.
    pub(super) fn disconnect(&mut self, is_left: impl Fn(&CentralNodeInfo) -> bool) {
        for info in self.central_nodes.iter_mut().filter(|info| is_left(info)) {
            info.state = CentralNodeState::Disconnected;
        }
    }

    /// What is known of a central node is kept while its address stays.
    pub(super) fn relist(&mut self, addresses: Vec<CentralNodeAddress>) {
        let before = std::mem::take(&mut self.central_nodes);
        self.forget_refusals(|refused| addresses.iter().all(|a| a.id() != refused.central_node_id));
        let known =
            |address: &CentralNodeAddress| before.iter().find(|info| info.address == *address).cloned();
        let info = |address| known(&address).unwrap_or_else(|| CentralNodeInfo::new(address));
        self.central_nodes = addresses.into_iter().map(info).collect();
    }
}
