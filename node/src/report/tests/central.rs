use sorcha_central::{CentralNode, incoming::Connection, log::RegisterLog, session::SessionId};
use sorcha_crds::central_node::CentralNodeReport;
use sorcha_register::{
    integrity::{Fault, Finding},
    names::{PeerId, Version},
    testing::{entry, genesis},
    view::RegisterView,
};
use sorcha_store::{
    Checkpoint, Exchange, InItsPlace, Store as _, StoreError,
    journal::{JournalStore, Options},
};
use tokio::sync::watch;

use super::*;
use sorcha_http::NodeHandle;

struct Running {
    node: Arc<CentralNode>,
    fake: Fake,
    reporter: Reporter,
}

/// A central node with an empty register and its reporter; the store was away at first.
async fn running(findings: Vec<Finding>) -> Running {
    let (env, mut config, fake) = (env(), config("n0.sorcha.dev"), Fake::new());
    config.report.pod = Some("n0-0".into());
    let stage = watch::Sender::new(Stage::Opening { store_fault: None });
    let reporter = Reporter::start(&config, Role::Central, &env, stage.subscribe(), fake.clone());
    after(5).await;
    stage.send_replace(Stage::Opening { store_fault: Some("no server".into()) });
    after(5).await;
    let store = JournalStore::in_memory(Options { inline: true, ..Options::default() }).unwrap();
    store.init_genesis(genesis(1)).await.unwrap();
    let view = store.load().await.unwrap().view;
    let node = CentralNode::new(Arc::new(config), env, RegisterLog::new(Arc::new(store), view), findings);
    stage.send_replace(Stage::Started(NodeHandle::Central(Arc::clone(&node))));
    after(5).await;
    Running { node, fake, reporter }
}

fn written(fake: &Fake) -> Vec<CentralNodeReport> {
    let written = fake.written.lock().unwrap().clone();
    let central = |report| match report {
        Report::Central(report) => report,
        Report::Peer(report) => panic!("{report:?}"),
    };
    written.into_iter().map(central).collect()
}

#[tokio::test(start_paused = true)]
async fn from_the_first_moment_to_health() {
    let central = running(Vec::new()).await;
    let reports = written(&central.fake);
    let json: Vec<_> = reports.iter().map(|report| serde_json::to_value(report).unwrap()).collect();
    let view = central.node.log.view();
    let expected = [
        serde_json::json!({
            "name": "n0-0", "state": "Starting", "message": "opening the store", "since": "2025-11-22T08:30:00Z",
            "peers": {"connected": 0, "upToDate": 0, "lagging": 0}
        }),
        serde_json::json!({
            "name": "n0-0", "state": "Starting", "message": "waiting for the store: no server", "since": "2025-11-22T08:30:00Z",
            "peers": {"connected": 0, "upToDate": 0, "lagging": 0}, "storeReachable": false, "storeMessage": "no server"
        }),
        serde_json::json!({
            "name": "n0-0", "state": "Healthy", "since": "2025-11-22T08:30:00Z", "version": 0,
            "lineage": genesis(1).lineage().to_string(), "digest": view.digest().to_string(),
            "peers": {"connected": 0, "upToDate": 0, "lagging": 0}, "storeReachable": true, "findings": 0
        }),
    ];
    assert_eq!(json, expected);
    after(3600).await;
    assert_eq!(central.fake.attempts(), 3, "nothing new, nothing written");
}

