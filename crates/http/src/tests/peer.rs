//! What a peer tells of its connection, and the commands that it takes.

use std::time::Duration;

use sorcha_config::CentralNodeAddress;
use sorcha_peer::{
    Command,
    machine::state::PeerState,
    status::{CentralNodeInfo, CentralNodeState, SyncRecord},
};
use sorcha_register::clock::Moment;
use sorcha_runtime::metrics::SyncType;

use super::*;

/// A synced peer with a session on n0.
async fn connected() -> (Router, Arc<PeerNode>) {
    let (router, node) = peer(|_| ()).await;
    let address =
        CentralNodeAddress { id: None, host: "n0.sorcha.dev".into(), port: 5000, priority: 0, ca_file: None };
    node.change_status(|status| {
        status.state = PeerState::HeartbeatMonitoring;
        status.central_node_id = Some("n0.sorcha.dev".into());
        status.session_id = Some("s-1".into());
        status.connected_at = Some(START);
        status.central_version = Version::try_from(4).unwrap();
        status.fresh_as_of = Some(Moment { wall: START, ..Moment::default() });
        status.central_nodes =
            vec![CentralNodeInfo { state: CentralNodeState::Connected, ..CentralNodeInfo::new(address) }];
        status.heartbeat.sent = 2;
        status.heartbeat.sequence = 2;
        status.heartbeat.last_sent = Some(START);
        status.heartbeat.acknowledge(START, Duration::from_millis(3));
        status.push_transition(START, "Connected".into());
    });
    (router, node)
}

fn record(id: u64, entries: usize, error: Option<&str>) -> SyncRecord {
    let (from, to) = (Version::ZERO, Version::try_from(4).unwrap());
    let error = error.map(str::to_owned);
    SyncRecord { id, sync_type: SyncType::Full, started: START, ended: START, entries, from, to, error }
}

#[tokio::test(start_paused = true)]
async fn the_connection() {
    let (router, _) = connected().await;
    let expected = serde_json::json!({
        "peerId": "edge-0", "status": "HeartbeatMonitoring", "since": START_TEXT, "connectedCentralNodeId": "n0.sorcha.dev",
        "connectionEstablished": START_TEXT, "sessionId": sorcha_register::session_name::session_name("s-1"), "lastHeartbeat": START_TEXT, "lastSyncVersion": 4,
        "versionLag": 0, "isolatedSince": null, "splitBrain": null, "refused": null, "freshAsOf": START_TEXT, "stalenessSeconds": 0,
        "failovers": 0, "transitions": [{"at": START_TEXT, "what": "Connected"}],
        "centralNodeConfig": {"nodeId": "n0.sorcha.dev", "hostname": "n0.sorcha.dev", "port": 5000, "priority": 0}
    });
    assert_eq!(get(&router, "/api/connection/status").await.json(), expected);
    let expected = serde_json::json!({
        "status": "HeartbeatMonitoring", "connectedCentralNodeId": "n0.sorcha.dev", "connectionEstablished": START_TEXT,
        "lastHeartbeat": START_TEXT, "versionLag": 0
    });
    assert_eq!(get(&router, "/api/central-connection").await.json(), expected);
    let expected = serde_json::json!({
        "peerId": "edge-0", "connectedCentralNode": "n0.sorcha.dev", "lastHeartbeatSent": START_TEXT,
        "lastHeartbeatAcknowledged": START_TEXT, "missedHeartbeats": 0, "isHealthy": true, "averageLatencyMs": 3.0,
        "totalHeartbeatsSent": 2, "totalHeartbeatsAcknowledged": 1, "heartbeatSequence": 2
    });
    assert_eq!(get(&router, "/api/heartbeat/status").await.json(), expected);
}

