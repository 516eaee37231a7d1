//! A node from the configuration on, over real sockets.

use std::{net::TcpListener as StdListener, time::Duration};

use serde_json::Value;
use tokio::{sync::oneshot, task::JoinHandle};

use super::*;
use crate::telemetry;

struct Running {
    url: String,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), RunError>>,
    _folder: tempfile::TempDir,
}

/// An address that nobody listens on.
fn free() -> SocketAddr {
    StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn start(id: &str, role: Role, change: impl FnOnce(&mut Config)) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default().with_identity(id);
    config.store.data_dir = folder.path().to_owned();
    (config.listen.http, config.listen.grpc) = (free(), free());
    change(&mut config);
    let url = format!("http://{}", config.listen.http);
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = tokio::spawn(async move {
        let telemetry = telemetry::for_tests(&config);
        run(config, role, &telemetry, async { drop(stopped.await) }).await
    });
    Running { url, stop, ended, _folder: folder }
}

impl Running {
    /// Status and body of a resource, once there is an answer that `is_it` accepts.
    async fn until(&self, path: &str, is_it: impl Fn(u16, &Value) -> bool) -> Value {
        let asking = async {
            loop {
                if let Ok(answer) = reqwest::get(format!("{}{path}", self.url)).await {
                    let (status, body) = (answer.status().as_u16(), answer.text().await.unwrap());
                    let body = serde_json::from_str(&body).unwrap_or(Value::String(body));
                    if is_it(status, &body) {
                        return body;
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), asking).await.unwrap_or_else(|_| panic!("{path}"))
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(10), self.ended).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn probes_are_answered_while_the_store_is_waited_for() {
    let node = start("n0.sorcha.dev", Role::Central, |config| {
        config.store.mongodb.uri = Some(format!("mongodb://{}/", free()));
        config.store.mongodb.timeout = Duration::from_millis(200);
    });
    node.until("/livez", |status, body| status == 200 && body["status"] == "Alive").await;
    let waits =
        |body: &Value| body["detail"].as_str().is_some_and(|d| d.starts_with("waiting for the store: "));
    node.until("/readyz", |status, body| status == 503 && waits(body)).await;
    node.until("/health", |status, body| status == 503 && waits(body)).await;
    node.until("/metrics", |status, body| status == 200 && body.is_string()).await;
    node.stop().await;
}

#[tokio::test]
async fn the_whole_api_follows_on_the_same_listener() {
    let node = start("n0.sorcha.dev", Role::Central, |_| ());
    node.until("/readyz", |status, body| status == 200 && body["status"] == "Ready").await;
    let info = node.until("/api/node/info", |status, _| status == 200).await;
    assert_eq!(info["nodeType"], "Central");
    node.stop().await;
    let node = start("edge-0", Role::Peer, |config| {
        config.central_nodes_file = Some(config.store.data_dir.join("not-there-yet.json"));
    });
    let detail = |body: &Value| body["detail"].as_str().is_some_and(|d| d.contains("holds no replica yet"));
    node.until("/readyz", |status, body| status == 503 && detail(body)).await;
    node.until("/api/connection/status", |_, body| body["status"] == "Isolated").await;
    node.stop().await;
}

#[tokio::test]
async fn a_resource_of_the_other_role_stops_the_start() {
    let node = start("edge-0", Role::Peer, |config| {
        config.report.resource = Some("sorchacentralnodes/n0".into());
    });
    let error = node.ended.await.unwrap().unwrap_err();
    assert!(error.to_string().starts_with("report.resource: "), "{error}");
}
