//! Entry streams as no central node of ours sends them: a peer takes nothing of a full sync that is not what its central
//! node states, and ends with the register whatever it was sent before.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::too_many_lines)]

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use futures::future::join_all;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use sorcha_config::CentralNodeAddress;
use sorcha_register::{
    canonical::Document,
    entry::{Entry, SealedEntry},
    names::{BlueprintId, Leaf, Version},
};
use sorcha_tests::{
    Central, Peer, eventually, memory, quick,
    scripted::{Script, ScriptedCentral, Stated},
};
use tonic::{Code, Status};

const ENTRIES: usize = 12;

/// A central node with some entries, one of them deprecated, one reactivated.
async fn register(data: &std::path::Path) -> Central {
    let central = Central::start(quick("n0.sorcha.dev", data), memory(), 0).await;
    for number in 0..ENTRIES {
        central.publish(&format!("b{number}")).await;
    }
    for (id, is_active) in [("b3", false), ("b5", false), ("b5", true)] {
        central.node.set_active(id, is_active).await.unwrap();
    }
    central
}

fn active(central: &Central) -> Vec<Arc<SealedEntry>> {
    central.node.log.view().iter().filter(|sealed| sealed.entry().is_active).cloned().collect()
}

fn encoded(entries: &[Arc<SealedEntry>]) -> Vec<Bytes> {
    entries.iter().map(|sealed| sealed.checked().unwrap()).collect()
}

fn changed(sealed: &SealedEntry, change: impl FnOnce(&mut Entry)) -> Bytes {
    let mut entry = sealed.whole().unwrap();
    change(&mut entry);
    entry.seal().checked().unwrap()
}

/// An entry with a version that the type refuses, made on the level of bytes.
fn with_version(sealed: &SealedEntry, version: i64) -> Bytes {
    use sorcha_proto::v1::SystemRegisterEntry;
    let mut message: SystemRegisterEntry = decode(&sealed.checked().unwrap());
    message.version = version;
    encode(&message)
}

fn decode<M: prost::Message + Default>(bytes: &Bytes) -> M {
    M::decode(bytes.clone()).unwrap()
}

fn encode(message: &impl prost::Message) -> Bytes {
    message.encode_to_vec().into()
}

/// Streams that are wrong in one way each.
fn wrong(good: &[Arc<SealedEntry>]) -> Vec<(&'static str, Script)> {
    let plain = encoded(good);
    let with = |at: usize, bytes: Bytes| {
        let mut entries = plain.clone();
        entries[at] = bytes;
        Script::of(entries)
    };
    let stream = Script::of;
    let ended = |count: usize, code: Code| Script {
        entries: plain[..count].to_vec(),
        end: Some(Status::new(code, "by the script")),
        stated: Stated::Truth,
    };
    let huge = Version::MAX;
    let doubled: Vec<_> = plain.iter().flat_map(|bytes| [bytes.clone(), bytes.clone()]).collect();
    let mut swapped = plain.clone();
    swapped.swap(2, 3);
    let mut unknown = plain.clone();
    unknown.push(changed(&good[0], |entry| {
        entry.blueprint_id = BlueprintId::new("unasked").unwrap();
        entry.version = good[good.len() - 1].entry().version.next().unwrap();
    }));
    vec![
        ("nothing", stream(Vec::new())),
        ("a gap", stream([&plain[..4], &plain[5..]].concat())),
        ("a missing end", stream(plain[..6].to_vec())),
        ("each twice", stream(doubled)),
        ("another order", stream(swapped)),
        ("backwards", stream(plain.iter().rev().cloned().collect())),
        ("version 0", with(0, with_version(&good[0], 0))),
        ("a negative version", with(0, with_version(&good[0], -5))),
        ("a version beyond the greatest", with(11, with_version(&good[0], i64::MAX))),
        ("the greatest version", with(plain.len() - 1, changed(&good[0], |entry| entry.version = huge))),
        ("no message at all", with(4, Bytes::new())),
        ("no protobuf", with(4, Bytes::from_static(&[0xff; 40]))),
        ("a cut message", with(4, plain[4].slice(..plain[4].len() / 2))),
        ("another author", with(4, changed(&good[4], |entry| entry.published_by = "mallory".into()))),
        (
            "another document",
            with(
                4,
                changed(&good[4], |entry| {
                    entry.document = Document::from_received(Bytes::from_static(b"{}"))
                }),
            ),
        ),
        ("another state", with(4, changed(&good[4], |entry| entry.is_active = false))),
        ("an entry that nobody published", stream(unknown)),
        ("an error at once", ended(0, Code::Internal)),
        ("an error in the middle", ended(5, Code::Unknown)),
        ("a loss in the middle", ended(5, Code::Unavailable)),
        ("an unknown session", ended(5, Code::NotFound)),
        ("a limit", ended(5, Code::ResourceExhausted)),
    ]
}

