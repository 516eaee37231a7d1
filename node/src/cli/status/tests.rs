use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Json, Router, http::StatusCode, response::IntoResponse, routing::get};
use sorcha_runtime::clock::SystemClock;

use super::*;
use crate::cli::{
    api::tests::{args as api_args, nobody, serve},
    console::tests::on_console,
};

fn peer() -> Router {
    let node = json!({"nodeId": "edge-0", "nodeType": "Peer", "isCentralNode": false, "uptime": "3m", "newInSomeRelease": 1});
    let connection = json!({
        "peerId": "edge-0", "status": "HeartbeatMonitoring", "connectedCentralNodeId": "n0", "lastSyncVersion": 42,
        "sessionId": null, "centralNodeConfig": {"nodeId": "n0", "port": 5000},
    });
    Router::new()
        .route("/api/node/info", get(async || Json(node)))
        .route("/api/connection/status", get(async || Json(connection)))
        .route("/api/central-nodes", get(async || Json(json!([{"id": "n1", "lastError": "refused"}]))))
}

fn central() -> Router {
    let peers = json!([{"peerId": "edge-0", "lag": 0}, {"peerId": "edge-1", "isolated": true}]);
    Router::new()
        .route(
            "/api/node/info",
            get(async || Json(json!({"nodeId": "n0", "nodeType": "Central", "isCentralNode": true}))),
        )
        .route(
            "/api/peers/connected",
            get(async move || Json(json!({"connectedPeerCount": 2, "peers": peers}))),
        )
}

fn args(url: reqwest::Url, output: OutputFormat) -> StatusArgs {
    StatusArgs { api: api_args(url), watch: false, output }
}

async fn shown(router: Router, output: OutputFormat) -> (Outcome, String, String) {
    let args = args(serve(router).await, output);
    let (result, out, err) = on_console!(None, |console| run(&args, &SystemClock::new(), &mut console));
    (result.unwrap(), out, err)
}

#[tokio::test]
async fn a_peer_is_shown_with_its_connection() {
    let (outcome, out, err) = shown(peer(), OutputFormat::Table).await;
    assert_eq!((outcome, err.as_str()), (Outcome::Done, ""));
    let lines: Vec<_> = out
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>())
        .collect();
    assert_eq!(lines[0], ["node id", "edge-0"]);
    for row in [
        ["status", "HeartbeatMonitoring"],
        ["last sync version", "42"],
        ["session id", "-"],
        ["central node config port", "5000"],
        ["new in some release", "1"],
    ] {
        assert!(lines.contains(&row.to_vec()), "{row:?} in {out}");
    }
}

#[tokio::test]
async fn a_central_node_is_shown_with_its_peers() {
    let (outcome, out, _) = shown(central(), OutputFormat::Table).await;
    assert_eq!(outcome, Outcome::Done);
    assert!(out.contains("connected peer count  2"), "{out}");
    assert!(out.contains("\npeers\n") && out.contains("PEER ID"), "{out}");
    assert!(out.contains("edge-1") && out.contains("yes"), "{out}");
}

#[tokio::test]
async fn programs_get_both_answers_in_one_line() {
    let (_, out, _) = shown(peer(), OutputFormat::Json).await;
    let line: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(out.lines().count(), 1);
    assert_eq!((&line["reachable"], &line["node"]["nodeId"]), (&json!(true), &json!("edge-0")));
    assert_eq!(line["connection"]["lastSyncVersion"], 42);
    let (_, out, _) = shown(central(), OutputFormat::Json).await;
    let line: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(line["peers"]["connectedPeerCount"], 2);
}

#[tokio::test]
async fn a_node_that_is_away_or_broken_fails_with_the_reason() {
    let away = args(nobody().await, OutputFormat::Table);
    let (result, out, err) = on_console!(None, |console| run(&away, &SystemClock::new(), &mut console));
    assert_eq!((result.unwrap(), out.as_str()), (Outcome::Failed, ""));
    assert!(err.contains("does not answer"), "{err}");
    let away = StatusArgs { output: OutputFormat::Json, ..away };
    let (result, out, _) = on_console!(None, |console| run(&away, &SystemClock::new(), &mut console));
    let line: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((result.unwrap(), &line["reachable"]), (Outcome::Failed, &json!(false)));

    let half = Router::new().route("/api/node/info", get(async || Json(json!({"nodeId": "edge-0"}))));
    let (outcome, out, err) = shown(half, OutputFormat::Table).await;
    assert_eq!(outcome, Outcome::Failed);
    assert!(out.contains("edge-0") && err.contains("404"), "{out}{err}");
}

#[tokio::test(start_paused = true)]
async fn watching_goes_on_while_the_node_is_away() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let info = get(async move || match count.fetch_add(1, Ordering::Relaxed) {
        1 => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"title": "Starting"}))).into_response(),
        _ => Json(json!({"nodeId": "n0", "isCentralNode": true})).into_response(),
    });
    let router = Router::new()
        .route("/api/node/info", info)
        .route("/api/peers/connected", get(async || Json(json!({"connectedPeerCount": 0}))));
    let api = Api::new(&api_args(serve(router).await), TIMEOUT).unwrap();
    let clock = SystemClock::new();
    let stop = async {
        while calls.load(Ordering::Relaxed) < 4 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (result, out, _) =
        on_console!(None, |console| watch(&api, OutputFormat::Table, &clock, &mut console, stop));
    assert_eq!(result.unwrap(), Outcome::Done);
    assert!(out.contains("Starting; trying again, for 0 s so far"), "{out}");
    assert!(out.matches("connected peer count").count() >= 2, "{out}");
}

#[tokio::test]
async fn watching_nobody_ends_when_told() {
    let api = Api::new(&api_args(nobody().await), TIMEOUT).unwrap();
    let clock = SystemClock::new();
    let stop = tokio::time::sleep(Duration::from_millis(1500));
    let (result, out, _) =
        on_console!(None, |console| watch(&api, OutputFormat::Table, &clock, &mut console, stop));
    assert_eq!(result.unwrap(), Outcome::Done);
    assert!(out.contains("for 1 s so far"), "{out}");
}
