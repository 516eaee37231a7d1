//! File descriptors: idle connections of one port don't use up those of another.

use std::time::Duration;

use crate::{callers::idle, node::Node};

/// More than a process may open by default on many systems.
const IDLE: usize = 1_100;

async fn answers_with_idle_connections(limit: &str) -> Node {
    let node = Node::start_under("", limit).await;
    for port in [node.grpc, node.http, node.probes] {
        let there = idle(IDLE, port).await;
        assert!(there.len() > IDLE / 2, "the kernel takes them in");
        node.is_alive_behind_a_flood_for(Duration::from_secs(2), "idle connections").await;
        drop(there);
    }
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_limit_of_1024_files_is_raised() {
    let node = answers_with_idle_connections("ulimit -Sn 1024").await;
    assert!(!node.log().contains("is lowered to"), "{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_limit_of_1024_files_is_shared_between_the_ports_and_told() {
    let node = answers_with_idle_connections("ulimit -n 1024").await;
    let log = node.log();
    for setting in ["limits.max_connections = 15000", "http.max_connections = 1024"] {
        assert!(log.contains(setting) && log.contains("is lowered to"), "{setting}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_files_are_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-c", "ulimit -n 200 && exec \"$0\" \"$@\""]).arg(sorcha_tests::process::binary());
    shell.args(["central", "--hostname", "n0.sorcha.dev", "--data-dir", folder.path().to_str().unwrap()]);
    let output =
        tokio::time::timeout(Duration::from_secs(20), shell.output()).await.expect("it ends").unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("200") && told.contains("ulimit -n"), "{told}");
}
