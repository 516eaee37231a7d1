//! Where a gap would come from.

use super::*;

/// The same walk over a controller that does not wait must fail: the check can.
#[test]
fn without_waiting_they_would_not() {
    let now: Timestamp = "2026-11-25T10:00:00Z".parse().expect("a time");
    let first = Authority::first(
        issue::authority(NETWORK, POLICY.ca_lifetime, now).expect("an authority"),
        BTreeSet::new(),
    );
    let leaf = |name: &str, authority: &Authority, signer| {
        let wanted = World::wanted(name);
        let pair = issue::leaf(name, &wanted.names, NETWORK, signer, POLICY.lifetime, now).expect("a leaf");
        Leaf { pair, trust: wanted.trust(authority), token: None, written: Some(now) }
    };
    let newest = issue::authority(NETWORK, POLICY.ca_lifetime, now).expect("an authority");
    let both = first.distributing(newest, &BTreeSet::new());
    let (old, hasty) = (leaf("a", &first, &first.newest), leaf("b", &both, &both.newest));
    assert!(handshake("b", &hasty, &old, now).is_err(), "a does not know the new authority yet");
    let patient = leaf("b", &both, &both.signer(now));
    assert_eq!(handshake("b", &patient, &old, now), Ok(()));
}

/// A lost authority can't be followed without a gap for whoever joins in that time; for all others it is.
#[test]
fn a_lost_authority_is_followed_without_a_gap() {
    let mut world = World::new(1);
    for name in ["a", "b", "c"] {
        world.resources.insert(name.to_owned(), Resource::default());
    }
    let names = ["a", "b", "c"].map(str::to_owned);
    for round in 0..200 {
        if round == 20 {
            world.authority = None;
        }
        for name in &names {
            world.reconcile(name);
        }
        world.check(1);
        world.now = later(world.now, Duration::from_secs(7));
    }
    assert!(world.seen.contains_key("signs") && world.seen.contains_key("alone"), "{:?}", world.seen);
}
