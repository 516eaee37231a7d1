//! One step in the making: the inputs every transition reads, and the memory and effects it leaves behind.

use std::time::Duration;

use sorcha_register::clock::Monotonic;

use super::{
    Moment,
    effect::{Effect, Report},
    state::Memory,
};
use crate::failover::{CentralId, Policy, round_base};

pub(super) struct Turn<'a> {
    pub(super) policy: &'a Policy,
    pub(super) moment: Moment,
    pub(super) memory: Memory,
    pub(super) effects: Vec<Effect>,
}

impl Turn<'_> {
    pub(super) const fn now(&self) -> Monotonic {
        self.moment.now
    }

    pub(super) fn emit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(super) fn report(&mut self, report: Report) {
        self.effects.push(Effect::Report(report));
    }

    /// Gives out the next epoch and dials.
    pub(super) fn dial(&mut self, central: &CentralId) -> u64 {
        self.memory.epoch = self.memory.epoch.saturating_add(1);
        let epoch = self.memory.epoch;
        self.emit(Effect::Dial { epoch, central: central.clone() });
        epoch
    }

    /// Remembers a retry-after hint across passes; returns it as far as it is believed.
    pub(super) fn bar(&mut self, central: &CentralId, hint: Duration) -> Duration {
        let hint = hint.min(self.policy.max_retry_after);
        let now = self.now();
        self.memory.barred.retain(|_, until| *until > now);
        self.memory.barred.insert(central.clone(), now.plus(hint));
        hint
    }

    /// Keeps away from a node whose register contradicts what is held: longer each time, as between the rounds of a pass.
    pub(super) fn refuse(&mut self, central: &CentralId) -> Duration {
        let times = self.memory.refusals.entry(central.clone()).or_default();
        let wait = round_base(self.policy, *times);
        *times = times.saturating_add(1);
        self.bar(central, wait)
    }

    /// How long the node's last hint still keeps the peer away.
    pub(super) fn barred_for(&self, central: &CentralId) -> Option<Duration> {
        let until = *self.memory.barred.get(central)?;
        (until > self.now()).then(|| until.since(self.now()))
    }
}
