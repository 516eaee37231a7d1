//! Whole drills against an API server and central nodes made of a few maps.

use std::{
    io::Write as _,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, Method, Request, Response, StatusCode},
    routing::post,
};
use clap::Parser;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

/// Two central nodes, two peers.
struct World {
    version: i64,
    held: i64,
    peers_on: [&'static str; 2],
    failovers: i64,
    pod: u32,
    published: Vec<String>,
    deprecated: usize,
    /// Peers go nowhere when their central node is lost.
    stuck: bool,
    /// Publications arrive nowhere.
    deaf: bool,
}

type Shared = Arc<Mutex<World>>;

fn world() -> World {
    World {
        version: 1,
        held: 1,
        peers_on: ["n1", "n0"],
        failovers: 0,
        pod: 1,
        published: Vec::new(),
        deprecated: 0,
        stuck: false,
        deaf: false,
    }
}

fn ready(kind: &str, name: &str, spec: &Value, mut status: Value) -> Value {
    status["observedGeneration"] = json!(1);
    status["conditions"] = json!([{
        "type": "Ready", "status": "True", "reason": "Serving", "message": "",
        "lastTransitionTime": "2026-11-22T10:00:00Z", "observedGeneration": 1,
    }]);
    let metadata = json!({"name": name, "namespace": "drilled", "generation": 1, "uid": name});
    json!({"apiVersion": "sorcha.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec, "status": status})
}

impl World {
    fn central_nodes(&self) -> Value {
        let node = |name, priority| {
            let spec = json!({"network": "sorcha.dev", "priority": priority, "store": {"embedded": {}}});
            ready("SorchaCentralNode", name, &spec, json!({"version": self.version}))
        };
        json!([node("n1", 1), node("n0", 0)])
    }

    fn peers(&self) -> Value {
        let node = |ordinal: usize| {
            json!({
                "name": format!("edge-{ordinal}"), "state": "HeartbeatMonitoring",
                "centralNode": self.peers_on[ordinal], "failovers": self.failovers, "version": self.held,
            })
        };
        let status = json!({"minVersion": self.held, "nodes": [node(0), node(1)]});
        let other = ready("SorchaPeer", "other", &json!({"network": "example.org"}), json!({}));
        json!([ready("SorchaPeer", "edge", &json!({"network": "sorcha.dev", "replicas": 2}), status), other])
    }

    fn kill(&mut self) {
        self.pod += 1;
        if !self.stuck {
            self.peers_on = ["n1", "n1"];
            self.failovers += 1;
        }
    }

    fn change(&mut self) -> i64 {
        self.version += 1;
        if !self.deaf {
            self.held = self.version;
        }
        self.version
    }

    /// What the API server answers.
    fn answer(&mut self, method: &Method, path: &str) -> (StatusCode, Value) {
        let list = |kind: &str, items: Value| {
            let list =
                json!({"apiVersion": "sorcha.dev/v1alpha1", "kind": kind, "metadata": {}, "items": items});
            (StatusCode::OK, list)
        };
        match (method, path) {
            (&Method::GET, "/apis/sorcha.dev/v1alpha1") => {
                let kind = |kind: &str| json!({"name": kind, "singularName": "", "namespaced": true, "kind": kind, "verbs": []});
                let kinds = json!([kind("SorchaCentralNode"), kind("SorchaPeer"), kind("SorchaBlueprint")]);
                (StatusCode::OK, json!({"groupVersion": "sorcha.dev/v1alpha1", "resources": kinds}))
            }
            (&Method::GET, "/apis/sorcha.dev/v1alpha1/namespaces/drilled/sorchacentralnodes") => {
                list("SorchaCentralNodeList", self.central_nodes())
            }
            (&Method::GET, "/apis/sorcha.dev/v1alpha1/namespaces/drilled/sorchapeers") => {
                list("SorchaPeerList", self.peers())
            }
            (&Method::GET, "/api/v1/namespaces/drilled/pods/n0-0") => (StatusCode::OK, self.pod()),
            (&Method::DELETE, "/api/v1/namespaces/drilled/pods/n0-0") => {
                let pod = self.pod();
                self.kill();
                (StatusCode::OK, pod)
            }
            _ => {
                let status = json!({"status": "Failure", "code": 403, "message": format!("no {method} {path}"), "reason": "Forbidden"});
                (StatusCode::FORBIDDEN, status)
            }
        }
    }

    fn pod(&self) -> Value {
        let metadata = json!({"name": "n0-0", "namespace": "drilled", "uid": format!("pod-{}", self.pod)});
        let status = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": []}, "status": status})
    }
}

/// A client of an API server that shows this world.
fn api_server(world: Shared) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let (status, body) = world.lock().unwrap().answer(request.method(), request.uri().path());
        std::future::ready(
            Response::builder().status(status).body(Body::from(serde_json::to_vec(&body).unwrap())),
        )
    });
    Client::new(service, "drilled")
}

/// The answer to a publication or change.
fn published(version: i64) -> Value {
    json!({
        "transactionId": "tx", "blueprintId": "drill", "version": version, "isActive": true,
        "publishedAt": "2026-11-22T09:30:00.000Z", "checksum": "sha256:0",
    })
}

