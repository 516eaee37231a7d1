//! Central nodes inside this process, each on a runtime of its own. The demo and the tests kill them as a crash does, with every
//! socket closed at once and no goodbye, and start them again on the same port.

use std::{net::SocketAddr, sync::Arc};

use crate::HostError;
use sorcha_central::CentralNode;
use sorcha_config::{CentralNodeAddress, Config};
use sorcha_runtime::env::Env;
use sorcha_store::Store;
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot, task::JoinHandle};

/// Threads of one central node.
const THREADS: usize = 2;

/// A running central node.
pub struct LocalCentral {
    /// The node.
    pub node: Arc<CentralNode>,
    /// Address of its gRPC listener.
    pub grpc: SocketAddr,
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<Result<(), HostError>>>,
}

impl LocalCentral {
    /// Starts one over a store; it listens on `config.listen.grpc`, where port 0 picks a free one.
    ///
    /// # Errors
    /// [`HostError`] when the register, the runtime or the address fail.
    pub async fn start(config: Config, env: Env, store: Arc<dyn Store>) -> Result<Self, HostError> {
        let wanted = config.listen.grpc;
        let failed = move |source| HostError::Listen { setting: "listen.grpc", address: wanted, source };
        let listener = crate::listen("listen.grpc", wanted).await?.into_std().map_err(failed)?;
        let grpc = listener.local_addr().map_err(failed)?;
        let node = crate::prepare_central(Arc::new(config), env, store).await?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name(format!("central-{}", node.id()))
            .enable_all()
            .build()
            .map_err(failed)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = Arc::clone(&node);
        let served = runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).map_err(failed)?;
            // A dropped sender ends the node, too.
            crate::serve_central(serving, listener, async { drop(stopped.await) }).await
        });
        Ok(Self { node, grpc, runtime: Some(runtime), stop: Some(stop), served: Some(served) })
    }

    /// Runs a task on the node's runtime, such as its HTTP server; it ends with the node.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            drop(runtime.spawn(task));
        }
    }

    /// Its address as a peer is configured with it.
    #[must_use]
    pub fn address(&self, priority: u16) -> CentralNodeAddress {
        let id = Some(self.node.id().to_owned());
        let (host, port) = (self.grpc.ip().to_string(), self.grpc.port());
        CentralNodeAddress { id, host, port, priority, ca_file: None }
    }

    /// Ends it as a crash does.
    pub fn kill(mut self) {
        self.stop_runtime();
    }

    /// Drains and ends it, as SIGTERM does.
    ///
    /// # Errors
    /// [`HostError`] when its server failed.
    pub async fn drain(mut self) -> Result<(), HostError> {
        if let Some(stop) = self.stop.take() {
            // A node that has ended by itself does not listen.
            let _unheard = stop.send(());
        }
        match self.served.take() {
            Some(served) => served.await.unwrap_or(Ok(())),
            None => Ok(()),
        }
    }

    fn stop_runtime(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for LocalCentral {
    fn drop(&mut self) {
        self.stop_runtime();
    }
}
