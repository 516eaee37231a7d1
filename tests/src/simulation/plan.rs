//! What goes wrong in a run: drawn from its seed, before it begins, so that it can be printed, shortened and repeated.

use std::{fmt, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng, seq::IndexedRandom as _};

use super::{database::Condition, liar::Tale, net::Host};

/// Size of a network, and how long things go wrong in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Central nodes.
    pub centrals: u8,
    /// Peers.
    pub peers: u8,
    /// Publishers.
    pub publishers: u8,
    /// Time in which faults begin, after a quiet start.
    pub trouble: Duration,
}

impl Default for Shape {
    fn default() -> Self {
        Self { centrals: 3, peers: 20, publishers: 3, trouble: Duration::from_secs(240) }
    }
}

/// Time before the first fault.
pub const QUIET_START: Duration = Duration::from_secs(30);

/// Which way nothing passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Neither.
    Both,
    /// From the peers to the central nodes.
    Up,
    /// From the central nodes to the peers.
    Down,
}

/// Something that goes wrong for a while.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A peer is cut off from all central nodes.
    CutPeer(u8, Way),
    /// A central node is cut off from all peers.
    CutCentral(u8, Way),
    /// A peer is cut off from one central node.
    CutPair(u8, u8, Way),
    /// What a host sends and gets takes this long, and some of it is lost at first.
    Slow(Host, Duration, f64),
    /// A process stands still; its kernel still accepts connections.
    Hang(Host),
    /// SIGKILL; started again at the end.
    Kill(Host),
    /// The machine loses power; it has power again at the end.
    PowerCut(Host),
    /// SIGTERM; started again at the end.
    Stop(Host),
    /// SIGKILL of every peer at once.
    KillAllPeers,
    /// A peer dies in the middle of a commit, after so many writes.
    CrashInCommit(u8, u32),
    /// A peer's disk takes nothing more.
    FullDisk(u8),
    /// A peer is killed and bits of its file are flipped at so many places.
    Corrupt(u8, usize),
    /// The central nodes' database is not well.
    Database(Condition),
    /// A host's clock is wrong by so many milliseconds.
    Skew(Host, i64),
    /// Every connection of a central node is reset, over and over.
    Storm(u8),
    /// The publishers publish as fast as they get answers.
    Burst,
    /// A central node contradicts the register that it served.
    Lies(u8, Tale),
}

/// A fault with its time.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// When it begins, from the start of the run.
    pub at: Duration,
    /// How long it lasts.
    pub lasts: Duration,
    /// Turns of the scheduler that it lets pass before it strikes, so that it strikes between any two awaits.
    pub turns: u32,
    /// What it is.
    pub fault: Fault,
}

impl Planned {
    /// When it ends.
    #[must_use]
    pub fn end(&self) -> Duration {
        self.at + self.lasts
    }
}

/// The faults of a seed, in the order in which they begin.
#[must_use]
pub fn plan(seed: u64, shape: Shape) -> Vec<Planned> {
    let mut planned = faults(seed, shape);
    planned.extend(lies(seed, shape));
    planned.sort_by_key(|planned| planned.at);
    planned
}

/// All but the lies.
fn faults(seed: u64, shape: Shape) -> Vec<Planned> {
    let mut rng = SmallRng::seed_from_u64(seed ^ 0x005e_ed0f_fa17);
    // Some runs have one fault at a time, others many at once; some have only a few kinds of them.
    let gap = rng.random_range(4.0..40.0);
    let kinds: Vec<u8> = (0..KINDS).filter(|_| rng.random::<f64>() < 0.6).collect();
    let mut at = QUIET_START.as_secs_f64();
    let mut planned = Vec::new();
    loop {
        at += 2.0 * gap * rng.random::<f64>();
        if at > (QUIET_START + shape.trouble).as_secs_f64() {
            return planned;
        }
        let Some(kind) = kinds.choose(&mut rng) else { return planned };
        let fault = draw(*kind, shape, &mut rng);
        let lasts = lasting(&fault, &mut rng);
        let turns = if rng.random() { rng.random_range(0..60) } else { 0 };
        planned.push(Planned { at: Duration::from_millis((at * 1000.0) as u64), lasts, turns, fault });
    }
}

/// The lies of a seed. They have draws of their own, so that the other faults of a seed are the same with them and without.
fn lies(seed: u64, shape: Shape) -> Vec<Planned> {
    let mut rng = SmallRng::seed_from_u64(seed ^ 0x11e5);
    if rng.random::<f64>() >= LYING {
        return Vec::new();
    }
    let count = rng.random_range(1..=4);
    let mut draw = || {
        let at = QUIET_START.as_secs_f64() + shape.trouble.as_secs_f64() * rng.random::<f64>();
        let fault = Fault::Lies(rng.random_range(0..shape.centrals), Tale::draw(&mut rng));
        let lasts = Duration::from_millis(rng.random_range(10_000..90_000));
        Planned {
            at: Duration::from_millis((at * 1000.0) as u64),
            lasts,
            turns: rng.random_range(0..60),
            fault,
        }
    };
    (0..count).map(|_| draw()).collect()
}

