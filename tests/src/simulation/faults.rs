//! Makes what is planned happen, and stop happening. Where faults overlap, what holds follows from all that are active.

use std::{cell::RefCell, rc::Rc, time::Duration};

use super::{
    database::Condition,
    history::What,
    net::Host,
    plan::{Fault, Planned, Way},
    world::World,
};

/// Time between two resets of a storm.
const STORM: Duration = Duration::from_millis(700);

/// The faults that are active now.
#[derive(Default)]
pub(super) struct Active(RefCell<Vec<Fault>>);

impl Active {
    fn any(&self, holds: impl Fn(&Fault) -> bool) -> bool {
        self.0.borrow().iter().any(holds)
    }

    /// Whether a host's process is kept down.
    pub(super) fn keeps_down(&self, host: Host) -> bool {
        self.any(|fault| match fault {
            Fault::Kill(down) | Fault::PowerCut(down) | Fault::Stop(down) => *down == host,
            Fault::CrashInCommit(peer, _) | Fault::Corrupt(peer, _) => Host::Peer(*peer) == host,
            Fault::KillAllPeers => matches!(host, Host::Peer(_)),
            _ => false,
        })
    }

    /// Whether a central node's connections are reset all the time.
    pub(super) fn resets(&self, central: u8) -> bool {
        self.any(|fault| *fault == Fault::Storm(central))
    }

    /// Whether a central node lies.
    pub(super) fn lies(&self, central: u8) -> bool {
        self.any(|fault| matches!(fault, Fault::Lies(liar, _) if *liar == central))
    }

    fn has_no_power(&self, host: Host) -> bool {
        self.any(|fault| *fault == Fault::PowerCut(host))
    }
}

/// Runs the whole plan.
pub(super) async fn run(world: Rc<World>, plan: Vec<Planned>) {
    let mut edges: Vec<(Duration, bool, usize)> = Vec::new();
    for (number, planned) in plan.iter().enumerate() {
        edges.extend([(planned.at, true, number), (planned.end(), false, number)]);
    }
    edges.sort();
    for (at, begins, number) in edges {
        tokio::time::sleep_until(world.history.started() + at).await;
        let planned = &plan[number];
        for _ in 0..planned.turns {
            tokio::task::yield_now().await;
        }
        if begins { begin(&world, &planned.fault) } else { end(&world, &planned.fault) }
    }
}

fn begin(world: &Rc<World>, fault: &Fault) {
    world.history.record(What::Fault { fault: fault.clone(), begins: true });
    world.active.0.borrow_mut().push(fault.clone());
    match fault {
        Fault::Kill(host) => kill(world, *host),
        Fault::PowerCut(host) => cut_power(world, *host),
        Fault::Stop(Host::Central(central)) => world.central(*central).drain(),
        Fault::Stop(Host::Peer(peer)) => world.peer(*peer).stop(),
        Fault::KillAllPeers => world.peers.iter().for_each(|peer| peer.kill()),
        Fault::CrashInCommit(peer, writes) => crash_in_commit(world, *peer, *writes),
        Fault::Corrupt(peer, places) => {
            world.peer(*peer).kill();
            world.peer(*peer).corrupt(*places);
        }
        Fault::Storm(central) => storm(world, *central),
        _ => {}
    }
    refresh(world);
}

fn end(world: &Rc<World>, fault: &Fault) {
    world.history.record(What::Fault { fault: fault.clone(), begins: false });
    let mut active = world.active.0.borrow_mut();
    if let Some(at) = active.iter().position(|other| other == fault) {
        active.remove(at);
    }
    drop(active);
    refresh(world);
    world.start_all();
}

fn kill(world: &World, host: Host) {
    match host {
        Host::Central(central) => world.central(central).kill(),
        Host::Peer(peer) => world.peer(peer).kill(),
        Host::Publisher(_) => {}
    }
}

