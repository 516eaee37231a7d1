//! Nodes and tools as processes of the real binary.

use std::path::{Path, PathBuf};

use sorcha_tests::process::{Process, binary, get, until};

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Where the nodes of one test have their files.
pub(crate) struct Site(pub(crate) tempfile::TempDir);

impl Site {
    pub(crate) fn new() -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        std::fs::write(site.path("tokens"), format!("tester: {TOKEN}\n")).unwrap();
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// n0, with its files in a folder of this name.
    pub(crate) async fn central(&self, name: &str, ports: [u16; 2]) -> Process {
        self.central_as("n0.sorcha.dev", name, ports).await
    }

    pub(crate) async fn central_as(&self, hostname: &str, name: &str, [grpc, http]: [u16; 2]) -> Process {
        let process = Process::start(&[
            "central",
            "--hostname",
            hostname,
            "--data-dir",
            self.path(name).to_str().unwrap(),
            "--token-file",
            self.path("tokens").to_str().unwrap(),
            "--listen-grpc",
            &format!("127.0.0.1:{grpc}"),
            "--listen-http",
            &format!("127.0.0.1:{http}"),
        ]);
        until("the central node is ready", || get(http, "/readyz")).await;
        process
    }

    /// A peer of n0, n1, …, at these ports.
    pub(crate) async fn peer(&self, centrals: &[u16], http: u16) -> Process {
        let (data, listen) = (self.path("edge-0"), format!("127.0.0.1:{http}"));
        let nodes: Vec<_> = centrals
            .iter()
            .enumerate()
            .map(|(n, port)| format!("n{n}.sorcha.dev=127.0.0.1:{port}"))
            .collect();
        let mut words = vec![
            "peer",
            "--node-id",
            "edge-0",
            "--data-dir",
            data.to_str().unwrap(),
            "--listen-http",
            &listen,
        ];
        words.extend(nodes.iter().flat_map(|node| ["--central-node", node]));
        let process = Process::start(&words);
        until("the peer is ready", || get(http, "/readyz")).await;
        process
    }
}

/// Runs a tool to its end; whether it succeeded, and all that it said.
pub(crate) async fn tool(words: &[&str], files: &[&Path]) -> (bool, String) {
    let mut command = tokio::process::Command::new(binary());
    let output = command.args(words).args(files).output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

pub(crate) async fn register(http: u16) -> (i64, String, String) {
    let body = until("the register is told", || get(http, "/api/system-register")).await;
    let register: serde_json::Value = serde_json::from_str(&body).unwrap();
    let text = |field: &str| register[field].as_str().unwrap().to_owned();
    (register["currentVersion"].as_i64().unwrap(), text("digest"), text("lineage"))
}
