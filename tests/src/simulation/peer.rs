//! A peer's machine.

use std::{
    cell::RefCell,
    io,
    path::Path,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use sorcha_config::{CentralNodeAddress, Config};
use sorcha_host::prepare_peer;
use sorcha_http::{Auth, NodeHandle, router, serve_on};
use sorcha_peer::{PeerNode, dial};
use sorcha_runtime::{
    env::{Env, Random},
    metrics::Metrics,
};
use sorcha_store::journal::{self, JournalStore, Options};
use tokio_util::sync::CancellationToken;

use super::{
    clock::SimClock,
    disk::Disk,
    doubts,
    history::{End, History, What},
    liar::Liars,
    net::{Host, Incoming, Net, Port},
    process::Process,
};

/// A machine with a peer on it.
pub struct PeerHost {
    /// Its number.
    pub number: u8,
    /// Its clock.
    pub clock: Arc<SimClock>,
    /// Its disk.
    pub disk: Disk,
    net: Net,
    liars: Liars,
    history: History,
    random: Random,
    centrals: u8,
    process: RefCell<Option<Process<PeerNode>>>,
}

type Place = Arc<OnceLock<Arc<PeerNode>>>;

/// All that a process takes with it.
struct Start {
    config: Arc<Config>,
    env: Env,
    disk: Disk,
    net: Net,
    number: u8,
    liars: Liars,
    history: History,
}

impl PeerHost {
    /// A machine whose node does not run yet; it knows central nodes `n0` and so on.
    #[must_use]
    pub fn new(number: u8, seed: u64, net: &Net, centrals: u8, liars: &Liars) -> Self {
        let history = liars.history();
        Self {
            number,
            clock: Arc::new(SimClock::new(history.started())),
            disk: Disk::new(seed),
            net: net.clone(),
            liars: liars.clone(),
            history: history.clone(),
            random: Random::seeded(seed),
            centrals,
            process: RefCell::default(),
        }
    }

    /// Its name in the network.
    #[must_use]
    pub const fn host(&self) -> Host {
        Host::Peer(self.number)
    }

    /// Starts the node, if it does not run.
    pub fn start(&self) {
        let mut process = self.process.borrow_mut();
        if process.as_ref().is_some_and(|process| !process.is_over()) {
            return;
        }
        let env = Env {
            clock: self.clock.clone(),
            random: self.random.clone(),
            metrics: Metrics::disabled(),
            tls: None,
            tasks: sorcha_runtime::supervise::Tasks::default(),
        };
        let start = Start {
            config: Arc::new(config(self.number, self.centrals)),
            env,
            disk: self.disk.clone(),
            net: self.net.clone(),
            number: self.number,
            liars: self.liars.clone(),
            history: self.history.clone(),
        };
        let http = self.net.listen(self.host(), Port::Http);
        *process = Some(Process::start(|stop, place| start.run(http, stop, place)));
    }

    /// The node, if it runs and has loaded its replica.
    #[must_use]
    pub fn node(&self) -> Option<Arc<PeerNode>> {
        self.process.borrow().as_ref().filter(|process| !process.is_over())?.node()
    }

    /// Asks the node to stop, as SIGTERM does.
    pub fn stop(&self) {
        if let Some(process) = &*self.process.borrow() {
            process.stop();
        }
    }

    /// SIGKILL.
    pub fn kill(&self) {
        if self.end(End::Killed) {
            self.disk.kill();
            self.net.kill(self.host());
        }
    }

    /// The machine loses power.
    pub fn cut_power(&self) {
        if self.end(End::PowerCut) {
            self.disk.cut_power();
            self.net.power_off(self.host());
        }
    }

    /// The machine has power again; the node starts.
    pub fn power_on(&self) {
        self.net.power_on(self.host());
        self.start();
    }

    /// Flips bits in the file of a node that does not run.
    pub fn corrupt(&self, places: usize) {
        self.history.record(What::Damaged(self.number));
        self.disk.corrupt(Path::new(journal::REPLICA_FILE), places);
    }

    fn end(&self, end: End) -> bool {
        let Some(process) = self.process.borrow_mut().take() else { return false };
        process.kill();
        self.history.record(What::Ended(self.host(), end));
        true
    }
}

fn config(number: u8, centrals: u8) -> Config {
    let mut config = Config::default().with_identity(&format!("edge-{number}"));
    config.central_nodes = (0..centrals)
        .map(|central| CentralNodeAddress {
            id: Some(format!("n{central}")),
            host: format!("n{central}"),
            port: 5000,
            priority: u16::from(central),
            ca_file: None,
        })
        .collect();
    config.http.insecure_writes = true;
    config
}

impl Start {
    async fn run(self, http: Incoming, stop: CancellationToken, place: Place) {
        let host = Host::Peer(self.number);
        let end = match self.serve(http, stop, place).await {
            Ok(()) => End::Stopped,
            Err(fault) => {
                self.history.record(What::Complaint(format!("{host} has failed: {fault}")));
                End::Failed
            }
        };
        self.net.kill(host);
        self.history.record(What::Ended(host, end));
    }

    async fn serve(&self, http: Incoming, stop: CancellationToken, place: Place) -> Result<(), String> {
        let files = Arc::new(self.disk.mount());
        let options = Options { inline: true, cache_bytes: 0, ..Options::default() };
        let now = self.env.clock.now().as_millis();
        let store = JournalStore::open_or_set_aside(files, journal::REPLICA_FILE, options, now).await;
        let store = store.map_err(|error| error.to_string())?;
        let dialer = Arc::new(SimDialer { net: self.net.clone(), host: Host::Peer(self.number) });
        let prepared = prepare_peer(Arc::clone(&self.config), self.env.clone(), Arc::new(store), dialer);
        let node = prepared.await.map_err(|error| error.to_string())?;
        // The place is empty: a process starts once.
        let _set = place.set(Arc::clone(&node));
        self.liars.meet(self.number, &node);
        self.history.record(What::Started(Host::Peer(self.number)));
        let auth = Auth::new(&self.config.http, Arc::clone(&self.env.clock), None);
        let auth = auth.map_err(|error| error.to_string())?;
        let api = router(NodeHandle::Peer(Arc::clone(&node)), auth, prometheus::Registry::new());
        let ended = CancellationToken::new();
        let work = async {
            let result = node.run(stop.cancelled()).await;
            ended.cancel();
            result
        };
        let both = async {
            tokio::join!(work, serve_on(http, api, &self.config.http, &node.env.metrics, ended.cancelled()))
        };
        tokio::select! {
            (result, ()) = both => result.map_err(|error| error.to_string()),
            () = self.watch(&node) => Ok(()),
        }
    }

    async fn watch(&self, node: &PeerNode) {
        let doubts = async {
            // Runs in which no central node lies go on as they would without this.
            if self.liars.lie() {
                doubts::watch(self.number, node, &self.net, &self.history).await;
            }
        };
        tokio::join!(self.watch_replica(node), doubts);
    }

    /// Records every state that the replica shows.
    async fn watch_replica(&self, node: &PeerNode) {
        let mut states = node.replica.subscribe();
        loop {
            let (view, position) = {
                let state = states.borrow_and_update();
                let position = state.checkpoint.as_ref().map(|checkpoint| checkpoint.version);
                (Box::new(state.view.clone()), position)
            };
            self.history.record(What::Replica { peer: self.number, view, position });
            if states.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Dials through the simulated network.
struct SimDialer {
    net: Net,
    host: Host,
}

#[async_trait]
impl dial::Dialer for SimDialer {
    async fn dial(
        &self,
        address: &CentralNodeAddress,
        config: &Config,
    ) -> Result<dial::Dialled, tonic::transport::Error> {
        let number = address.host.strip_prefix('n').and_then(|number| number.parse().ok());
        let (net, host) = (self.net.clone(), self.host);
        let life = dial::Life::default();
        let watched = life.clone();
        let connector = tower::service_fn(move |_uri| {
            let (net, life) = (net.clone(), watched.clone());
            async move {
                let central = number.ok_or_else(|| io::Error::other("there is no such host"))?;
                let stream = net.connect(host, Host::Central(central), Port::Grpc).await?;
                Ok::<_, io::Error>(TokioIo::new(life.watch(stream)))
            }
        });
        let channel = dial::endpoint(address, config)?.connect_with_connector(connector).await?;
        Ok(dial::Dialled { channel, life })
    }
}
