//! What a node tells of itself, and its measurements.

use prometheus::{IntCounter, Registry};
use sorcha_config::CentralNodeAddress;
use sorcha_peer::status::{CentralNodeInfo, CentralNodeState};

use super::*;

#[tokio::test(start_paused = true)]
async fn node_info_of_both_roles() {
    let (router, node) = peer(|_| ()).await;
    node.change_status(|status| status.central_node_id = Some("n0.sorcha.dev".into()));
    let info = get(&router, "/api/node/info").await.json();
    let expected = serde_json::json!({
        "nodeId": "edge-0", "nodeType": "Peer", "isCentralNode": false, "hostname": "edge-0",
        "connectedCentralNode": "n0.sorcha.dev", "version": env!("CARGO_PKG_VERSION"), "uptime": 0,
        "lineage": genesis(1).lineage().to_string(), "registerVersion": 4,
        "registerDigest": node.replica.view().digest().to_string(), "storeKind": "embedded"
    });
    assert_eq!(info, expected);
    let (router, _) = central(|_| ()).await;
    let info = get(&router, "/api/node/info").await.json();
    assert_eq!((&info["nodeType"], &info["isCentralNode"]), (&"Central".into(), &true.into()));
    assert_eq!((&info["connectedCentralNode"], &info["storeKind"]), (&Value::Null, &"embedded".into()));
}

#[tokio::test(start_paused = true)]
async fn central_nodes_as_each_role_knows_them() {
    let (router, _) = central(|_| ()).await;
    let own = get(&router, "/api/central-nodes").await.json();
    let expected = serde_json::json!([{
        "nodeId": "n0.sorcha.dev", "hostname": "n0.sorcha.dev", "port": 5000, "priority": 0, "connectionStatus": "Connected",
        "isActive": true, "lastSuccessfulConnection": null, "lastConnectionAttempt": null, "consecutiveFailures": 0, "lastError": null
    }]);
    assert_eq!(own, expected);

    let (router, node) = peer(|_| ()).await;
    let address = CentralNodeAddress {
        id: Some("n1".into()),
        host: "10.0.0.2".into(),
        port: 5001,
        priority: 1,
        ca_file: None,
    };
    node.change_status(|status| {
        status.central_nodes = vec![CentralNodeInfo {
            state: CentralNodeState::Failed,
            last_attempt: Some(START),
            consecutive_failures: 3,
            last_error: Some("refused".into()),
            ..CentralNodeInfo::new(address)
        }];
    });
    let known = get(&router, "/api/connection/central-nodes").await.json();
    let expected = serde_json::json!([{
        "nodeId": "n1", "hostname": "10.0.0.2", "port": 5001, "priority": 1, "connectionStatus": "Failed", "isActive": false,
        "lastSuccessfulConnection": null, "lastConnectionAttempt": START_TEXT, "consecutiveFailures": 3, "lastError": "refused"
    }]);
    assert_eq!(known, expected);
    assert_eq!(get(&router, "/api/central-nodes").await.json(), known);
    assert_eq!(get(&router, "/api/health").await.json()["metrics"]["unhealthyPeers"], 1);
}

#[tokio::test(start_paused = true)]
async fn metrics_are_prometheus_text() {
    let (_, node) = central(|_| ()).await;
    let registry = Registry::new();
    let counter = IntCounter::new("publications", "Publications.").unwrap();
    registry.register(Box::new(counter.clone())).unwrap();
    counter.inc();
    let auth = Auth::new(&node.config.http, Arc::clone(&node.env.clock), None).unwrap();
    let router = router(NodeHandle::Central(node), auth, registry);
    let reply = get(&router, "/metrics").await;
    assert_eq!((reply.status, reply.header("content-type")), (StatusCode::OK, "text/plain; version=0.0.4"));
    assert!(std::str::from_utf8(&reply.body).unwrap().contains("publications 1\n"));
}
