//! The scenarios.

mod disk;
mod flip;
mod hang;
mod hostile;
mod kill;
mod liars;
mod mongo;
mod time;

use crate::scenario::Scenario;

macro_rules! scenario {
    ($name:literal, $short:literal, $run:path, $about:literal) => {
        Scenario {
            name: $name,
            about: $about,
            short: $short,
            run: |given| Box::pin(async move { $run(given).await }),
        }
    };
}

/// All of them, in the order in which they run.
pub(crate) fn all() -> Vec<Scenario> {
    vec![
        scenario!("kill", 12, kill::run, "a central node and its peers, killed at random moments"),
        scenario!("mongo", 15, mongo::run, "central nodes on one database, killed; the database, too"),
        scenario!("hang", 8, hang::alone, "a central node or a peer hangs and holds its sockets"),
        scenario!("move", 8, hang::moving, "one of three central nodes hangs: its peers move"),
        scenario!("disk", 10, disk::run, "no space left under a central node, and under a peer"),
        scenario!(
            "hostile",
            1,
            hostile::plain,
            "hostile clients of a central node, one kind after the other, then all"
        ),
        scenario!(
            "hostile-tls",
            1,
            hostile::secured,
            "the same with mutual TLS, and clients without good certificates"
        ),
        scenario!(
            "hostile-central",
            1,
            liars::run,
            "hostile central nodes, and peers that hold an honest one's register"
        ),
        scenario!("flip", 15, flip::run, "changed bytes in every file that a node stores"),
        scenario!("time", 10, time::run, "clocks that jump by hours while the nodes run"),
    ]
}
