//! A node from its configuration to its end: what the binary, the demo and the tests start.

mod starting;

use std::{io, path::PathBuf, sync::Arc};

use sorcha_config::{Config, ConfigError, Role};
use sorcha_host::{HostError, listen};
use sorcha_http::{Auth, Pulse, Stage, auth::Reviewer};
use sorcha_runtime::{
    env::Env,
    metrics::Metrics,
    tls::{Tls, TlsError},
};
use sorcha_store::StoreError;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use self::starting::Starting;
use crate::{
    descriptors, kubernetes, memory,
    report::{self, Reporter},
    reviewer,
    telemetry::Telemetry,
};

/// Why a node does not start, or ends with a fault.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The role can't be assembled or served.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
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
    /// The TLS files can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// `report.resource` or `http.kubernetes.enabled` is set, but no Kubernetes API can be used.
    #[error(transparent)]
    Kubernetes(#[from] kubernetes::Unusable),
    /// There are too few file descriptors.
    #[error(transparent)]
    Descriptors(#[from] descriptors::TooFew),
    /// The HTTP server failed.
    #[error("HTTP server: {0}")]
    Http(io::Error),
}

impl From<StoreError> for RunError {
    fn from(error: StoreError) -> Self {
        Self::Host(error.into())
    }
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
    let env = env(&config, telemetry)?;
    let auth = auth(&config, &env).await?;
    let stage = watch::Sender::new(Stage::Opening { store_fault: None });
    let pulse = Pulse::new(Arc::clone(&env.clock));
    let probes = probes(&config, stage.subscribe(), pulse.clone()).await?;
    let transport = report::kubernetes::connect(&config, role).await?;
    let doors = Doors::open(&config, &env).await?;
    let grpc = match role {
        Role::Central => Some(listen("listen.grpc", config.listen.grpc).await?),
        Role::Peer => None,
    };
    let reporter = transport.map(|to| Reporter::start(&config, role, &env, stage.subscribe(), to));
    let front = sorcha_http::front(stage.subscribe(), auth, telemetry.registry().clone());
    let (config, metrics) = (Arc::new(config), env.metrics.clone());
    let starting = Starting { config: Arc::clone(&config), env, stage };
    let work = work(starting, grpc, reporter, shutdown);
    let served = tokio::select! {
        served = beside_http(doors, front, &config, &metrics, work) => served,
        never = pulse.beats() => match never {},
    };
    drop(probes);
    served
}

/// The role's work, from the store to the last report.
async fn work(
    starting: Starting,
    grpc: Option<TcpListener>,
    reporter: Option<Reporter>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let result = match grpc {
        Some(grpc) => starting.central(grpc, shutdown).await,
        None => starting.peer(shutdown).await,
    };
    if let Some(reporter) = reporter {
        reporter.finish().await;
    }
    result
}

/// What the node has of the system around it.
fn env(config: &Config, telemetry: &Telemetry) -> Result<Env, RunError> {
    let env = Env::system(telemetry.metrics(&config.node.id)).secured(&config.tls)?;
    if env.tls.is_none() {
        tracing::warn!(
            "gRPC is plain text: anybody in reach can read it and speak for any peer; set tls.certificate_file, tls.key_file and tls.ca_file"
        );
    }
    Ok(env)
}

/// Who may write over HTTP.
async fn auth(config: &Config, env: &Env) -> Result<Auth, RunError> {
    let reviewer = reviewer::connect(config).await?;
    let reviewer = reviewer.map(|reviewer| Arc::new(reviewer) as Arc<dyn Reviewer>);
    let auth = Auth::new(&config.http, Arc::clone(&env.clock), reviewer)?;
    auth.observe(&env.metrics);
    Ok(auth)
}

/// Probes on their own port, if there is one, from the first moment to the last.
async fn probes(
    config: &Config,
    stage: watch::Receiver<Stage>,
    pulse: Pulse,
) -> Result<Option<sorcha_probes::Server>, RunError> {
    let Some(address) = config.listen.probes else { return Ok(None) };
    let failed = |source| HostError::Listen { setting: "listen.probes", address, source };
    let listener = listen("listen.probes", address).await?.into_std().map_err(failed)?;
    Ok(Some(sorcha_http::start_probes(listener, stage, pulse).map_err(failed)?))
}

/// Where the HTTP API is served.
struct Doors {
    http: TcpListener,
    /// Over TLS, where the node has its files.
    https: Option<(TcpListener, Arc<Tls>)>,
}

impl Doors {
    async fn open(config: &Config, env: &Env) -> Result<Self, RunError> {
        let http = listen("listen.http", config.listen.http).await?;
        let https = match &env.tls {
            Some(tls) => Some((listen("listen.https", config.listen.https).await?, Arc::clone(tls))),
            None => None,
        };
        Ok(Self { http, https })
    }
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
                sorcha_http::serve_secured(listener, tls, router.clone(), config, metrics, ended.cancelled())
                    .await
            }
            None => Ok(()),
        }
    };
    let http = sorcha_http::serve(doors.http, router.clone(), &config.http, metrics, ended.cancelled());
    let (work, http, https) = tokio::join!(work, http, https);
    work.and(http.and(https).map_err(RunError::Http))
}

#[cfg(test)]
mod exchange_tests;
#[cfg(test)]
mod tests;
