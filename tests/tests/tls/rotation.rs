//! Certificates and the CA change while everything is published and pushed: nobody's stream ends, nothing is missed.

use std::{path::PathBuf, sync::Arc, time::Duration};

use sorcha_peer::machine::state::PeerState;
use sorcha_register::names::Version;
use sorcha_runtime::tls::Tls;
use sorcha_runtime::tls::testing::{Ca, Leaf, mount};
use sorcha_tests::{Central, Peer, eventually, memory};
use tokio_util::sync::CancellationToken;

use super::{CENTRAL, EDGE, Site, addresses};

/// A node's TLS files, and what the node makes of them.
struct Mounted {
    folder: PathBuf,
    uri: &'static str,
    tls: Arc<Tls>,
}

impl Mounted {
    fn of(config: &sorcha_config::Config, uri: &'static str, tls: Option<&Arc<Tls>>) -> Self {
        let folder = config.tls.key_file.as_ref().unwrap().parent().unwrap().to_owned();
        Self { folder, uri, tls: Arc::clone(tls.unwrap()) }
    }

    /// Puts a new certificate of a CA in place, and waits until the node uses it.
    async fn renew(&self, issuer: &Ca, cas: &[&Ca]) {
        let before = self.tls.server();
        let leaf = Leaf { uris: vec![self.uri.to_owned()], ..Leaf::default() };
        mount(&self.folder, &issuer.issue(&leaf), cas);
        eventually("the new files are in use", || !Arc::ptr_eq(&before, &self.tls.server())).await;
    }
}

/// What would change if a session or a stream had ended.
fn streams(peers: &[Peer], central: &Central) -> Vec<String> {
    let of_peer = |peer: &Peer| {
        let status = peer.node.status();
        assert_eq!(status.state, PeerState::HeartbeatMonitoring);
        let transitions = status.transitions.len();
        format!(
            "{:?} {:?} {:?} {transitions} {}",
            status.session_id, status.connected_at, status.subscribed_at, status.failovers
        )
    };
    let sessions = central.node.status(None, true).connected_peers;
    let of_session = |session: &sorcha_proto::v1::ConnectedPeerInfo| session.session_id.clone();
    peers.iter().map(of_peer).chain(sessions.iter().map(of_session)).collect()
}

async fn publish(central: Arc<Central>, stop: CancellationToken) -> i64 {
    let mut last = 0;
    for number in 0.. {
        if stop.is_cancelled() {
            break;
        }
        last = central.publish(&format!("b{number}")).await.entry.entry().version.get();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_under_load_drops_no_stream_and_misses_no_version() {
    let (site, new) = (Site::new(), Ca::new("new"));
    let old = &site.ca;
    let config = site.config("n0.sorcha.dev", &site.pair(CENTRAL), &[old]);
    let central = Arc::new(Central::start(config.clone(), memory(), 0).await);
    let mut mounted = vec![Mounted::of(&config, CENTRAL, central.node.env.tls.as_ref())];
    let mut peers = Vec::new();
    for id in ["edge-0", "edge-1", "edge-2"] {
        let config = site.config(id, &site.pair(EDGE), &[old]);
        let peer = Peer::start(config.clone(), memory(), addresses(&[&central])).await;
        peer.until_connected_to("n0.sorcha.dev").await;
        eventually("subscribed", || peer.node.status().subscribed_at.is_some()).await;
        mounted.push(Mounted::of(&config, EDGE, peer.node.env.tls.as_ref()));
        peers.push(peer);
    }
    let (stop, before) = (CancellationToken::new(), streams(&peers, &central));
    let publishing = tokio::spawn(publish(Arc::clone(&central), stop.clone()));

    for _ in 0..5 {
        for node in &mounted {
            node.renew(old, &[old]).await;
        }
    }
    // The CA: first everybody believes both, then all certificates are of the new one, then the old one is believed no more.
    for (issuer, cas) in [(old, vec![old, &new]), (&new, vec![old, &new]), (&new, vec![&new])] {
        for node in &mounted {
            node.renew(issuer, &cas).await;
        }
    }
    assert_eq!(streams(&peers, &central), before, "a session or a stream has ended");

    stop.cancel();
    let last = publishing.await.unwrap();
    assert!(last > 50, "hardly anything was published: {last}");
    for peer in &peers {
        eventually("all is there", || peer.node.replica.head().get() >= last).await;
        let view = peer.node.replica.view();
        let held: Vec<_> = view.after(Version::ZERO).map(|sealed| sealed.entry().version.get()).collect();
        let published: Vec<_> =
            central.node.log.view().after(Version::ZERO).map(|sealed| sealed.entry().version.get()).collect();
        assert_eq!(held, published);
    }
    assert_eq!(streams(&peers, &central), before, "a session or a stream has ended");
    newcomers(&site, &new, &central).await;
}

/// After the change a certificate of the old CA opens nothing, one of the new CA does.
async fn newcomers(site: &Site, new: &Ca, central: &Central) {
    let late = Peer::start(
        site.config("edge-8", &site.pair(EDGE), &[&site.ca, new]),
        memory(),
        addresses(&[central]),
    )
    .await;
    late.until_state(PeerState::Isolated).await;
    let error = late.node.status().central_nodes[0].last_error.clone().unwrap();
    assert!(error.contains("refuses this node's certificate: it is not of a CA"), "{error}");
    let pair = new.issue(&Leaf { uris: vec![EDGE.to_owned()], ..Leaf::default() });
    let peer = Peer::start(site.config("edge-9", &pair, &[new]), memory(), addresses(&[central])).await;
    peer.until_connected_to("n0.sorcha.dev").await;
    peer.until_equal(central).await;
}
