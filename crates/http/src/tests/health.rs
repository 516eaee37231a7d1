//! Probes, node, central nodes, metrics: both roles.

use std::time::Duration;

use prometheus::Registry;
use sorcha_peer::{
    machine::state::PeerState,
    status::{Comparison, Refused},
};
use sorcha_register::{integrity::Fault, names::BlueprintId, succession::Contradiction};
use sorcha_store::{Checkpoint, Draft, StoreError};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_sound_central_node_is_alive_ready_and_healthy() {
    let (router, _) = central(|_| ()).await;
    assert_eq!(get(&router, "/livez").await.json()["status"], "Alive");
    assert_eq!(get(&router, "/readyz").await.json()["status"], "Ready");
    let health = get(&router, "/health").await.json();
    assert_eq!(health, serde_json::json!({"status": "Healthy", "role": "Central", "uptime": 0}));
    let health = get(&router, "/api/health").await.json();
    let metrics = serde_json::json!({
        "totalPeers": 0, "healthyPeers": 0, "unhealthyPeers": 0, "averageLatencyMs": 0.0, "queueSize": 0
    });
    assert_eq!((&health["metrics"], &health["service"]), (&metrics, &"sorcha-node".into()));
    assert_eq!(
        (&health["timestamp"], &health["version"]),
        (&START_TEXT.into(), &env!("CARGO_PKG_VERSION").into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_central_node_without_its_store_is_degraded_but_ready() {
    let (router, node) = central(|_| ()).await;
    node.log.note_reachable(Err(&StoreError::Unavailable("gone".into())));
    assert_eq!(get(&router, "/readyz").await.status, StatusCode::OK);
    assert_eq!(get(&router, "/health").await.json()["status"], "Degraded");
    let health = get(&router, "/api/node/health").await.json();
    assert_eq!((&health["status"], &health["storeReachable"]), (&"Degraded".into(), &false.into()));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_or_leaving_central_node_is_not_ready() {
    let findings = vec![Finding::whole(Fault::Seal("differs".into()))];
    let (router, _) = central_over(Arc::new(store()), findings, |_| ()).await;
    assert_eq!(get(&router, "/livez").await.status, StatusCode::OK);
    for path in ["/readyz", "/health", "/api/health"] {
        assert!(get(&router, path).await.problem(503, "not-ready").contains("seal: differs"));
    }
    let report = get(&router, "/api/node/health").await.json();
    assert_eq!((&report["status"], &report["integrityFindings"]), (&"Unhealthy".into(), &1.into()));

    let (router, node) = central(|_| ()).await;
    node.drain().await;
    for path in ["/readyz", "/health"] {
        assert!(get(&router, path).await.problem(503, "not-ready").contains("draining"));
    }
    assert_eq!(get(&router, "/api/node/health").await.json()["status"], "Draining");
}

#[tokio::test(start_paused = true)]
async fn a_peer_is_ready_once_it_holds_a_replica() {
    let (router, node) = empty_peer(|_| ()).await;
    assert!(get(&router, "/readyz").await.problem(503, "not-ready").contains("Disconnected"));
    node.change_status(|status| status.state = PeerState::Isolated);
    get(&router, "/readyz").await.problem(503, "not-ready");
    let health = get(&router, "/health").await.json();
    assert_eq!(health["status"], "Isolated", "200, and it says so");
    assert_eq!(health["reason"], "no central node can be reached; this peer holds no replica yet");
    let view = RegisterView::new(Some(Arc::new(genesis(1))));
    node.replica.replace(view, &provenance(START)).await.unwrap();
    assert_eq!(get(&router, "/readyz").await.status, StatusCode::OK, "an empty register is a replica too");
    let reason = get(&router, "/health").await.json()["reason"].clone();
    assert_eq!(reason, "no central node can be reached; the last replica is served");
}

#[tokio::test(start_paused = true)]
async fn an_isolated_peer_serves_an_imported_replica() {
    let store = store();
    let blueprint = entry("a", 1);
    let draft = Draft {
        blueprint_id: blueprint.blueprint_id,
        document: blueprint.document,
        published_at: START,
        published_by: "tester".into(),
        transaction_id: String::new(),
        metadata: Default::default(),
        trace_parent: String::new(),
    };
    store.publish(draft).await.unwrap();
    let replica = Replica::load(Arc::new(store)).await.unwrap();
    let config = config("edge-0", |_| ());
    let id = PeerId::new("edge-0").unwrap();
    let node = PeerNode::new(Arc::clone(&config), env(), id, replica, Arc::new(PlainText));
    let auth = Auth::new(&config.http, Arc::clone(&node.env.clock), None).unwrap();
    let router = router(NodeHandle::Peer(Arc::clone(&node)), auth, Registry::new());
    get(&router, "/readyz").await.problem(503, "not-ready");
    node.change_status(|status| status.state = PeerState::Isolated);
    assert_eq!(get(&router, "/readyz").await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_peers_health_tells_what_is_wrong() {
    let (router, node) = peer(|_| ()).await;
    assert_eq!(
        get(&router, "/health").await.json(),
        serde_json::json!({"status": "Healthy", "role": "Peer", "uptime": 0})
    );
    node.change_status(|status| status.last_sync_error = Some("no answer".into()));
    assert_eq!(get(&router, "/health").await.json()["reason"], "the last sync failed: no answer");
    node.change_status(|status| status.heartbeat.miss("timestamp is 7200000 ms ahead of this node's clock"));
    let reason = get(&router, "/health").await.json()["reason"].clone();
    assert_eq!(reason, "heartbeats are missed: timestamp is 7200000 ms ahead of this node's clock");
    node.change_status(|status| status.heartbeat.acknowledge(START, Duration::ZERO));
    assert_eq!(get(&router, "/health").await.json()["reason"], "the last sync failed: no answer");
    node.change_status(|status| status.split_brain = Some("n1".into()));
    let health = get(&router, "/api/node/health").await.json();
    assert_eq!((&health["status"], &health["connection"]), (&"Degraded".into(), &"Disconnected".into()));
    assert!(health["reason"].as_str().unwrap().contains("split brain: n1"));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_sent_another_history_says_so_and_serves_its_own() {
    let (router, node) = peer(|_| ()).await;
    let contradiction = Contradiction::Rewritten {
        id: BlueprintId::new("a").unwrap(),
        field: "published_by",
        held: Version::FIRST,
        version: Version::FIRST,
    };
    node.change_status(|status| {
        status.state = PeerState::Isolated;
        status.refused = Some(Refused { central_node_id: "n0.sorcha.dev".into(), at: START, contradiction });
    });
    let health = get(&router, "/health").await.json();
    assert_eq!(health["status"], "Degraded");
    let reason = health["reason"].as_str().unwrap();
    assert!(reason.contains("n0.sorcha.dev") && reason.contains("another published_by"), "{reason}");
    let refused = get(&router, "/api/connection/status").await.json()["refused"].clone();
    assert_eq!((&refused["reason"], &refused["blueprintId"]), (&"rewritten".into(), &"a".into()));
    assert_eq!(get(&router, "/readyz").await.status, StatusCode::OK);
    assert_eq!(get(&router, "/api/system-register/blueprints/a").await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_ahead_of_its_central_node_is_not_well() {
    let (router, node) = peer(|_| ()).await;
    let central = Version::new("version", 2).unwrap();
    let hear = |told| {
        node.change_status(|status| {
            status.central_version = central;
            status.compare(central, node.replica.head(), told);
        });
    };
    hear(Comparison::Untold);
    hear(Comparison::Untold);
    assert_eq!(get(&router, "/health").await.json()["status"], "Healthy", "its tail may be late");
    hear(Comparison::Untold);
    for why in ["can't read its store, or has lost what is held", "not in that register any more"] {
        let health = get(&router, "/health").await.json();
        assert_eq!(health["status"], "Degraded");
        let reason = health["reason"].as_str().unwrap();
        assert!(reason.contains("ahead of") && reason.contains(why), "{reason}");
        assert_eq!(get(&router, "/api/connection/status").await.json()["versionLag"], -2);
        hear(Comparison::Ahead);
    }
    hear(Comparison::NotAhead);
    let health = get(&router, "/health").await.json();
    assert_eq!(
        health["status"], "Degraded",
        "a register that ends before what is held is not equal: {health}"
    );
    node.change_status(|status| {
        status.compare(node.replica.head(), node.replica.head(), Comparison::NotAhead)
    });
    assert_eq!(get(&router, "/health").await.json()["status"], "Healthy");
}

#[tokio::test(start_paused = true)]
async fn a_central_node_whose_store_rewrites_what_it_serves_is_degraded_and_publishes_nothing() {
    let (router, node) = central(|_| ()).await;
    assert_eq!(
        post(&router, "/api/system-register/publish", publication("a")).await.status,
        StatusCode::CREATED
    );
    let mut rewritten = node.log.view().iter().next().unwrap().whole().unwrap();
    rewritten.published_by = "mallory".into();
    rewritten.version = Version::new("version", 2).unwrap();
    node.log
        .store()
        .apply(vec![rewritten.seal()], Checkpoint::at(Version::new("version", 2).unwrap()))
        .await
        .unwrap();
    assert!(node.log.refresh().await.is_err());
    assert_eq!(node.log.view().head(), Version::FIRST, "it is not served");
    let health = get(&router, "/health").await.json();
    assert_eq!(health["status"], "Degraded");
    assert!(health["reason"].as_str().unwrap().contains("contradicts"), "{health}");
    let refused = post(&router, "/api/system-register/publish", publication("b")).await;
    assert!(refused.problem(503, "register-damaged").contains("published_by"));
}

#[tokio::test(start_paused = true)]
async fn a_central_node_whose_database_was_exchanged_is_unhealthy_and_takes_nothing() {
    use sorcha_store::{Exchange, InItsPlace};
    let (router, node) = central(|_| ()).await;
    let exchange = Exchange { ours: node.log.view().lineage(), found: InItsPlace::Nothing };
    node.log.note_reachable(Err(&StoreError::Exchanged(exchange)));
    assert_eq!(get(&router, "/livez").await.status, StatusCode::OK);
    for path in ["/readyz", "/health", "/api/health"] {
        assert!(get(&router, path).await.problem(503, "not-ready").contains("no genesis record"));
    }
    assert_eq!(get(&router, "/api/node/health").await.json()["status"], "Unhealthy");
    node.log.note_reachable(Ok(()));
    assert_eq!(get(&router, "/health").await.json()["status"], "Healthy");
}

#[tokio::test(start_paused = true)]
async fn a_peer_whose_replication_is_over_is_degraded_though_its_heartbeats_go_on() {
    let (router, node) = empty_peer(|_| ()).await;
    let faults: [fn(&mut sorcha_peer::status::PeerStatus); 4] = [
        |status| status.replication_fault = Some("it panicked".into()),
        |status| status.standstill = Some("it panicked".into()),
        |status| status.store_fault = Some("it panicked".into()),
        |status| status.push_fault = Some("it panicked".into()),
    ];
    for fault in faults {
        let sound = node.status();
        node.change_status(|status| {
            status.state = PeerState::HeartbeatMonitoring;
            fault(status);
        });
        let health = get(&router, "/health").await.json();
        assert_eq!(health["status"], "Degraded");
        assert!(health["reason"].as_str().is_some_and(|reason| reason.contains("it panicked")), "{health}");
        node.change_status(|status| *status = sound);
    }
}
