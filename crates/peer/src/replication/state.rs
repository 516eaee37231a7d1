//! Where the replication of a session stands.

use std::time::Duration;

use sorcha_register::clock::Monotonic;

use super::SyncPolicy;
use crate::machine::effect::SyncPlan;

/// A push stream that is open by then makes the first pull needless, where everything is held already.
const HEAD_START: Duration = Duration::from_secs(5);

/// The whole state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replication {
    /// Of the session.
    pub(super) epoch: u64,
    /// The kind of the next pull, or of the one that runs.
    pub(super) plan: SyncPlan,
    /// When the next pull is due; `None` while one runs and no other is asked for.
    pub(super) pull_at: Option<Monotonic>,
    /// The periodic pull takes place by then, whatever push streams bring.
    pub(super) pull_by: Monotonic,
    /// The first pull has ended, where one comes before the push stream.
    pub(super) is_pulled: bool,
    /// What is pushed may be added to what is held: the central node continues it, or can't show that it does.
    pub(super) is_level: bool,
    /// Syncs that failed in a row, on either way.
    pub(super) failures: u32,
    /// A pull runs that puts a replica of its own in the old one's place.
    pub(super) is_replacing: bool,
    pub(super) push: PushWay,
}

/// The way of the push stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PushWay {
    /// When the stream is to be opened; `None`: when a user asks.
    pub(super) open_at: Option<Monotonic>,
    /// Times in a row that the central node did not answer.
    pub(super) stalls: u32,
    /// Central nodes that the peer has left because they did not answer, since a stream was open. Each is tried once.
    pub(super) moves: u32,
    /// What was pushed last could not be taken.
    pub(super) has_failed: bool,
    pub(super) patience: Patience,
}

/// Whether what is pushed waits for a pull that replaces the replica; by the bytes that had been received then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    Fresh,
    Waiting(u64),
    /// The pull did not get on: it is waited for once more bytes have come.
    Gone(u64),
}

/// What a session begins with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning {
    pub(crate) epoch: u64,
    /// The plan that the connection's machine made, or a request that is not done yet.
    pub(crate) plan: SyncPlan,
    pub(crate) relation: Relation,
    /// Nothing is wrong with the replica or the last sync that a pull would have to put right.
    pub(crate) sound: bool,
    /// Central nodes left because they did not answer when the push stream was to be opened.
    pub(crate) moves: u32,
}

/// What the central node has shown of its register when the session begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// It is what is held, by lineage, version and digest.
    Level,
    /// Any register may be added to: nothing is held, or the central node is of the original contract and can't show more.
    Open,
    /// Nothing yet.
    Unproven,
}

impl Replication {
    /// Before anything was pulled or pushed.
    pub(crate) fn begin(beginning: Beginning, policy: &SyncPolicy, now: Monotonic) -> Self {
        let Beginning { epoch, plan, relation, sound, moves } = beginning;
        let pushes_first = plan == SyncPlan::Resume && relation == Relation::Level && sound;
        let first_in = if pushes_first { HEAD_START } else { Duration::ZERO };
        Self {
            epoch,
            plan,
            pull_at: Some(now.plus(first_in)),
            pull_by: now.plus(policy.interval),
            is_pulled: pushes_first,
            is_level: relation != Relation::Unproven,
            failures: 0,
            is_replacing: false,
            push: PushWay {
                open_at: policy.push.then_some(now),
                stalls: 0,
                moves,
                has_failed: false,
                patience: Patience::Fresh,
            },
        }
    }

    /// The kind of the next pull, or of the one that runs.
    pub(crate) const fn plan(&self) -> SyncPlan {
        self.plan
    }

    /// When the next pull is due; `None` while one runs and no other is asked for.
    pub(crate) const fn pull_at(&self) -> Option<Monotonic> {
        self.pull_at
    }

    /// A pull runs that puts a replica of its own in the old one's place.
    pub(crate) const fn is_replacing(&self) -> bool {
        self.is_replacing
    }

    /// When the push stream is to be opened, if it may be; `None`: when a user asks.
    pub(crate) const fn open_at(&self) -> Option<Monotonic> {
        self.push.open_at
    }

    /// Whether the push stream may be opened.
    pub(crate) const fn may_push(&self) -> bool {
        self.is_pulled && self.is_level
    }

    /// Central nodes left because they did not answer; for the next session.
    pub(crate) const fn moves(&self) -> u32 {
        self.push.moves
    }
}