#[tokio::test(start_paused = true)]
async fn the_store_that_goes_and_comes_back() {
    let central = running(Vec::new()).await;
    central.node.log.note_reachable(Err(&StoreError::Unavailable("no primary".into())));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let report = written(&central.fake).pop().unwrap();
    assert_eq!((report.state.as_str(), report.store_reachable), ("Degraded", Some(false)));
    assert_eq!(report.store_message.as_deref(), Some("no primary"));
    assert!(report.message.unwrap().contains("publications are refused"));
    central.node.log.note_reachable(Ok(()));
    after(3).await;
    let report = written(&central.fake).pop().unwrap();
    assert_eq!(
        (report.state.as_str(), report.store_reachable, report.store_message),
        ("Healthy", Some(true), None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_damaged_register_is_named() {
    let central = running(vec![Finding::whole(Fault::Seal("differs".into()))]).await;
    let report = written(&central.fake).pop().unwrap();
    assert_eq!((report.state.as_str(), report.findings), ("Unhealthy", Some(1)));
    assert!(report.message.unwrap().contains("seal: differs"));
}

#[tokio::test(start_paused = true)]
async fn a_leaving_node_says_so_when_it_begins_to_leave() {
    let central = running(Vec::new()).await;
    after(60).await;
    let node = Arc::clone(&central.node);
    node.drain().await;
    central.reporter.finish().await;
    assert_eq!(written(&central.fake).pop().unwrap().state, "Draining");
}

#[tokio::test(start_paused = true)]
async fn a_publication_shows_within_a_second() {
    let central = running(Vec::new()).await;
    after(60).await;
    let mut view = RegisterView::clone(&central.node.log.view());
    view.apply(vec![entry("a", 1).seal()], Version::ZERO);
    central.node.log.show(view.clone());
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let report = written(&central.fake).pop().unwrap();
    assert_eq!((report.version, report.digest), (Some(1), Some(view.digest().to_string())));
}

/// Shows a register of one entry, as a publication does.
fn show_one_entry(node: &CentralNode) {
    let mut view = RegisterView::clone(&node.log.view());
    view.apply(vec![entry("a", 1).seal()], Version::ZERO);
    node.log.show(view);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_contradicts_what_is_served_and_one_that_was_exchanged_are_reported() {
    let central = running(Vec::new()).await;
    let log = &central.node.log;
    show_one_entry(&central.node);
    let second = Version::new("version", 2).unwrap();
    let mut rewritten = entry("a", 2);
    rewritten.published_by = "mallory".into();
    log.store().apply(vec![rewritten.seal()], Checkpoint::at(second)).await.unwrap();
    assert!(log.refresh().await.is_err());
    after(3).await;
    let report = written(&central.fake).pop().unwrap();
    assert_eq!((report.state.as_str(), report.register_fault), ("Degraded", None));
    assert_eq!(report.refusal, log.refused().map(|contradiction| contradiction.to_string()));
    assert!(report.refusal.is_some());

    let lost = Exchange { ours: None, found: InItsPlace::Nothing };
    log.note_reachable(Err(&StoreError::Exchanged(lost)));
    after(3).await;
    let report = written(&central.fake).pop().unwrap();
    assert_eq!(
        (report.state.as_str(), report.register_fault.as_deref()),
        ("Unhealthy", Some("RegisterLost"))
    );
}

#[tokio::test(start_paused = true)]
async fn peers_that_are_connected_up_to_date_and_lagging_are_counted() {
    let central = running(Vec::new()).await;
    show_one_entry(&central.node);
    let (clock, head) = (&central.node.env.clock, Version::FIRST);
    for (bits, held) in [(1, head), (2, head), (3, Version::ZERO)] {
        let at = (clock.now(), clock.monotonic());
        let (id, peer) = (SessionId::from_bits(bits), PeerId::new(format!("edge-{bits}")).unwrap());
        central.node.sessions().open(id.clone(), &peer, held, Connection::default(), at).unwrap();
        central.node.sessions().confirm(&peer, &id, held);
    }
    let look = || {
        let at = (clock.now(), clock.monotonic());
        central.node.sessions().look_for_laggards(head, at, Duration::from_secs(3600))
    };
    look();
    after(3601).await;
    look();
    after(3).await;
    let peers = written(&central.fake).pop().unwrap().peers;
    assert_eq!((peers.connected, peers.up_to_date, peers.lagging), (3, 2, 1));
}
