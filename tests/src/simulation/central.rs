//! A central node's machine.

use std::{
    cell::RefCell,
    sync::{Arc, OnceLock},
};

use ed25519_dalek::SigningKey;
use sorcha_central::CentralNode;
use sorcha_config::Config;
use sorcha_host::{prepare_central_with_key, serve_central_on, waiting::until_available};
use sorcha_http::{Auth, NodeHandle, router, serve_on};
use sorcha_runtime::{
    env::{Env, Random},
    metrics::Metrics,
};
use sorcha_store::Store;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;

use super::{
    clock::SimClock,
    database::{Client, Database},
    history::{End, History, What},
    liar::Liars,
    net::{Host, Incoming, Net, Port},
    process::Process,
};

/// A machine with a central node on it.
pub struct CentralHost {
    /// Its number.
    pub number: u8,
    /// Its clock.
    pub clock: Arc<SimClock>,
    net: Net,
    database: Database,
    liars: Liars,
    history: History,
    random: Random,
    running: RefCell<Option<Running>>,
}

struct Running {
    process: Process<CentralNode>,
    client: Arc<Client>,
}

/// All that a process takes with it.
struct Start {
    config: Arc<Config>,
    env: Env,
    store: Arc<dyn Store>,
    key: SigningKey,
    grpc: Incoming,
    http: Incoming,
    number: u8,
    liars: Liars,
    net: Net,
    history: History,
}

impl CentralHost {
    /// A machine whose node does not run yet.
    #[must_use]
    pub fn new(number: u8, seed: u64, net: &Net, database: &Database, liars: &Liars) -> Self {
        let history = liars.history();
        Self {
            number,
            clock: Arc::new(SimClock::new(history.started())),
            net: net.clone(),
            database: database.clone(),
            liars: liars.clone(),
            history: history.clone(),
            random: Random::seeded(seed),
            running: RefCell::default(),
        }
    }

    /// Its name in the network.
    #[must_use]
    pub const fn host(&self) -> Host {
        Host::Central(self.number)
    }

    /// Starts the node, if it does not run.
    pub fn start(&self) {
        let mut running = self.running.borrow_mut();
        if running.as_ref().is_some_and(|running| !running.process.is_over()) {
            return;
        }
        let (host, client) = (self.host(), self.database.connect());
        let env = Env {
            clock: self.clock.clone(),
            random: self.random.clone(),
            metrics: Metrics::disabled(),
            tls: None,
            tasks: sorcha_runtime::supervise::Tasks::default(),
        };
        let start = Start {
            config: Arc::new(config(self.number)),
            env,
            store: client.clone(),
            key: SigningKey::from_bytes(&[self.number; 32]),
            grpc: self.net.listen(host, Port::Grpc),
            http: self.net.listen(host, Port::Http),
            number: self.number,
            liars: self.liars.clone(),
            net: self.net.clone(),
            history: self.history.clone(),
        };
        *running = Some(Running { process: Process::start(|stop, node| start.run(stop, node)), client });
    }

    /// The node, if it runs and has loaded the register.
    #[must_use]
    pub fn node(&self) -> Option<Arc<CentralNode>> {
        self.running.borrow().as_ref().filter(|running| !running.process.is_over())?.process.node()
    }

    /// Asks the node to leave, as SIGTERM does.
    pub fn drain(&self) {
        if let Some(running) = &*self.running.borrow() {
            running.process.stop();
        }
    }

    /// SIGKILL.
    pub fn kill(&self) {
        if self.end(End::Killed) {
            self.net.kill(self.host());
        }
    }

    /// The machine loses power.
    pub fn cut_power(&self) {
        if self.end(End::PowerCut) {
            self.net.power_off(self.host());
        }
    }

    /// The machine has power again; the node starts.
    pub fn power_on(&self) {
        self.net.power_on(self.host());
        self.start();
    }

    fn end(&self, end: End) -> bool {
        let Some(Running { process, client }) = self.running.borrow_mut().take() else { return false };
        client.kill();
        process.kill();
        self.history.record(What::Ended(self.host(), end));
        true
    }
}

fn config(number: u8) -> Config {
    let mut config = Config::default().with_identity(&format!("n{number}"));
    config.node.hostname = format!("n{number}.sorcha.dev");
    config.http.insecure_writes = true;
    config
}

impl Start {
    async fn run(self, stop: CancellationToken, place: Arc<OnceLock<Arc<CentralNode>>>) {
        let Self { config, env, store, key, grpc, http, number, liars, net, history } = self;
        let host = Host::Central(number);
        let attempt = || {
            let (config, env, store, key) =
                (Arc::clone(&config), env.clone(), Arc::clone(&store), key.clone());
            prepare_central_with_key(config, env, store, || Ok(key))
        };
        let node = match until_available(attempt, |_| ()).await {
            Ok(node) => node,
            Err(error) => return history.record(What::Complaint(format!("{host} does not start: {error}"))),
        };
        // The place is empty: a process starts once.
        let _set = place.set(Arc::clone(&node));
        history.record(What::Started(host));
        let auth = match Auth::new(&config.http, env.clock, None) {
            Ok(auth) => auth,
            Err(error) => return history.record(What::Complaint(format!("{host}: {error}"))),
        };
        let api = router(NodeHandle::Central(Arc::clone(&node)), auth, prometheus::Registry::new());
        let (ended, limits) = (CancellationToken::new(), config.http.clone());
        let grpc = async {
            let served = match liars.front(number, &node) {
                Some(front) => {
                    let behind = UnboundedReceiverStream::new(front.open(grpc));
                    serve_central_on(node, behind, stop.cancelled()).await
                }
                None => serve_central_on(node, grpc.tracked(), stop.cancelled()).await,
            };
            ended.cancel();
            served
        };
        let (served, ()) = tokio::join!(grpc, serve_on(http, api, &limits, &env.metrics, ended.cancelled()));
        let end = if served.is_ok() { End::Stopped } else { End::Failed };
        net.kill(host);
        history.record(What::Ended(host, end));
    }
}
