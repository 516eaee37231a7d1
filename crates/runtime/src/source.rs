//! Where callers come from, as far as limits tell them apart.

use std::{
    fmt::Display,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

/// An address without its port. Who has one address of version 6 has a network of them, which counts as one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// An address, of version 6 its network of 64 bits.
    Address(IpAddr),
    /// What is no address, such as a host of a simulation.
    Other(String),
}

impl Source {
    /// Of an address with a port.
    #[must_use]
    pub fn of(remote: &impl Display) -> Self {
        let text = remote.to_string();
        match text.parse::<SocketAddr>().map(|address| address.ip().to_canonical()) {
            Ok(IpAddr::V6(address)) => {
                Self::Address(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into())
            }
            Ok(address) => Self::Address(address),
            Err(_) => Self::Other(text.rsplit_once(':').map_or(text.clone(), |(host, _)| host.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_version_6_is_one_source() {
        assert_eq!(Source::of(&"[2001:db8::1]:80"), Source::of(&"[2001:db8::ffff:1]:81"));
        assert_ne!(Source::of(&"[2001:db8::1]:80"), Source::of(&"[2001:db8:0:1::1]:80"));
        assert_eq!(Source::of(&"[::ffff:10.0.0.1]:80"), Source::of(&"10.0.0.1:81"));
        assert_eq!(Source::of(&"host-1:80"), Source::of(&"host-1:81"));
    }
}
