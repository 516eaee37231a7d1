//! The shell around the machine: effects become calls, their results become events (ADR 32).

mod attempts;
mod reload;
mod report;

use std::{collections::BTreeMap, sync::Arc};

use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use self::attempts::{DialOutcome, Dialling, join_dial};
#[cfg(debug_assertions)]
use super::invariants::{self, Step};
use super::{
    Command, PeerNode,
    failover::{CentralId, Failback, Policy},
    machine::{
        self, Moment,
        effect::{DisconnectReason, Effect, SyncPlan},
        event::Event,
        state::{PeerState, State},
    },
    session::{LiveSession, Request, Running},
    status::{DialEvent, Shown, StatusEvent},
};
use sorcha_config::CentralNodeAddress;
use sorcha_register::{
    clock::{Monotonic, Timestamp},
    session_name::session_name,
};
use sorcha_runtime::{file_watch::FileWatch, supervise};

/// Events that wait for the machine.
const EVENTS: usize = 64;
/// How often the files that may change are looked at.
const FILE_CHECK: std::time::Duration = std::time::Duration::from_secs(2);

/// How often the store is asked whether it is still this peer's.
const STORE_CHECK: std::time::Duration = std::time::Duration::from_secs(5);

/// Runs the machine until `shutdown`, then says goodbye.
pub(super) async fn run(
    node: Arc<PeerNode>,
    mut inbox: mpsc::Receiver<Command>,
    shutdown: impl Future<Output = ()>,
) {
    let (events, mut queue) = mpsc::channel(EVENTS);
    let mut shell = Shell::new(node, events);
    shell.handle(Event::Start);
    let (mut file_check, mut store_check) =
        (tokio::time::interval(FILE_CHECK), tokio::time::interval(STORE_CHECK));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let tick = shell.next_tick();
        tokio::select! {
            () = &mut shutdown => break,
            Some(event) = queue.recv() => shell.handle(event),
            Some(command) = inbox.recv() => shell.command(command),
            () = sleep_until(tick) => shell.handle(Event::Tick),
            _ = file_check.tick(), if shell.has_files() => shell.look_at_files(),
            _ = store_check.tick() => shell.look_at_store(),
            Some((epoch, outcome)) = join_dial(&mut shell.dials) => shell.dialled(epoch, outcome),
            Some(_) = shell.goodbyes.join_next() => {}
        }
    }
    shell.handle(Event::Stop);
    shell.goodbyes.join_all().await;
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The configured central nodes, and the file that they may come from.
struct CentralNodes {
    addresses: BTreeMap<String, CentralNodeAddress>,
    file: Option<FileWatch>,
}

struct Shell {
    node: Arc<PeerNode>,
    events: mpsc::Sender<Event>,
    policy: Policy,
    state: State,
    central_nodes: CentralNodes,
    resync_file: Option<FileWatch>,
    dials: JoinSet<(u64, DialOutcome)>,
    dialling: Option<Dialling>,
    /// Connected, but not opened by the machine yet.
    accepted: Option<LiveSession>,
    running: Option<Running>,
    goodbyes: JoinSet<()>,
}

fn policy(node: &PeerNode) -> Policy {
    let config = &node.config;
    Policy {
        initial_delay: config.connect.initial_delay,
        max_delay: config.connect.max_delay,
        multiplier: config.connect.multiplier,
        max_missed: config.heartbeat.max_missed,
        max_sync_failures: config.sync.max_failures,
        failover_jitter: config.connect.failover_jitter,
        failback: config.connect.failback_after.map_or(Failback::Never, Failback::AfterStable),
        ..Policy::default()
    }
}

/// By priority; equal ones in the order given.
fn ordered(mut addresses: Vec<CentralNodeAddress>) -> Vec<CentralNodeAddress> {
    addresses.sort_by_key(|address| address.priority);
    addresses
}

fn ids(addresses: &[CentralNodeAddress]) -> Vec<CentralId> {
    addresses.iter().map(|address| CentralId::new(address.id())).collect()
}

impl Shell {
    fn new(node: Arc<PeerNode>, events: mpsc::Sender<Event>) -> Self {
        let addresses = ordered(node.config.central_nodes.clone());
        node.note(StatusEvent::Listed(addresses.clone()));
        let mut shell = Self {
            policy: policy(&node),
            state: State::new(ids(&addresses)),
            central_nodes: CentralNodes {
                addresses: addresses.into_iter().map(|address| (address.id().to_owned(), address)).collect(),
                file: node.config.central_nodes_file.clone().map(FileWatch::new),
            },
            resync_file: node.config.sync.force_resync_file.clone().map(FileWatch::new),
            dials: JoinSet::new(),
            dialling: None,
            accepted: None,
            running: None,
            goodbyes: JoinSet::new(),
            events,
            node,
        };
        shell.look_at_files();
        shell
    }

    fn next_tick(&self) -> Option<Instant> {
        let due = machine::deadline(&self.state)?;
        Some(Instant::now() + due.since(self.node.env.clock.monotonic()))
    }

