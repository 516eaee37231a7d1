//! Tests of the machine: the whole transition table, stories, and random histories; all of them check every
//! invariant at every step.

mod failback;
mod passes;
mod random;
mod refusals;
mod sessions;
mod table;

use std::time::Duration;

use sorcha_register::{clock::Monotonic, names::Version};

use super::{
    Moment, deadline,
    effect::{Effect, Report},
    event::{Action, Event, Fault, Holdings, LineageMatch, Loss, SessionInfo},
    phase::SessionId,
    state::{PeerState, State},
    step,
};
use crate::{
    failover::{CentralId, Policy},
    invariants::{self, Step},
};

fn nodes(names: &str) -> Vec<CentralId> {
    names.split_whitespace().map(CentralId::new).collect()
}

fn central(name: &str) -> CentralId {
    CentralId::new(name)
}

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A peer under test: its state and the world it lives in.
struct Peer {
    state: State,
    policy: Policy,
    now: Monotonic,
    draw: f64,
}

impl Peer {
    /// Three central nodes, the contract's policy, and jitter at its greatest.
    fn new() -> Self {
        Self::with(Policy::default())
    }

    fn with(policy: Policy) -> Self {
        let state = State::new(nodes("n0 n1 n2"));
        Self { state, policy, now: Monotonic::default(), draw: 1.0 }
    }

    fn knowing(centrals: &str) -> Self {
        Self { state: State::new(nodes(centrals)), ..Self::new() }
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "events are made on the spot; tests read better without &"
    )]
    fn send(&mut self, event: Event) -> Vec<Effect> {
        let before = self.state.clone();
        let moment = Moment { now: self.now, draw: self.draw };
        let (after, effects) = step(before.clone(), event.clone(), &self.policy, moment);
        let facts = Step {
            before: &before,
            event: &event,
            policy: &self.policy,
            now: self.now,
            after: &after,
            effects: &effects,
        };
        assert_eq!(invariants::violated(&facts), [""; 0], "{facts:#?}");
        self.state = after;
        effects
    }

    /// The epoch that events of the attempt or session must carry.
    fn epoch(&self) -> u64 {
        self.state.live_epoch().unwrap_or(self.state.memory.epoch)
    }

    fn start(&mut self) -> Vec<Effect> {
        self.send(Event::Start)
    }

    fn accept(&mut self) -> Vec<Effect> {
        self.accept_as(LineageMatch::Same)
    }

    fn accept_as(&mut self, lineage: LineageMatch) -> Vec<Effect> {
        let epoch = self.epoch();
        self.send(Event::ConnectOk { epoch, info: info(epoch, lineage) })
    }

    fn refuse(&mut self) -> Vec<Effect> {
        self.refuse_with(Fault::Passing, None)
    }

    fn refuse_with(&mut self, fault: Fault, retry_after: Option<f64>) -> Vec<Effect> {
        let epoch = self.epoch();
        let retry_after = retry_after.map(secs);
        self.send(Event::ConnectFailed { epoch, fault, message: "refused".into(), retry_after })
    }

    fn ack(&mut self, action: Action) -> Vec<Effect> {
        let epoch = self.epoch();
        self.send(Event::HeartbeatAcked { epoch, action })
    }

    fn miss(&mut self) -> Vec<Effect> {
        let epoch = self.epoch();
        self.send(Event::HeartbeatMissed { epoch })
    }

    fn lose(&mut self) -> Vec<Effect> {
        let epoch = self.epoch();
        self.send(Event::ConnectionLost { epoch, loss: Loss::Closed })
    }

    fn fail_sync(&mut self, fault: Fault) -> Vec<Effect> {
        let epoch = self.epoch();
        self.send(Event::SyncFailed { epoch, fault, message: "refused".into() })
    }

    fn probe(&mut self, central: &str, ok: bool) -> Vec<Effect> {
        let (epoch, central) = (self.epoch(), CentralId::new(central));
        self.send(if ok { Event::ProbeOk { epoch, central } } else { Event::ProbeFailed { epoch, central } })
    }

    fn list(&mut self, centrals: &str) -> Vec<Effect> {
        self.send(Event::CentralNodesChanged(nodes(centrals)))
    }

    fn advance(&mut self, seconds: f64) {
        self.now = self.now.plus(secs(seconds));
    }

    /// Time until the deadline, seconds.
    fn wait(&self) -> Option<f64> {
        deadline(&self.state).map(|at| at.since(self.now).as_secs_f64())
    }

    /// Lets time pass up to the deadline and sends the tick.
    fn tick(&mut self) -> Vec<Effect> {
        if let Some(at) = deadline(&self.state) {
            self.now = self.now.max(at);
        }
        self.send(Event::Tick)
    }

    /// The node of the open session.
    fn central(&self) -> Option<&str> {
        self.state.session().map(|session| session.central.as_str())
    }

    fn shown(&self) -> PeerState {
        self.state.peer_state()
    }

    /// Started, connected to the first node, with one heartbeat acknowledged.
    fn monitoring(policy: Policy) -> Self {
        let mut peer = Self::with(policy);
        peer.start();
        peer.accept();
        peer.ack(Action::None);
        peer
    }

    /// Started, with every node refusing once.
    fn isolated() -> Self {
        let mut peer = Self::new();
        peer.start();
        for _ in 0..3 {
            peer.refuse();
        }
        peer
    }
}

fn info(epoch: u64, lineage: LineageMatch) -> SessionInfo {
    SessionInfo {
        session: SessionId::new(format!("s{epoch}")),
        central_version: Version::FIRST,
        lineage,
        replica: Holdings::Held { checkpoint_of: None },
    }
}

/// The node that gets dialled.
fn dialled(effects: &[Effect]) -> Option<&str> {
    effects.iter().find_map(|effect| match effect {
        Effect::Dial { central, .. } => Some(central.as_str()),
        _ => None,
    })
}

/// The facts told.
fn told(effects: &[Effect]) -> Vec<Report> {
    let report = |effect: &Effect| match effect {
        Effect::Report(report) => Some(report.clone()),
        _ => None,
    };
    effects.iter().filter_map(report).collect()
}
