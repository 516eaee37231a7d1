//! Memory follows the settings, not the callers.

use std::time::Duration;

use sorcha_tests::process::publish;

use crate::{
    callers::Callers,
    node::{Node, TOKEN, check},
};

/// 150 copies of a document of 4 MB would be 600 MB.
const READERS: usize = 150;
/// For 150 connections, their buffers and what the allocator keeps.
const FOR_READERS_MB: u64 = 100;
/// `http.max_body_bytes` and what two documents take while they are parsed; half of what one took before.
const FOR_BODIES_MB: u64 = 300;

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_share_the_registers_bytes() {
    let node = Node::start("").await;
    node.publish("large", 4 << 20, 0).await;
    for number in 0..40 {
        node.publish(&format!("small-{number}"), 100, 4000).await;
    }
    for paths in [
        ["/api/system-register/blueprints/large", "/api/system-register/blueprints/large?raw=true"],
        ["/api/system-register/blueprints?pageSize=100", "/api/blueprints"],
        ["/api/system-register/bundle", "/api/system-register/bundle"],
        ["/docs/swagger-ui-bundle.js", "/api/openapi.json"],
    ] {
        let before = node.megabytes();
        let callers = Callers::reading_slowly(READERS, node.http, &paths);
        let most = node.most_megabytes(tokio::time::sleep(Duration::from_secs(8))).await;
        callers.leave().await;
        println!("{paths:?}: {before} MB, at most {most} MB");
        assert!(most <= before + FOR_READERS_MB, "{paths:?}: {before} MB before, {most} MB with readers");
    }
}

/// A text of 33 MB in each form that takes much to read.
fn hostile() -> Vec<(&'static str, String)> {
    const BYTES: usize = 33_000_000;
    let of = |document: String| format!(r#"{{"blueprintId":"a","blueprint":{{"d":{document}}}}}"#);
    let keys: Vec<_> = (0..BYTES / 13).map(|number| format!(r#""{number:08}":0"#)).collect();
    let pairs: Vec<_> = (0..BYTES / 13).map(|number| format!(r#""{number:08}":"""#)).collect();
    vec![
        ("numbers", of(format!("[{}0]", "0,".repeat(BYTES / 2)))),
        ("empty objects", of(format!("[{}0]", "{},".repeat(BYTES / 3)))),
        ("keys", of(format!("{{{}}}", keys.join(",")))),
        ("a text", of(format!("\"{}\"", "x".repeat(BYTES)))),
        ("metadata", format!(r#"{{"blueprintId":"a","blueprint":{{}},"metadata":{{{}}}}}"#, pairs.join(","))),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_publications_of_33_mb_cost_little_and_hold_up_nobody() {
    let node = Node::start("").await;
    for (what, body) in hostile() {
        let before = node.megabytes();
        let probed = node.probed(what);
        let most = node.most_megabytes(async {
            let four = [(); 4].map(|()| node.post(body.clone()));
            for (status, told) in futures::future::join_all(four).await {
                // One publisher has room for one such body; the others wait, and not for ever.
                assert!([400, 413, 429].contains(&status), "{what}: {status} {told}");
            }
        });
        let most = most.await;
        check(probed);
        println!("{what}: {before} MB, at most {most} MB");
        assert!(most <= before + FOR_BODIES_MB, "{what}: {before} MB before, {most} MB at most");
    }
    publish(node.http, TOKEN, "after").await.expect("published");
}
