mod conversations;
mod decisions;
mod secrets;
mod walk;

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Policy,
    authority::Authority,
    identity, issue,
    leaf::{Leaf, WantedLeaf},
    x509::Names,
};

const DAY: u64 = 86_400;
const NETWORK: &str = "sorcha.dev";

const POLICY: Policy = Policy {
    ca_lifetime: Duration::from_secs(365 * DAY),
    lifetime: Duration::from_secs(30 * DAY),
    settle: Duration::from_secs(300),
};

fn at(seconds: u64) -> Timestamp {
    super::later("2026-11-25T10:00:00Z".parse().expect("a time"), Duration::from_secs(seconds))
}

fn names(name: &str) -> Names {
    identity::peers(NETWORK, "shop", name)
}

fn wanted(name: &str) -> WantedLeaf {
    WantedLeaf { names: names(name), token: None, further: Vec::new() }
}

fn authority(now: Timestamp) -> Authority {
    let pair = issue::authority(NETWORK, POLICY.ca_lifetime, now).expect("an authority");
    Authority::first(pair, std::collections::BTreeSet::new())
}

fn leaf(name: &str, authority: &Authority, now: Timestamp) -> Leaf {
    let pair = issue::leaf(name, &names(name), NETWORK, &authority.signer(now), POLICY.lifetime, now)
        .expect("a leaf");
    Leaf { pair, trust: wanted(name).trust(authority), token: None, written: Some(now) }
}
