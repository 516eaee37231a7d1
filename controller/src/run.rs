//! The controller from its settings to its end.

use std::{fmt::Debug, hash::Hash, net::TcpListener, sync::Arc};

use futures::{FutureExt as _, StreamExt as _};
use kube::{
    Client, Config,
    client::ClientBuilder,
    runtime::{
        applier,
        controller::{Config as ControllerConfig, ReconcileRequest},
        reflector::{ObjectRef, Store},
    },
};
use sorcha_crds::{SorchaBlueprint, SorchaCentralNode, SorchaPeer};
use tokio::sync::{mpsc, watch};

use crate::{
    blueprint,
    cache::{self, Triggers},
    certificates,
    config::Settings,
    context::Ctx,
    feed::unreadable,
    http,
    leader::{Leadership, fence::Fence},
    metrics::Metrics,
    reconcile::{self, Pipeline},
    reviews,
};

/// Why the controller ends.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No cluster to talk to.
    #[error("find the cluster: {0}")]
    Cluster(#[from] kube::config::InferConfigError),
    /// The API server can't be used.
    #[error("connect to the API server: {0}")]
    Client(#[from] kube::Error),
    /// The address of probes and metrics can't be used.
    #[error("listen on {address}: {source}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The Lease can't be used.
    #[error("lease: {0}")]
    Lease(#[source] kube::Error),
    /// Another process holds the lease now.
    #[error("the lease is lost, or could not be renewed in time; another controller goes on")]
    LeaseLost,
    /// Settings that do not go together.
    #[error("{0}")]
    Settings(String),
    /// Measurements clash.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Runs the controller until `shutdown`.
///
/// # Errors
/// [`RunError`] when it does not start, or loses the lease.
pub async fn run(
    settings: Settings,
    identity: String,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let cluster = Config::infer().await?;
    settings.certificates.check().map_err(RunError::Settings)?;
    let metrics = Metrics::new()?;
    let address = settings.listen;
    let failed = |source| RunError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    let (ready, is_ready) = watch::channel(false);
    let served = http::serve(listener, metrics.clone(), is_ready).map_err(failed)?;
    let result = lead(cluster, settings, identity, metrics, ready, shutdown).await;
    drop(served);
    result
}

async fn lead(
    cluster: Config,
    settings: Settings,
    identity: String,
    metrics: Metrics,
    ready: watch::Sender<bool>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    if !settings.leader_elect {
        let client = Client::try_from(cluster)?;
        ready.send_replace(true);
        metrics.leads(true);
        tokio::select! {
            () = reconcile(client, settings, identity, metrics, Fence::open()) => {}
            () = shutdown => {}
        }
        return Ok(());
    }
    let fence = Fence::closed();
    let client = ClientBuilder::try_from(cluster.clone())?.with_layer(&fence).build();
    // What is behind the fence can't open it.
    let mut leadership = Leadership::new(Client::try_from(cluster)?, &settings, &identity, fence.clone());
    leadership.campaign().await.map_err(RunError::Lease)?;
    // A standby is ready: it can take over.
    ready.send_replace(true);
    tracing::info!(identity, lease = settings.lease_name, "waiting for the lease");
    let result = tokio::select! {
        result = while_leading(&mut leadership, client, settings, identity, metrics, fence) => result,
        () = shutdown => Ok(()),
    };
    // What a lost lease has left under way may still arrive: its time is left to run out.
    if result.is_ok() {
        leadership.release().await;
    }
    result
}

async fn while_leading(
    leadership: &mut Leadership,
    client: Client,
    settings: Settings,
    identity: String,
    metrics: Metrics,
    fence: Fence,
) -> Result<(), RunError> {
    leadership.gained().await;
    metrics.leads(true);
    tracing::info!(identity, namespace = settings.namespace, "reconciling");
    tokio::select! {
        () = reconcile(client, settings, identity, metrics, fence) => Ok(()),
        () = leadership.lost() => Err(RunError::LeaseLost),
    }
}

/// Watches and reconciles, for ever; `client` and what is sent to registers are behind the fence.
pub async fn reconcile(client: Client, settings: Settings, identity: String, metrics: Metrics, fence: Fence) {
    let (caches, writers) = cache::caches();
    let (central, central_requests) = mpsc::unbounded_channel();
    let (peer, peer_requests) = mpsc::unbounded_channel();
    let (blueprint, blueprint_requests) = mpsc::unbounded_channel();
    let triggers = Triggers { central, peer, blueprint, nodes: Arc::default(), networks: Arc::default() };
    let watches = cache::run(
        client.clone(),
        settings.namespace.clone(),
        caches.clone(),
        writers,
        triggers.clone(),
        metrics.clone(),
    );
    if let Err(error) = certificates::measure(metrics.registry(), caches.clone()) {
        tracing::warn!(%error, "certificates are not measured");
    }
    let ctx = Arc::new(Ctx::new(client, settings, caches.clone(), metrics, identity, fence));
    // Before its caches are full, everything would look as if it were missing. None waits for those of others.
    let nodes = async {
        caches.ready_for_nodes().await;
        tokio::join!(
            control::<SorchaCentralNode>(Arc::clone(&ctx), central_requests),
            control::<SorchaPeer>(Arc::clone(&ctx), peer_requests),
        );
    };
    let blueprints = async {
        caches.ready_for_blueprints().await;
        tokio::join!(
            control::<SorchaBlueprint>(Arc::clone(&ctx), blueprint_requests),
            blueprint::follow_config_maps(&ctx, &triggers),
        );
    };
    tokio::join!(watches, nodes, blueprints, review(&ctx, &triggers), unreadable::run(&ctx));
}

async fn review(ctx: &Ctx, triggers: &Triggers) {
    let (nodes, accounts) = (&ctx.caches.central_nodes, &ctx.caches.service_accounts);
    // Before they are known, the list would be emptied.
    let known = tokio::join!(nodes.wait_until_ready(), accounts.wait_until_ready());
    if known.0.is_ok() && known.1.is_ok() {
        reviews::run(ctx, triggers).await;
    }
}

async fn control<P: Pipeline>(ctx: Arc<Ctx>, requests: mpsc::UnboundedReceiver<ObjectRef<P>>)
where
    P::DynamicType: Hash + Eq + Clone + Debug + Unpin,
{
    let queue = futures::stream::unfold(requests, |mut requests| async {
        let object = requests.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(ReconcileRequest::from(object)), requests))
    });
    let store: Store<P> = P::store(&ctx.caches).clone();
    let config = ControllerConfig::default().concurrency(ctx.settings.concurrency);
    let reconcile = |subject: Arc<P>, ctx: Arc<Ctx>| reconcile::reconcile(subject, ctx).boxed();
    applier(reconcile, reconcile::on_error::<P>, ctx, store, queue, config)
        .for_each(|result| async move {
            // A failed reconcile was logged where it failed; what is left is a resource that is gone.
            if let Err(error) = result {
                tracing::debug!(%error, "not reconciled");
            }
        })
        .await;
}

#[cfg(test)]
mod tests;
