//! The real binary with TLS files: what it says at start, in its health, its metrics and its status.

use std::process::Output;

use sorcha_runtime::tls::testing::{Ca, Leaf, Pair, mount};
use sorcha_tests::process::{Process, binary, free_ports, get, until};
use tokio::process::Command;

use super::{CENTRAL, EDGE, Site};

/// A command of the binary with the TLS files of a folder.
fn command(site: &Site, name: &str, pair: &Pair, cas: &[&Ca], arguments: &[&str]) -> Command {
    let folder = site.data.path().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let [certificate, key, ca] = mount(&folder, pair, cas);
    let mut command = Command::new(binary());
    command.args(arguments).arg("--data-dir").arg(folder.join("data"));
    command.env("SORCHA_TLS__CERTIFICATE_FILE", certificate);
    command.env("SORCHA_TLS__KEY_FILE", key).env("SORCHA_TLS__CA_FILE", ca);
    command.env("SORCHA_TLS__RELOAD_INTERVAL", "50ms").env("SORCHA_TLS__MIN_VERSION", "1.3");
    command.env("SORCHA_CONNECT__MAX_DELAY", "500ms").env("SORCHA_LISTEN__HTTPS", "127.0.0.1:0");
    command
}

fn central(site: &Site, pair: &Pair, [grpc, http]: [u16; 2]) -> Process {
    let (grpc, http) = (format!("127.0.0.1:{grpc}"), format!("127.0.0.1:{http}"));
    let arguments =
        ["central", "--hostname", "n0.sorcha.dev", "--listen-grpc", &grpc, "--listen-http", &http];
    Process::spawn(command(site, "n0", pair, &[&site.ca], &arguments))
}

fn peer(site: &Site, pair: &Pair, central: u16, http: u16) -> Process {
    let (central, http) = (format!("n0.sorcha.dev=127.0.0.1:{central}"), format!("127.0.0.1:{http}"));
    let arguments = ["peer", "--node-id", "edge-0", "--central-node", &central, "--listen-http", &http];
    Process::spawn(command(site, "edge-0", pair, &[&site.ca], &arguments))
}

/// A number of a metric, labels as in the exposition.
fn metric(text: &str, name: &str, label: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(name) && line.contains(label))?;
    line.rsplit(' ').next()?.parse().ok()
}

async fn until_health(http: u16, told: &str) -> String {
    let what = format!("{told} in the health at port {http}");
    until(&what, || async { get(http, "/health").await.filter(|health| health.contains(told)) }).await
}

fn leaf(uri: &str, not_after: i64) -> Leaf {
    Leaf { uris: vec![uri.to_owned()], not_after, ..Leaf::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_metrics_and_status_tell_of_certificates() {
    let site = Site::new();
    let [grpc, central_http, peer_http] = free_ports();
    let _central = central(&site, &site.ca.issue(&leaf(CENTRAL, 4_000_000_000)), [grpc, central_http]);
    let _peer = peer(&site, &site.pair(EDGE), grpc, peer_http);
    until_health(peer_http, "\"Healthy\"").await;
    let health = until_health(central_http, "\"Healthy\"").await;
    assert!(health.contains(r#""certificateNotAfter":"2096-10-02T07:06:40.000Z""#), "{health}");

    // A certificate that is over: the session goes on, and both say what is coming.
    let over = site.ca.issue(&leaf(EDGE, 1_000_000_000));
    mount(&site.data.path().join("edge-0"), &over, &[&site.ca]);
    let health = until_health(peer_http, "has expired at 2001-09-09").await;
    assert!(health.contains("Degraded"), "{health}");
    mount(&site.data.path().join("edge-0"), &site.pair(EDGE), &[&site.ca]);
    until_health(peer_http, "\"Healthy\"").await;

    let stranger = Ca::new("other").issue(&leaf(EDGE, 4_000_000_000));
    let [other_http] = free_ports();
    let _other = {
        let (to, http) = (format!("n0.sorcha.dev=127.0.0.1:{grpc}"), format!("127.0.0.1:{other_http}"));
        let arguments = ["peer", "--node-id", "edge-1", "--central-node", &to, "--listen-http", &http];
        Process::spawn(command(&site, "edge-1", &stranger, &[&site.ca], &arguments))
    };
    until_health(other_http, "Isolated").await;
    let url = format!("http://127.0.0.1:{other_http}");
    let status = Command::new(binary()).args(["status", "--url", &url]).output().await.unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("refuses this node's certificate"), "{status}");

    let text = get(central_http, "/metrics").await.unwrap();
    assert_eq!(metric(&text, "tls_certificate_not_after", "n0.sorcha.dev"), Some(4_000_000_000.0), "{text}");
    assert!(metric(&text, "central_handshakes_total", "result=\"ok\"") >= Some(1.0), "{text}");
    assert!(metric(&text, "central_handshakes_total", "result=\"refused\"") >= Some(1.0), "{text}");
    let text = get(peer_http, "/metrics").await.unwrap();
    assert!(metric(&text, "tls_reloads_total", "result=\"ok\"") >= Some(2.0), "{text}");
}

async fn fails(mut command: Command) -> Output {
    let ended = tokio::time::timeout(sorcha_tests::PATIENCE, command.kill_on_drop(true).output());
    ended.await.expect("it ends").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_can_not_be_used_end_the_start() {
    let site = Site::new();
    let [grpc, http] = free_ports();
    let (grpc, http) = (format!("127.0.0.1:{grpc}"), format!("127.0.0.1:{http}"));
    let arguments =
        ["central", "--hostname", "n0.sorcha.dev", "--listen-grpc", &grpc, "--listen-http", &http];
    let mut bad = site.pair(CENTRAL);
    bad.key = site.pair(CENTRAL).key;
    let output = fails(command(&site, "n0", &bad, &[&site.ca], &arguments)).await;
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("tls.key_file") && told.contains("tls.key is not the key of"), "{told}");

    let mut halved = command(&site, "n0", &site.pair(CENTRAL), &[&site.ca], &arguments);
    halved.env_remove("SORCHA_TLS__CA_FILE");
    let output = fails(halved).await;
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("tls.ca_file: is not set, but tls.certificate_file is"), "{told}");
}
