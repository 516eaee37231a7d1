//! A central node, its store, a peer that holds all of it, and others that take the central node's place.

use std::{net::SocketAddr, path::Path, sync::Arc};

use bytes::Bytes;
use sorcha_config::CentralNodeAddress;
use sorcha_register::{canonical::Document, entry::Entry, names::Version, view::RegisterView};
use sorcha_store::Store;
use sorcha_tests::{
    Central, Peer, eventually, memory, quick,
    scripted::{Script, ScriptedCentral},
};

pub(crate) fn named(id: &str, at: SocketAddr, priority: u16) -> CentralNodeAddress {
    CentralNodeAddress {
        id: Some(id.into()),
        host: at.ip().to_string(),
        port: at.port(),
        priority,
        ca_file: None,
    }
}

/// A central node with a, b, c and a deprecated d, its store, and a peer that holds all of it.
pub(crate) struct Site {
    pub(crate) data: tempfile::TempDir,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) central: Central,
    pub(crate) peer: Peer,
}

impl Site {
    pub(crate) async fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let store = memory();
        let central = Central::start(quick("n0.sorcha.dev", data.path()), Arc::clone(&store), 0).await;
        for id in ["a", "b", "c", "d"] {
            central.publish(id).await;
        }
        central.node.set_active("d", false).await.unwrap();
        let peer = Peer::start(quick("edge-0", data.path()), memory(), vec![central.address(0)]).await;
        peer.until_equal(&central).await;
        Self { data, store, central, peer }
    }
}

/// Starts n0 over a store, in the place of one that was killed a moment ago.
pub(crate) async fn again(data: &Path, store: Arc<dyn Store>, port: u16) -> Central {
    eventually("the port is free", || std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()).await;
    Central::start(quick("n0.sorcha.dev", data), store, port).await
}

pub(crate) fn entries(view: &RegisterView) -> Vec<Entry> {
    view.iter().map(|sealed| sealed.whole().unwrap()).collect()
}

pub(crate) fn version(number: i64) -> Version {
    Version::new("version", number).unwrap()
}

pub(crate) fn find<'a>(entries: &'a mut [Entry], id: &str) -> &'a mut Entry {
    entries.iter_mut().find(|entry| entry.blueprint_id.as_str() == id).unwrap()
}

pub(crate) fn other_document() -> Document {
    Document::canonicalize(br#"{"id":"other"}"#).unwrap()
}

/// A store with the same genesis, but other entries: what a copied disk makes with true digests.
pub(crate) async fn copied(view: &RegisterView, entries: Vec<Entry>) -> Arc<dyn Store> {
    let store = memory();
    let mut entries: Vec<_> = entries.into_iter().map(Entry::seal).collect();
    entries.sort_by_key(|sealed| sealed.entry().version);
    let genesis = sorcha_register::lineage::Genesis::clone(view.genesis().unwrap());
    store.replace(Some(genesis), entries, None).await.unwrap();
    store
}

/// A scripted node in front of a true one that a peer moves to, which holds everything.
pub(crate) async fn scripted(site: &Site, scripts: Vec<Script>, has_push: bool) -> SocketAddr {
    ScriptedCentral::start(site.central.grpc, scripts, has_push).await
}

/// A peer over a replica that holds everything up to a version.
pub(crate) async fn peer_of(site: &Site, id: &str, at: SocketAddr, up_to: i64, push: bool) -> Peer {
    let replica = memory();
    let view = site.central.node.log.view();
    let genesis = sorcha_register::lineage::Genesis::clone(view.genesis().unwrap());
    let held: Vec<_> =
        view.iter().filter(|sealed| sealed.entry().version <= version(up_to)).cloned().collect();
    let checkpoint = sorcha_store::Checkpoint {
        central_node_id: "n0.sorcha.dev".into(),
        ..sorcha_store::Checkpoint::at(version(up_to))
    };
    replica.replace(Some(genesis), held, Some(checkpoint)).await.unwrap();
    let mut config = quick(id, site.data.path());
    config.sync.push = push;
    config.sync.force_full_on_startup = !push;
    Peer::start(config, replica, vec![named("n0.sorcha.dev", at, 0)]).await
}

pub(crate) fn encoded(entries: impl IntoIterator<Item = Entry>) -> Vec<Bytes> {
    entries.into_iter().map(|entry| entry.seal().checked().unwrap()).collect()
}
