//! Who a certificate speaks for: a SPIFFE URI among its subject alternative names (ADR 38). Pure.

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
    subject: Subject,
}

/// What an identity is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    /// A SorchaPeer resource: all of its pods.
    SorchaPeer(String),
    /// One peer outside Kubernetes.
    Peer(PeerId),
    /// A SorchaCentralNode resource.
    CentralNode(String),
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

impl Identity {
    /// Reads a URI; nothing in it is decoded or normalised, so that two identities are equal exactly if their URIs are.
    ///
    /// # Errors
    /// [`InvalidIdentity`] saying which part is wrong.
    pub fn parse(uri: &str) -> Result<Self, InvalidIdentity> {
        let refuse =
            |problem| InvalidIdentity { uri: uri.chars().take(limits::HOSTNAME_CHARS).collect(), problem };
        let rest = uri.strip_prefix(SCHEME).ok_or_else(|| refuse("is no SPIFFE URI"))?;
        let [network, "ns", namespace, kind, name] = rest.split('/').collect::<Vec<_>>()[..] else {
            return Err(refuse("has other parts"));
        };
        if !is_dns_name(network) {
            return Err(refuse("has a network that is no DNS name"));
        }
        if !is_label(namespace) {
            return Err(refuse("has a namespace that is no DNS label"));
        }
        let resource = || {
            if is_label(name) { Ok(name.to_owned()) } else { Err(refuse("has a name that is no DNS label")) }
        };
        let subject = match kind {
            "sorchapeer" => Subject::SorchaPeer(resource()?),
            "sorchacentralnode" => Subject::CentralNode(resource()?),
            "peer" => Subject::Peer(PeerId::new(name).map_err(|_| refuse("has a name that is no peer_id"))?),
            _ => return Err(refuse("is of another kind")),
        };
        Ok(Self { network: network.to_owned(), namespace: namespace.to_owned(), subject })
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
    pub const fn is_central_node(&self) -> bool {
        matches!(self.subject, Subject::CentralNode(_))
    }

    /// Whether it may speak for a peer: that of a SorchaPeer for `<name>-<ordinal>`, that of a peer for this one alone.
    #[must_use]
    pub fn speaks_for(&self, peer: &PeerId) -> bool {
        match &self.subject {
            Subject::SorchaPeer(name) => peer
                .as_str()
                .strip_prefix(name.as_str())
                .and_then(|rest| rest.strip_prefix('-'))
                .is_some_and(is_ordinal),
            Subject::Peer(id) => id == peer,
            Subject::CentralNode(_) => false,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match &self.subject {
            Subject::SorchaPeer(name) => ("sorchapeer", name.as_str()),
            Subject::Peer(id) => ("peer", id.as_str()),
            Subject::CentralNode(name) => ("sorchacentralnode", name.as_str()),
        };
        write!(f, "{SCHEME}{}/ns/{}/{kind}/{name}", self.network, self.namespace)
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn identity(rest: &str) -> Identity {
        Identity::parse(&format!("spiffe://sorcha.dev/ns/shop/{rest}")).unwrap()
    }

    fn peer(id: &str) -> PeerId {
        PeerId::new(id).unwrap()
    }

    #[test]
    fn a_resource_speaks_for_its_pods_alone() {
        let edge = identity("sorchapeer/edge");
        for id in ["edge-0", "edge-7", "edge-4294967295"] {
            assert!(edge.speaks_for(&peer(id)), "{id}");
        }
        for id in [
            "edge",
            "edge-",
            "edge-00",
            "edge-x",
            "edge-1-0",
            "edge1-0",
            "Edge-0",
            "n0",
            "edge-4294967296",
            "edge--1",
        ] {
            assert!(!edge.speaks_for(&peer(id)), "{id}");
        }
        assert!(identity("sorchapeer/edge-1").speaks_for(&peer("edge-1-0")));
    }

    #[test]
    fn a_peer_outside_speaks_for_itself_and_a_central_node_for_no_peer() {
        let outside = identity("peer/Lab_7");
        assert!(outside.speaks_for(&peer("Lab_7")));
        assert!(!outside.speaks_for(&peer("Lab_7-0")) && !outside.speaks_for(&peer("lab_7")));
        let central = identity("sorchacentralnode/n0");
        assert!(
            central.is_central_node()
                && !central.speaks_for(&peer("n0-0"))
                && !central.speaks_for(&peer("n0"))
        );
    }

    #[test]
    fn what_is_no_identity_is_refused_with_the_reason() {
        for (uri, why) in [
            ("", "no SPIFFE URI"),
            ("https://sorcha.dev/ns/shop/peer/a", "no SPIFFE URI"),
            ("SPIFFE://sorcha.dev/ns/shop/peer/a", "no SPIFFE URI"),
            ("spiffe://sorcha.dev", "other parts"),
            ("spiffe://sorcha.dev/ns/shop/peer", "other parts"),
            ("spiffe://sorcha.dev/ns/shop/peer/a/", "other parts"),
            ("spiffe://sorcha.dev/sa/shop/peer/a", "other parts"),
            ("spiffe:///ns/shop/peer/a", "network"),
            ("spiffe://Sorcha.dev/ns/shop/peer/a", "network"),
            ("spiffe://sorcha.dev:443/ns/shop/peer/a", "network"),
            ("spiffe://u@sorcha.dev/ns/shop/peer/a", "network"),
            ("spiffe://sorcha.dev/ns//peer/a", "namespace"),
            ("spiffe://sorcha.dev/ns/Shop/peer/a", "namespace"),
            ("spiffe://sorcha.dev/ns/shop/sorchapeer/", "no DNS label"),
            ("spiffe://sorcha.dev/ns/shop/sorchapeer/ed%67e", "no DNS label"),
            ("spiffe://sorcha.dev/ns/shop/peer/a?b", "no peer_id"),
            ("spiffe://sorcha.dev/ns/shop/peer/", "no peer_id"),
            ("spiffe://sorcha.dev/ns/shop/Peer/a", "another kind"),
        ] {
            let error = Identity::parse(uri).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("sorchapeer/<name>"), "{uri}: {error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_is_refused_or_comes_back_unchanged(
            text in ".{0,80}", network in "[a-zA-Z0-9.-]{0,9}", namespace in "[a-z0-9-]{0,5}",
            kind in "(sorchapeer|peer|sorchacentralnode|pod)", name in "[a-zA-Z0-9_%/-]{0,12}"
        ) {
            for uri in [format!("{SCHEME}{network}/ns/{namespace}/{kind}/{name}"), format!("{SCHEME}{text}"), text] {
                match Identity::parse(&uri) {
                    Ok(identity) => prop_assert_eq!(identity.to_string(), uri),
                    Err(error) => prop_assert!(!error.to_string().is_empty()),
                }
            }
        }

        #[test]
        fn a_resource_speaks_for_an_id_only_if_it_is_its_name_and_an_ordinal(
            name in "[a-z]([a-z0-9-]{0,5}[a-z0-9])?", id in "[a-z0-9-]{1,10}", ordinal in any::<u32>()
        ) {
            let edge = identity(&format!("sorchapeer/{name}"));
            let own = format!("{name}-{ordinal}");
            prop_assert!(edge.speaks_for(&peer(&own)));
            if edge.speaks_for(&peer(&id)) {
                let ordinal: u32 = id[name.len() + 1..].parse().unwrap();
                prop_assert_eq!(format!("{}-{}", name, ordinal), id);
            }
        }
    }
}
