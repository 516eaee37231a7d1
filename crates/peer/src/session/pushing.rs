//! The push stream of a session, held open while the session lives (protocol section 6.6).

use std::sync::Arc;

use sorcha_runtime::supervise::Supervisor;
use tonic::{Code, Status};

use super::{
    LiveSession,
    faults::{Meaning, meaning, retry_after},
    push::{self, Arrival, Push},
    told::told,
    ways::{Ways, failure, is_sound},
};
use crate::replication::{Closing, SyncEvent};

/// Holds the push stream open until the session ends. A session that is over is noticed here first: the stream breaks.
pub(super) async fn run(session: LiveSession, ways: Arc<Ways>) {
    let mut supervisor = Supervisor::new("push", &session.node.env);
    let pushing = Pushing { session, ways };
    loop {
        let why = supervisor.watch(pushing.work()).await;
        pushing.ways.on(SyncEvent::PushDied(format!("the push stream's task died: {why}"))).await;
        supervisor.pause().await;
    }
}

struct Pushing {
    session: LiveSession,
    ways: Arc<Ways>,
}

impl Pushing {
    async fn work(&self) {
        loop {
            tokio::select! {
                () = self.ways.push_due() => {}
                () = self.ways.subscribe_asked() => {}
            }
            self.ways.may_push().await;
            match push::open(&self.session).await {
                Ok(push) => self.follow(push).await,
                Err(status) => self.ways.on(self.closed(&status)).await,
            }
        }
    }

    /// Takes what an open stream brings, until it closes.
    async fn follow(&self, mut push: Push) {
        let sound = matches!(push, Push::Entries { .. }) && is_sound(&self.session);
        self.ways.on(SyncEvent::PushOpened { sound }).await;
        loop {
            let first = match push.next().await {
                Ok(first) => first,
                Err(status) => return self.ways.on(self.closed(&status)).await,
            };
            self.ways.on(SyncEvent::PushArrived { received: self.session.received.bytes() }).await;
            let event = match push.take(&self.session, first).await {
                Ok(Arrival::Stored) => SyncEvent::PushStored,
                Ok(Arrival::PullNow) => SyncEvent::PushNoticed,
                Ok(Arrival::Ended) => {
                    return self.ways.on(self.closed(&Status::ok("the stream ended"))).await;
                }
                Err(error) => {
                    return self.ways.on(SyncEvent::PushFailed(failure(&self.session, &error))).await;
                }
            };
            self.ways.on(event).await;
        }
    }

    /// The stream is closed or was refused: what that means.
    fn closed(&self, status: &Status) -> SyncEvent {
        let central_node_id = self.session.central.as_str();
        SyncEvent::PushClosed(match (status.code(), meaning(status)) {
            (Code::Ok, _) => Closing::Ended { retry_after: None },
            (Code::Unimplemented, _) => {
                tracing::info!(central_node_id, "the central node offers no push; pulls bring what is new");
                Closing::Unoffered
            }
            (Code::DeadlineExceeded, _) => {
                self.session.node.env.metrics.stalled("push");
                let central_nodes = self.session.node.status.borrow().central_nodes.len();
                Closing::Stalled { why: told(status.message()), central_nodes }
            }
            (_, Meaning::Lost(loss)) => Closing::Lost(loss),
            (_, Meaning::Rejected) => Closing::Rejected,
            (code, Meaning::Call(_)) => {
                let reason = told(status.message());
                tracing::warn!(central_node_id, ?code, reason, "push stream closed");
                Closing::Ended { retry_after: retry_after(status) }
            }
        })
    }
}
