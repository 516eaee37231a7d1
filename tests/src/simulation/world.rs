//! One run: a network of real nodes over simulated machines, its clients, its faults, and the record of it all.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use sorcha_central::Condition;
use sorcha_register::names::Version;
use sorcha_store::{Store as _, journal::JournalStore};

use super::{
    central::CentralHost,
    client::{publisher::Publisher, reader::Reader},
    database::Database,
    faults::{self, Active},
    history::{Event, History, PeerSample, What},
    liar::Liars,
    net::{Host, Link, Net},
    peer::PeerHost,
    plan::{Planned, QUIET_START, Shape},
};

/// After the last fault everything must be as it should be within this time.
const SETTLE: Duration = Duration::from_secs(400);
/// A wrong clock is no reason not to be connected up to here (protocol section 5).
const CLOCK_LIMIT: Duration = Duration::from_secs(55);
/// A link slower than this is not expected to carry a session.
const USABLE_ROUND_TRIP: Duration = Duration::from_millis(200);

/// What a run is made of.
pub(super) struct World {
    pub(super) shape: Shape,
    pub(super) net: Net,
    pub(super) link: Link,
    pub(super) database: Database,
    pub(super) history: History,
    pub(super) centrals: Vec<Rc<CentralHost>>,
    pub(super) peers: Vec<Rc<PeerHost>>,
    pub(super) active: Active,
    pub(super) liars: Liars,
    pace: Rc<Cell<Duration>>,
    usual_pace: Duration,
    rng: RefCell<SmallRng>,
}

/// What a run leaves to be checked.
pub struct Record {
    /// Everything that happened.
    pub events: Vec<Event>,
    /// Peers that were not as they should be when the time was over.
    pub unsettled: Vec<PeerSample>,
    /// Virtual time that the run took.
    pub took: Duration,
}

