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
        central.is_central_node() && !central.speaks_for(&peer("n0-0")) && !central.speaks_for(&peer("n0"))
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
    fn what_is_written_is_read_again(
        network in "[a-z0-9]{1,9}(\\.[a-z0-9]{1,9}){0,2}", namespace in "[a-z0-9]([a-z0-9-]{0,9}[a-z0-9])?",
        name in "([a-z0-9]([a-z0-9-]{0,9}[a-z0-9])?|[a-zA-Z0-9_%/.-]{0,12})"
    ) {
        for kind in Kind::ALL {
            let uri = format!("{SCHEME}{network}/ns/{namespace}/{}/{name}", kind.as_str());
            let written = Identity::new(&network, &namespace, kind, &name);
            prop_assert_eq!(&written, &Identity::parse(&uri));
            if let Ok(written) = written {
                prop_assert_eq!(written.to_string(), uri);
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
