//! Memory follows the settings, not the callers.

use std::time::Duration;

use sorcha_tests::process::{get, publish, until};

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

/// 60 documents of 4 MB are 240 MB.
const DOCUMENTS: usize = 60;
/// For one document that is parsed, what the allocator keeps, and a cache of 1 MB.
const FOR_DOCUMENTS_MB: u64 = 90;

#[tokio::test(flavor = "multi_thread")]
async fn documents_take_no_memory_whether_published_read_or_found_at_start() {
    let node = Node::start("[store]\ncache_bytes = 1048576\n").await;
    let empty = node.megabytes();
    let most = node.most_megabytes(async {
        for number in 0..DOCUMENTS {
            node.publish(&format!("large-{number}"), 4 << 20, 0).await;
        }
    });
    let published = most.await;
    let read = node.most_megabytes(read_all(node.http)).await;
    let node = node.again().await;
    let started = node.most_megabytes(read_all(node.http)).await;
    let peer = node.peer().await;
    let last = format!("/api/system-register/blueprints/large-{}", DOCUMENTS - 1);
    let synced =
        peer.most_megabytes(async { drop(until("the peer has all", || get(peer.http, &last)).await) });
    let synced = synced.await;
    println!(
        "{empty} MB, at most {published} MB while published, {read} MB while read, {started} MB after a start, {synced} MB in a \
         peer while it syncs"
    );
    for most in [published, read, started, synced] {
        assert!(most <= empty + FOR_DOCUMENTS_MB, "{empty} MB before, {most} MB with documents");
    }
}

/// Enough for what a start itself takes not to count.
const ENTRIES: i64 = 40_000;
/// Buffers of a start, and what the allocator keeps.
const FOR_A_START_MB: u64 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn entries_take_no_more_memory_than_limits_count_for_them() {
    let node = Node::start("").await;
    let empty = node.megabytes();
    let entries = (2..ENTRIES).map(|version| {
        let mut entry =
            sorcha_register::testing::entry(&format!("blueprint-of-a-usual-name-{version}"), version);
        entry.transaction_id = "019b76da-a800-7000-8000-000000000000".to_owned();
        entry.seal()
    });
    let (node, counted) = node.again_with(entries.collect()).await;
    let most = empty + counted / (1 << 20) + FOR_A_START_MB;
    sorcha_tests::eventually("freed memory is given back", || node.megabytes() <= most).await;
    println!("{empty} MB without entries, {} MB with {ENTRIES}, at most {most} MB", node.megabytes());
}

/// Reads each document, and all of them at once.
async fn read_all(http: u16) {
    let client = sorcha_api::client::plain().unwrap();
    let blueprints = (0..DOCUMENTS).map(|number| format!("blueprints/large-{number}?raw=true"));
    for path in blueprints.chain(["bundle".to_owned()]) {
        let url = format!("http://127.0.0.1:{http}/api/system-register/{path}");
        let mut answer = client.get(url).send().await.unwrap().error_for_status().unwrap();
        let mut bytes = 0;
        while let Some(chunk) = answer.chunk().await.unwrap() {
            bytes += chunk.len();
        }
        assert!(bytes > 4 << 20, "{path} has {bytes} bytes");
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
