//! One of several controllers reconciles: whoever holds the Lease. Losing it ends the process, so that nothing of what
//! it was doing goes on beside its successor.

use std::time::Duration;

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use crate::config::Settings;

/// How long a process that ends takes to give the lease back.
const RELEASE: Duration = Duration::from_secs(3);

/// Holds the lease as long as it lives.
pub struct Leadership {
    held: watch::Receiver<bool>,
    task: JoinHandle<Result<LeaseManager, LeaseManagerError>>,
}

impl Leadership {
    /// Asks for the lease.
    ///
    /// # Errors
    /// When the Lease can't be made or read.
    pub async fn campaign(
        client: Client,
        settings: &Settings,
        identity: &str,
    ) -> Result<Self, LeaseManagerError> {
        let namespace =
            settings.lease_namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
        let manager = LeaseManagerBuilder::new(client, &settings.lease_name)
            .with_namespace(namespace)
            .with_identity(identity)
            .with_duration(settings.lease_seconds)
            .with_grace(settings.lease_seconds / 3)
            .build()
            .await?;
        let (held, task) = manager.watch().await;
        Ok(Self { held, task })
    }

    /// Waits until the lease is held. `false`: it never will be, the manager has ended.
    pub async fn gained(&mut self) -> bool {
        self.held.wait_for(|held| *held).await.is_ok()
    }

    /// Waits until the lease is lost.
    pub async fn lost(&mut self) {
        // A manager that has ended renews no lease.
        let _ended = self.held.wait_for(|held| !*held).await.is_err();
    }

    /// Gives the lease back, so that a standby takes over at once.
    pub async fn release(self) {
        // The manager releases when nobody listens any more.
        drop(self.held);
        if timeout(RELEASE, self.task).await.is_err() {
            tracing::warn!("lease not released in time; a standby waits until it expires");
        }
    }
}
