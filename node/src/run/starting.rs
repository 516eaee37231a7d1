//! From the configuration to the role: the store may take its time, and the stage tells what is waited for.

use std::{path::Path, sync::Arc};

use sorcha_config::{Config, Role};
use sorcha_host::{
    HostError, keys, open_embedded, prepare_central, prepare_peer, serve_central,
    waiting::{Unavailable, until_available},
};
use sorcha_http::{NodeHandle, Stage};
use sorcha_peer::dial::dialer;
use sorcha_runtime::env::Env;
use sorcha_store::{
    Store, journal,
    mongo::{Claimant, Documents, MongoStore},
};
use tokio::{net::TcpListener, sync::watch};

use super::RunError;
use crate::kubernetes;

/// A node on its way from its configuration to its role.
pub(super) struct Starting {
    pub(super) config: Arc<Config>,
    pub(super) env: Env,
    pub(super) stage: watch::Sender<Stage>,
}

impl Starting {
    /// Serves as a central node, once there is a sound register.
    pub(super) async fn central(
        &self,
        grpc: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), RunError> {
        let mut shutdown = std::pin::pin!(shutdown);
        let prepared = self.prepared(Role::Central, |store| {
            prepare_central(Arc::clone(&self.config), self.env.clone(), store)
        });
        let node = tokio::select! {
            node = prepared => node?,
            () = &mut shutdown => return Ok(()),
        };
        self.stage.send_replace(Stage::Started(NodeHandle::Central(Arc::clone(&node))));
        Ok(serve_central(node, grpc, shutdown).await?)
    }

    /// Runs as a peer, once its replica is loaded.
    pub(super) async fn peer(&self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let mut shutdown = std::pin::pin!(shutdown);
        let prepared = self.prepared(Role::Peer, |store| {
            prepare_peer(Arc::clone(&self.config), self.env.clone(), store, dialer(&self.env))
        });
        let node = tokio::select! {
            node = prepared => node?,
            () = &mut shutdown => return Ok(()),
        };
        self.stage.send_replace(Stage::Started(NodeHandle::Peer(Arc::clone(&node))));
        node.run(shutdown).await.map_err(RunError::from)
    }

    /// Opens the store, however long that takes, and prepares the role over it; the stage tells what it waits for.
    async fn prepared<N, F>(&self, role: Role, prepare: impl Fn(Arc<dyn Store>) -> F) -> Result<N, RunError>
    where
        F: Future<Output = Result<N, HostError>>,
    {
        let attempt = || async { Ok(prepare(open_store(&self.config, &self.env, role).await?).await?) };
        let waits = |why: &str| {
            self.stage.send_replace(Stage::Opening { store_fault: Some(why.to_owned()) });
        };
        let prepared: Result<N, RunError> = tokio::select! {
            prepared = until_available(attempt, waits) => prepared,
            // HTTPS is served meanwhile: its certificate is renewed however long the store takes.
            never = self.env.watch_files() => match never {},
        };
        if let Err(error) = &prepared {
            self.stage.send_replace(Stage::Failed { fault: error.to_string() });
        }
        prepared
    }
}

async fn open_store(config: &Config, env: &Env, role: Role) -> Result<Arc<dyn Store>, RunError> {
    match config.mongodb_uri()? {
        Some(uri) => {
            let documents =
                Documents { directory: config.store.data_dir.clone(), cache_bytes: config.store.cache_bytes };
            let store = MongoStore::open(&uri, &config.store.mongodb, documents, env).await?;
            store.claim(&claimant(config, role).await, env).await?;
            Ok(Arc::new(store))
        }
        None => {
            refuse_other_role(&config.store.data_dir, role)?;
            Ok(open_embedded(config, env, role == Role::Peer).await?)
        }
    }
}

/// Whose database it is to be. Pods of one name in two namespaces are two peers.
async fn claimant(config: &Config, role: Role) -> Claimant {
    if role == Role::Central {
        return Claimant::Central;
    }
    let namespace = match (&config.report.namespace, &config.report.resource) {
        (Some(namespace), _) => Some(namespace.clone()),
        (None, Some(_)) => kubernetes::cluster().await.ok().map(|cluster| cluster.default_namespace),
        (None, None) => None,
    };
    let id = &config.node.id;
    let identity = namespace.map_or_else(|| id.clone(), |namespace| format!("{namespace}/{id}"));
    Claimant::Peer { identity }
}

fn refuse_other_role(directory: &Path, role: Role) -> Result<(), RunError> {
    let (file, owner) = match role {
        Role::Peer => (keys::FILE_NAME, "central node"),
        Role::Central => (journal::REPLICA_FILE, "peer"),
    };
    if directory.join(file).exists() {
        return Err(RunError::OtherRole { directory: directory.to_owned(), owner, file });
    }
    Ok(())
}

impl Unavailable for RunError {
    fn unavailable(&self) -> Option<&str> {
        match self {
            Self::Host(error) => error.unavailable(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_the_other_role_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for role in [Role::Central, Role::Peer] {
            refuse_other_role(folder.path(), role).unwrap();
        }
        for (file, own, other) in
            [(keys::FILE_NAME, Role::Central, Role::Peer), (journal::REPLICA_FILE, Role::Peer, Role::Central)]
        {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(file), "").unwrap();
            refuse_other_role(folder.path(), own).unwrap();
            let error = refuse_other_role(folder.path(), other).unwrap_err().to_string();
            let directory = folder.path().display().to_string();
            assert!(
                error.contains(&directory) && error.contains(file) && error.contains("--data-dir"),
                "{error}"
            );
        }
    }
}
