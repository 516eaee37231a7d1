//! A node's process in a run: it can be asked to stop, killed at any await, and lose its machine's power.

use std::sync::{Arc, OnceLock};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A running process of a node of type `N`.
pub(super) struct Process<N> {
    task: JoinHandle<()>,
    stop: CancellationToken,
    node: Arc<OnceLock<Arc<N>>>,
}

impl<N: Send + Sync + 'static> Process<N> {
    /// Starts one. `run` is given the signal to stop and a place to put the node once there is one.
    pub(super) fn start<F>(run: impl FnOnce(CancellationToken, Arc<OnceLock<Arc<N>>>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, node) = (CancellationToken::new(), Arc::new(OnceLock::new()));
        let task = tokio::spawn(run(stop.clone(), Arc::clone(&node)));
        Self { task, stop, node }
    }

    /// The node, once it has started.
    pub(super) fn node(&self) -> Option<Arc<N>> {
        self.node.get().cloned()
    }

    /// Asks it to stop.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Whether it has ended by itself.
    pub(super) fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Ends it where it stands: its future is dropped at the await that it has reached. What it has spawned is cut off from
    /// disk, database and network by the caller, and so can do nothing more that anybody would see.
    pub(super) fn kill(self) {
        self.task.abort();
    }
}
