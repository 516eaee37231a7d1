//! A node from the configuration on, over real sockets.

use std::{
    net::{SocketAddr, TcpListener as StdListener},
    time::Duration,
};

use serde_json::Value;
use sorcha_runtime::tls::testing::{Ca, Leaf, Pair, mount};
use tokio::{net::TcpStream, sync::oneshot, task::JoinHandle};

use super::*;
use crate::telemetry;

struct Running {
    url: String,
    https: SocketAddr,
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
    (config.listen.http, config.listen.grpc, config.listen.https) = (free(), free(), free());
    change(&mut config);
    let (url, https) = (format!("http://{}", config.listen.http), config.listen.https);
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = tokio::spawn(async move {
        let telemetry = telemetry::for_tests(&config);
        run(config, role, &telemetry, async { drop(stopped.await) }).await
    });
    Running { url, https, stop, ended, _folder: folder }
}

impl Running {
    /// Status and body of a resource, once there is an answer that `is_it` accepts.
    async fn until(&self, path: &str, is_it: impl Fn(u16, &Value) -> bool) -> Value {
        let client = sorcha_api::client::plain().unwrap();
        let asking = async {
            loop {
                if let Ok(answer) = client.get(format!("{}{path}", self.url)).send().await {
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

fn secured(config: &mut Config, pair: &Pair, ca: &Ca) -> std::path::PathBuf {
    let folder = config.store.data_dir.join("tls");
    std::fs::create_dir_all(&folder).unwrap();
    let [certificate, key, cas] = mount(&folder, pair, &[ca]);
    config.tls.certificate_file = Some(certificate);
    (config.tls.key_file, config.tls.ca_file) = (Some(key), Some(cas));
    config.tls.reload_interval = Duration::from_millis(20);
    folder
}

/// A client that trusts a CA, and finds `n0.shop.svc` at an address.
fn trusting(ca: &Ca, at: SocketAddr) -> reqwest::Client {
    let mut roots = tokio_rustls::rustls::RootCertStore::empty();
    roots.add(ca.certificate_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = tokio_rustls::rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = reqwest::Client::builder().tls_backend_preconfigured(config).no_proxy();
    client.resolve("n0.shop.svc", at).resolve("n1.shop.svc", at).pool_max_idle_per_host(0).build().unwrap()
}

fn named(host: &str, not_after: i64) -> Leaf {
    Leaf { hosts: vec![host.to_owned()], not_after, ..Leaf::default() }
}

async fn alive(client: &reqwest::Client, host: &str, at: SocketAddr) -> Result<u16, String> {
    let answer = client.get(format!("https://{host}:{}/livez", at.port())).send().await;
    answer.map(|answer| answer.status().as_u16()).map_err(|error| format!("{error:?}"))
}

#[tokio::test]
async fn https_serves_the_api_and_proves_the_nodes_name_also_while_the_store_is_waited_for() {
    let (ca, other, mut folder) = (Ca::new("ca"), Ca::new("other"), None);
    let node = start("n0.sorcha.dev", Role::Central, |config| {
        config.store.mongodb.uri = Some(format!("mongodb://{}/", free()));
        config.store.mongodb.timeout = Duration::from_millis(200);
        folder = Some(secured(config, &ca.issue(&named("n0.shop.svc", 4_000_000_000)), &ca));
    });
    node.until("/livez", |status, _| status == 200).await;
    let client = trusting(&ca, node.https);
    assert_eq!(
        alive(&client, "n0.shop.svc", node.https).await,
        Ok(200),
        "no client certificate is asked for"
    );
    let wrong = alive(&client, "n1.shop.svc", node.https).await.unwrap_err();
    assert!(wrong.contains("NotValidForName"), "{wrong}");
    let stranger = alive(&trusting(&other, node.https), "n0.shop.svc", node.https).await.unwrap_err();
    assert!(stranger.contains("UnknownIssuer"), "{stranger}");

    // A renewed certificate, here one that tells by its name, is shown without a restart.
    mount(&folder.unwrap(), &ca.issue(&named("n1.shop.svc", 4_000_000_000)), &[&ca]);
    let renewed = async {
        while alive(&client, "n1.shop.svc", node.https).await != Ok(200) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), renewed).await.unwrap();
    node.stop().await;
}

#[tokio::test]
async fn callers_that_say_nothing_on_the_https_port_hold_up_nobody() {
    let ca = Ca::new("ca");
    let node = start("edge-0", Role::Peer, |config| {
        secured(config, &ca.issue(&named("n0.shop.svc", 4_000_000_000)), &ca);
        config.central_nodes_file = Some(config.store.data_dir.join("not-there-yet.json"));
        config.limits.max_handshakes = 2;
        config.limits.handshake_timeout = Duration::from_secs(2);
    });
    node.until("/livez", |status, _| status == 200).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(node.https).await.unwrap());
    }
    let client = trusting(&ca, node.https);
    let answer = tokio::time::timeout(Duration::from_secs(15), alive(&client, "n0.shop.svc", node.https));
    assert_eq!(answer.await.unwrap(), Ok(200));
    for mut stream in silent {
        let ended = tokio::time::timeout(Duration::from_secs(10), async {
            let mut byte = [0; 1];
            tokio::io::AsyncReadExt::read(&mut stream, &mut byte).await
        });
        assert!(matches!(ended.await.unwrap(), Ok(0) | Err(_)), "a handshake that is not done is cut");
    }
    node.stop().await;
}

#[tokio::test]
async fn without_tls_files_there_is_no_https() {
    let node = start("n0.sorcha.dev", Role::Central, |_| ());
    node.until("/readyz", |status, _| status == 200).await;
    assert!(TcpStream::connect(node.https).await.is_err());
    node.stop().await;
}