/// A central node of this world, on a port of its own.
async fn central_node(world: Shared) -> String {
    async fn publish(
        State(world): State<Shared>,
        headers: HeaderMap,
        Json(body): Json<Value>,
    ) -> (StatusCode, Json<Value>) {
        if headers.get("authorization").is_none_or(|value| value != "Bearer secret") {
            return (
                StatusCode::UNAUTHORIZED,
                Json(json!({"title": "Unauthorized", "detail": "who are you?"})),
            );
        }
        assert_eq!(body["blueprintId"], body["blueprint"]["id"]);
        let mut world = world.lock().unwrap();
        world.published.push(body["blueprintId"].as_str().unwrap().to_owned());
        let version = world.change();
        (StatusCode::CREATED, Json(published(version)))
    }
    async fn deprecate(State(world): State<Shared>, Path(id): Path<String>) -> Json<Value> {
        let mut world = world.lock().unwrap();
        assert!(world.published.contains(&id));
        world.deprecated += 1;
        Json(published(world.change()))
    }
    let router = Router::new()
        .route("/api/system-register/publish", post(publish))
        .route("/api/system-register/blueprints/{id}/deprecate", post(deprecate))
        .with_state(world);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    drill: DrillArgs,
}

/// Runs a drill and gives what it told.
async fn drill(world: World, token: &str, more: &[&str]) -> (Shared, anyhow::Result<()>, String) {
    let world = Arc::new(Mutex::new(world));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "# tokens\nme: {token}").unwrap();
    let url = central_node(world.clone()).await;
    let urls = ["n0", "n1"].map(|name| format!("{name}={url}"));
    let file = file.path().to_str().unwrap();
    let args = ["drill", "--token-file", file, "--central-url", &urls[0], "--central-url", &urls[1]];
    let args = Cli::try_parse_from(args.iter().chain(more)).unwrap().drill;
    let mut out = Vec::new();
    let mut timeline = Timeline::start(&mut out, args.timeout, Duration::from_millis(5));
    let mut result = conduct(api_server(world.clone()), args, &mut timeline).await;
    if result.is_ok() {
        result = timeline.table();
    }
    (world, result, String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn a_network_that_does_its_work_passes() {
    let (world, result, told) = drill(world(), "secret", &[]).await;
    result.unwrap();
    let world = world.lock().unwrap();
    assert_eq!((world.published.len(), world.deprecated, world.pod), (2, 2, 2));
    for line in [
        "network sorcha.dev: central nodes n0, n1; peers edge (2)",
        "n0 gave it version 2",
        "every peer holds version 2",
        "pod n0-0 is deleted; 1 of 2 peers were connected to it",
        "every peer of n0 is connected again",
        "moved: edge-1 to n1",
        "n1 gave it version 3",
        "every peer holds version 5",
        "pod n0-0 is replaced and ready",
        "passed in",
    ] {
        assert!(told.contains(line), "{line} is missing in:\n{told}");
    }
}

#[tokio::test]
async fn without_killing_it_publishes_twice() {
    let (world, result, told) = drill(world(), "secret", &["--kill", "false"]).await;
    result.unwrap();
    let world = world.lock().unwrap();
    assert_eq!((world.published.len(), world.pod), (2, 1));
    assert!(told.contains("n0 gave it version 2") && told.contains("n1 gave it version 3"), "{told}");
}

#[tokio::test]
async fn a_look_changes_nothing() {
    let (world, result, _) = drill(world(), "secret", &["--check-only"]).await;
    result.unwrap();
    assert_eq!(world.lock().unwrap().version, 1);
}

/// What goes wrong, and what the drill says.
#[tokio::test]
async fn what_does_not_happen_is_named() {
    // Long enough for what does happen, on a machine that has other things to do.
    let late = ["--timeout", "4s"];
    let cases = [
        (
            World { stuck: true, ..world() },
            "secret",
            &late[..],
            "every peer of n0 is connected again: edge-1 still reports n0",
        ),
        (
            World { deaf: true, ..world() },
            "secret",
            &late,
            "every peer holds version 2: edge reports version 1",
        ),
        (world(), "wrong", &[], "n0 refuses: Unauthorized: who are you?"),
        (world(), "not a token", &[], "holds no bearer token"),
        (world(), "secret", &["--network", "example.com"], "there is no SorchaCentralNode of this network"),
        (world(), "secret", &["--namespace", "other"], "the API server refuses: no GET"),
    ];
    let outcomes = cases.map(async |(world, token, args, expected)| {
        let (_, result, told) = drill(world, token, args).await;
        let error = format!("{:#}", result.unwrap_err());
        assert!(error.contains(expected), "{error}, not {expected}; {told}");
    });
    futures::future::join_all(outcomes).await;
}

#[test]
fn wrong_flags_are_refused() {
    for (args, expected) in [
        (&["drill"][..], "--token-file"),
        (&["drill", "--check-only", "--timeout", "soon"], "--timeout"),
        (&["drill", "--check-only", "--central-url", "n0"], "write it as n0=http://127.0.0.1:8080"),
        (&["drill", "--check-only", "--central-url", "n0=https://a"], "plain HTTP"),
        (&["drill", "--check-only", "--controller-url", "a b"], "--controller-url"),
        (&["drill", "--check-only", "--kill", "perhaps"], "--kill"),
    ] {
        let error = Cli::try_parse_from(args).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
