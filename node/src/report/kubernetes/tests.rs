//! Against a server that speaks as much of the API as is needed.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use kube::Resource as _;
use sorcha_crds::{
    SorchaCentralNode, SorchaPeer,
    central_node::{CentralNodeReport, PeerCounts},
    node_field_manager,
    peer::PeerReport,
};
use tokio::net::TcpListener;

use super::*;

/// A request as it arrived.
struct Asked {
    line: String,
    content_type: String,
    accept: String,
    body: Value,
}

/// What was asked, and what is answered.
#[derive(Clone)]
struct Api {
    asked: Arc<Mutex<Vec<Asked>>>,
    answer: Arc<Mutex<(u16, Value)>>,
}

async fn answered(State(api): State<Api>, request: Request) -> Response {
    let line = format!("{} {}", request.method(), request.uri());
    let (parts, body) = request.into_parts();
    let text = |name| parts.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let (content_type, accept) = (text(header::CONTENT_TYPE), text(header::ACCEPT));
    let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap();
    api.asked.lock().unwrap().push(Asked { line, content_type, accept, body });
    let (status, answer) = api.answer.lock().unwrap().clone();
    (StatusCode::from_u16(status).unwrap(), axum::Json(answer)).into_response()
}

async fn api() -> (SocketAddr, Api) {
    let metadata = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {}});
    let api = Api { asked: Arc::default(), answer: Arc::new(Mutex::new((200, metadata))) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(answered).with_state(api.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, api)
}

fn to(address: SocketAddr, role: Role, name: &str, report: &config::Report) -> ResourceStatus {
    let mut cluster = kube::Config::new(format!("http://{address}").parse().unwrap());
    cluster.default_namespace = "edge-sites".to_owned();
    ResourceStatus::new(cluster, role, name, report, "edge-0").unwrap()
}

fn peer() -> Report {
    let instant = jiff::Timestamp::from_second(1_763_800_200).unwrap();
    Report::Peer(PeerReport {
        name: "edge-0".into(),
        state: Some("HeartbeatMonitoring".into()),
        version: Some(42),
        fresh_as_of: Some(instant.into()),
        rtt_ms: Some(1.8),
        ..PeerReport::default()
    })
}

#[tokio::test]
async fn a_peer_applies_its_element_of_the_nodes() {
    let (address, api) = api().await;
    let kubernetes = to(address, Role::Peer, "edge", &config::Report::default());
    kubernetes.apply(&peer()).await.unwrap();
    let Asked { line, content_type, accept, body } = api.asked.lock().unwrap().pop().unwrap();
    assert_eq!(
        line,
        "PATCH /apis/sorcha.dev/v1alpha1/namespaces/edge-sites/sorchapeers/edge/status?&force=true&fieldManager=sorcha-node.edge-0"
    );
    assert_eq!(content_type, "application/apply-patch+yaml");
    assert!(accept.starts_with("application/json;as=PartialObjectMetadata"), "{accept}");
    let expected = json!({
        "apiVersion": "sorcha.dev/v1alpha1", "kind": "SorchaPeer", "metadata": {"name": "edge"},
        "status": {"nodes": [{
            "name": "edge-0", "state": "HeartbeatMonitoring", "version": 42, "freshAsOf": "2025-11-22T08:30:00Z", "rttMs": 1.8
        }]}
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_central_node_applies_its_node() {
    let (address, api) = api().await;
    let settings = config::Report { namespace: Some("elsewhere".into()), ..config::Report::default() };
    let kubernetes = to(address, Role::Central, "n0", &settings);
    let report = CentralNodeReport {
        name: "n0-0".into(),
        state: "Healthy".into(),
        peers: PeerCounts { connected: 3, up_to_date: 2, lagging: 0 },
        store_reachable: Some(true),
        ..CentralNodeReport::default()
    };
    kubernetes.apply(&Report::Central(report)).await.unwrap();
    let Asked { line, body, .. } = api.asked.lock().unwrap().pop().unwrap();
    assert!(
        line.starts_with(
            "PATCH /apis/sorcha.dev/v1alpha1/namespaces/elsewhere/sorchacentralnodes/n0/status?"
        )
    );
    let expected = json!({
        "apiVersion": "sorcha.dev/v1alpha1", "kind": "SorchaCentralNode", "metadata": {"name": "n0"},
        "status": {"node": {
            "name": "n0-0", "state": "Healthy", "peers": {"connected": 3, "upToDate": 2, "lagging": 0}, "storeReachable": true
        }}
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn refusals_are_told_apart_and_not_repeated() {
    let (address, api) = api().await;
    let kubernetes = to(address, Role::Peer, "edge", &config::Report::default());
    for (status, label) in [
        (404, "not_found"),
        (403, "forbidden"),
        (422, "refused"),
        (401, "failed"),
        (429, "failed"),
        (500, "failed"),
        (503, "failed"),
    ] {
        let answer = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "why", "code": status});
        *api.answer.lock().unwrap() = (status, answer);
        let error = kubernetes.apply(&peer()).await.unwrap_err();
        assert_eq!(error.label(), label, "{status}");
        assert!(error.to_string().contains("why"), "{error}");
    }
    assert_eq!(api.asked.lock().unwrap().len(), 7, "the client repeats nothing by itself");
}

#[tokio::test]
async fn a_server_that_is_away_is_a_failure_that_passes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let kubernetes = to(address, Role::Peer, "edge", &config::Report::default());
    let error = kubernetes.apply(&peer()).await.unwrap_err();
    assert!(error.is_passing() && error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn tls_has_its_one_provider() {
    let cluster = kube::Config::new("https://127.0.0.1:1".parse().unwrap());
    let report = config::Report { timeout: Duration::from_secs(1), ..config::Report::default() };
    let kubernetes = ResourceStatus::new(cluster, Role::Peer, "edge", &report, "edge-0").unwrap();
    assert!(kubernetes.apply(&peer()).await.unwrap_err().is_passing());
}

#[tokio::test]
async fn without_a_resource_there_is_nothing_to_connect_to() {
    assert!(connect(&Config::default(), Role::Peer).await.unwrap().is_none());
    let mut config = Config::default().with_identity("edge-0");
    config.report.resource = Some("sorchapeers/edge".into());
    let error = connect(&config, Role::Central).await.err().unwrap();
    assert!(matches!(error, Unusable::Config(_)), "{error}");
    let nowhere = async { Err("no kubeconfig".into()) };
    let error = connect_to(&config, Role::Peer, nowhere).await.err().unwrap().to_string();
    assert!(error.contains("report.resource") && error.contains("unset it outside Kubernetes"), "{error}");
    let somewhere = async { Ok(kube::Config::new("http://127.0.0.1:1".parse().unwrap())) };
    assert!(connect_to(&config, Role::Peer, somewhere).await.unwrap().is_some());
}

#[test]
fn the_configuration_names_resources_and_field_managers_as_the_definitions_do() {
    assert_eq!(sorcha_config::report::PEERS, SorchaPeer::plural(&()));
    assert_eq!(sorcha_config::report::CENTRAL_NODES, SorchaCentralNode::plural(&()));
    assert_eq!(sorcha_config::report::FIELD_MANAGER, node_field_manager(""));
}
