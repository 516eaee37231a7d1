//! What the machine reports: a log line, a measurement, a line in the peer's status.

use sorcha_runtime::spans;

use super::Shell;
use crate::machine::effect::Report;

impl Shell {
    pub(super) fn report(&self, report: &Report) {
        let (clock, metrics) = (&self.node.env.clock, &self.node.env.metrics);
        let line = match report {
            Report::EnteredIsolated => {
                let known = !self.central_nodes.addresses.is_empty();
                let why =
                    if known { "no central node can be reached" } else { "no central nodes are known yet" };
                tracing::warn!("isolated: {why}; serving the last replica and retrying");
                format!("isolated: {why}")
            }
            Report::LeftIsolated { since } => {
                let after = clock.monotonic().since(*since);
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
            Report::ConfigurationFault { central, message } => {
                tracing::error!(
                    central_node_id = central.as_str(),
                    message,
                    "configuration error: the central node refuses this peer"
                );
                let line = format!("{central} refuses this peer: {message}");
                self.node.status.send_modify(|status| status.configuration_fault = Some(line.clone()));
                line
            }
            Report::HeartbeatMissed { central, missed } => {
                format!("heartbeat {missed} in a row missed at {central}")
            }
            Report::FailedOver { from, to, cause, noticed_at } => {
                let took = clock.monotonic().since(*noticed_at);
                metrics.failed_over(from.as_str(), to.as_str(), cause.label(), took);
                tracing::warn!(
                    from_node = from.as_str(),
                    to_node = to.as_str(),
                    reason = cause.label(),
                    duration_ms = took.as_millis(),
                    "failed over"
                );
                let span = spans::failover(from.as_str(), to.as_str(), cause.label());
                spans::finish(&span, took, &Ok::<_, std::convert::Infallible>(()));
                self.node.status.send_modify(|status| status.failovers += 1);
                format!("failed over from {from} to {to} ({}) in {} ms", cause.label(), took.as_millis())
            }
            Report::Reconnected { central, cause, noticed_at } => {
                let took = clock.monotonic().since(*noticed_at);
                tracing::info!(
                    central_node_id = central.as_str(),
                    reason = cause.label(),
                    duration_ms = took.as_millis(),
                    "connected again"
                );
                format!("connected again to {central} ({}) in {} ms", cause.label(), took.as_millis())
            }
        };
        let now = clock.now();
        self.node.status.send_modify(|status| status.push_transition(now, line));
    }
}
