#![allow(missing_docs, clippy::all, clippy::unwrap_used, unused)]
use sorcha_node::{
    clock::Timestamp,
    register::{canonical::Document, entry::Entry, integrity, names::*, view::RegisterView},
    store::{
        Checkpoint, Store,
        journal::{JournalStore, Options},
    },
};
use std::{collections::BTreeMap, sync::Arc, time::Instant};
fn entry(i: i64) -> Arc<sorcha_node::register::entry::SealedEntry> {
    let doc = format!("{{\"id\":\"bench-{i:08}\",\"text\":\"{}\"}}", "x".repeat(2000));
    Entry {
        blueprint_id: BlueprintId::new(format!("bench-{i:08}")).unwrap(),
        version: Version::new("v", i).unwrap(),
        document: Document::canonicalize(doc.as_bytes()).unwrap(),
        published_at: Timestamp::from_millis(1),
        published_by: "me".into(),
        is_active: true,
        transaction_id: "019a9f6e-7c00-7000-8000-000000000000".into(),
        metadata: BTreeMap::new(),
        trace_parent: String::new(),
    }
    .seal()
}
fn cpu() -> f64 {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse::<f64>()
        .unwrap()
        / 1e9
}
fn time<T>(what: &str, per: usize, f: impl FnOnce() -> T) -> T {
    let c = cpu();
    let t = Instant::now();
    let r = f();
    let e = t.elapsed();
    let c = cpu() - c;
    println!(
        "{what}: {:.1} ms wall, {:.1} ms cpu of this thread, {:.2} us each",
        e.as_secs_f64() * 1e3,
        c * 1e3,
        c * 1e6 / per as f64
    );
    r
}
fn main() {
    let n = 100_000usize;
    let entries: Vec<_> = (1..=n as i64).map(entry).collect();
    time("with_entries", n, || RegisterView::with_entries(None, entries.clone(), Version::ZERO));
    {
        let mut v = RegisterView::with_entries(None, entries[..50_000].to_vec(), Version::ZERO);
        let es = entries[50_000..52_000].to_vec();
        time("one by one", 2000, || {
            for e in es {
                let keep = v.clone();
                v.apply(vec![e], Version::ZERO);
                drop(keep);
            }
        });
    }
    time("in pieces of 512", n, || {
        let mut v = RegisterView::new(None);
        for c in entries.chunks(512) {
            v.apply(c.to_vec(), Version::ZERO);
        }
        v
    });
    let mut big = Vec::new();
    let mut at = vec![];
    for e in &entries {
        at.push(big.len()..big.len() + e.encoded().len());
        big.extend_from_slice(e.encoded());
    }
    let big = bytes::Bytes::from(big);
    let records: Vec<_> = entries
        .iter()
        .zip(&at)
        .map(|(e, r)| integrity::Record {
            version: e.entry().version,
            encoded: big.slice(r.clone()),
            leaf: Some(e.leaf()),
        })
        .collect();
    time("examine", n, || integrity::examine(&records));
    time("decode 1 thread", n, || {
        for r in &records {
            std::hint::black_box(
                sorcha_node::register::entry::SealedEntry::decode(r.encoded.clone()).unwrap(),
            );
        }
    });
    time("sha 1 thread", n, || {
        for r in &records {
            std::hint::black_box(Checksum::of(&r.encoded));
        }
    });
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    rt.block_on(async {
        let dir = tempfile::tempdir_in("target").unwrap();
        let path = dir.path().join("r");
        let store = JournalStore::open(&path, Options::default()).await.unwrap();
        let c = |v| Checkpoint {
            version: v,
            last_sync_time: Timestamp::from_millis(1),
            next_sync_due: Timestamp::from_millis(1),
            central_node_id: "n0.sorcha.dev".into(),
            adopt: None,
        };
        let t = Instant::now();
        for e in &entries[..2000] {
            store.apply(vec![e.clone()], c(e.entry().version)).await.unwrap();
        }
        println!("journal apply: {:.1} us", t.elapsed().as_secs_f64() * 1e6 / 2000.0);
        let t = Instant::now();
        store.replace(None, entries.clone(), Some(c(entries[n - 1].entry().version))).await.unwrap();
        println!("journal replace: {:.1} ms", t.elapsed().as_secs_f64() * 1e3);
        drop(store);
        for _ in 0..3 {
            let t = Instant::now();
            let s = JournalStore::open(&path, Options::default()).await.unwrap();
            println!(
                "journal open: {:.1} ms {}",
                t.elapsed().as_secs_f64() * 1e3,
                s.load().await.unwrap().view.len()
            );
        }
    });
}
