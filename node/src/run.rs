//! A node from its configuration to its end: what the binary, the demo and the tests start.

mod starting;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use crate::accept::Acceptor;
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
use sorcha_config::{Config, ConfigError, Role};
use sorcha_peer::{PeerNode, dial::Dialer, replica::Replica};
use sorcha_register::names::{InvalidField, PeerId};
use sorcha_runtime::tls::{Tls, TlsError};
use sorcha_runtime::{env::Env, metrics::Metrics};
use sorcha_store::{
    Store, StoreError,
    journal::{self, JournalStore},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

use self::starting::Starting;
pub use self::starting::until_available;
use crate::{
    descriptors,
    http::{self, Auth, Pulse, Stage, auth::Reviewer},
    keys, memory,
    report::{self, Reporter},
    telemetry::Telemetry,
};

/// Why a node does not start, or ends with a fault.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The node id is refused.
    #[error("node.id: {0}")]
    Identity(#[from] InvalidField),
    /// The store can't be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The data directory is one of the other role: a peer would replace a central node's register by what it fetches, and
    /// a central node would begin a new register beside a replica.
    #[error(
        "store.data_dir: {directory} belongs to a {owner}, it holds {file}; name another directory with --data-dir, or move \
         the register with `sorcha-node register export` and `restore`"
    )]
    OtherRole {
        /// The directory.
        directory: PathBuf,
        /// Whose it is.
        owner: &'static str,
        /// The file that says so.
        file: &'static str,
    },
    /// The data directory holds a register in a form that is not read any more: a node would begin a new one beside it.
    #[error(
        "store.data_dir: {directory} holds register.redb, the register of an earlier version; move it with that version's \
         `sorcha-node register export` and this one's `register import`, or name another directory with --data-dir"
    )]
    OldStore {
        /// The directory.
        directory: PathBuf,
    },
    /// There is no sound register.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The signing key can't be used.
    #[error(transparent)]
    Key(#[from] keys::KeyError),
    /// The TLS files can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// `report.resource` is set, but no Kubernetes API can be used.
    #[error(transparent)]
    Report(#[from] report::kubernetes::ConnectError),
    /// `http.kubernetes.enabled` is set, but no Kubernetes API can be used.
    #[error(transparent)]
    Reviews(#[from] http::auth::kubernetes::ConnectError),
    /// There are too few file descriptors.
    #[error(transparent)]
    Descriptors(#[from] descriptors::TooFew),
    /// An address can't be listened on.
    #[error("{setting}: listen on {address}: {source}")]
    Listen {
        /// The setting.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The gRPC server failed.
    #[error("gRPC server: {0}")]
    Grpc(#[from] tonic::transport::Error),
    /// The HTTP server failed.
    #[error("HTTP server: {0}")]
    Http(io::Error),
}

/// Runs a node until `shutdown`. HTTP and the reporter are there from the first moment, gRPC once the node serves.
///
/// # Errors
/// [`RunError`] when it does not start, or ends with a fault.
pub async fn run(
    mut config: Config,
    role: Role,
    telemetry: &Telemetry,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    descriptors::prepare(&mut config, role)?;
    if role == Role::Peer {
        memory::prepare(&mut config);
    }
    let env = Env::system(telemetry.metrics(&config.node.id)).secured(&config.tls)?;
    if env.tls.is_none() {
        tracing::warn!(
            "gRPC is plain text: anybody in reach can read it and speak for any peer; set tls.certificate_file, tls.key_file and tls.ca_file"
        );
    }
    let reviewer = http::auth::kubernetes::connect(&config).await?;
    let reviewer = reviewer.map(|reviewer| Arc::new(reviewer) as Arc<dyn Reviewer>);
    let auth = Auth::new(&config.http, Arc::clone(&env.clock), reviewer)?;
    auth.observe(&env.metrics);
    let stage = watch::Sender::new(Stage::Opening { store_fault: None });
    let pulse = Pulse::new(Arc::clone(&env.clock));
    let probes = probes(&config, stage.subscribe(), pulse.clone()).await?;
    let transport = report::kubernetes::connect(&config, role).await?;
    let http = listen("listen.http", config.listen.http).await?;
    let https = match &env.tls {
        Some(tls) => Some((listen("listen.https", config.listen.https).await?, Arc::clone(tls))),
        None => None,
    };
    let grpc = match role {
        Role::Central => Some(listen("listen.grpc", config.listen.grpc).await?),
        Role::Peer => None,
    };
    let reporter = transport.map(|to| Reporter::start(&config, role, &env, stage.subscribe(), to));
    let front = http::front(stage.subscribe(), auth, telemetry.registry().clone());
    let (config, metrics) = (Arc::new(config), env.metrics.clone());
    let work = async {
        let starting = Starting { config: Arc::clone(&config), env, stage };
        let result = match grpc {
            Some(grpc) => starting.central(grpc, shutdown).await,
            None => starting.peer(shutdown).await,
        };
        if let Some(reporter) = reporter {
            reporter.finish().await;
        }
        result
    };
    let served = tokio::select! {
        served = beside_http(Doors { http, https }, front, &config, &metrics, work) => served,
        never = pulse.beats() => match never {},
    };
    drop(probes);
    served
}

/// Probes on their own port, if there is one, from the first moment to the last.
async fn probes(
    config: &Config,
    stage: watch::Receiver<Stage>,
    pulse: Pulse,
) -> Result<Option<sorcha_probes::Server>, RunError> {
    let Some(address) = config.listen.probes else { return Ok(None) };
    let failed = |source| RunError::Listen { setting: "listen.probes", address, source };
    let listener = listen("listen.probes", address).await?.into_std().map_err(failed)?;
    http::start_probes(listener, stage, pulse).map(Some).map_err(failed)
}

/// Where the HTTP API is served.
struct Doors {
    http: TcpListener,
    /// Over TLS, where the node has its files.
    https: Option<(TcpListener, Arc<Tls>)>,
}

/// Serves HTTP as long as the role's work goes on, so that probes and reads are answered while it starts and drains.
async fn beside_http(
    doors: Doors,
    router: axum::Router,
    config: &Config,
    metrics: &Metrics,
    work: impl Future<Output = Result<(), RunError>>,
) -> Result<(), RunError> {
    let ended = CancellationToken::new();
    let work = async {
        let result = work.await;
        ended.cancel();
        result
    };
    let https = async {
        match doors.https {
            Some((listener, tls)) => {
                http::serve_secured(listener, tls, router.clone(), config, metrics, ended.cancelled()).await
            }
            None => Ok(()),
        }
    };
    let http = http::serve(doors.http, router.clone(), &config.http, metrics, ended.cancelled());
    let (work, http, https) = tokio::join!(work, http, https);
    work.and(http.and(https).map_err(RunError::Http))
}

/// Opens a listener for a setting.
///
/// # Errors
/// [`RunError::Listen`] naming the setting and the address.
pub async fn listen(setting: &'static str, address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|source| RunError::Listen { setting, address, source })
}

/// The embedded store's options as configured.
#[must_use]
pub fn embedded_options(config: &Config) -> journal::Options {
    journal::Options { flush_within: config.store.flush_within, ..journal::Options::default() }
}

/// Prepares a central node: a verified, seeded register and the log over it. A damaged register is served to
/// nobody; the node then says so instead (ADR 27).
///
/// # Errors
/// [`RunError`] when the store, the key or the seed fail.
pub async fn prepare_central(
    config: Arc<Config>,
    env: Env,
    store: Arc<dyn Store>,
) -> Result<Arc<CentralNode>, RunError> {
    let key = || keys::load_or_create(&config.store.data_dir);
    prepare_central_with_key(Arc::clone(&config), env, store, key).await
}

/// As [`prepare_central`], with the key that signs a genesis from somewhere else; it is asked for only with a sound register.
///
/// # Errors
/// As [`prepare_central`].
pub async fn prepare_central_with_key(
    config: Arc<Config>,
    env: Env,
    store: Arc<dyn Store>,
    key: impl FnOnce() -> Result<SigningKey, keys::KeyError>,
) -> Result<Arc<CentralNode>, RunError> {
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
/// [`RunError`] when the store can't be read or the id is not valid.
pub async fn prepare_peer(
    config: Arc<Config>,
    env: Env,
    store: Arc<dyn Store>,
    dialer: Arc<dyn Dialer>,
) -> Result<Arc<PeerNode>, RunError> {
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

/// Connections of a central node's listener. Where the next can't be accepted, such as for want of file descriptors, one
/// that no session uses is cut.
fn accepted(
    listener: TcpListener,
    node: &Arc<CentralNode>,
) -> impl Stream<Item = io::Result<(TcpStream, SocketAddr)>> + Unpin + use<> {
    let relief = Arc::clone(node);
    Acceptor::new(listener, "listen.grpc", node.env.metrics.clone())
        .relieved_by(move || relief.relieve_connections())
        .into_stream()
}

/// Accepted connections of a listener, tracked, so that a session learns when its connection is gone.
fn tracked(
    listener: TcpListener,
    node: &Arc<CentralNode>,
) -> impl Stream<Item = io::Result<Tracked<TcpStream>>> + use<> {
    accepted(listener, node).map(|accepted| {
        let (stream, remote) = accepted?;
        Ok(Tracked::new(stream, Some(remote)))
    })
}

/// Serves peers on a TCP port until `shutdown`, as [`serve_central_on`]: over mutual TLS where the node has its files,
/// which are followed meanwhile, else as plain text.
///
/// # Errors
/// [`RunError::Grpc`] when the server fails.
pub async fn serve_central(
    node: Arc<CentralNode>,
    grpc: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
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

/// Serves peers on accepted connections until `shutdown`; then lets them move (ADR 37) and ends.
///
/// # Errors
/// [`RunError::Grpc`] when the server fails.
pub async fn serve_central_on<IO>(
    node: Arc<CentralNode>,
    incoming: impl Stream<Item = io::Result<Tracked<IO>>>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError>
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
mod exchange_tests;
#[cfg(test)]
mod peer_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
