//! Many real peers in this process, each with a store on disk and a connection of its own.
//!
//! They are what `sorcha-node peer` runs, but for the process around each: a thousand processes on two cores would
//! measure the kernel's scheduler.

pub(crate) mod observer;
pub(crate) mod recording;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use sorcha_config::{CentralNodeAddress, Config};
use sorcha_host::{open_embedded, prepare_peer};
use sorcha_peer::{PeerNode, dial::PlainText, machine::state::PeerState, status::PeerStatus};
use sorcha_runtime::{env::Env, metrics::Metrics};
use sorcha_store::{Store, StoreError};
use tokio::{sync::oneshot, task::JoinHandle};

/// How long a swarm may take to come to a state.
const PATIENCE: Duration = Duration::from_secs(120);

/// A peer that runs; dropping it kills it: its socket closes, nothing is said.
pub(crate) struct Peer {
    pub(crate) node: Arc<PeerNode>,
    /// Kept, because a dropped sender would be a clean end.
    _stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Peer {
    /// Starts a peer named `name` with its replica in `work/NAME`.
    pub(crate) async fn start(
        work: &Path,
        name: &str,
        centrals: &[CentralNodeAddress],
        configure: impl Fn(&mut Config),
        store: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>,
    ) -> Result<Self> {
        let mut config = Config::default().with_identity(name);
        config.store.data_dir = work.join(name);
        config.central_nodes = centrals.to_vec();
        configure(&mut config);
        let env = Env::system(Metrics::disabled());
        let store = store(open(&config, &env).await?);
        let node = prepare_peer(Arc::new(config), env, store, Arc::new(PlainText)).await?;
        let (stop, stopped) = oneshot::channel();
        let running = {
            let node = Arc::clone(&node);
            tokio::spawn(async move {
                // A peer that is killed has no clean end; a fault of its store shows in what it lacks.
                drop(node.run(async { drop(stopped.await) }).await);
            })
        };
        Ok(Self { node, _stop: stop, running })
    }

    /// Whether its push stream is open.
    pub(crate) fn is_subscribed(&self) -> bool {
        let status = self.node.subscribe();
        let status = status.borrow();
        status.state == PeerState::HeartbeatMonitoring && status.subscribed_at.is_some()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// All peers of a measurement.
#[derive(Default)]
pub(crate) struct Swarm {
    pub(crate) peers: Vec<Peer>,
}

impl Swarm {
    /// Adds peers; `store` may wrap the store of each.
    pub(crate) async fn grow(
        &mut self,
        work: &Path,
        count: usize,
        centrals: &[CentralNodeAddress],
        configure: impl Fn(&mut Config),
        store: impl Fn(usize, Arc<dyn Store>) -> Arc<dyn Store>,
    ) -> Result<()> {
        for _ in 0..count {
            let number = self.peers.len();
            let name = format!("edge-{number}");
            self.peers
                .push(Peer::start(work, &name, centrals, &configure, |inner| store(number, inner)).await?);
        }
        Ok(())
    }

    /// Waits until every peer holds a push stream.
    pub(crate) async fn until_subscribed(&self) -> Result<()> {
        self.until("every peer is subscribed", Peer::is_subscribed).await
    }

    /// Waits until something is so of every peer.
    pub(crate) async fn until(&self, what: &str, so: impl Fn(&Peer) -> bool) -> Result<()> {
        let waiting = async {
            while !self.peers.iter().all(&so) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            let lack = self.peers.iter().find(|peer| !so(peer)).map(|peer| describe(&peer.node.status()));
            bail!("not so after {PATIENCE:?}: {what}; one that is not: {}", lack.unwrap_or_default());
        }
        Ok(())
    }
}

/// Opens a peer's store; that of one that was just killed lets go of its file a moment later.
async fn open(config: &Config, env: &Env) -> Result<Arc<dyn Store>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match open_embedded(config, env, true).await {
            Err(StoreError::Unavailable(_)) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            opened => return Ok(opened?),
        }
    }
}

fn describe(status: &PeerStatus) -> String {
    let faults: Vec<_> = status.central_nodes.iter().filter_map(|node| node.last_error.as_deref()).collect();
    format!("{} at {:?} ({})", status.state, status.central_node_id, faults.join("; "))
}
