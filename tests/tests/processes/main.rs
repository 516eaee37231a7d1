//! Real processes of the real binary: start, publish, kill -9, SIGSTOP, SIGTERM, exit codes.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::too_many_lines)]

mod site;
mod sockets;

use std::time::Duration;

use sorcha_tests::process::{Process, binary, free_ports, get, mongodb, program, publish, until};
use tokio::process::Command;

use crate::site::{Files, OF_OTHERS, TOKEN};

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_stopped_processes_lose_nothing_that_was_acknowledged() {
    let files = Files::new();
    let [grpc, central_http, peer_http] = free_ports();
    let mut central = files.central(0, [grpc, central_http]);
    until("the central node is ready", || get(central_http, "/readyz")).await;
    let peer = files.peer(&[grpc], peer_http);
    until("the peer is ready", || get(peer_http, "/readyz")).await;

    let mut acknowledged = Vec::new();
    for round in 0..3 {
        for number in 0..20 {
            let id = format!("r{round}-{number}");
            publish(central_http, TOKEN, &id).await.expect("published");
            acknowledged.push(id);
        }
        let newest = format!("/api/system-register/blueprints/r{round}-19");
        until("pushes arrive", || get(peer_http, &newest)).await;
        // kill -9, right after an acknowledgement.
        central.kill().await;
        until("the peer is isolated", || async {
            get(peer_http, "/api/connection/status").await.filter(|body| body.contains("\"Isolated\""))
        })
        .await;
        assert!(get(peer_http, &newest).await.is_some(), "isolated peers answer reads");
        central = files.central(0, [grpc, central_http]);
        until("the central node is back", || get(central_http, "/readyz")).await;
        for id in &acknowledged {
            assert!(
                get(central_http, &format!("/api/system-register/blueprints/{id}")).await.is_some(),
                "{id} is lost"
            );
        }
    }
    until("the peer has everything", || async {
        get(peer_http, "/api/system-register")
            .await
            .filter(|body| body.contains(&format!("\"currentVersion\":{}", 1 + acknowledged.len())))
    })
    .await;
    assert_eq!(peer.terminate().await, Some(0));
    assert_eq!(central.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_central_node_that_holds_its_sockets_is_left_by_keepalive() {
    let files = Files::new();
    let [grpc, first_http, peer_http, second_grpc, second_http] = free_ports();
    let first = files.central(0, [grpc, first_http]);
    until("the central node is ready", || get(first_http, "/readyz")).await;
    // Another register than n0's: only the silence matters here, and the split brain must be told.
    let second = files.central(1, [second_grpc, second_http]);
    until("the second is ready", || get(second_http, "/readyz")).await;
    let peer = files.peer(&[grpc, second_grpc], peer_http);
    until("the peer beats", || async {
        get(peer_http, "/api/connection/status").await.filter(|body| body.contains("\"HeartbeatMonitoring\""))
    })
    .await;
    first.pause();
    let found = until("the silence is noticed", || async {
        get(peer_http, "/api/connection/status").await.filter(|body| body.contains("\"Isolated\""))
    });
    found.await;
    let status = get(peer_http, "/api/connection/status").await.unwrap();
    assert!(status.contains("n1.sorcha.dev"), "split brain is told: {status}");
    first.resume();
    until("the peer is back", || async {
        get(peer_http, "/api/connection/status").await.filter(|body| body.contains("\"HeartbeatMonitoring\""))
    })
    .await;
    drop((first, second, peer));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_use_and_wrong_configuration_end_with_their_codes() {
    let run = |arguments: &'static [&'static str]| async move {
        let output = Command::new(binary()).args(arguments).output();
        let output = tokio::time::timeout(Duration::from_secs(20), output).await.expect("it ends").unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, _) = run(&["--nonsense"]).await;
    assert_eq!(code, Some(2));
    let (code, error) = run(&["central", "--hostname", "edge-0", "--data-dir", "/tmp/sorcha-never"]).await;
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("node.validate_hostname"), "{error}");
    let (code, error) = run(&["--config", "/nowhere.toml", "peer", "--node-id", "edge-0"]).await;
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("/nowhere.toml"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_beside_a_service_called_sorcha_starts_and_takes_its_id_as_a_text() {
    let files = Files::new();
    let [http, closed] = free_ports();
    let mut command = Command::new(binary());
    command.envs(OF_OTHERS).env("SORCHA_NODE__ID", "007");
    command.args(["peer", "--central-node", &format!("127.0.0.1:{closed}"), "--data-dir"]);
    command.arg(files.data.path().join("edge")).args(["--listen-http", &format!("127.0.0.1:{http}")]);
    let peer = Process::spawn(command);
    let info = until("the peer answers", || get(http, "/api/node/info")).await;
    assert!(info.contains("\"007\""), "{info}");
    assert_eq!(peer.terminate().await, Some(0));
    let misspelt =
        Command::new(binary()).args(["peer", "--central-node", "n0"]).env("SORCHA_NODE__IDD", "x").output();
    let misspelt = misspelt.await.unwrap();
    let told = String::from_utf8_lossy(&misspelt.stderr).into_owned();
    assert_eq!(misspelt.status.code(), Some(2));
    assert!(told.contains("SORCHA_NODE__IDD: there is no setting node.idd"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_ends_with_equal_replicas_in_both_programs_that_have_it() {
    let mut of_node = Command::new(binary());
    of_node.arg("demo");
    for demo in [of_node, Command::new(program("sorcha-demo"))] {
        ends_with_equal_replicas(demo).await;
    }
}

async fn ends_with_equal_replicas(mut demo: Command) {
    let output = demo.args(["--peers", "4", "--output", "json"]).output();
    let output = tokio::time::timeout(Duration::from_secs(100), output).await.expect("it ends").unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["summary"]["equalReplicas"], 4);
    assert_eq!(last["summary"]["lost"], 0);
    assert!(last["summary"]["published"].as_i64().unwrap() >= 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn central_nodes_on_one_mongodb_outlive_its_outage() {
    let files = Files::new();
    let [database, grpc0, http0, grpc1, http1, peer_http] = free_ports();
    let file = files.data.path().join("mongo.mv");
    let name = "central_nodes_on_one_mongodb_outlive_its_outage";
    // The central nodes start before their database does.
    let first = files.central_on_mongodb(0, [grpc0, http0], database);
    let second = files.central_on_mongodb(1, [grpc1, http1], database);
    let Some(mut server) = mongodb(name, database, &file) else { return };
    until("n0 is ready", || get(http0, "/readyz")).await;
    until("n1 is ready", || get(http1, "/readyz")).await;
    let peer = files.peer(&[grpc0, grpc1], peer_http);
    until("the peer is ready", || get(peer_http, "/readyz")).await;

    // Both publish at once into the one register.
    let burst = |http: u16, prefix: &'static str| async move {
        for number in 0..15 {
            publish(http, TOKEN, &format!("{prefix}-{number}")).await.expect("published");
        }
    };
    tokio::join!(burst(http0, "a"), burst(http1, "b"));
    let at = |version: usize| move |body: &String| body.contains(&format!("\"currentVersion\":{version}"));
    until("the peer has all", || async { get(peer_http, "/api/system-register").await.filter(at(31)) }).await;

    server.kill().await;
    let refused = publish(http0, TOKEN, "during").await.unwrap_err();
    assert!(refused.contains("503"), "{refused}");
    assert!(get(http0, "/readyz").await.is_some(), "peers are served from the log");
    assert!(get(peer_http, "/api/system-register/blueprints/b-14").await.is_some());

    let _server = mongodb(name, database, &file);
    until("publications are taken again", || async { publish(http1, TOKEN, "after").await.ok() }).await;
    // What was refused as unavailable may have been tried again by nobody: it is there once or not at all.
    until("the peer has it", || get(peer_http, "/api/system-register/blueprints/after")).await;
    for id in ["a-0", "a-14", "b-0", "b-14"] {
        assert!(get(http0, &format!("/api/system-register/blueprints/{id}")).await.is_some(), "{id} is lost");
    }
    assert_eq!(peer.terminate().await, Some(0));
    assert_eq!(first.terminate().await, Some(0));
    assert_eq!(second.terminate().await, Some(0));
}
