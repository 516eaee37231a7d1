//! Random histories: a pull is always due, nothing is pushed into what it may not follow, and what is asked for is done.

use proptest::{collection::vec, prelude::*};

use super::*;

const CENTRAL_NODES: usize = 3;

fn fault() -> impl Strategy<Value = SyncFault> {
    prop_oneof![
        Just(refused()),
        Just(SyncFault::Lost(Loss::Closed)),
        Just(SyncFault::Rejected),
        Just(SyncFault::Central(Fault::Passing)),
        Just(SyncFault::Central(Fault::Fatal)),
        Just(SyncFault::Stalled),
        Just(SyncFault::Blameless),
    ]
}

/// No hint puts a pull off for longer than the interval.
fn failing() -> impl Strategy<Value = SyncFailure> {
    let hint = (0..200u64, 0.0..1.0f64).prop_map(|(after, draw)| RetryHint { after: secs(after), draw });
    (fault(), proptest::option::of(hint)).prop_map(|(fault, hint)| failure(fault, hint))
}

fn closing() -> impl Strategy<Value = Closing> {
    let hint = proptest::option::of((0..900u64).prop_map(secs));
    prop_oneof![
        1 => hint.prop_map(|retry_after| Closing::Ended { retry_after }),
        1 => Just(Closing::Unoffered),
        4 => Just(Closing::Stalled { why: "why".into(), central_nodes: CENTRAL_NODES }),
        1 => Just(Closing::Lost(Loss::Keepalive)),
        1 => Just(Closing::Rejected),
    ]
}

fn event() -> impl Strategy<Value = SyncEvent> {
    let outcome = prop_oneof![
        4 => Just(PullOutcome::Complete),
        1 => Just(PullOutcome::Behind),
        1 => Just(PullOutcome::Diverged),
        1 => Just(PullOutcome::Overtaken),
        4 => failing().prop_map(PullOutcome::Failed),
    ];
    prop_oneof![
        4 => any::<(bool, bool)>().prop_map(|(full, damaged)| SyncEvent::PullBegins { full, damaged }),
        2 => Just(SyncEvent::PullFetched),
        4 => outcome.prop_map(SyncEvent::PullEnded),
        1 => Just(SyncEvent::PullDied("why".into())),
        3 => any::<bool>().prop_map(|sound| SyncEvent::PushOpened { sound }),
        3 => (0..3u64).prop_map(|received| SyncEvent::PushArrived { received }),
        3 => (0..3u64).prop_map(|received| SyncEvent::PushHeld { received }),
        2 => Just(SyncEvent::PushStored),
        2 => Just(SyncEvent::PushNoticed),
        2 => failing().prop_map(SyncEvent::PushFailed),
        3 => closing().prop_map(SyncEvent::PushClosed),
        1 => Just(SyncEvent::PushDied("why".into())),
    ]
}

fn beginning() -> impl Strategy<Value = Trial> {
    let plan = prop_oneof![Just(SyncPlan::Resume), Just(SyncPlan::Full)];
    let relation = prop_oneof![Just(Relation::Level), Just(Relation::Open), Just(Relation::Unproven)];
    (plan, relation, any::<bool>()).prop_map(|(plan, relation, sound)| Trial::begin(plan, relation, sound))
}

/// What a history has brought, worked out from its events alone.
#[derive(Debug)]
struct Past {
    is_running: bool,
    is_pulled: bool,
    is_level: bool,
    wants_full: bool,
    /// Central nodes left since a push stream was open.
    moves: usize,
}

impl Past {
    fn of(ways: &Trial) -> Self {
        let wants_full = ways.state.plan() == SyncPlan::Full;
        let (is_pulled, is_level) = (ways.state.is_pulled, ways.state.is_level);
        Self { is_running: false, is_pulled, is_level, wants_full, moves: 0 }
    }

