//! Reading what kubectl prints as JSON.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Values by JSON pointer; what is missing reads as empty, zero or false.
pub(crate) trait Look {
    fn text(&self, pointer: &str) -> &str;
    fn number(&self, pointer: &str) -> i64;
    fn list(&self, pointer: &str) -> &[Value];
    /// Status, reason and message of a condition.
    fn condition(&self, type_: &str) -> Option<Condition<'_>>;
    fn name(&self) -> &str {
        self.text("/metadata/name")
    }
    /// Fails with the condition's own words when it is not as expected, or speaks of an older spec.
    fn expect(&self, type_: &str, status: &str) -> Result<Condition<'_>>;
    fn expect_reason(&self, type_: &str, status: &str, reason: &str) -> Result<Condition<'_>> {
        let condition = self.expect(type_, status)?;
        ensure!(condition.reason == reason, "{} is {type_}={status}, but: {condition:?}", self.name());
        Ok(condition)
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Condition<'a> {
    pub(crate) status: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) message: &'a str,
    pub(crate) generation: i64,
}

impl Look for Value {
    fn text(&self, pointer: &str) -> &str {
        self.pointer(pointer).and_then(Self::as_str).unwrap_or_default()
    }

    fn number(&self, pointer: &str) -> i64 {
        self.pointer(pointer).and_then(Self::as_i64).unwrap_or_default()
    }

    fn list(&self, pointer: &str) -> &[Value] {
        self.pointer(pointer).and_then(Self::as_array).map_or(&[], Vec::as_slice)
    }

    fn condition(&self, type_: &str) -> Option<Condition<'_>> {
        let condition = self.list("/status/conditions").iter().find(|c| c.text("/type") == type_)?;
        Some(Condition {
            status: condition.text("/status"),
            reason: condition.text("/reason"),
            message: condition.text("/message"),
            generation: condition.number("/observedGeneration"),
        })
    }

    fn expect(&self, type_: &str, status: &str) -> Result<Condition<'_>> {
        let condition =
            self.condition(type_).with_context(|| format!("{} has no condition {type_}", self.name()))?;
        ensure!(condition.status == status, "{} is {type_}={condition:?}", self.name());
        let generation = self.number("/metadata/generation");
        ensure!(
            condition.generation == generation,
            "{type_} of {} speaks of generation {}, the spec is at {generation}",
            self.name(),
            condition.generation
        );
        Ok(condition)
    }
}

/// How often a pod's container was started again.
pub(crate) fn restarts(pod: &Value) -> i64 {
    pod.number("/status/containerStatuses/0/restartCount")
}

/// The sum of a metric's samples, in Prometheus text.
pub(crate) fn sum(metrics: &str, prefix: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.starts_with(prefix));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Whether a pod is ready.
pub(crate) fn is_ready(pod: &Value) -> bool {
    pod.pointer("/metadata/deletionTimestamp").is_none()
        && pod.condition("Ready").is_some_and(|condition| condition.status == "True")
}