/// Streams that are wrong in some ways, by a seed.
fn random(good: &[Arc<SealedEntry>], seed: u64) -> Script {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut entries = encoded(good);
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..entries.len());
        match random.random_range(0..5) {
            0 => drop(entries.remove(at)),
            1 => entries.insert(at, entries[random.random_range(0..entries.len())].clone()),
            2 => {
                let other = random.random_range(0..entries.len());
                entries.swap(at, other);
            }
            3 => entries.truncate(at.max(1)),
            _ => {
                let mut bytes = entries[at].to_vec();
                let place = random.random_range(0..bytes.len().max(1));
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1 << random.random_range(0..8);
                }
                entries[at] = bytes.into();
            }
        }
    }
    Script::of(entries)
}

fn address(at: SocketAddr) -> Vec<CentralNodeAddress> {
    vec![CentralNodeAddress {
        id: Some("n0.sorcha.dev".into()),
        host: at.ip().to_string(),
        port: at.port(),
        priority: 0,
        ca_file: None,
    }]
}

/// Follows a peer and fails when it ever shows an entry that the register never had.
fn follow(peer: &Peer, known: BTreeSet<Leaf>) -> tokio::task::JoinHandle<()> {
    let mut states = peer.node.replica.subscribe();
    tokio::spawn(async move {
        while states.changed().await.is_ok() {
            let state = states.borrow_and_update().clone();
            let strange = state.view.iter().find(|sealed| !known.contains(&sealed.leaf()));
            assert!(strange.is_none(), "{:?} was never published", strange.map(|sealed| sealed.entry()));
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_wrong_full_sync_is_taken() {
    let data = tempfile::tempdir().unwrap();
    let central = register(data.path()).await;
    let good = active(&central);
    let known: BTreeSet<Leaf> = central.node.log.view().iter().map(|sealed| sealed.leaf()).collect();
    let mut scripts = wrong(&good);
    scripts.extend((0..20).map(|seed| ("random", random(&good, seed))));
    let runs = scripts.into_iter().enumerate().map(|(number, (name, script))| {
        let (central, known) = (&central, known.clone());
        let mut config = quick(&format!("edge-{number}"), data.path());
        // What is not pulled does not come.
        config.sync.push = false;
        async move {
            let at = ScriptedCentral::start(central.grpc, vec![script], false).await;
            let peer = Peer::start(config, memory(), address(at)).await;
            let following = follow(&peer, known);
            eventually(&format!("{number}, {name}: it has the register"), || {
                peer.node.replica.view().digest() == central.node.log.view().digest()
            })
            .await;
            peer.stop().await;
            // It ends with the peer's store, unless it is told to before.
            following.abort();
            assert!(!following.await.is_err_and(|error| error.is_panic()), "{number}, {name}");
        }
    });
    join_all(runs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_wrong_pulls_and_pushes_a_replica_equals_the_register_again() {
    let data = tempfile::tempdir().unwrap();
    let central = register(data.path()).await;
    let good = active(&central);
    let mut scripts = wrong(&good);
    // A replica that claims to be ahead is for an administrator.
    scripts.retain(|(name, _)| !name.contains("greatest") && !name.contains("nobody published"));
    scripts.extend((100..115).map(|seed| ("random", random(&good, seed))));
    let runs = scripts.into_iter().enumerate().map(|(number, (name, script))| {
        let central = &central;
        let config = quick(&format!("edge-{number}"), data.path());
        async move {
            // A full sync that is right, then a push stream or pull that is not.
            let first = Script::of(encoded(&active(central)));
            let at = ScriptedCentral::start(central.grpc, vec![first, script], true).await;
            let peer = Peer::start(config, memory(), address(at)).await;
            eventually(&format!("{number}, {name}: it has the register"), || {
                let view = peer.node.replica.view();
                let head = central.node.log.view();
                view.digest() == head.digest()
                    && view.head() == head.head()
                    && peer.node.replica.findings().is_empty()
            })
            .await;
            peer.stop().await;
        }
    });
    join_all(runs).await;
}
