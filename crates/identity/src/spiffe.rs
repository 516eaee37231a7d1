//! `spiffe://<network>/ns/<namespace>/<kind>/<name>`, written and parsed.

use std::fmt;

use sorcha_register::{limits, names::PeerId};

const SCHEME: &str = "spiffe://";
/// Longest label of a DNS name, and so of a namespace or resource.
const LABEL_CHARS: usize = 63;

/// An identity of a network: `spiffe://<network>/ns/<namespace>/<kind>/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    network: String,
    namespace: String,
    kind: Kind,
    name: String,
}

/// What an identity is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A SorchaPeer resource: its pods call themselves `<name>-<ordinal>`.
    SorchaPeer,
    /// One peer outside Kubernetes, which calls itself exactly as its identity.
    Peer,
    /// A central node.
    CentralNode,
}

/// Why a text is no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{uri:?} {problem}; an identity is {SCHEME}<network>/ns/<namespace>/sorchapeer/<name>, …/peer/<peer_id> or \
     …/sorchacentralnode/<name>"
)]
pub struct InvalidIdentity {
    uri: String,
    problem: &'static str,
}

impl Kind {
    const ALL: [Self; 3] = [Self::SorchaPeer, Self::Peer, Self::CentralNode];

    const fn as_str(self) -> &'static str {
        match self {
            Self::SorchaPeer => "sorchapeer",
            Self::Peer => "peer",
            Self::CentralNode => "sorchacentralnode",
        }
    }
}

impl Identity {
    /// The identity that a certificate is made for. What is written is what is read: there is one set of rules.
    ///
    /// # Errors
    /// [`InvalidIdentity`] saying which part is wrong.
    pub fn new(network: &str, namespace: &str, kind: Kind, name: &str) -> Result<Self, InvalidIdentity> {
        Self::parse(&format!("{SCHEME}{network}/ns/{namespace}/{}/{name}", kind.as_str()))
    }

    /// Reads a URI; nothing in it is decoded or normalised, so that two identities are equal exactly if their URIs are.
    ///
    /// # Errors
    /// [`InvalidIdentity`] saying which part is wrong.
    pub fn parse(uri: &str) -> Result<Self, InvalidIdentity> {
        let shown = || uri.chars().take(limits::HOSTNAME_CHARS).collect();
        Self::read(uri).map_err(|problem| InvalidIdentity { uri: shown(), problem })
    }

    fn read(uri: &str) -> Result<Self, &'static str> {
        let rest = uri.strip_prefix(SCHEME).ok_or("is no SPIFFE URI")?;
        let [network, "ns", namespace, kind, name] = rest.split('/').collect::<Vec<_>>()[..] else {
            return Err("has other parts");
        };
        if !is_dns_name(network) {
            return Err("has a network that is no DNS name");
        }
        if !is_label(namespace) {
            return Err("has a namespace that is no DNS label");
        }
        let known = Kind::ALL.into_iter().find(|known| known.as_str() == kind);
        let kind = known.ok_or("is of another kind")?;
        match kind {
            Kind::Peer if PeerId::new(name).is_err() => return Err("has a name that is no peer_id"),
            Kind::SorchaPeer | Kind::CentralNode if !is_label(name) => {
                return Err("has a name that is no DNS label");
            }
            _ => {}
        }
        Ok(Self { network: network.to_owned(), namespace: namespace.to_owned(), kind, name: name.to_owned() })
    }

    /// The network it belongs to.
    #[must_use]
    pub fn network(&self) -> &str {
        &self.network
    }

    /// The namespace it belongs to.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether it is a central node's.
    #[must_use]
    pub fn is_central_node(&self) -> bool {
        self.kind == Kind::CentralNode
    }

    /// Whether it may speak for a peer: that of a SorchaPeer for `<name>-<ordinal>`, that of a peer for this one alone.
    #[must_use]
    pub fn speaks_for(&self, peer: &PeerId) -> bool {
        let rest = peer.as_str().strip_prefix(self.name.as_str());
        match self.kind {
            Kind::SorchaPeer => rest.and_then(|rest| rest.strip_prefix('-')).is_some_and(is_ordinal),
            Kind::Peer => rest == Some(""),
            Kind::CentralNode => false,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, namespace, kind, name } = self;
        write!(f, "{SCHEME}{network}/ns/{namespace}/{}/{name}", kind.as_str())
    }
}

/// A number as a StatefulSet writes it: no sign, no leading zero.
fn is_ordinal(text: &str) -> bool {
    text.parse::<u32>().is_ok_and(|number| number.to_string() == text)
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=LABEL_CHARS).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_dns_name(text: &str) -> bool {
    text.len() <= limits::HOSTNAME_CHARS && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests;
