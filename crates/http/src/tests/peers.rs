//! The sessions of a central node.

use std::time::Duration;

use sorcha_central::{
    incoming::{Connection, Tracked},
    session::{Beat, SessionId},
};
use sorcha_config::Http;

use super::*;

const INTERVAL: Duration = Duration::from_secs(30);

/// Opens a session from 10.0.0.7, with one heartbeat that reports `held`.
fn connect(node: &CentralNode, name: &str, bits: u128, held: i64) -> SessionId {
    let tracked = Tracked::new((), Some(([10, 0, 0, 7], 41234).into()));
    let connection: Connection = tonic::transport::server::Connected::connect_info(&tracked);
    std::mem::forget(tracked);
    let (peer, id) = (PeerId::new(name).unwrap(), SessionId::from_bits(bits));
    let (now, monotonic) = (node.env.clock.now(), node.env.clock.monotonic());
    let mut sessions = node.sessions();
    sessions.open(id.clone(), &peer, Version::ZERO, connection.clone(), (now, monotonic)).unwrap();
    let session = sessions.find(&peer, id.as_str(), &connection).unwrap();
    let version = Version::try_from(held).unwrap();
    let beat = Beat { sent_at: now, received_at: now, version, blueprint_count: Some(1) };
    session.beat(beat, monotonic, INTERVAL);
    id
}

async fn with_two_peers(change: impl FnOnce(&mut Config)) -> (Router, Arc<CentralNode>) {
    let (router, node) = central(change).await;
    node.publish(sorcha_central::publish::Submission {
        blueprint_id: "a".into(),
        document: b"{}".as_slice().into(),
        published_by: "tester".into(),
        metadata: Default::default(),
    })
    .await
    .unwrap();
    connect(&node, "edge-1", 2, 0);
    let first = connect(&node, "edge-0", 1, 1);
    node.sessions().begin_push(&PeerId::new("edge-0").unwrap(), &first);
    (router, node)
}

#[tokio::test(start_paused = true)]
async fn sessions_are_listed_without_their_handles() {
    let (router, _) = with_two_peers(|_| ()).await;
    let reply = get(&router, "/api/peers").await;
    let peers = reply.json();
    let expected = serde_json::json!({
        "peerId": "edge-0", "address": "10.0.0.7", "port": 41234, "connectedAt": START_TEXT, "lastHeartbeat": START_TEXT,
        "lastSyncVersion": 1, "confirmedVersion": 1, "versionLag": 0, "status": "Connected", "missedHeartbeats": 0, "totalHeartbeatsReceived": 1,
        "averageLatencyMs": 0.0, "behindSince": null, "isLagging": false, "blueprintCount": 1, "isSubscribed": true
    });
    assert_eq!((peers.as_array().unwrap().len(), &peers[0]), (2, &expected));
    assert_eq!((&peers[1]["peerId"], &peers[1]["versionLag"]), (&"edge-1".into(), &1.into()));
    assert_eq!(get(&router, "/api/peers/edge-0").await.json(), peers[0]);
    assert!(!String::from_utf8_lossy(&reply.body).contains(SessionId::from_bits(1).as_str()));
}

#[tokio::test(start_paused = true)]
async fn addresses_of_peers_are_for_callers_with_a_token() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "0123456789abcdef").unwrap();
    let path = file.path().to_owned();
    let (router, _) =
        with_two_peers(|config| config.http = Http { token_file: Some(path), ..Http::default() }).await;
    for resource in ["/api/peers", "/api/peers/edge-0", "/api/peers/health", "/api/peers/connected"] {
        let told = async |token: &str| {
            let reply = get_with(&router, resource, &[("authorization", token)]).await;
            let body = String::from_utf8_lossy(&reply.body).into_owned();
            body.contains("10.0.0.7") || body.contains("41234")
        };
        let anonymous = get(&router, resource).await.body;
        assert!(!String::from_utf8_lossy(&anonymous).contains("10.0.0.7"), "{resource}: {anonymous:?}");
        assert!(!told("Bearer fedcba9876543210").await, "{resource}: a wrong token");
        assert!(told("Bearer 0123456789abcdef").await, "{resource}: the right token");
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_and_impossible_peers() {
    let (router, _) = with_two_peers(|_| ()).await;
    assert!(get(&router, "/api/peers/edge-9").await.problem(404, "not-found").contains("edge-9"));
    assert!(
        get(&router, "/api/peers/a.b")
            .await
            .problem(400, "invalid-request")
            .starts_with("peerId has the character")
    );
}

#[tokio::test(start_paused = true)]
async fn totals_and_health() {
    let (router, node) = with_two_peers(|_| ()).await;
    let stats = get(&router, "/api/peers/stats").await.json();
    let expected = serde_json::json!({
        "totalPeers": 2, "healthyPeers": 2, "unhealthyPeers": 0, "upToDatePeers": 1, "syncingPeers": 0, "laggingPeers": 0, "subscribedPeers": 1,
        "averageLatencyMs": 0.0, "currentVersion": 1, "minVersion": 0, "maxLag": 1, "maxPeers": 10000
    });
    assert_eq!(stats, expected);
    tokio::time::advance(INTERVAL + Duration::from_millis(1)).await;
    connect(&node, "edge-2", 3, 1);
    let health = get(&router, "/api/peers/health").await.json();
    assert_eq!(
        (&health["totalPeers"], &health["healthyPeers"], &health["unhealthyPeers"]),
        (&3.into(), &1.into(), &2.into())
    );
    assert!((health["healthPercentage"].as_f64().unwrap() - 100.0 / 3.0).abs() < 1e-9);
    assert_eq!(health["peers"][0]["status"], "HeartbeatTimeout");
    assert_eq!(get(&router, "/api/health").await.json()["metrics"]["unhealthyPeers"], 2);
    node.sessions()
        .close(&PeerId::new("edge-2").unwrap(), SessionId::from_bits(3).as_str(), &Connection::default())
        .unwrap();
    assert_eq!(get(&router, "/api/peers/edge-2").await.json()["status"], "Disconnected");
    let (empty, _) = central(|_| ()).await;
    assert_eq!(get(&empty, "/api/peers/health").await.json()["healthPercentage"], 100.0);
    assert_eq!(get(&empty, "/api/peers/stats").await.json()["minVersion"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn who_is_connected_is_told_to_callers_with_a_token() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "0123456789abcdef").unwrap();
    let path = file.path().to_owned();
    let (router, _) =
        with_two_peers(|config| config.http = Http { token_file: Some(path), ..Http::default() }).await;
    let anonymous = get(&router, "/api/peers/connected").await.json();
    assert_eq!(anonymous, serde_json::json!({"connectedPeerCount": 2}));
    let wrong = get_with(&router, "/api/peers/connected", &[("authorization", "Bearer x")]).await.json();
    assert_eq!(wrong, anonymous);
    let trusted = get_with(&router, "/api/peers/connected", &[("authorization", "Bearer 0123456789abcdef")])
        .await
        .json();
    assert_eq!((&trusted["connectedPeerCount"], trusted["peers"].as_array().unwrap().len()), (&2.into(), 2));
}