    fn see(&mut self, event: &SyncEvent) {
        match event {
            SyncEvent::PullBegins { full, .. } => {
                (self.is_running, self.wants_full) = (true, self.wants_full || *full)
            }
            SyncEvent::PullEnded(outcome) => {
                (self.is_running, self.is_pulled) = (false, true);
                match outcome {
                    PullOutcome::Complete => (self.is_level, self.wants_full) = (true, false),
                    PullOutcome::Behind => self.is_level = false,
                    PullOutcome::Diverged => self.wants_full = true,
                    PullOutcome::Overtaken | PullOutcome::Failed(_) => {}
                }
            }
            SyncEvent::PullDied(_) => self.is_running = false,
            SyncEvent::PushOpened { .. } => self.moves = 0,
            _ => {}
        }
        if let SyncEvent::PullEnded(PullOutcome::Failed(failure)) | SyncEvent::PushFailed(failure) = event {
            self.is_level &= failure.fault != refused();
        }
    }
}

/// The events for the machine.
fn told(effects: &[SyncEffect]) -> Vec<&Event> {
    let told =
        effects.iter().map(|effect| if let SyncEffect::Tell(event) = effect { Some(event) } else { None });
    told.flatten().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pull_is_always_due_and_nothing_is_pushed_before_it_may_be(
        mut ways in beginning(),
        history in vec((event(), prop_oneof![Just(0), 0..400u64]), 0..80),
    ) {
        let mut past = Past::of(&ways);
        for (event, seconds) in history {
            ways.now = ways.now.plus(secs(seconds));
            past.see(&event);
            let before = ways.state;
            let effects = ways.send(event.clone());
            let state = ways.state;

            let latest = ways.now.plus(POLICY.interval);
            prop_assert!(past.is_running || state.pull_at().is_some_and(|at| at <= latest), "{state:?}");
            prop_assert_eq!(state.may_push(), past.is_pulled && past.is_level);
            let let_push = effects.iter().any(|effect| matches!(effect, SyncEffect::LetPush));
            prop_assert!(let_push || before.may_push() || !state.may_push());
            prop_assert_eq!(state.plan() == SyncPlan::Full, past.wants_full);
            prop_assert!(!state.is_replacing() || past.is_running);
            let holds = effects.iter().any(|effect| matches!(effect, SyncEffect::Hold(_)));
            prop_assert!(!holds || state.is_replacing());

            let told = told(&effects);
            prop_assert!(told.iter().all(|event| event.epoch() == Some(EPOCH)));
            let succeeded = told.iter().any(|event| matches!(event, Event::SyncSucceeded { .. }));
            prop_assert_eq!(succeeded, event == SyncEvent::PullEnded(PullOutcome::Complete));
            if matches!(event, SyncEvent::PushClosed(Closing::Stalled { .. })) && !told.is_empty() {
                past.moves += 1;
            }
            prop_assert!(past.moves < CENTRAL_NODES);
        }
    }

    #[test]
    fn what_is_pushed_waits_for_a_pull_that_gets_on_and_for_no_other(bytes in vec(0..3u64, 1..20)) {
        let mut ways = Trial::begin(SyncPlan::Full, Relation::Open, true)
            .after(0, [SyncEvent::PullBegins { full: true, damaged: false }]);
        let mut received = 0;
        let mut held = !ways.send(SyncEvent::PushArrived { received }).is_empty();
        prop_assert!(held);
        for more in bytes {
            received += more;
            let event = if held { SyncEvent::PushHeld { received } } else { SyncEvent::PushArrived { received } };
            held = !ways.send(event).is_empty();
            prop_assert_eq!(held, more > 0);
        }
        ways.send(SyncEvent::PullFetched);
        let held = !ways.send(SyncEvent::PushArrived { received }).is_empty();
        prop_assert!(!held);
    }
}

#[test]
fn push_streams_that_open_again_and_again_put_no_periodic_pull_off() {
    let mut ways = Trial::begin(SyncPlan::Resume, Relation::Level, false);
    for _ in 0..3 {
        let pull = [
            SyncEvent::PullBegins { full: false, damaged: false },
            SyncEvent::PullFetched,
            SyncEvent::PullEnded(PullOutcome::Complete),
        ];
        ways = ways.after(0, pull);
        let due = ways.now.plus(POLICY.interval);
        while ways.now.plus(secs(7)) < due {
            let closed = Closing::Ended { retry_after: Some(secs(60)) };
            // It was closed, with a hint to pull later, and is open again.
            ways = ways.after(7, [SyncEvent::PushClosed(closed), SyncEvent::PushOpened { sound: true }]);
            assert_eq!(ways.state.pull_at(), Some(due));
        }
        ways.now = due;
    }
}
