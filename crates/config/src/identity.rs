//! Identity of a node: id, host name, and whether they fit its role (ADR 35).

use sorcha_register::{
    limits,
    names::{PeerId, check_length},
};

use super::{Config, ConfigError, HostnamePattern, Role};

impl Config {
    /// Fills in what follows from other settings: the id from the machine's name, the host name from the id.
    #[must_use]
    pub fn with_identity(mut self, machine: &str) -> Self {
        if self.node.id.is_empty() {
            self.node.id =
                if self.node.hostname.is_empty() { machine.to_owned() } else { self.node.hostname.clone() };
        }
        if self.node.hostname.is_empty() {
            self.node.hostname.clone_from(&self.node.id);
        }
        self
    }

    /// Gives a peer that was not given an id the first label of its host name, where the whole name can be no peer's id. Machines
    /// may have their domain in their name.
    #[must_use]
    pub fn with_peer_identity(self, machine: &str) -> Self {
        let is_given = !self.node.id.is_empty();
        let mut named = self.with_identity(machine);
        let label = named.node.id.split('.').next().unwrap_or_default();
        if !is_given && PeerId::new(&named.node.id).is_err() && PeerId::new(label).is_ok() {
            named.node.id = label.to_owned();
        }
        named
    }

    /// The pattern that central nodes' host names match.
    #[must_use]
    pub fn hostname_pattern(&self) -> HostnamePattern {
        let default = || format!("*.{}", self.node.network);
        HostnamePattern::new(self.node.hostname_pattern.clone().unwrap_or_else(default))
    }

    pub(super) fn validate_identity(&self, role: Role) -> Result<(), ConfigError> {
        check_length("node.hostname", &self.node.hostname, limits::HOSTNAME_CHARS)
            .map_err(|e| ConfigError::field("node.hostname", &e))?;
        self.validate_id(role)?;
        if self.node.validate_hostname { self.validate_hostname(role) } else { Ok(()) }
    }

    fn validate_id(&self, role: Role) -> Result<(), ConfigError> {
        let id = &self.node.id;
        let refuse = |problem| Err(ConfigError::Invalid { setting: "node.id", problem });
        match role {
            Role::Peer => PeerId::new(id)
                .map(drop)
                .or_else(|error| refuse(format!("{error}; name this peer with node.id or --node-id"))),
            Role::Central if id.is_empty() => refuse("is empty; name this central node".into()),
            Role::Central => check_length("node.id", id, limits::NODE_ID_CHARS)
                .map_err(|e| ConfigError::field("node.id", &e)),
        }
    }

    /// Central nodes match the pattern, peers do not.
    fn validate_hostname(&self, role: Role) -> Result<(), ConfigError> {
        let (pattern, hostname) = (self.hostname_pattern(), &self.node.hostname);
        let problem = match (role, pattern.matches(hostname)) {
            (Role::Central, false) => format!(
                "this node is to be a central node, but its host name {hostname:?} does not match {pattern}; set node.hostname, or \
                 node.hostname_pattern, or node.validate_hostname = false, or start it as a peer"
            ),
            (Role::Peer, true) => format!(
                "this node is to be a peer, but its host name {hostname:?} matches {pattern}, the central nodes' pattern; set \
                 node.hostname, or node.hostname_pattern, or node.validate_hostname = false, or start it as a central node"
            ),
            _ => return Ok(()),
        };
        Err(ConfigError::Invalid { setting: "node.hostname", problem })
    }

    pub(super) fn validate_central_nodes(&self) -> Result<(), ConfigError> {
        let mut seen = std::collections::BTreeSet::new();
        for central in &self.central_nodes {
            central.validate()?;
            self.tls.check_ca_of(central)?;
            if central.id() == self.node.id || central.host == self.node.hostname {
                let problem =
                    format!("{} is this node itself; a node does not replicate from itself", central.id());
                return Err(ConfigError::Invalid { setting: "central_nodes", problem });
            }
            if !seen.insert(central.id()) {
                let problem = format!("{} is listed twice", central.id());
                return Err(ConfigError::Invalid { setting: "central_nodes", problem });
            }
        }
        Ok(())
    }
}
