//! The Kubernetes API server that a node may talk to: found like any client in a pod finds it.

use std::{error::Error, time::Duration};

use kube::{Client, Config};

/// Why there is no API server to talk to.
pub type NoCluster = Box<dyn Error + Send + Sync>;

/// The pod's service account, else the kubeconfig of whoever tries this outside a cluster.
///
/// # Errors
/// [`NoCluster`] when neither is there.
pub async fn cluster() -> Result<Config, NoCluster> {
    match Config::incluster() {
        Ok(cluster) => Ok(cluster),
        Err(_) => Ok(Config::infer().await?),
    }
}

/// A client that gives up connecting after `timeout` and repeats nothing by itself: its users decide that.
///
/// # Errors
/// [`kube::Error`] when the cluster's configuration can't be used.
pub fn client(mut cluster: Config, timeout: Duration) -> kube::Result<Client> {
    cluster.default_retry = false;
    cluster.connect_timeout = Some(timeout);
    Client::try_from(cluster)
}

/// An error and what it comes from.
#[must_use]
pub fn text(error: &dyn Error) -> String {
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
