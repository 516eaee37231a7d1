//! The names that certificates are made for: an identity, and the hosts under which it is dialled; pure.

use std::net::IpAddr;

use rustls::pki_types::DnsName;
use sorcha_identity::{Identity, InvalidIdentity, Kind};

use super::x509::Names;
use crate::names;

/// Identity of the peers of a `SorchaPeer`: its pods may call themselves `<name>-<ordinal>`.
#[must_use]
pub(crate) fn peers(network: &str, namespace: &str, name: &str) -> Names {
    of_resource(Identity::new(network, namespace, Kind::SorchaPeer, name))
}

/// Identity of a central node, with all hosts under which peers dial it. What is neither a host name nor an address is left
/// out.
#[must_use]
pub fn central(network: &str, namespace: &str, name: &str, hosts: &[String]) -> Names {
    let mut names = of_resource(Identity::new(network, namespace, Kind::CentralNode, name));
    for host in hosts {
        match host.parse::<IpAddr>() {
            Ok(address) => {
                names.ips.insert(address);
            }
            Err(_) if DnsName::try_from(host.as_str()).is_ok() => {
                names.dns.insert(host.to_ascii_lowercase());
            }
            Err(_) => {}
        }
    }
    names
}

/// Names of a central node inside its cluster: its Service and its pod, each as far as DNS searches.
#[must_use]
pub(crate) fn cluster_hosts(name: &str, namespace: &str) -> Vec<String> {
    let pod = format!("{}.{}", names::pod(name, 0), names::headless(name));
    let mut hosts = Vec::new();
    for base in [name.to_owned(), pod] {
        let within = format!("{base}.{namespace}");
        hosts.extend([base, within.clone(), format!("{within}.svc"), format!("{within}.svc.cluster.local")]);
    }
    hosts
}

/// An identity and no host.
pub(super) fn of(identity: &Identity) -> Names {
    Names { uris: [identity.to_string()].into(), ..Names::default() }
}

/// What the rules of its definition allow has an identity.
fn of_resource(identity: Result<Identity, InvalidIdentity>) -> Names {
    identity.map(|identity| of(&identity)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_central_node_has_every_name_that_peers_dial() {
        let mut hosts = cluster_hosts("n0", "shop");
        hosts.extend(["N0.Sorcha.dev", "192.0.2.7", "2001:db8::7", "a..b"].map(str::to_owned));
        let names = central("sorcha.dev", "shop", "n0", &hosts);
        assert_eq!(names.uris, ["spiffe://sorcha.dev/ns/shop/sorchacentralnode/n0".to_owned()].into());
        for host in ["n0.shop.svc", "n0-0.n0-headless.shop.svc", "n0", "n0.sorcha.dev"] {
            assert!(names.dns.contains(host), "{host} is missing in {names:?}");
        }
        assert_eq!(names.ips.len(), 2);
        assert!(!names.dns.contains("a..b"), "no host name");
    }
}