    fn handle(&mut self, event: Event) {
        let moment = Moment { now: self.node.env.clock.monotonic(), draw: self.node.env.random.unit() };
        tracing::trace!(?event, "event");
        let before = self.state.clone();
        #[cfg(debug_assertions)]
        let seen = event.clone();
        let (after, effects) = machine::step(before.clone(), event, &self.policy, moment);
        #[cfg(debug_assertions)]
        {
            let policy = &self.policy;
            let step = Step {
                before: &before,
                event: &seen,
                policy,
                now: moment.now,
                after: &after,
                effects: &effects,
            };
            debug_assert_eq!(invariants::violated(&step), Vec::<&str>::new(), "{seen:?}");
        }
        let changed = before.peer_state() != after.peer_state();
        self.state = after;
        for effect in effects {
            self.perform(effect);
        }
        // An attempt's session that the machine did not open is not kept.
        self.accepted = None;
        self.show(changed);
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Dial { epoch, central } => self.dial(epoch, &central),
            Effect::AbandonDial { epoch } => self.abandon(epoch),
            Effect::OpenSession { epoch, central, session: _, sync } => self.open(epoch, &central, sync),
            Effect::Disconnect { epoch, session: _, reason } => self.say_goodbye(epoch, reason),
            Effect::CloseSession { epoch } => self.close(epoch),
            Effect::SyncNow { epoch: _, plan } => self.request(Request::Sync { plan, reply: None }),
            Effect::SlowHeartbeat { .. } => self.with_running(Running::slow_down),
            Effect::NormalHeartbeat { .. } => self.with_running(Running::speed_up),
            Effect::Probe { epoch, central } => self.probe(epoch, central),
            Effect::Report(report) => self.report(&report),
        }
    }

    fn open(&mut self, epoch: u64, central: &CentralId, plan: SyncPlan) {
        let Some(session) = self.accepted.take() else { return };
        let plan =
            if self.node.config.sync.force_full_on_startup && epoch == 1 { SyncPlan::Full } else { plan };
        self.mark(central.as_str(), DialEvent::Opened);
        self.running = Some(session.start(plan));
    }

    fn say_goodbye(&mut self, epoch: u64, reason: DisconnectReason) {
        let running = self.running.as_ref().filter(|running| running.epoch() == epoch).map(Running::session);
        if let Some(session) = running.or_else(|| self.accepted.take()) {
            self.goodbyes.spawn(async move { drop(supervise::caught(session.say_goodbye(reason)).await) });
        }
    }

    fn close(&mut self, epoch: u64) {
        if let Some(running) = self.running.take_if(|running| running.epoch() == epoch) {
            running.stop();
            self.node.note(StatusEvent::SessionClosed);
        }
    }

    fn request(&mut self, request: Request) {
        match &self.running {
            Some(running) => running.request(request),
            None => request.refuse("not connected to a central node"),
        }
    }

    fn with_running(&self, act: impl FnOnce(&Running)) {
        if let Some(running) = &self.running {
            act(running);
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Reconnect => self.handle(Event::ReconnectRequested),
            Command::Sync { full, reply } => {
                let plan = if full { SyncPlan::Full } else { SyncPlan::Resume };
                self.request(Request::Sync { plan, reply: Some(reply) });
            }
            Command::Subscribe => self.with_running(Running::subscribe),
        }
    }

    /// Writes what the machine's state says into the status.
    fn show(&self, changed: bool) {
        let (clock, state) = (&self.node.env.clock, &self.state);
        let (at, elapsed) = (clock.now(), clock.monotonic());
        let ago = |since: Monotonic| {
            let millis = i64::try_from(elapsed.since(since).as_millis()).unwrap_or(i64::MAX);
            Timestamp::from_millis(at.as_millis().saturating_sub(millis))
        };
        let session =
            state.session().map(|session| (session.central.to_string(), session.id.as_str().to_owned()));
        self.node.note(StatusEvent::Shown(Shown {
            state: state.peer_state(),
            changed,
            at,
            session: session.clone(),
            isolated_since: state.isolated_since().map(ago),
            split_brain: state.memory.split_brain.as_ref().map(CentralId::to_string),
        }));
        if changed {
            self.node.env.metrics.connection_status(u64::from(state.peer_state().gauge()));
        }
        if let Some((central, id)) = session.filter(|_| changed && state.peer_state() == PeerState::Connected)
        {
            tracing::info!(central_node_id = central, session_id = session_name(&id), "connected");
        }
    }

    /// A store that is not the peer's any more shows also while nothing is to be stored.
    fn look_at_store(&self) {
        let fault = self.node.replica.store_fault().map(|error| error.to_string());
        if self.node.status.borrow().store_fault != fault {
            self.node.note(StatusEvent::StoreSeen(fault));
        }
    }

    fn mark(&self, central: &str, event: DialEvent) {
        self.node.note(StatusEvent::Dial(central.to_owned(), event));
    }
}
