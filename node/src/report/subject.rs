//! What is reported on: a node on its way from opening its store to its end.

use std::{sync::Arc, time::Duration};

use sorcha_central::CentralNode;
use sorcha_config::Role;
use sorcha_http::{NodeHandle, Stage};
use sorcha_peer::status::PeerStatus;
use sorcha_register::{clock::Timestamp, succession::Contradiction};
use sorcha_runtime::tls::Tls;
use sorcha_runtime::{env::Env, supervise::Tasks};
use sorcha_store::{Exchange, Loaded};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{Report, content};

/// Shortest time between two looks at a peer, which changes with every entry pushed.
const LOOK: Duration = Duration::from_millis(100);
/// Time between looks at a central node's sessions and register, which nothing announces.
const POLL: Duration = Duration::from_secs(1);

/// The node, followed.
pub(super) struct Subject {
    pod: String,
    role: Role,
    since: Timestamp,
    tls: Option<Arc<Tls>>,
    tasks: Tasks,
    stage: watch::Receiver<Stage>,
    started: Option<Started>,
    looked: Instant,
}

enum Started {
    Peer {
        status: watch::Receiver<PeerStatus>,
        replica: watch::Receiver<Arc<Loaded>>,
    },
    Central {
        node: Arc<CentralNode>,
        outage: watch::Receiver<Option<String>>,
        refused: watch::Receiver<Option<Contradiction>>,
        exchange: watch::Receiver<Option<Exchange>>,
        draining: watch::Receiver<bool>,
    },
}

impl Started {
    fn new(node: NodeHandle) -> Self {
        match node {
            NodeHandle::Peer(node) => {
                Self::Peer { status: node.subscribe(), replica: node.replica.subscribe() }
            }
            NodeHandle::Central(node) => Self::Central {
                outage: node.log.subscribe_outage(),
                refused: node.log.subscribe_refused(),
                exchange: node.log.subscribe_exchange(),
                draining: node.subscribe_draining(),
                node,
            },
        }
    }
}

impl Subject {
    /// A node's process that starts now.
    pub(super) fn new(pod: String, role: Role, env: &Env, stage: watch::Receiver<Stage>) -> Self {
        let (since, tls, tasks) = (env.clock.now(), env.tls.clone(), env.tasks.clone());
        Self { pod, role, since, tls, tasks, stage, started: None, looked: Instant::now() }
    }

    /// What is true now.
    pub(super) fn look(&mut self) -> Report {
        let not_after = self.tls.as_ref().map(|tls| tls.status().validity.not_after);
        self.look_at_node().with_certificate(not_after).with_trouble(self.tasks.trouble())
    }

    fn look_at_node(&mut self) -> Report {
        self.looked = Instant::now();
        let stage = self.stage.borrow_and_update().clone();
        match &mut self.started {
            Some(Started::Peer { status, replica }) => {
                let replica = Arc::clone(&replica.borrow_and_update());
                let status = status.borrow_and_update();
                Report::Peer(content::peer_report(&self.pod, &status, &replica))
            }
            Some(Started::Central { node, outage, refused, exchange, draining }) => {
                outage.mark_unchanged();
                refused.mark_unchanged();
                exchange.mark_unchanged();
                draining.mark_unchanged();
                Report::Central(content::central_report(&self.pod, self.since, node))
            }
            None => match stage {
                Stage::Started(node) => {
                    self.started = Some(Started::new(node));
                    self.look_at_node()
                }
                stage => self.starting(&stage),
            },
        }
    }

    fn starting(&self, stage: &Stage) -> Report {
        match self.role {
            Role::Peer => Report::Peer(content::starting_peer_report(&self.pod, self.since, stage)),
            Role::Central => Report::Central(content::starting_central_report(&self.pod, self.since, stage)),
        }
    }

    /// Waits until there may be something new since the last look.
    pub(super) async fn changed(&mut self) {
        match &mut self.started {
            None => open(self.stage.changed().await).await,
            Some(Started::Peer { status, replica }) => {
                sleep_until(self.looked + LOOK).await;
                tokio::select! {
                    changed = status.changed() => open(changed).await,
                    changed = replica.changed() => open(changed).await,
                }
            }
            Some(Started::Central { outage, refused, exchange, draining, .. }) => tokio::select! {
                () = sleep_until(self.looked + POLL) => {}
                changed = refused.changed() => open(changed).await,
                changed = outage.changed() => open(changed).await,
                changed = exchange.changed() => open(changed).await,
                changed = draining.changed() => open(changed).await,
            },
        }
    }
}

/// A node that is gone changes no more.
async fn open(changed: Result<(), watch::error::RecvError>) {
    if changed.is_err() {
        std::future::pending().await
    }
}
