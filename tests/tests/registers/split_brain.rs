//! Two central nodes with registers of their own under one network's name: nothing is merged, everybody says so, and an administrator
//! decides, on either side (ADR 26, protocol section 6.9). The commands are those of docs/operations.md.

use sorcha_tests::process::{Process, free_ports, get, publish, until};

use crate::site::{Site, TOKEN, register, tool};

const OURS: &str = "/api/system-register/blueprints/ours";
const THEIRS: &str = "/api/system-register/blueprints/theirs";
const AFTER: &str = "/api/system-register/blueprints/after";

struct Split {
    site: Site,
    n1: Process,
    peer: Process,
    n1_ports: [u16; 2],
    peer_http: u16,
    grpc: [u16; 2],
}

/// A peer that has followed n0 and can only reach n1, which has another register. A bundle of n0's is in `n0.sorcha`.
async fn split() -> Split {
    let site = Site::new();
    let [grpc0, http0, grpc1, http1, peer_http] = free_ports();
    let n0 = site.central("n0", [grpc0, http0]).await;
    let n1 = site.central_as("n1.sorcha.dev", "n1", [grpc1, http1]).await;
    publish(http0, TOKEN, "ours").await.unwrap();
    publish(http1, TOKEN, "theirs").await.unwrap();
    let peer = site.peer(&[grpc0, grpc1], peer_http).await;
    until("the peer follows n0", || get(peer_http, OURS)).await;
    let url = format!("http://127.0.0.1:{http0}");
    assert!(tool(&["register", "export", "--url", &url], &[&site.path("n0.sorcha")]).await.0);
    let before = (register(peer_http).await, register(http1).await);
    n0.terminate().await;

    until("the peer meets another register", || async {
        get(peer_http, "/api/connection/status")
            .await
            .filter(|status| status.contains(r#""splitBrain":"n1.sorcha.dev""#))
    })
    .await;
    assert_eq!((register(peer_http).await, register(http1).await), before, "nothing is merged");
    assert!(get(peer_http, OURS).await.is_some(), "the replica is served");
    assert!(get(peer_http, THEIRS).await.is_none());
    let health = get(peer_http, "/health").await.unwrap_or_default();
    assert!(health.contains("split brain"), "{health}");
    let metrics = get(http1, "/metrics").await.unwrap();
    let refused =
        |line: &str| line.starts_with("central_refusals_total") && line.contains(r#"reason="lineage""#);
    assert!(metrics.lines().any(refused), "n1 has not counted it");
    Split { site, n1, peer, n1_ports: [grpc1, http1], peer_http, grpc: [grpc0, grpc1] }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_adopts_the_other_register() {
    let Split { site, n1: _n1, peer, n1_ports: [_, http1], peer_http, grpc } = split().await;
    let theirs = register(http1).await;
    assert_eq!(peer.terminate().await, Some(0));
    let data = site.path("edge-0");
    let words = ["register", "adopt", "--lineage", &theirs.2, "--data-dir", data.to_str().unwrap()];
    let (done, said) = tool(&words, &[]).await;
    assert!(done, "{said}");
    let _peer = site.peer(&grpc, peer_http).await;
    until("the peer has the other register", || get(peer_http, THEIRS)).await;
    assert_eq!(register(peer_http).await, theirs);
    assert!(get(peer_http, OURS).await.is_none(), "nothing is merged");
    until("the split brain is over", || async {
        get(peer_http, "/api/connection/status")
            .await
            .filter(|status| status.contains(r#""splitBrain":null"#))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_central_node_is_given_the_register_that_the_peers_have() {
    let Split { site, n1, peer: _peer, n1_ports, peer_http, .. } = split().await;
    let ours = register(peer_http).await;
    assert_eq!(n1.terminate().await, Some(0));
    let (data, bundle) = (site.path("n1"), site.path("n0.sorcha"));
    let words = ["register", "restore", "--yes", "--data-dir", data.to_str().unwrap()];
    let (done, said) = tool(&words, &[&bundle]).await;
    assert!(!done && said.contains("--other-lineage"), "another register is not replaced by the way: {said}");
    let (done, said) = tool(&[&words[..], &["--other-lineage"]].concat(), &[&bundle]).await;
    assert!(done, "{said}");
    let _n1 = site.central_as("n1.sorcha.dev", "n1", n1_ports).await;
    assert_eq!(register(n1_ports[1]).await.2, ours.2);
    publish(n1_ports[1], TOKEN, "after").await.unwrap();
    until("the peer follows n1", || get(peer_http, AFTER)).await;
    assert_eq!(register(peer_http).await, register(n1_ports[1]).await);
}
