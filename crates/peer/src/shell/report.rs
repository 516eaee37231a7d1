//! What the machine reports: a log line, a measurement, a line in the peer's status.

use std::{convert::Infallible, time::Duration};

use sorcha_register::clock::Monotonic;
use sorcha_runtime::spans;

use super::Shell;
use crate::{
    failover::CentralId,
    machine::effect::{Cause, Report},
    status::StatusEvent,
};

impl Shell {
    pub(super) fn report(&self, report: &Report) {
        let line = match report {
            Report::EnteredIsolated => self.isolated(),
            Report::LeftIsolated { since } => {
                let after = self.took(*since);
                tracing::info!(after_ms = after.as_millis(), "isolation is over");
                format!("isolation is over after {:.1} s", after.as_secs_f64())
            }
            Report::SplitBrain { central } => {
                tracing::error!(
                    central_node_id = central.as_str(),
                    "split brain: the central node holds a register of another lineage; nothing was merged"
                );
                format!("split brain: {central} holds another lineage")
            }
            Report::ConfigurationFault { central, message } => self.refuses_peer(central, message),
            Report::HeartbeatMissed { central, missed } => {
                format!("heartbeat {missed} in a row missed at {central}")
            }
            Report::FailedOver { from, to, cause, noticed_at } => {
                self.failed_over(from, to, *cause, self.took(*noticed_at))
            }
            Report::Reconnected { central, cause, noticed_at } => {
                reconnected(central, *cause, self.took(*noticed_at))
            }
        };
        self.node.note(StatusEvent::Transition(self.node.env.clock.now(), line));
    }

    fn took(&self, since: Monotonic) -> Duration {
        self.node.env.clock.monotonic().since(since)
    }

    fn isolated(&self) -> String {
        let known = !self.central_nodes.addresses.is_empty();
        let why = if known { "no central node can be reached" } else { "no central nodes are known yet" };
        let held =
            if self.node.replica.is_held() { "serving the last replica" } else { "holding no replica yet" };
        tracing::warn!("isolated: {why}; {held}, and trying again");
        format!("isolated: {why}")
    }

    fn refuses_peer(&self, central: &CentralId, message: &str) -> String {
        tracing::error!(
            central_node_id = central.as_str(),
            message,
            "configuration error: the central node refuses this peer"
        );
        let line = format!("{central} refuses this peer: {message}");
        self.node.note(StatusEvent::RefusesPeer(line.clone()));
        line
    }

    fn failed_over(&self, from: &CentralId, to: &CentralId, cause: Cause, took: Duration) -> String {
        let reason = cause.label();
        self.node.env.metrics.failed_over(from.as_str(), to.as_str(), reason, took);
        tracing::warn!(
            from_node = from.as_str(),
            to_node = to.as_str(),
            reason,
            duration_ms = took.as_millis(),
            "failed over"
        );
        let span = spans::failover(from.as_str(), to.as_str(), reason);
        spans::finish(&span, took, &Ok::<_, Infallible>(()));
        self.node.note(StatusEvent::FailedOver);
        format!("failed over from {from} to {to} ({reason}) in {} ms", took.as_millis())
    }
}

fn reconnected(central: &CentralId, cause: Cause, took: Duration) -> String {
    let reason = cause.label();
    tracing::info!(
        central_node_id = central.as_str(),
        reason,
        duration_ms = took.as_millis(),
        "connected again"
    );
    format!("connected again to {central} ({reason}) in {} ms", took.as_millis())
}
