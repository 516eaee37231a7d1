//! Mutual TLS on real sockets: who gets in, who is kept out and is told why, and certificates that change under load.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::too_many_lines)]

mod authority;
mod hostile;
mod limits;
mod processes;
mod refusals;
mod rotation;
mod shares;

use std::path::Path;

use sorcha_config::{CentralNodeAddress, Config};
use sorcha_peer::dial::dialer;
use sorcha_runtime::tls::testing::{Ca, Leaf, Pair, mount};
use sorcha_runtime::{env::Env, metrics::Metrics};
use sorcha_tests::{Central, Peer, memory, quick};
use tempfile::TempDir;
use tonic::transport::Channel;

const CENTRAL: &str = "spiffe://sorcha.dev/ns/shop/sorchacentralnode/n0";
const EDGE: &str = "spiffe://sorcha.dev/ns/shop/sorchapeer/edge";

/// A place with a CA of its own.
struct Site {
    data: TempDir,
    ca: Ca,
}

impl Site {
    fn new() -> Self {
        Self { data: tempfile::tempdir().unwrap(), ca: Ca::new("ca") }
    }

    /// A certificate of the site's CA for a URI, good on this machine.
    fn pair(&self, uri: &str) -> Pair {
        self.ca.issue(&Leaf { uris: vec![uri.to_owned()], ..Leaf::default() })
    }

    /// A configuration with its own folder of TLS files.
    fn config(&self, id: &str, pair: &Pair, cas: &[&Ca]) -> Config {
        let mut config = quick(id, self.data.path());
        let folder = self.data.path().join(format!("{id}-tls"));
        std::fs::create_dir_all(&folder).unwrap();
        secure(&mut config, &folder, pair, cas);
        config
    }

    /// A central node of the site.
    async fn central(&self, id: &str) -> Central {
        Central::start(self.config(id, &self.pair(CENTRAL), &[&self.ca]), memory(), 0).await
    }

    /// A peer of the site.
    async fn peer(&self, id: &str, uri: &str, centrals: &[&Central]) -> Peer {
        Peer::start(self.config(id, &self.pair(uri), &[&self.ca]), memory(), addresses(centrals)).await
    }

    /// A connection with the certificate of a URI, and no peer behind it.
    async fn channel(&self, uri: &str, central: &Central) -> Channel {
        let config = self.config("raw", &self.pair(uri), &[&self.ca]);
        let env = Env::system(Metrics::disabled()).secured(&config.tls).unwrap();
        dialer(&env).dial(&central.address(0), &config).await.unwrap().channel
    }
}

fn secure(config: &mut Config, folder: &Path, pair: &Pair, cas: &[&Ca]) {
    let [certificate, key, ca] = mount(folder, pair, cas);
    let tls = &mut config.tls;
    (tls.certificate_file, tls.key_file, tls.ca_file) = (Some(certificate), Some(key), Some(ca));
    tls.reload_interval = std::time::Duration::from_millis(20);
}

fn addresses(centrals: &[&Central]) -> Vec<CentralNodeAddress> {
    (0..).zip(centrals).map(|(priority, central)| central.address(priority)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_peers_replicate() {
    let site = Site::new();
    let central = site.central("n0.sorcha.dev").await;
    central.publish("before").await;
    let peers = [
        site.peer("edge-0", EDGE, &[&central]).await,
        site.peer("edge-1", EDGE, &[&central]).await,
        site.peer("lab_7", "spiffe://sorcha.dev/ns/outside/peer/lab_7", &[&central]).await,
    ];
    for peer in &peers {
        peer.until_connected_to("n0.sorcha.dev").await;
    }
    central.publish("after").await;
    for peer in &peers {
        peer.until_equal(&central).await;
        assert_eq!(peer.node.status().failovers, 0);
    }
    assert_eq!(central.node.peer_counts().0, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_verified_as_well_as_addresses() {
    let site = Site::new();
    // A certificate that names a host and nobody of the network, as a public CA's.
    let pair = site.ca.issue(&Leaf::default());
    let central = Central::start(site.config("n0.sorcha.dev", &pair, &[&site.ca]), memory(), 0).await;
    let mut address = central.address(0);
    address.host = "localhost".into();
    let config = site.config("edge-0", &site.pair(EDGE), &[&site.ca]);
    let peer = Peer::start(config, memory(), vec![address]).await;
    peer.until_connected_to("n0.sorcha.dev").await;
}