#[tokio::test(start_paused = true)]
async fn isolation_and_split_brain_show() {
    let (router, node) = peer(|_| ()).await;
    node.change_status(|status| {
        status.state = PeerState::Isolated;
        status.isolated_since = Some(START);
        status.split_brain = Some("n1.sorcha.dev".into());
    });
    tokio::time::advance(Duration::from_secs(7)).await;
    let status = get(&router, "/api/connection/status").await.json();
    assert_eq!((&status["status"], &status["isolatedSince"]), (&"Isolated".into(), &START_TEXT.into()));
    assert_eq!((&status["splitBrain"], &status["stalenessSeconds"]), (&"n1.sorcha.dev".into(), &7.into()));
    assert_eq!((&status["centralNodeConfig"], &status["sessionId"]), (&Value::Null, &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn the_checkpoint_and_its_states() {
    let (router, _) = empty_peer(|_| ()).await;
    let unknown = get(&router, "/api/sync/checkpoint").await.json();
    assert_eq!((&unknown["status"], &unknown["currentVersion"]), (&"Unknown".into(), &0.into()));
    assert_eq!((&unknown["nextSyncDue"], &unknown["centralNodeId"]), (&Value::Null, &Value::Null));

    let (router, node) = connected().await;
    let expected = serde_json::json!({
        "peerId": "edge-0", "currentVersion": 4, "lastSyncTime": START_TEXT, "totalBlueprints": 3,
        "centralNodeId": "n0.sorcha.dev", "nextSyncDue": "2025-11-22T08:35:00.000Z", "status": "UpToDate"
    });
    assert_eq!(get(&router, "/api/sync/checkpoint").await.json(), expected);
    let state = async || get(&router, "/api/sync/checkpoint").await.json()["status"].clone();
    node.change_status(|status| status.central_version = Version::try_from(9).unwrap());
    assert_eq!(state().await, "Behind");
    node.change_status(|status| status.last_sync_error = Some("no answer".into()));
    assert_eq!(state().await, "SyncFailed");
    node.change_status(|status| status.syncing = true);
    assert_eq!(state().await, "Syncing");
}

#[tokio::test(start_paused = true)]
async fn the_history_is_newest_first() {
    let (router, node) = connected().await;
    node.change_status(|status| {
        status.push_sync(record(1, 3, None));
        status.push_sync(record(2, 0, Some("no answer")));
    });
    let history = get(&router, "/api/sync/history").await.json();
    let expected = serde_json::json!([
        {"syncId": "2", "syncType": "Full", "startTime": START_TEXT, "endTime": START_TEXT, "blueprintsSynced": 0,
         "status": "Failed", "fromVersion": 0, "toVersion": 4, "error": "no answer"},
        {"syncId": "1", "syncType": "Full", "startTime": START_TEXT, "endTime": START_TEXT, "blueprintsSynced": 3,
         "status": "Completed", "fromVersion": 0, "toVersion": 4, "error": null}
    ]);
    assert_eq!(history, expected);
}

/// Answers sync commands as the shell would.
fn answer_syncs(
    node: &Arc<PeerNode>,
    answer: Result<usize, &'static str>,
) -> tokio::task::JoinHandle<Vec<bool>> {
    let (node, mut commands) = (Arc::clone(node), node.take_commands().unwrap());
    tokio::spawn(async move {
        let mut asked = Vec::new();
        for id in 1..=2 {
            let Some(Command::Sync { full, reply }) = commands.recv().await else { break };
            asked.push(full);
            node.change_status(|status| status.push_sync(record(id, 2, None)));
            reply.send(answer.map_err(str::to_owned)).unwrap();
        }
        asked
    })
}

#[tokio::test(start_paused = true)]
async fn a_sync_is_triggered_and_awaited() {
    let (router, node) = connected().await;
    let shell = answer_syncs(&node, Ok(2));
    let done = post(&router, "/api/sync/trigger", "").await;
    let expected = serde_json::json!({"success": true, "message": "2 blueprints synced", "syncId": "1", "blueprintsSynced": 2});
    assert_eq!((done.status, done.json()), (StatusCode::OK, expected));
    assert_eq!(post(&router, "/api/sync/reset-checkpoint", "").await.json()["syncId"], "2");
    assert_eq!(shell.await.unwrap(), [false, true], "a reset is a full sync");
}

#[tokio::test(start_paused = true)]
async fn a_failed_sync_says_why() {
    let (router, node) = connected().await;
    let shell = answer_syncs(&node, Err("the central node sent a bad entry"));
    let detail = post(&router, "/api/sync/trigger?full=true", "").await.problem(503, "sync-failed");
    assert_eq!(detail, "the central node sent a bad entry");
    shell.abort();
    let detail = post(&router, "/api/sync/trigger?full=maybe", "").await.problem(400, "invalid-request");
    assert!(detail.contains("full") && detail.contains("maybe"), "{detail}");
}

#[tokio::test(start_paused = true)]
async fn a_long_sync_goes_on_without_its_caller() {
    let (router, node) = connected().await;
    let mut commands = node.take_commands().unwrap();
    let reply = post(&router, "/api/sync/trigger", "").await;
    assert_eq!((reply.status, &reply.json()["syncId"]), (StatusCode::ACCEPTED, &Value::Null));
    assert!(matches!(commands.recv().await, Some(Command::Sync { .. })));
}

#[tokio::test(start_paused = true)]
async fn without_a_connection_there_is_nothing_to_sync() {
    let (router, node) = peer(|_| ()).await;
    for state in [PeerState::Disconnected, PeerState::Connecting, PeerState::Isolated] {
        node.change_status(|status| status.state = state);
        for path in ["/api/sync/trigger", "/api/sync/reset-checkpoint", "/api/notifications/subscribe"] {
            let reply = post(&router, path, "").await;
            assert!(reply.problem(503, "not-connected").contains(state.as_str()));
            assert_eq!(reply.header("retry-after"), "5");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reconnecting_and_subscribing() {
    let (router, node) = connected().await;
    let mut commands = node.take_commands().unwrap();
    let reply = post(&router, "/api/connection/reconnect", "").await;
    assert_eq!((reply.status, &reply.json()["success"]), (StatusCode::ACCEPTED, &true.into()));
    assert!(matches!(commands.recv().await, Some(Command::Reconnect)));

    let path = "/api/notifications/subscription";
    let none = serde_json::json!({"isSubscribed": false, "subscribedAt": null, "centralNodeId": null});
    assert_eq!(get(&router, path).await.json(), none);
    assert_eq!(post(&router, "/api/notifications/subscribe", "").await.status, StatusCode::ACCEPTED);
    assert!(matches!(commands.recv().await, Some(Command::Subscribe)));
    node.change_status(|status| status.subscribed_at = Some(START));
    let open = serde_json::json!({"isSubscribed": true, "subscribedAt": START_TEXT, "centralNodeId": "n0.sorcha.dev"});
    assert_eq!(get(&router, path).await.json(), open);
    assert_eq!(post(&router, "/api/notifications/subscribe", "").await.status, StatusCode::ACCEPTED);
    assert!(commands.try_recv().is_err(), "an open stream is not opened again");

    drop(commands);
    post(&router, "/api/connection/reconnect", "").await.problem(503, "not-running");
}
