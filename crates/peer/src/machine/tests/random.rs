//! Random histories: whatever happens, every invariant holds at every step, and a healthy network ends every outage.

use proptest::{collection::vec, prelude::*};

use super::{table::with_epoch, *};
use crate::failover::Failback;

/// One thing that happens, with the time that passed before it.
#[derive(Clone, Debug)]
struct Happening {
    event: Event,
    epoch: Epoch,
    millis: u64,
    draw: f64,
}

/// Whose event it is.
#[derive(Clone, Copy, Debug)]
enum Epoch {
    Current,
    Fixed(u64),
}

fn name() -> impl Strategy<Value = CentralId> {
    (0..5u8).prop_map(|n| CentralId::new(format!("n{n}")))
}

fn policy() -> impl Strategy<Value = Policy> {
    let failback = prop_oneof![
        Just(Failback::Never),
        (0..200u64).prop_map(|seconds| Failback::AfterStable(Duration::from_secs(seconds)))
    ];
    (failback, 0..4000u64, 0..4u32, 0..4u32, 0..4u32).prop_map(
        |(failback, jitter, max_missed, max_sync_failures, probe_successes)| Policy {
            failback,
            failover_jitter: Duration::from_millis(jitter),
            max_missed,
            max_sync_failures,
            probe_successes,
            ..Policy::default()
        },
    )
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![Just(Fault::Passing), Just(Fault::Fatal), Just(Fault::Refused)]
}

fn connect_ok() -> impl Strategy<Value = Event> {
    let lineage = prop_oneof![
        6 => Just(LineageMatch::Same),
        1 => Just(LineageMatch::FirstVisit),
        1 => Just(LineageMatch::Unknown),
        1 => Just(LineageMatch::Foreign),
    ];
    let replica = prop_oneof![
        Just(Holdings::Empty),
        Just(Holdings::Diverged),
        proptest::option::of(name()).prop_map(|checkpoint_of| Holdings::Held { checkpoint_of })
    ];
    (lineage, replica).prop_map(|(lineage, replica)| Event::ConnectOk {
        epoch: 0,
        info: SessionInfo { replica, ..info(0, lineage) },
    })
}

fn connect_failed() -> impl Strategy<Value = Event> {
    let hint = proptest::option::of((0..100_000u64).prop_map(Duration::from_millis));
    (fault(), hint).prop_map(|(fault, retry_after)| Event::ConnectFailed {
        epoch: 0,
        fault,
        message: String::new(),
        retry_after,
    })
}

fn event() -> impl Strategy<Value = Event> {
    let action = prop_oneof![
        4 => Just(Action::None),
        1 => Just(Action::Sync),
        1 => Just(Action::ReduceFrequency),
        1 => Just(Action::Failover),
        1 => Just(Action::Reconnect),
    ];
    let loss = prop_oneof![Just(Loss::Closed), Just(Loss::Unavailable), Just(Loss::Keepalive)];
    prop_oneof![
        6 => connect_ok(),
        6 => connect_failed(),
        8 => Just(Event::Tick),
        6 => action.prop_map(|action| Event::HeartbeatAcked { epoch: 0, action }),
        3 => Just(Event::HeartbeatMissed { epoch: 0 }),
        2 => loss.prop_map(|loss| Event::ConnectionLost { epoch: 0, loss }),
        1 => Just(Event::SessionRejected { epoch: 0 }),
        1 => Just(Event::SyncSucceeded { epoch: 0 }),
        2 => fault().prop_map(|fault| Event::SyncFailed { epoch: 0, fault, message: String::new() }),
        1 => Just(Event::ReplicaDiverged { epoch: 0 }),
        3 => name().prop_map(|central| Event::ProbeOk { epoch: 0, central }),
        1 => name().prop_map(|central| Event::ProbeFailed { epoch: 0, central }),
        1 => Just(Event::ReconnectRequested),
        1 => Just(Event::Start),
        1 => vec(name(), 0..5).prop_map(Event::CentralNodesChanged),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    let epoch = prop_oneof![9 => Just(Epoch::Current), 1 => (0..40u64).prop_map(Epoch::Fixed)];
    let millis = prop_oneof![Just(0), 0..2_000u64, 0..120_000u64];
    let draw = prop_oneof![8 => 0.0..1.0f64, 1 => Just(0.0), 1 => proptest::num::f64::ANY];
    (event(), epoch, millis, draw).prop_map(|(event, epoch, millis, draw)| Happening {
        event,
        epoch,
        millis,
        draw,
    })
}

impl Peer {
    /// `send` checks the invariants.
    fn live(&mut self, happening: Happening) {
        self.now = self.now.plus(Duration::from_millis(happening.millis));
        self.draw = happening.draw;
        let epoch = match happening.epoch {
            Epoch::Current => self.epoch(),
            Epoch::Fixed(epoch) => epoch,
        };
        self.send(with_epoch(happening.event, epoch));
    }

    /// From now on every dial succeeds and every heartbeat is acknowledged.
    fn recover(&mut self) {
        self.draw = 1.0;
        for _ in 0..4 {
            match self.shown() {
                PeerState::HeartbeatMonitoring => return,
                PeerState::Disconnected => drop(self.start()),
                PeerState::Connected => drop(self.ack(Action::None)),
                PeerState::Connecting | PeerState::Isolated if self.state.live_epoch().is_some() => {
                    self.accept();
                }
                PeerState::Connecting | PeerState::Isolated => drop(self.tick()),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_and_a_healthy_network_ends_every_outage(
        policy in policy(),
        centrals in vec(name(), 0..5),
        history in vec(happening(), 0..120),
    ) {
        let mut peer = Peer { state: State::new(centrals), ..Peer::with(policy) };
        peer.start();
        for happening in history {
            peer.live(happening);
        }
        let outage_began = peer.now;
        peer.recover();
        if peer.state.memory.centrals.is_empty() {
            prop_assert_eq!(peer.shown(), PeerState::Isolated);
        } else {
            prop_assert_eq!(peer.shown(), PeerState::HeartbeatMonitoring);
            // Greatest hint drawn plus the greatest delay.
            prop_assert!(peer.now.since(outage_began) <= Duration::from_secs(160));
        }
        peer.send(Event::Stop);
        prop_assert_eq!(peer.shown(), PeerState::Disconnected);
        prop_assert_eq!(peer.state.live_epoch(), None);
    }

    #[test]
    fn waits_of_an_isolated_peer_stay_within_the_rounds_delays(
        draws in vec(0.0..1.0f64, 1..20),
    ) {
        let mut peer = Peer::isolated();
        let isolated = peer.now;
        for (round, draw) in draws.into_iter().enumerate() {
            peer.draw = draw;
            peer.tick();
            (0..3).for_each(|_| drop(peer.refuse()));
            let base = [2.0, 4.0, 8.0, 16.0, 32.0].get(round).copied().unwrap_or(60.0);
            let base = f64::min(base, peer.now.since(isolated).as_secs_f64() + 1.0);
            let wait = peer.wait().unwrap_or(f64::NAN);
            prop_assert!((wait - base * draw).abs() < 1e-6, "round {}: {}", round, wait);
        }
    }
}
