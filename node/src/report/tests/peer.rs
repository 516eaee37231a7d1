use sorcha_config::CentralNodeAddress;
use sorcha_crds::peer::PeerReport;
use sorcha_http::NodeHandle;
use sorcha_peer::{
    PeerNode,
    dial::PlainText,
    machine::state::PeerState,
    replica::{Provenance, Replica},
    status::{CentralNodeInfo, Comparison, PeerStatus, Refused},
};
use sorcha_register::{
    names::{PeerId, Version},
    succession::Contradiction,
    testing::{entry, genesis},
    view::RegisterView,
};
use sorcha_store::journal::{JournalStore, Options};
use tokio::{sync::watch, time::Instant};

use super::*;

mod away;

struct Running {
    node: Arc<PeerNode>,
    fake: Fake,
    reporter: Reporter,
    stage: watch::Sender<Stage>,
}

/// A peer with a replica at version 4 and its reporter, started.
async fn running() -> Running {
    let (env, config, fake) = (env(), config("edge-0"), Fake::new());
    let store = JournalStore::in_memory(Options { inline: true, ..Options::default() }).unwrap();
    let replica = Replica::load(Arc::new(store)).await.unwrap();
    let view =
        RegisterView::with_entries(Some(Arc::new(genesis(1))), vec![entry("a", 4).seal()], Version::ZERO);
    let from = Provenance { central_node_id: "n0".into(), at: START, next_due: START };
    replica.replace(view, &from).await.unwrap();
    let stage = watch::Sender::new(Stage::Opening { store_fault: None });
    let reporter = Reporter::start(&config, Role::Peer, &env, stage.subscribe(), fake.clone());
    let id = PeerId::new("edge-0").unwrap();
    let node = PeerNode::new(Arc::new(config), env, id, replica, Arc::new(PlainText));
    stage.send_replace(Stage::Started(NodeHandle::Peer(Arc::clone(&node))));
    Running { node, fake, reporter, stage }
}

impl Running {
    fn change(&self, change: impl FnOnce(&mut PeerStatus)) {
        self.node.change_status(change);
    }

    /// As after the first acknowledged heartbeat.
    fn connect(&self) {
        let now = self.node.env.clock.now();
        let address = CentralNodeAddress {
            id: Some("n0".into()),
            host: "n0".into(),
            port: 1,
            priority: 0,
            ca_file: None,
        };
        self.change(|status| {
            (status.state, status.since) = (PeerState::HeartbeatMonitoring, now);
            status.central_nodes = vec![CentralNodeInfo::new(address)];
            (status.central_node_id, status.session_id) = (Some("n0".into()), Some("s".into()));
        });
        self.beat(Duration::from_micros(1840));
    }

    fn beat(&self, round_trip: Duration) {
        let (now, head) = (self.node.env.clock.moment(), self.node.replica.head());
        self.change(|status| {
            status.heartbeat.acknowledge(now.wall, round_trip);
            status.hear_of(head, head, true, now);
        });
    }

