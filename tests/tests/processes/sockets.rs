//! What processes listen on and dial, and streams that take nothing.

use sorcha_tests::process::{Process, binary, free_ports, get, publish, until};
use tokio::process::Command;

use crate::site::{Files, OF_OTHERS, TOKEN};

#[tokio::test(flavor = "multi_thread")]
async fn commands_and_nodes_outlive_streams_that_take_nothing() {
    let files = Files::new();
    let [grpc, http] = free_ports();
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    // A node whose log goes nowhere.
    let mut command = Command::new(binary());
    command.args([
        "central",
        "--hostname",
        "n0.sorcha.dev",
        "--log",
        "trace",
        "--insecure-writes",
        "--data-dir",
    ]);
    command.arg(files.data.path().join("n0")).stderr(full());
    command.args([
        "--listen-grpc",
        &format!("127.0.0.1:{grpc}"),
        "--listen-http",
        &format!("127.0.0.1:{http}"),
    ]);
    let central = Process::spawn(command);
    until("the central node answers", || get(http, "/readyz")).await;
    let url = format!("http://127.0.0.1:{http}");
    let mut number = 0;
    for (output, error, code) in [(false, true, 0), (true, false, 1), (true, true, 1)] {
        for format in ["table", "json"] {
            let documents: Vec<_> = (0..3)
                .map(|_| {
                    number += 1;
                    let file = files.data.path().join(format!("b-{number}.json"));
                    // Without @context: worth a warning.
                    std::fs::write(&file, format!("{{\"n\":{number}}}")).unwrap();
                    file
                })
                .collect();
            let mut command = Command::new(binary());
            command.args(["publish", "--log", "trace", "--output", format, "--url", &url]).args(&documents);
            command.stdout(if output { full().into() } else { std::process::Stdio::null() });
            command.stderr(if error { full().into() } else { std::process::Stdio::null() });
            let ended = command.envs(OF_OTHERS).status().await.unwrap();
            assert_eq!(ended.code(), Some(code), "output full: {output}, error full: {error}, {format}");
            for document in documents {
                let id = document.file_stem().unwrap().to_str().unwrap().to_owned();
                let found = get(http, &format!("/api/system-register/blueprints/{id}")).await;
                assert!(found.is_some(), "{id} was left out");
            }
        }
    }
    for arguments in
        [&["--help"][..], &["status", "--url", &url], &["register", "export", "-", "--url", &url]]
    {
        let mut command = Command::new(binary());
        let ended = command.args(arguments).stdout(full()).stderr(full()).status().await.unwrap();
        assert_eq!(ended.code(), Some(1), "{arguments:?}");
    }
    assert_eq!(central.terminate().await, Some(0));
}

/// A TCP socket of a process: its port, the other end's, and whether it listens.
struct Socket {
    port: u16,
    remote: u16,
    listens: bool,
}

/// The open TCP sockets of a process, as Linux tells them.
fn sockets(process: &Process) -> Vec<Socket> {
    let proc = std::path::PathBuf::from(format!("/proc/{}", process.id()));
    let links = std::fs::read_dir(proc.join("fd")).unwrap().filter_map(|entry| {
        let link = std::fs::read_link(entry.ok()?.path()).ok()?;
        Some(link.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned())
    });
    let own: std::collections::BTreeSet<String> = links.collect();
    let tables = ["net/tcp", "net/tcp6"].map(|table| std::fs::read_to_string(proc.join(table)).unwrap());
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next().unwrap(), 16).unwrap();
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    let columns = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    columns
        .filter(|columns| own.contains(columns[9]))
        .map(|columns| Socket {
            port: port(columns[1]),
            remote: port(columns[2]),
            listens: columns[3] == "0A",
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_serves_no_grpc_and_dials_its_central_node_alone_and_that_one_dials_nobody() {
    let files = Files::new();
    let [grpc, central_http, peer_http] = free_ports();
    let central = files.central(0, [grpc, central_http]);
    until("the central node is ready", || get(central_http, "/readyz")).await;
    let peer = files.peer(&[grpc], peer_http);
    let listening = |process| -> std::collections::BTreeSet<u16> {
        sockets(process).iter().filter(|socket| socket.listens).map(|socket| socket.port).collect()
    };
    for number in 0..10 {
        let id = format!("b{number}");
        publish(central_http, TOKEN, &id).await.expect("published");
        let path = format!("/api/system-register/blueprints/{id}");
        until("it is replicated", || get(peer_http, &path)).await;
        assert_eq!(listening(&peer), [peer_http].into());
        assert_eq!(listening(&central), [grpc, central_http].into());
        let dialled = |process, served: &[u16]| -> Vec<u16> {
            let opened = sockets(process).into_iter();
            let opened = opened.filter(|socket| !socket.listens && !served.contains(&socket.port));
            opened.map(|socket| socket.remote).collect()
        };
        assert_eq!(dialled(&peer, &[peer_http]), [grpc]);
        assert!(dialled(&central, &[grpc, central_http]).is_empty());
    }
}
