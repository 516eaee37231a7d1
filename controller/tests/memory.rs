//! The controller holds no documents: a thousand blueprints of 1 MB are published within the chart's memory limit.
//!
//! A process of its own, whose peak is measured; the API server and the central node are in it, and hold one chunk.

#![expect(clippy::expect_used, reason = "a test that fails says where")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::Path,
    http::{Request, Response, StatusCode},
    routing::{get, post},
};
use clap::Parser;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use sorcha_controller::{
    config::Settings, leader::fence::Fence, metrics::Metrics, publication::document::Document, run,
};
use tokio::time::{Duration, timeout};

const BLUEPRINTS: usize = 1_000;
/// The chart's limit is 256 MiB; what the program has anyway, and the other side of each call, is in that.
const LIMIT_KIB: u64 = 160 * 1024;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
}

/// A document of 1 MB.
fn document() -> String {
    let text = "x".repeat(16 * 1024);
    let fields: Vec<String> = (0..64).map(|number| format!("\"f{number:02}\":\"{text}\"")).collect();
    format!("{{{}}}", fields.join(","))
}

fn beginning(number: usize) -> String {
    format!(
        r#"{{"apiVersion":"sorcha.dev/v1alpha1","kind":"SorchaBlueprint","metadata":{{"name":"b-{number}","namespace":"shop","uid":"u-{number}","resourceVersion":"5","generation":1,"creationTimestamp":"2026-11-22T10:00:00Z"}},"spec":{{"deletionPolicy":"Retain","document":"#
    )
}

fn central() -> Value {
    json!({
        "apiVersion": "sorcha.dev/v1alpha1", "kind": "SorchaCentralNode",
        "metadata": {"name": "n0", "namespace": "shop", "uid": "u", "resourceVersion": "5", "generation": 1,
            "annotations": {"sorcha.dev/paused": "true"}},
        "spec": {"store": {"embedded": {}}},
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Serving", "message": "",
            "lastTransitionTime": "2026-11-22T10:00:00Z"}]},
    })
}

/// A list whose items are made as they are taken.
fn list(count: usize, document: &Bytes) -> Body {
    let document = document.clone();
    let items = stream::iter(0..count).flat_map(move |number| {
        let comma = if number == 0 { "" } else { "," };
        stream::iter([
            Bytes::from(format!("{comma}{}", beginning(number))),
            document.clone(),
            Bytes::from("}}"),
        ])
    });
    let begin = stream::iter([Bytes::from(r#"{"metadata":{"resourceVersion":"5"},"items":["#)]);
    let body = begin.chain(items).chain(stream::iter([Bytes::from("]}")]));
    Body::from_stream(body.map(Ok::<_, std::io::Error>))
}

fn api(document: Bytes) -> kube::Client {
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let document = document.clone();
        async move {
            let path = request.uri().path().to_owned();
            let watch = request.uri().query().unwrap_or_default().contains("watch=true");
            let last = path.rsplit('/').next().unwrap_or_default().to_owned();
            let named = last.strip_prefix("b-").and_then(|number| number.parse().ok());
            let empty = json!({"metadata": {"resourceVersion": "9"}, "items": []});
            let body = match (request.method().as_str(), last.as_str(), named) {
                ("GET", ..) if watch => Body::from_stream(stream::pending::<std::io::Result<Bytes>>()),
                ("GET", "sorchablueprints", _) => list(BLUEPRINTS, &document),
                ("GET", "sorchacentralnodes", _) => {
                    let items = json!({"metadata": {"resourceVersion": "5"}, "items": [central()]});
                    Body::from(items.to_string())
                }
                ("GET", _, Some(number)) => {
                    let parts = [Bytes::from(beginning(number)), document, Bytes::from("}}")];
                    Body::from_stream(stream::iter(parts.map(Ok::<_, std::io::Error>)))
                }
                ("POST", "token", _) => {
                    let status = json!({"token": "0123456789abcdefghij", "expirationTimestamp": "2026-11-22T11:00:00Z"});
                    let token = json!({"metadata": {}, "spec": {"audiences": [], "expirationSeconds": 3600}, "status": status});
                    Body::from(token.to_string())
                }
                _ => Body::from(empty.to_string()),
            };
            Ok::<_, std::io::Error>(Response::builder().status(200).body(body).expect("a response"))
        }
    });
    kube::Client::new(service, "shop")
}

/// A central node that takes everything; tells how much.
async fn register(checksum: String, published: Arc<AtomicUsize>) -> std::net::SocketAddr {
    let publish = post(move |body: Body| {
        let (checksum, published) = (checksum.clone(), Arc::clone(&published));
        async move {
            let mut length = 0;
            let mut chunks = body.into_data_stream();
            while let Some(Ok(chunk)) = chunks.next().await {
                length += chunk.len();
            }
            assert!(length > 1_000_000, "the whole document");
            published.fetch_add(1, Ordering::Relaxed);
            let entry = json!({"version": 1, "checksum": checksum, "isActive": true, "publishedAt": "2026-11-22T10:00:00Z"});
            (StatusCode::CREATED, Json(entry))
        }
    });
    let router = Router::new()
        .route("/api/system-register/publish", publish)
        .route("/api/system-register/blueprints/{id}", get(async |_: Path<String>| StatusCode::NOT_FOUND));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with(field)).expect("the field");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("KiB")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_documents_of_one_megabyte_fit_into_the_charts_limit() {
    let text = document();
    let checksum = Document::parse(&text, "here").expect("a document").checksum;
    let document = Bytes::from(text);
    assert!(document.len() > 1_000_000);
    let published = Arc::new(AtomicUsize::new(0));
    let address = register(checksum, Arc::clone(&published)).await;
    let flags = [
        "run",
        "--publisher-service-account=publisher",
        "--publisher-service-account-namespace=system",
        &format!("--central-url=n0=http://{address}"),
    ];
    let settings = Cli::try_parse_from(flags).expect("settings").settings;
    let controller = run::reconcile(
        api(document),
        settings,
        "test".into(),
        Metrics::new().expect("metrics"),
        Fence::open(),
    );
    let all = async {
        while published.load(Ordering::Relaxed) < BLUEPRINTS {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let done = timeout(Duration::from_secs(300), async {
        tokio::select! { () = all => {}, () = controller => {} }
    });
    done.await.expect("all are published");
    let peak = memory("VmHWM");
    assert!(peak < LIMIT_KIB, "{peak} KiB at the peak");
}