/// Share of the seeds in which central nodes lie.
const LYING: f64 = 0.35;
const KINDS: u8 = 16;

fn draw(kind: u8, shape: Shape, rng: &mut SmallRng) -> Fault {
    let peer = rng.random_range(0..shape.peers);
    let central = rng.random_range(0..shape.centrals);
    let way = [Way::Both, Way::Up, Way::Down][rng.random_range(0..3)];
    let host = if rng.random() { Host::Central(central) } else { Host::Peer(peer) };
    match kind {
        0 => Fault::CutPeer(peer, way),
        1 => Fault::CutCentral(central, way),
        2 => Fault::CutPair(peer, central, way),
        3 => {
            let latency = Duration::from_millis(rng.random_range(50..2000));
            Fault::Slow(host, latency, rng.random_range(0.0..0.3))
        }
        4 => Fault::Hang(host),
        5 => Fault::Kill(Host::Central(central)),
        6 => Fault::Kill(Host::Peer(peer)),
        7 => Fault::PowerCut(host),
        8 => Fault::Stop(host),
        9 => Fault::KillAllPeers,
        10 => Fault::CrashInCommit(peer, rng.random_range(1..40)),
        11 => Fault::FullDisk(peer),
        12 => Fault::Corrupt(peer, rng.random_range(1..6)),
        13 => Fault::Database(match rng.random_range(0..3) {
            0 => Condition::Away,
            1 => Condition::Slow(Duration::from_millis(rng.random_range(100..8000))),
            _ => Condition::Forgets(rng.random_range(0.1..0.8)),
        }),
        14 => Fault::Skew(host, rng.random_range(-200_000..200_000)),
        _ if rng.random() => Fault::Storm(central),
        _ => Fault::Burst,
    }
}

fn lasting(fault: &Fault, rng: &mut SmallRng) -> Duration {
    let range = match fault {
        Fault::Kill(_) | Fault::Stop(_) | Fault::PowerCut(_) | Fault::CrashInCommit(..) => 0.5..60.0,
        Fault::KillAllPeers | Fault::Corrupt(..) => 0.5..10.0,
        Fault::Storm(_) | Fault::Burst => 1.0..20.0,
        _ => 1.0..100.0,
    };
    Duration::from_millis((rng.random_range(range) * 1000.0) as u64)
}

impl Fault {
    /// Whether a peer's session with a central node, or its replica, may suffer by it. A database that is not well is no
    /// excuse: peers are served from the log.
    #[must_use]
    pub fn touches(&self, peer: u8, central: Option<u8>) -> bool {
        let concerns = |host: &Host| *host == Host::Peer(peer) || central.map(Host::Central) == Some(*host);
        match self {
            Self::Slow(host, ..) | Self::Skew(host, _) => concerns(host),
            Self::Hang(host) | Self::Kill(host) | Self::PowerCut(host) | Self::Stop(host) => concerns(host),
            Self::CutPeer(cut, _)
            | Self::CrashInCommit(cut, _)
            | Self::FullDisk(cut)
            | Self::Corrupt(cut, _) => *cut == peer,
            Self::CutCentral(cut, _) | Self::Storm(cut) | Self::Lies(cut, _) => central == Some(*cut),
            Self::CutPair(cut, other, _) => *cut == peer && central == Some(*other),
            Self::KillAllPeers => true,
            Self::Database(_) | Self::Burst => false,
        }
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.at.as_secs_f64(), self.end().as_secs_f64());
        write!(f, "{from:8.3} s to {to:8.3} s  {}", self.fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutPeer(peer, way) => write!(f, "edge-{peer} is cut off from all central nodes{way}"),
            Self::CutCentral(central, way) => write!(f, "n{central} is cut off from all peers{way}"),
            Self::CutPair(peer, central, way) => write!(f, "edge-{peer} is cut off from n{central}{way}"),
            Self::Slow(host, latency, loss) => {
                write!(f, "{host} has {} ms and {:.0} % loss", latency.as_millis(), loss * 100.0)
            }
            Self::Hang(host) => write!(f, "{host} stands still"),
            Self::Kill(host) => write!(f, "{host} is killed"),
            Self::PowerCut(host) => write!(f, "{host} has no power"),
            Self::Stop(host) => write!(f, "{host} is asked to stop"),
            Self::KillAllPeers => f.write_str("all peers are killed"),
            Self::CrashInCommit(peer, writes) => {
                write!(f, "edge-{peer} dies after {writes} writes to its disk")
            }
            Self::FullDisk(peer) => write!(f, "the disk of edge-{peer} is full"),
            Self::Corrupt(peer, places) => {
                write!(f, "edge-{peer} is killed, bits of its file flip at {places} places")
            }
            Self::Database(condition) => write!(f, "the database: {condition:?}"),
            Self::Skew(host, millis) => write!(f, "the clock of {host} is wrong by {millis} ms"),
            Self::Storm(central) => write!(f, "all connections of n{central} are reset, over and over"),
            Self::Burst => f.write_str("a burst of publications"),
            Self::Lies(central, tale) => write!(f, "n{central} lies: {tale}"),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Both => "",
            Self::Up => ", on the way there",
            Self::Down => ", on the way back",
        })
    }
}
