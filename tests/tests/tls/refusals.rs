//! Certificates that one of the two sides does not take: the peer's status and the next central node.

use std::time::{SystemTime, UNIX_EPOCH};

use sorcha_config::Config;
use sorcha_peer::machine::state::PeerState;
use sorcha_runtime::tls::testing::{Ca, Leaf};
use sorcha_tests::{Central, Peer, eventually, memory, quick};

use super::{CENTRAL, EDGE, Site, addresses};

const HOUR: i64 = 3600;

#[expect(clippy::disallowed_methods, reason = "certificates are good or not by the machine's clock")]
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

fn leaf(uri: &str) -> Leaf {
    Leaf { uris: vec![uri.to_owned()], ..Leaf::default() }
}

/// Why a peer is not let in, as its status says.
async fn refusal(central: &Central, config: Config) -> String {
    let peer = Peer::start(config, memory(), addresses(&[central])).await;
    peer.until_state(PeerState::Isolated).await;
    let status = peer.node.status();
    assert_eq!(central.node.peer_counts().0, 0);
    status.central_nodes[0].last_error.clone().expect("a reason")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_peer_tells_what_is_wrong_with_the_central_nodes_certificate() {
    let site = Site::new();
    let other = Ca::new("other");
    let (expired, early) = ((now() - 2 * HOUR, now() - HOUR), (now() + HOUR, now() + 2 * HOUR));
    let at = |(not_before, not_after)| Leaf { not_before, not_after, ..leaf(CENTRAL) };
    let elsewhere = Leaf { hosts: vec!["n9.sorcha.dev".into(), "192.0.2.1".into()], ..leaf(CENTRAL) };
    let rows = [
        (other.issue(&leaf(CENTRAL)), "not of a CA in tls.ca_file (UnknownIssuer)"),
        (site.ca.issue(&elsewhere), "not valid for name \"127.0.0.1\""),
        (site.ca.issue(&at(expired)), "certificate expired"),
        (site.ca.issue(&at(early)), "not valid yet"),
        (site.pair(EDGE), "sorchapeer/edge, which is no central node"),
        (
            site.pair("spiffe://other.dev/ns/shop/sorchacentralnode/n0"),
            "of network other.dev, not sorcha.dev",
        ),
        (site.pair("spiffe://sorcha.dev/n0"), "is no central node's"),
    ];
    for (pair, told) in rows {
        let central = Central::start(site.config("n0.sorcha.dev", &pair, &[&site.ca]), memory(), 0).await;
        let error = refusal(&central, site.config("edge-0", &site.pair(EDGE), &[&site.ca])).await;
        assert!(error.contains(told), "{told:?} is not in: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_peer_tells_why_the_central_node_refuses_its_certificate() {
    let site = Site::new();
    let central = site.central("n0.sorcha.dev").await;
    let other = Ca::new("other");
    let (expired, early) = ((now() - 2 * HOUR, now() - HOUR), (now() + HOUR, now() + 2 * HOUR));
    let at = |(not_before, not_after)| Leaf { not_before, not_after, ..leaf(EDGE) };
    let rows = [
        (other.issue(&leaf(EDGE)), "refuses this node's certificate: it is not of a CA"),
        (site.ca.issue(&at(expired)), "refuses this node's certificate: it is expired, or not valid yet"),
        (site.ca.issue(&at(early)), "refuses this node's certificate: it is expired, or not valid yet"),
    ];
    // The reason comes after the connection seems to be open: it must not get lost on the way.
    for _ in 0..10 {
        for (pair, told) in &rows {
            let error = refusal(&central, site.config("edge-0", pair, &[&site.ca])).await;
            assert!(error.contains(told), "{told:?} is not in: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_that_are_no_peers_of_this_network_are_refused_by_name() {
    let site = Site::new();
    let central = site.central("n0.sorcha.dev").await;
    let rows = [
        (
            "spiffe://other.dev/ns/shop/sorchapeer/edge",
            "of network other.dev; this central node serves sorcha.dev",
        ),
        ("spiffe://sorcha.dev/ns/shop/sorchapeer/hedge", "may not speak for peer_id edge-0"),
        ("https://sorcha.dev/edge", "has no spiffe:// URI"),
        (CENTRAL, "central nodes don't connect to central nodes"),
    ];
    for (uri, told) in rows {
        let error = refusal(&central, site.config("edge-0", &site.pair(uri), &[&site.ca])).await;
        assert!(error.contains(told), "{told:?} is not in: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_central_node_that_proves_nothing_is_left_for_the_next() {
    let site = Site::new();
    let false_one = Ca::new("other").issue(&leaf(CENTRAL));
    let first = Central::start(site.config("n0.sorcha.dev", &false_one, &[&site.ca]), memory(), 0).await;
    let second = site.central("n1.sorcha.dev").await;
    let peer = site.peer("edge-0", EDGE, &[&first, &second]).await;
    peer.until_connected_to("n1.sorcha.dev").await;
    let error = peer.node.status().central_nodes[0].last_error.clone().unwrap();
    assert!(error.contains("UnknownIssuer"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cas_of_one_central_node_are_believed_of_it_alone() {
    let site = Site::new();
    let elsewhere = Ca::new("elsewhere");
    let start = async |id: &str, ca: &Ca| {
        let pair = ca.issue(&leaf(CENTRAL));
        Central::start(site.config(id, &pair, &[&site.ca]), memory(), 0).await
    };
    let (there, impostor) =
        (start("n0.sorcha.dev", &elsewhere).await, start("n1.sorcha.dev", &elsewhere).await);
    let here = start("n2.sorcha.dev", &site.ca).await;
    let file = site.data.path().join("elsewhere.crt");
    std::fs::write(&file, elsewhere.pem()).unwrap();
    let mut listed = addresses(&[&impostor, &here, &there]);
    // One of the network's own CA that should be of the other's is not believed, either.
    for place in [1, 2] {
        listed[place].ca_file = Some(file.clone());
    }
    let config = site.config("edge-0", &site.pair(EDGE), &[&site.ca]);
    let peer = Peer::start(config, memory(), listed).await;
    peer.until_connected_to("n0.sorcha.dev").await;
    let told = peer.node.status().central_nodes;
    for refused in &told[..2] {
        let error = refused.last_error.as_deref().unwrap_or_default();
        assert!(error.contains("UnknownIssuer"), "{}: {error}", refused.address.id());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_and_tls_tell_each_other_apart() {
    let site = Site::new();
    let plain = || quick("edge-0", site.data.path());
    let central = site.central("n0.sorcha.dev").await;
    let error = refusal(&central, plain()).await;
    assert!(error.contains("speaks TLS; set tls.certificate_file"), "{error}");

    let central = Central::start(quick("n1.sorcha.dev", site.data.path()), memory(), 0).await;
    let error = refusal(&central, site.config("edge-0", &site.pair(EDGE), &[&site.ca])).await;
    assert!(error.contains("is not TLS; is one side configured for plain text?"), "{error}");
    let peer = Peer::start(plain(), memory(), addresses(&[&central])).await;
    peer.until_connected_to("n1.sorcha.dev").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_renewed_ends_the_isolation() {
    let site = Site::new();
    let central = site.central("n0.sorcha.dev").await;
    let old = Leaf { not_after: now() - HOUR, ..leaf(EDGE) };
    let config = site.config("edge-0", &site.ca.issue(&old), &[&site.ca]);
    let folder = config.tls.key_file.as_ref().unwrap().parent().unwrap().to_owned();
    let peer = Peer::start(config, memory(), addresses(&[&central])).await;
    peer.until_state(PeerState::Isolated).await;
    sorcha_runtime::tls::testing::mount(&folder, &site.pair(EDGE), &[&site.ca]);
    peer.until_connected_to("n0.sorcha.dev").await;
    eventually("the certificate is the new one", || {
        peer.node.env.tls.as_ref().unwrap().status().trouble().is_none()
    })
    .await;
}
