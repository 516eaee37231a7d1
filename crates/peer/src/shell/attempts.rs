//! Attempts to connect, and probes: calls on connections of their own.

use std::sync::Arc;

use sorcha_runtime::supervise;
use tokio::task::{AbortHandle, JoinSet};

use super::Shell;
use crate::{
    failover::CentralId,
    machine::event::{Event, SessionInfo},
    session::{
        LiveSession,
        connect::{Refusal, connect, probe},
    },
    status::{DialEvent, StatusEvent},
};

pub(super) type DialOutcome = Result<(LiveSession, SessionInfo), Refusal>;

pub(super) async fn join_dial(dials: &mut JoinSet<(u64, DialOutcome)>) -> Option<(u64, DialOutcome)> {
    loop {
        match dials.join_next().await? {
            Ok(outcome) => return Some(outcome),
            Err(error) if error.is_cancelled() => {}
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// The attempt in flight.
pub(super) struct Dialling {
    epoch: u64,
    central: String,
    attempt: AbortHandle,
}

impl Shell {
    pub(super) fn dial(&mut self, epoch: u64, central: &CentralId) {
        let Some(address) = self.central_nodes.addresses.get(central.as_str()).cloned() else { return };
        self.mark(central.as_str(), DialEvent::Began(self.node.env.clock.now()));
        tracing::info!(
            central_node_id = central.as_str(),
            host = address.host,
            port = address.port,
            priority = address.priority,
            "connecting"
        );
        let (node, events) = (Arc::clone(&self.node), self.events.clone());
        let task = async move {
            let outcome = supervise::caught(connect(&node, &address, epoch, events)).await;
            (epoch, outcome.unwrap_or_else(|why| Err(Refusal::passing(why))))
        };
        let (central, attempt) = (central.as_str().to_owned(), self.dials.spawn(task));
        self.dialling = Some(Dialling { epoch, central, attempt });
    }

    pub(super) fn dialled(&mut self, epoch: u64, outcome: DialOutcome) {
        // An attempt that was given up has no say in how its node stands.
        let current = self.dialling.take_if(|dialling| dialling.epoch == epoch);
        let central = current.map(|dialling| dialling.central).unwrap_or_default();
        let event = match outcome {
            Ok((session, info)) => {
                self.accepted = Some(session);
                let now = self.node.env.clock.now();
                self.mark(&central, DialEvent::Succeeded(now, info.central_version));
                Event::ConnectOk { epoch, info }
            }
            Err(refusal) => self.refused(epoch, &central, refusal),
        };
        self.handle(event);
    }

    fn refused(&self, epoch: u64, central: &str, refusal: Refusal) -> Event {
        let Refusal { fault, message, retry_after, split_brain } = refusal;
        self.mark(central, DialEvent::Failed(message.clone()));
        tracing::warn!(central_node_id = central, reason = message, "connection attempt failed");
        if split_brain {
            Event::ConnectOk { epoch, info: SessionInfo::refused_for_lineage() }
        } else {
            Event::ConnectFailed { epoch, fault, message, retry_after }
        }
    }

    pub(super) fn abandon(&mut self, epoch: u64) {
        if let Some(dialling) = self.dialling.take_if(|dialling| dialling.epoch == epoch) {
            dialling.attempt.abort();
        }
        self.node.note(StatusEvent::DialAbandoned);
    }

    /// Asks a better central node whether it would take this peer, on a connection of its own.
    pub(super) fn probe(&mut self, epoch: u64, central: CentralId) {
        let Some(address) = self.central_nodes.addresses.get(central.as_str()).cloned() else { return };
        let (node, events) = (Arc::clone(&self.node), self.events.clone());
        tokio::spawn(async move {
            let event = match supervise::caught(probe(&node, &address)).await {
                Ok(true) => Event::ProbeOk { epoch, central },
                Ok(false) | Err(_) => Event::ProbeFailed { epoch, central },
            };
            drop(events.send(event).await);
        });
    }
}