fn cut_power(world: &World, host: Host) {
    match host {
        Host::Central(central) => world.central(central).cut_power(),
        Host::Peer(peer) => world.peer(peer).cut_power(),
        Host::Publisher(_) => {}
    }
}

/// The disk takes so many more writes and then nothing; a little later the process is dead.
fn crash_in_commit(world: &Rc<World>, peer: u8, writes: u32) {
    world.peer(peer).disk.fail_after(writes);
    let world = Rc::clone(world);
    tokio::task::spawn_local(async move {
        tokio::time::sleep(Duration::from_millis(400)).await;
        world.peer(peer).cut_power();
    });
}

fn storm(world: &Rc<World>, central: u8) {
    let world = Rc::clone(world);
    tokio::task::spawn_local(async move {
        while world.active.resets(central) {
            world.net.reset_all(Host::Central(central));
            tokio::time::sleep(STORM).await;
        }
    });
}

/// Brings links, clocks, disks and the database to what all active faults make of them.
fn refresh(world: &World) {
    let active = world.active.0.borrow();
    for a in world.hosts() {
        for b in world.hosts().filter(|b| *b != a) {
            let (blocked, slow) = (active.iter().any(|f| blocks(f, a, b)), slowness(&active, a, b));
            world.net.change(a, b, |link| {
                *link = world.link;
                link.blocked = blocked;
                if let Some((latency, loss)) = slow {
                    (link.latency, link.jitter, link.loss) = (latency, latency / 4, loss);
                    link.bandwidth = 200e3;
                }
            });
        }
        world.net.hang(a, active.contains(&Fault::Hang(a)));
        let skew = active.iter().filter_map(|fault| match fault {
            Fault::Skew(host, millis) if *host == a => Some(*millis),
            _ => None,
        });
        world.set_skew(a, skew.sum());
    }
    for peer in &world.peers {
        peer.disk.fill(active.iter().any(|fault| *fault == Fault::FullDisk(peer.number)));
    }
    let ill = active.iter().rev().find_map(|fault| match fault {
        Fault::Database(condition) => Some(*condition),
        _ => None,
    });
    world.database.become_(ill.unwrap_or(Condition::Well));
    world.burst(active.contains(&Fault::Burst));
    for central in &world.centrals {
        let tale = active.iter().rev().find_map(|fault| match fault {
            Fault::Lies(liar, tale) if *liar == central.number => Some(*tale),
            _ => None,
        });
        world.liars.tell(central.number, tale);
    }
}

fn blocks(fault: &Fault, from: Host, to: Host) -> bool {
    let (peer, central, up) = match (from, to) {
        (Host::Peer(peer), Host::Central(central)) => (peer, central, true),
        (Host::Central(central), Host::Peer(peer)) => (peer, central, false),
        _ => return false,
    };
    let way = match fault {
        Fault::CutPeer(cut, way) if *cut == peer => *way,
        Fault::CutCentral(cut, way) if *cut == central => *way,
        Fault::CutPair(a, b, way) if (*a, *b) == (peer, central) => *way,
        _ => return false,
    };
    match way {
        Way::Both => true,
        Way::Up => up,
        Way::Down => !up,
    }
}

fn slowness(active: &[Fault], a: Host, b: Host) -> Option<(Duration, f64)> {
    active.iter().find_map(|fault| match fault {
        Fault::Slow(host, latency, loss) if *host == a || *host == b => Some((*latency, *loss)),
        _ => None,
    })
}

impl World {
    /// Starts whatever does not run and is not kept from it.
    pub(super) fn start_all(&self) {
        for central in &self.centrals {
            let host = central.host();
            if !self.active.has_no_power(host) && !self.active.keeps_down(host) {
                central.power_on();
            }
        }
        for peer in &self.peers {
            if !self.active.has_no_power(peer.host()) && !self.active.keeps_down(peer.host()) {
                peer.power_on();
            }
        }
    }
}
