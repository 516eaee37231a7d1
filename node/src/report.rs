//! The reporter: writes what a node knows of itself into the status of its own custom resource (ADR 39).
//!
//! [`content`] says what is written, `pacer` when, `kubernetes` how; [`Reporter`] is the task that joins them.
//! Deliberately absent: reads and watches of the API server, any queue (only the newest state is ever written), and
//! anything on the heartbeat, acknowledgement or sync path: a node without an API server notices nothing.

pub(crate) mod content;
pub(crate) mod kubernetes;
mod pacer;
mod subject;
mod task;

use std::time::Duration;

use async_trait::async_trait;
use sorcha_config::{Config, Role};
use sorcha_crds::{central_node::CentralNodeReport, peer::PeerReport};
use sorcha_http::Stage;
use sorcha_runtime::env::Env;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use self::{pacer::Pacer, subject::Subject, task::Task};

/// Longest delay that the last report may add to a node's end.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Report {
    /// A peer: its element of the resource's `status.nodes`.
    Peer(PeerReport),
    /// A central node: the resource's `status.node`.
    Central(CentralNodeReport),
}

/// Why a report was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReportError {
    /// The resource does not exist.
    #[error("the resource does not exist: {0}")]
    NotFound(String),
    /// This pod may not write its status.
    #[error("this pod may not write the status: {0}")]
    Forbidden(String),
    /// The API server does not take the report as it is.
    #[error("the API server refuses the report: {0}")]
    Refused(String),
    /// The API server can't be reached, or fails.
    #[error("the API server does not take the report now: {0}")]
    Failed(String),
    /// There was no answer in time.
    #[error("the API server did not answer in time")]
    Unanswered,
}

impl ReportError {
    /// Label of the metric.
    #[must_use]
    pub(crate) const fn label(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::Forbidden(_) => "forbidden",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
            Self::Unanswered => "unanswered",
        }
    }

    /// Whether trying again soon can help; otherwise somebody has to change something first.
    #[must_use]
    pub(crate) const fn is_passing(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Unanswered)
    }
}

/// Where reports go.
#[async_trait]
pub(crate) trait Transport: Send + Sync + 'static {
    /// Makes the report the newest one of this node.
    ///
    /// # Errors
    /// [`ReportError`]; whether it was written all the same is not known then.
    async fn apply(&self, report: &Report) -> Result<(), ReportError>;
}

/// A running reporter.
pub(crate) struct Reporter {
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Reporter {
    /// Starts to report what a node is at, from the first moment on.
    pub(crate) fn start(
        config: &Config,
        role: Role,
        env: &Env,
        stage: watch::Receiver<Stage>,
        transport: impl Transport,
    ) -> Self {
        let stop = CancellationToken::new();
        let subject = Subject::new(config.pod().to_owned(), role, env, stage);
        let pacer = Pacer::new(&config.report);
        let task = Task::new(subject, pacer, transport, env.clone(), config.report.timeout);
        Self { task: AbortOnDropHandle::new(tokio::spawn(task.run(stop.clone()))), stop }
    }

    /// Writes the last report, if it says anything new, and ends; within 2 s whatever the API server does.
    pub(crate) async fn finish(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(FAREWELL, &mut self.task).await.is_err() {
            tracing::warn!("the last status report was not written in time");
        }
    }
}

#[cfg(test)]
mod tests;
