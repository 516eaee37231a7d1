//! The Kubernetes API server that a node may talk to: found like any client in a pod finds it.

use std::{error::Error, time::Duration};

use kube::{Client, Config};
use sorcha_config::ConfigError;

/// Why there is no API server to talk to.
pub(crate) type NoCluster = Box<dyn Error + Send + Sync>;

/// Why a setting that needs the Kubernetes API can't be followed.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The settings contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Neither a service account nor a kubeconfig is there.
    #[error("{setting} is set, but no Kubernetes API server is known here; unset it outside Kubernetes")]
    NoCluster {
        /// The setting.
        setting: &'static str,
        /// What is missing.
        source: NoCluster,
    },
    /// The cluster's configuration can't be used.
    #[error("{setting} is set, but the Kubernetes API can't be used")]
    Client {
        /// The setting.
        setting: &'static str,
        /// Why.
        source: Box<kube::Error>,
    },
}

/// The pod's service account, else the kubeconfig of whoever tries this outside a cluster.
///
/// # Errors
/// [`NoCluster`] when neither is there.
pub(crate) async fn cluster() -> Result<Config, NoCluster> {
    match Config::incluster() {
        Ok(cluster) => Ok(cluster),
        Err(_) => Ok(Config::infer().await?),
    }
}

/// A client that gives up connecting after `timeout` and repeats nothing by itself: its users decide that.
///
/// # Errors
/// [`Unusable::Client`] when the cluster's configuration can't be used for `setting`.
pub(crate) fn client(
    mut cluster: Config,
    timeout: Duration,
    setting: &'static str,
) -> Result<Client, Unusable> {
    cluster.default_retry = false;
    cluster.connect_timeout = Some(timeout);
    Client::try_from(cluster).map_err(|error| Unusable::Client { setting, source: Box::new(error) })
}

/// An error and what it comes from.
#[must_use]
pub(crate) fn text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}