impl World {
    fn new(seed: u64, shape: Shape, plan: &[Planned], history: History) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let link = Link { latency: Duration::from_millis(rng.random_range(1..20)), ..Link::default() };
        let net = Net::new(rng.random(), link);
        let database = Database::new(rng.random());
        let liars = Liars::of(plan, &history);
        let centrals = (0..shape.centrals)
            .map(|number| Rc::new(CentralHost::new(number, rng.random(), &net, &database, &liars)))
            .collect();
        let peers = (0..shape.peers)
            .map(|number| Rc::new(PeerHost::new(number, rng.random(), &net, shape.centrals, &liars)))
            .collect();
        let usual_pace = Duration::from_millis(rng.random_range(1000..15_000));
        Self {
            shape,
            net,
            link,
            database,
            history,
            centrals,
            peers,
            active: Active::default(),
            liars,
            pace: Rc::new(Cell::new(usual_pace)),
            usual_pace,
            rng: RefCell::new(rng),
        }
    }

    pub(super) fn central(&self, number: u8) -> &CentralHost {
        &self.centrals[usize::from(number)]
    }

    pub(super) fn peer(&self, number: u8) -> &PeerHost {
        &self.peers[usize::from(number)]
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = Host> + '_ {
        let publishers = (0..self.shape.publishers).map(Host::Publisher);
        self.centrals.iter().map(|c| c.host()).chain(self.peers.iter().map(|p| p.host())).chain(publishers)
    }

    pub(super) fn set_skew(&self, host: Host, millis: i64) {
        match host {
            Host::Central(central) => self.central(central).clock.set_skew(millis),
            Host::Peer(peer) => self.peer(peer).clock.set_skew(millis),
            Host::Publisher(_) => {}
        }
    }

    pub(super) fn burst(&self, burst: bool) {
        self.pace.set(if burst { Duration::from_millis(20) } else { self.usual_pace });
    }

    fn draws(&self) -> SmallRng {
        SmallRng::seed_from_u64(self.rng.borrow_mut().random())
    }

    fn start_clients(&self) {
        for number in 0..self.shape.publishers {
            let (net, history) = (self.net.clone(), self.history.clone());
            let publisher = Publisher::new(number, net, self.shape.centrals, history, self.draws());
            tokio::task::spawn_local(publisher.run(Rc::clone(&self.pace)));
        }
        for peer in &self.peers {
            let reader = Reader {
                peer: Rc::clone(peer),
                net: self.net.clone(),
                publishers: self.shape.publishers,
                history: self.history.clone(),
                rng: self.draws(),
            };
            tokio::task::spawn_local(reader.run());
        }
    }

    /// Central nodes that a peer should be able to hold a session with.
    fn reachable(&self, peer: &PeerHost) -> Vec<u8> {
        let host = peer.host();
        let fits = |central: &&Rc<CentralHost>| {
            let other = central.host();
            let serves = central
                .node()
                .is_some_and(|node| matches!(node.condition(), Condition::Healthy | Condition::Degraded));
            serves
                && !self.active.resets(central.number)
                && !self.active.lies(central.number)
                && self.net.is_open(host, other)
                && self.net.is_open(other, host)
                && self.net.round_trip(host, other) < USABLE_ROUND_TRIP
                && central.clock.skew() + peer.clock.skew() < CLOCK_LIMIT
        };
        self.centrals.iter().filter(fits).map(|central| central.number).collect()
    }

    /// Central nodes that a peer can't have a session with.
    fn gone(&self, peer: &PeerHost) -> Vec<u8> {
        let open = |a: Host, b: Host| self.net.is_open(a, b) && self.net.is_open(b, a);
        let gone =
            |central: &&Rc<CentralHost>| central.node().is_none() || !open(peer.host(), central.host());
        self.centrals.iter().filter(gone).map(|central| central.number).collect()
    }

    fn sample(&self) -> Vec<PeerSample> {
        let of = |peer: &Rc<PeerHost>| {
            let node = peer.node();
            let status = node.as_ref().map(|node| node.status());
            let central = status
                .as_ref()
                .filter(|status| status.session_id.is_some())
                .and_then(|status| status.central_node_id.as_ref()?.strip_prefix('n')?.parse().ok());
            PeerSample {
                peer: peer.number,
                alive: node.is_some(),
                central,
                session: status.as_ref().and_then(|status| status.session_id.clone()),
                state: status.map_or("Down", |status| status.state.as_str()),
                head: node.map_or(Version::ZERO, |node| node.replica.head()),
                connections: self.net.outgoing(peer.host(), |to| matches!(to, Host::Central(_))),
                reachable: self.reachable(peer),
                gone: self.gone(peer),
                wrong: None,
            }
        };
        self.peers.iter().map(of).collect()
    }

    /// What is not as it should be once nothing goes wrong any more: a peer is not connected, or does not hold what the
    /// database holds.
    async fn unsettled(&self) -> Vec<PeerSample> {
        let Ok(truth) = self.database.store().load().await else { return self.sample() };
        let mut samples = self.sample();
        for sample in &mut samples {
            let Some(node) = self.peer(sample.peer).node() else {
                sample.wrong = Some("does not run".to_owned());
                continue;
            };
            let (status, state) = (node.status(), node.replica.state());
            let equal = state.view.digest() == truth.view.digest();
            // What another one served stands until that one is met again.
            let central = status.central_node_id.as_deref();
            let told = status
                .refused
                .as_ref()
                .filter(|_| central.is_none_or(|central| status.refuses(central)))
                .map(ToString::to_string)
                .or_else(|| status.ahead_in_words(node.replica.head()));
            if status.session_id.is_none() || !equal || !state.findings.is_empty() || told.is_some() {
                sample.wrong = Some(format!(
                    "version {} of {}, digest {}, session {:?}, findings {:?}, last sync error {:?}, told {told:?}",
                    state.view.head(),
                    truth.view.head(),
                    if equal { "equal" } else { "differs" },
                    status.session_id,
                    state.findings,
                    status.last_sync_error,
                ));
            }
        }
        samples.retain(|sample| sample.wrong.is_some());
        samples
    }
}

/// Notes what the database really holds, in order.
async fn record_truth(store: Arc<JournalStore>, history: History) {
    let mut last = Version::ZERO;
    loop {
        store.changed(last).await;
        let Ok(entries) = store.read_after(last, usize::MAX).await else { return };
        for entry in entries {
            last = entry.entry().version;
            history.record(What::Stored(entry));
        }
    }
}

/// Runs a network through its faults until all is well again, or the time is over.
pub(super) async fn run(seed: u64, shape: Shape, plan: Vec<Planned>, history: History) -> Record {
    let world = Rc::new(World::new(seed, shape, &plan, history));
    tokio::task::spawn_local(record_truth(world.database.store(), world.history.clone()));
    let sampled = Rc::clone(&world);
    tokio::task::spawn_local(async move {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            second.tick().await;
            sampled.history.record(What::Sample(sampled.sample()));
            // What has ended by itself is started again, as a kubelet does.
            sampled.start_all();
        }
    });
    world.start_all();
    world.start_clients();
    let last = plan.iter().map(Planned::end).max().unwrap_or_default().max(QUIET_START);
    faults::run(Rc::clone(&world), plan).await;
    tokio::time::sleep_until(world.history.started() + last).await;
    // Nobody publishes any more: what is acknowledged must now be everywhere.
    world.pace.set(Duration::from_secs(1_000_000));
    let settled = tokio::time::timeout(SETTLE, async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        while !world.unsettled().await.is_empty() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let unsettled = if settled.await.is_ok() { Vec::new() } else { world.unsettled().await };
    Record { took: world.history.now(), events: world.history.take(), unsettled }
}
