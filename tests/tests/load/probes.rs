//! Probes answer, on their own port and on the HTTP port, whatever callers do to any port.

use std::time::Duration;

use crate::{
    callers::{Callers, read_before_cut},
    node::Node,
};

const DOCUMENT: &str = "/api/system-register/blueprints/large?raw=true";
const WHILE: Duration = Duration::from_secs(4);
/// As many as there are connections, and more.
const MANY: usize = 1_100;

#[tokio::test(flavor = "multi_thread")]
async fn probes_answer_while_more_callers_than_there_are_places_hold_on_to_theirs() {
    let node = Node::start("").await;
    node.publish("large", 4 << 20, 0).await;
    let (http, probes) = (node.http, node.probes);
    type Attack<'a> = (&'a str, &'a dyn Fn() -> Callers);
    let attacks: [Attack<'_>; 7] = [
        ("answers read at 3 KB/s", &|| Callers::reading_slowly(MANY, http, &[DOCUMENT])),
        ("halves of bodies of one publisher", &|| Callers::sending_halves(MANY, http)),
        ("heads a byte a second", &|| Callers::with_slow_heads(MANY, http)),
        ("silence", &|| Callers::saying_nothing(MANY, http)),
        ("connections as fast as they come", &|| Callers::flooding(16, http)),
        ("silence on the port of the probes", &|| Callers::saying_nothing(MANY, probes)),
        ("slow heads on the port of the probes", &|| Callers::with_slow_heads(MANY, probes)),
    ];
    for (what, attack) in attacks {
        let callers = attack();
        tokio::time::sleep(Duration::from_secs(2)).await;
        // A port that is attacked itself answers later.
        if what.ends_with("port of the probes") {
            node.is_alive_behind_a_flood_for(WHILE, what).await;
        } else {
            node.is_alive_for(WHILE, what).await;
        }
        callers.leave().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_the_probes_port_leaves_room_for_a_probe() {
    let node = Node::start("").await;
    let callers = Callers::flooding(8, node.probes);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let what = "connections as fast as they come to the port of the probes";
    node.is_alive_behind_a_flood_for(WHILE, what).await;
    callers.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_read_at_3_kb_a_second_is_cut() {
    let node = Node::start("[http]\nrate_window = '3s'\n").await;
    node.publish("large", 4 << 20, 0).await;
    let read = tokio::time::timeout(Duration::from_secs(60), read_before_cut(node.http, DOCUMENT)).await;
    let read = read.expect("it is cut");
    assert!(read < 2 << 20, "{read} bytes");
}