    fn last(&self) -> PeerReport {
        match self.fake.last() {
            Some(Report::Peer(report)) => report,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_in_full() {
    let peer = running().await;
    after(1).await;
    peer.connect();
    after(3).await;
    let json = serde_json::to_value(peer.last()).unwrap();
    let expected = serde_json::json!({
        "name": "edge-0", "state": "HeartbeatMonitoring", "since": "2025-11-22T08:30:01Z", "centralNode": "n0",
        "version": 4, "lag": 0, "freshAsOf": "2025-11-22T08:30:01Z", "missedHeartbeats": 0, "failovers": 0, "rttMs": 1.8,
        "digest": peer.node.replica.view().digest().to_string(), "lineage": genesis(1).lineage().to_string(), "findings": 0
    });
    assert_eq!(json, expected);
}

#[tokio::test(start_paused = true)]
async fn what_contradicts_a_replica_and_what_its_central_node_lost_is_reported() {
    let peer = running().await;
    peer.connect();
    after(3).await;
    let contradiction = Contradiction::NoDigest;
    let refused = Refused { central_node_id: "n1".into(), at: START, contradiction: contradiction.clone() };
    peer.change(|status| status.refused = Some(refused));
    after(3).await;
    let report = peer.last();
    assert_eq!((report.refused.as_deref(), report.refusal), (Some("n1"), Some(contradiction.to_string())));
    assert!(report.message.is_some_and(|message| message.contains("n1")));
    peer.change(|status| {
        (status.refused, status.central_version) = (None, Version::FIRST);
        status.compare(Version::FIRST, Version::new("version", 4).unwrap(), Comparison::Ahead);
    });
    after(10).await;
    let report = peer.last();
    assert_eq!((report.refused, report.ahead, report.lag), (None, Some(3), None));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_hour_costs_a_write_every_two_minutes() {
    let peer = running().await;
    peer.connect();
    after(60).await;
    let before = peer.fake.attempts();
    for beat in 0..120_u64 {
        after(30).await;
        peer.beat(Duration::from_micros(1000 + 173 * (beat % 7)));
    }
    let writes = peer.fake.attempts() - before;
    assert!((26..=34).contains(&writes), "{writes} writes in an hour");
    let attempts = peer.fake.attempts.lock().unwrap();
    let shortest = attempts[before..].windows(2).map(|two| two[1].0 - two[0].0).min().unwrap();
    assert!(shortest >= Duration::from_secs(108), "{shortest:?}");
}

#[tokio::test(start_paused = true)]
async fn an_isolated_hour_costs_few_writes_whatever_the_errors_say() {
    let peer = running().await;
    peer.connect();
    after(60).await;
    peer.change(|status| (status.state, status.central_node_id) = (PeerState::Isolated, None));
    after(3).await;
    let before = peer.fake.attempts();
    for round in 0..120 {
        let error = if round % 2 == 0 { "connection refused" } else { "no answer in time" };
        peer.change(|status| status.central_nodes[0].last_error = Some(error.into()));
        after(30).await;
    }
    let writes = peer.fake.attempts() - before;
    assert!(writes <= 34, "{writes} writes in an hour");
    assert!(peer.last().message.unwrap().starts_with("no central node can be reached: n0: "));
}

#[tokio::test(start_paused = true)]
async fn transitions_show_within_two_seconds() {
    let peer = running().await;
    peer.connect();
    after(60).await;
    type Change = fn(&mut PeerStatus);
    let changes: [(&str, Change); 5] = [
        ("state", |status| status.state = PeerState::Isolated),
        ("centralNode", |status| status.central_node_id = Some("n1".into())),
        ("splitBrain", |status| status.split_brain = Some("n2".into())),
        ("failovers", |status| status.failovers += 1),
        ("forceResync", |status| status.force_resync = Some("2026-11-22".into())),
    ];
    for (what, change) in changes {
        let before = peer.fake.attempts();
        peer.change(change);
        tokio::time::sleep(Duration::from_millis(2200)).await;
        assert_eq!(peer.fake.attempts() - before, 1, "{what}");
    }
    after(60).await;
    let (changed, before) = (Instant::now(), peer.fake.attempts());
    peer.change(|status| status.state = PeerState::Connecting);
    peer.change(|status| status.state = PeerState::Connected);
    after(1).await;
    let attempts = peer.fake.attempts.lock().unwrap();
    assert_eq!(attempts.len() - before, 1, "coalesced");
    assert!(attempts[before].0 - changed <= Duration::from_millis(101), "and after quiet at once");
}

#[tokio::test(start_paused = true)]
async fn publications_all_the_time_are_reported_at_a_bounded_rate() {
    let peer = running().await;
    peer.connect();
    after(60).await;
    let before = peer.fake.attempts();
    for version in 5..1205 {
        let from = Provenance { central_node_id: "n0".into(), at: START, next_due: START };
        peer.node.replica.apply(vec![entry("b", version).seal()], Version::ZERO, &from).await.unwrap();
        peer.beat(Duration::from_millis(1));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let writes = peer.fake.attempts() - before;
    assert!((12..=14).contains(&writes), "{writes} writes in two minutes");
    after(11).await;
    assert_eq!((peer.last().version, peer.last().lag), (Some(1204), Some(0)), "the end is not missed");
}

#[tokio::test(start_paused = true)]
async fn writes_and_the_age_of_the_newest_are_measured() {
    let config = config("edge-0");
    let telemetry = crate::telemetry::for_tests(&config);
    let (env, fake) = (Env { metrics: telemetry.metrics("edge-0"), ..env() }, Fake::new());
    let stage = watch::Sender::new(Stage::Opening { store_fault: None });
    let reporter = Reporter::start(&config, Role::Peer, &env, stage.subscribe(), fake.clone());
    let metrics = || prometheus::TextEncoder::new().encode_to_string(&telemetry.registry().gather()).unwrap();
    assert!(!metrics().contains("report_age_seconds{"), "none was written yet");
    after(7).await;
    assert!(metrics().contains("report_age_seconds{node_id=\"edge-0\"} 7"), "{}", metrics());
    fake.is(Mood::Fails(ReportError::Forbidden("no".into())));
    stage.send_replace(Stage::Opening { store_fault: Some("no server".into()) });
    after(5).await;
    for (result, count) in [("ok", 1), ("forbidden", 1)] {
        let line = format!("report_writes_total{{node_id=\"edge-0\",result=\"{result}\"}} {count}");
        assert!(metrics().contains(&line), "{}", metrics());
    }
    reporter.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_last_report_says_disconnected() {
    let peer = running().await;
    peer.connect();
    after(60).await;
    let stopped = Arc::clone(&peer.node);
    stopped.run(async {}).await.unwrap();
    let Running { fake, reporter, stage, .. } = peer;
    let ended = Instant::now();
    reporter.finish().await;
    assert!(ended.elapsed() <= Duration::from_secs(2));
    let Some(Report::Peer(report)) = fake.last() else { panic!("a peer's report") };
    assert_eq!((report.state.as_deref(), report.central_node), (Some("Disconnected"), None));
    assert_eq!(report.version, Some(4));
    drop(stage);
}

#[tokio::test(start_paused = true)]
async fn before_the_start_it_says_what_it_waits_for() {
    let (env, config, fake) = (env(), config("edge-0"), Fake::new());
    let stage = watch::Sender::new(Stage::Opening { store_fault: Some("no server".into()) });
    let reporter = Reporter::start(&config, Role::Peer, &env, stage.subscribe(), fake.clone());
    after(1).await;
    let Some(Report::Peer(report)) = fake.last() else { panic!("a peer's report") };
    assert_eq!(report.state.as_deref(), Some("Disconnected"));
    assert_eq!(report.message.as_deref(), Some("waiting for the store: no server"));
    reporter.finish().await;
    assert_eq!(fake.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reporter_that_panics_is_told_about_and_reports_again() {
    let peer = running().await;
    peer.connect();
    after(60).await;
    peer.fake.is(Mood::Panics);
    peer.change(|status| status.state = PeerState::Isolated);
    after(5).await;
    let trouble = peer.node.env.tasks.trouble().unwrap_or_default();
    assert!(
        trouble.contains("the task report died") && trouble.contains("a fault of the client"),
        "{trouble}"
    );
    peer.fake.is(Mood::Takes);
    after(60).await;
    assert_eq!(peer.last().state.as_deref(), Some("Isolated"));
    after(120).await;
    assert_eq!(peer.node.env.tasks.trouble(), None);
    peer.reporter.finish().await;
}

/// Heartbeats go on, the replica does not follow: the first of it is a transition, its details are none.
#[tokio::test(start_paused = true)]
async fn a_peer_whose_replication_is_over_says_so() {
    let peer = running().await;
    peer.connect();
    after(60).await;
    assert_eq!(peer.last().replication_fault, None);
    peer.change(|status| status.replication_fault = Some("the pull died: it panicked".into()));
    after(3).await;
    assert_eq!(peer.last().replication_fault.as_deref(), Some("the pull died: it panicked"));
    assert_eq!(peer.last().state.as_deref(), Some("HeartbeatMonitoring"));
    assert!(peer.last().message.is_some_and(|message| message.contains("replication does not work")));
    let before = peer.fake.attempts();
    peer.change(|status| status.replication_fault = Some("the pull died: it ended".into()));
    after(20).await;
    assert_eq!(peer.fake.attempts(), before, "other details");
}
