//! How large each measure is: in full, or just to see that it works.

use std::time::Duration;

use crate::{
    closed_loop::Stretch,
    push::{
        Case,
        publisher::{Pace, Plan},
    },
};

/// Publications under way at once when the most deliveries are sought.
const WINDOW: usize = 64;

/// Sizes and durations of all measures.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    pub(crate) sync: Sync,
    pub(crate) start_up: StartUp,
    pub(crate) push: Vec<Case>,
    pub(crate) publish: Publish,
    pub(crate) reads: Reads,
    pub(crate) idle: Idle,
    pub(crate) memory: Memory,
    pub(crate) reconnect: Reconnect,
    pub(crate) failover: Failover,
    pub(crate) staleness: Staleness,
}

/// Publishers that wait for each acknowledgement.
#[derive(Clone, Debug)]
pub(crate) struct Publish {
    pub(crate) publishers: Vec<usize>,
    pub(crate) stretch: Stretch,
    pub(crate) repetitions: usize,
}

/// Readers that wait for each answer.
#[derive(Clone, Debug)]
pub(crate) struct Reads {
    pub(crate) connections: Vec<usize>,
    pub(crate) stretch: Stretch,
    pub(crate) repetitions: usize,
}

/// Registers whose nodes' memory is looked at.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) registers: Vec<Holding>,
    /// Connections that read at once.
    pub(crate) readers: usize,
    /// How long a full sync may take.
    pub(crate) patience: Duration,
}

/// What one register holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holding {
    pub(crate) documents: usize,
    /// Of each document.
    pub(crate) bytes: usize,
    /// Documents that each reader asks for.
    pub(crate) reads: usize,
    /// Whether more peers sync at once; each needs the register's room on the disk.
    pub(crate) together: bool,
}

/// Idle peers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    pub(crate) peers: usize,
    pub(crate) settle: Duration,
    pub(crate) watch: Duration,
}

/// Peers that lose their central node for a while.
#[derive(Clone, Debug)]
pub(crate) struct Reconnect {
    pub(crate) peers: usize,
    /// Lengths of the outage.
    pub(crate) down: Vec<Duration>,
}

/// Peers that lose one of two central nodes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failover {
    pub(crate) peers: usize,
    pub(crate) repetitions: usize,
}

/// Peers while publications go on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Staleness {
    pub(crate) peers: usize,
    pub(crate) duration: Duration,
}

/// A full sync.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sync {
    pub(crate) entries: usize,
    pub(crate) repetitions: usize,
}

/// The start of registers.
#[derive(Clone, Debug)]
pub(crate) struct StartUp {
    /// One register for each.
    pub(crate) entries: Vec<usize>,
    pub(crate) repetitions: usize,
}

const fn rate(per_second: f64, warm_up: u64, duration: u64) -> Plan {
    Plan {
        pace: Pace::PerSecond(per_second),
        warm_up: Duration::from_secs(warm_up),
        duration: Duration::from_secs(duration),
    }
}

const fn most(warm_up: u64, duration: u64) -> Plan {
    Plan {
        pace: Pace::Window(WINDOW),
        warm_up: Duration::from_secs(warm_up),
        duration: Duration::from_secs(duration),
    }
}

const fn stretch(warm_up_ms: u64, duration_ms: u64) -> Stretch {
    Stretch { warm_up: Duration::from_millis(warm_up_ms), duration: Duration::from_millis(duration_ms) }
}

const SECOND: Duration = Duration::from_secs(1);

impl Scale {
    /// What the published figures are made with.
    pub(crate) fn full() -> Self {
        Self {
            sync: Sync { entries: 100_000, repetitions: 5 },
            start_up: StartUp { entries: vec![22_600, 100_000], repetitions: 7 },
            push: vec![
                Case { name: "100 peers, 20/s", subscribers: 100, plan: rate(20.0, 3, 12), repetitions: 3 },
                Case { name: "1000 peers, 10/s", subscribers: 1000, plan: rate(10.0, 3, 12), repetitions: 3 },
                Case { name: "100 peers, most", subscribers: 100, plan: most(3, 7), repetitions: 3 },
            ],
            publish: Publish { publishers: vec![1, 4, 16, 64], stretch: stretch(1000, 4000), repetitions: 3 },
            reads: Reads { connections: vec![1, 16, 256], stretch: stretch(500, 2500), repetitions: 3 },
            idle: Idle { peers: 10_000, settle: SECOND * 35, watch: SECOND * 120 },
            memory: Memory {
                registers: vec![
                    Holding { documents: 100_000, bytes: 2048, reads: 20, together: true },
                    Holding { documents: 1000, bytes: 4 << 20, reads: 2, together: true },
                    // Ten gigabytes.
                    Holding { documents: 2400, bytes: 4 << 20, reads: 2, together: false },
                ],
                readers: 1000,
                patience: SECOND * 600,
            },
            reconnect: Reconnect { peers: 1000, down: vec![Duration::ZERO, SECOND * 10] },
            failover: Failover { peers: 100, repetitions: 3 },
            staleness: Staleness { peers: 100, duration: SECOND * 30 },
        }
    }

    /// A few seconds each, to see that everything works.
    pub(crate) fn quick() -> Self {
        Self {
            sync: Sync { entries: 2000, repetitions: 2 },
            start_up: StartUp { entries: vec![2000], repetitions: 2 },
            push: vec![
                Case { name: "10 peers, 20/s", subscribers: 10, plan: rate(20.0, 1, 1), repetitions: 1 },
                Case { name: "10 peers, most", subscribers: 10, plan: most(1, 1), repetitions: 1 },
            ],
            publish: Publish { publishers: vec![1, 64], stretch: stretch(200, 600), repetitions: 1 },
            reads: Reads { connections: vec![1, 256], stretch: stretch(50, 200), repetitions: 1 },
            idle: Idle { peers: 50, settle: SECOND, watch: SECOND * 2 },
            memory: Memory {
                registers: vec![
                    Holding { documents: 2000, bytes: 2048, reads: 2, together: true },
                    Holding { documents: 4, bytes: 4 << 20, reads: 2, together: false },
                ],
                readers: 20,
                patience: SECOND * 60,
            },
            reconnect: Reconnect { peers: 10, down: vec![Duration::ZERO] },
            failover: Failover { peers: 5, repetitions: 1 },
            staleness: Staleness { peers: 10, duration: SECOND * 4 },
        }
    }
}
