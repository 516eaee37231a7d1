//! Assembles one node: a role over its store, with listeners. Begin with [`prepare_central`] and [`prepare_peer`];
//! [`local::LocalCentral`] is a central node on a runtime of its own, which can be killed.
//!
//! Deliberately absent: reading of settings, HTTP, Kubernetes, MongoDB, signals.

pub mod keys;
pub mod local;
pub mod waiting;

use std::{io, net::SocketAddr, sync::Arc};

use ed25519_dalek::SigningKey;
use futures::{Stream, StreamExt as _};
use sorcha_central::{
    CentralNode,
    bootstrap::{BootstrapError, ensure_seed},
    handshakes::handshakes,
    incoming::Tracked,
    log::RegisterLog,
    serve,
};
use sorcha_config::Config;
use sorcha_peer::{PeerNode, dial::Dialer, replica::Replica};
use sorcha_register::names::{InvalidField, PeerId};
use sorcha_runtime::{accept::Acceptor, env::Env};
use sorcha_store::{
    Store, StoreError,
    journal::{self, JournalStore},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

/// Why a node can't be assembled, or ends with a fault.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message names each field")]
pub enum HostError {
    /// The node id is refused.
    #[error("node.id: {0}")]
    Identity(#[from] InvalidField),
    /// The store can't be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no sound register.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The signing key can't be used.
    #[error(transparent)]
    Key(#[from] keys::KeyError),
    /// An address can't be listened on.
    #[error("{setting}: listen on {address}: {source}")]
    Listen { setting: &'static str, address: SocketAddr, source: io::Error },
    /// The gRPC server failed.
    #[error("gRPC server: {0}")]
    Grpc(#[from] tonic::transport::Error),
}

/// Opens a listener for a setting.
///
/// # Errors
/// [`HostError::Listen`] naming the setting and the address.
pub async fn listen(setting: &'static str, address: SocketAddr) -> Result<TcpListener, HostError> {
    TcpListener::bind(address).await.map_err(|source| HostError::Listen { setting, address, source })
}

/// The embedded store's options as configured.
#[must_use]
pub fn embedded_options(config: &Config) -> journal::Options {
    let store = &config.store;
    journal::Options {
        flush_within: store.flush_within,
        cache_bytes: store.cache_bytes,
        ..journal::Options::default()
    }
}

/// Prepares a central node: a verified, seeded register and the log over it. A damaged register is not served; the node
/// reports it instead (ADR 27).
///
/// # Errors
/// [`HostError`] when the store, the key or the seed fail.
pub async fn prepare_central(
    config: Arc<Config>,
    env: Env,
    store: Arc<dyn Store>,
) -> Result<Arc<CentralNode>, HostError> {
    let key = || keys::load_or_create(&config.store.data_dir);
    prepare_central_with_key(Arc::clone(&config), env, store, key).await
}

/// As [`prepare_central`], with the signing key from `key`, which is called only for a sound register.
///
/// # Errors
/// As [`prepare_central`].
pub async fn prepare_central_with_key(
    config: Arc<Config>,
    env: Env,
    store: Arc<dyn Store>,
    key: impl FnOnce() -> Result<SigningKey, keys::KeyError>,
) -> Result<Arc<CentralNode>, HostError> {
    let (mut loaded, mut signing_key) = (store.load().await?, None);
    if loaded.findings.is_empty() {
        let key = signing_key.insert(key()?);
        ensure_seed(&*store, &config.node.id, key, &*env.clock).await?;
        loaded = store.load().await?;
    }
    tracing::info!(
        node_id = config.node.id,
        store = store.kind(),
        version = loaded.view.head().get(),
        entries = loaded.view.len(),
        lineage = loaded.view.lineage().map(tracing::field::display),
        "central node: register verified"
    );
    env.metrics.version(loaded.view.head().get());
    if let Some(tls) = &env.tls {
        tls.check_central_node(&config.node.network);
    }
    let node = CentralNode::new(config, env, RegisterLog::new(store, loaded.view), loaded.findings);
    signing_key.into_iter().for_each(|key| node.sign_with(key));
    Ok(node)
}

/// Prepares a peer over its store.
///
/// # Errors
/// [`HostError`] when the store can't be read or the id is not valid.
pub async fn prepare_peer(
    config: Arc<Config>,
    env: Env,
    store: Arc<dyn Store>,
    dialer: Arc<dyn Dialer>,
) -> Result<Arc<PeerNode>, HostError> {
    let id = PeerId::new(&config.node.id)?;
    let replica = Replica::load(store).await?;
    let view = replica.view();
    if let Some(tls) = &env.tls {
        tls.check_peer(&id, &config.node.network);
    }
    tracing::info!(peer_id = %id, version = view.head().get(), entries = view.len(), "peer: replica verified");
    Ok(PeerNode::new(config, env, id, replica, dialer))
}

/// Opens the register in a data directory: a central node's, or a peer's replica.
///
/// # Errors
/// [`StoreError`] as [`JournalStore::open`] and [`journal::open_replica`] give it.
pub async fn open_embedded(config: &Config, env: &Env, replica: bool) -> Result<Arc<dyn Store>, StoreError> {
    let (directory, options) = (&config.store.data_dir, embedded_options(config));
    Ok(Arc::new(if replica {
        journal::open_replica(directory, options, env.clock.now().as_millis()).await?
    } else {
        JournalStore::open(directory.join(journal::REGISTER_FILE), options).await?
    }))
}

/// Connections of a central node's listener. If the next one can't be accepted, such as for lack of file descriptors, a
/// connection without a session is evicted.
fn accepted(
    listener: TcpListener,
    node: &Arc<CentralNode>,
) -> impl Stream<Item = io::Result<(TcpStream, SocketAddr)>> + Unpin + use<> {
    let relief = Arc::clone(node);
    Acceptor::new(listener, "listen.grpc", node.env.metrics.clone())
        .relieved_by(move || relief.relieve_connections())
        .into_stream()
}

/// Accepted connections of a listener, tracked, so that sessions notice a closed connection.
fn tracked(
    listener: TcpListener,
    node: &Arc<CentralNode>,
) -> impl Stream<Item = io::Result<Tracked<TcpStream>>> + use<> {
    accepted(listener, node).map(|accepted| {
        let (stream, remote) = accepted?;
        Ok(Tracked::new(stream, Some(remote)))
    })
}

/// Serves peers on a TCP port until `shutdown`, as [`serve_central_on`]: over mutual TLS if it is configured, else as
/// plaintext. Changed TLS files are loaded meanwhile.
///
/// # Errors
/// [`HostError::Grpc`] when the server fails.
pub async fn serve_central(
    node: Arc<CentralNode>,
    grpc: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), HostError> {
    let env = node.env.clone();
    let served = async {
        match &env.tls {
            Some(tls) => {
                let incoming = handshakes(Arc::clone(&node), Arc::clone(tls), accepted(grpc, &node));
                serve_central_on(node, incoming, shutdown).await
            }
            None => {
                let incoming = tracked(grpc, &node);
                serve_central_on(node, incoming, shutdown).await
            }
        }
    };
    tokio::select! {
        served = served => served,
        never = env.watch_files() => match never {},
    }
}

/// Serves peers on accepted connections until `shutdown`, then drains (ADR 37).
///
/// # Errors
/// [`HostError::Grpc`] when the server fails.
pub async fn serve_central_on<IO>(
    node: Arc<CentralNode>,
    incoming: impl Stream<Item = io::Result<Tracked<IO>>>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), HostError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let drained = {
        let node = Arc::clone(&node);
        async move {
            shutdown.await;
            node.drain().await;
        }
    };
    let store = Arc::clone(node.log.store());
    serve::serve(node, incoming, drained).await?;
    store.flush().await?;
    Ok(())
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
