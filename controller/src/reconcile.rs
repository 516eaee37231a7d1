//! One reconcile, the same for all kinds: observe, plan, build, apply, observe again and summarise, whatever came of it.

mod error;
mod words;
mod write;

use std::{fmt::Debug, sync::Arc, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{ResourceExt as _, runtime::controller::Action};
use serde::{Serialize, de::DeserializeOwned};
use sorcha_crds::{
    PAUSED_ANNOTATION,
    conditions::{Finding, PAUSED},
};
use tokio::time::Instant;

pub use self::{error::Error, words::told};
pub(crate) use self::{
    words::{logged, said},
    write::remove_from_status,
};
use crate::{
    cache::Cached,
    context::Ctx,
    events::{self, Told},
    pki,
};

/// How far a reconcile of nodes got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Everything desired is applied.
    Applied,
    /// The pod may not change before another central node of the network is ready again.
    WaitingFor(String),
    /// Nothing was done; the text says what asked for it.
    Paused(&'static str),
}

/// How two statuses differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// Not at all, or not by what is worth a write.
    None,
    /// In counts that move all the time, which are written every few seconds.
    Counts,
    /// In something else.
    Real,
}

/// A kind of resource with the steps of its reconciliation. Only [`Pipeline::observe`] reads caches and the clock, and only
/// [`Pipeline::apply`] makes calls; the steps between and after them get nothing that could.
pub(crate) trait Pipeline: Cached + Serialize {
    /// Its status.
    type Status: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync;
    /// What was observed, at one instant.
    type World: Send + Sync;
    /// What is to be done about it.
    type Plan: Send + Sync;
    /// What is to be there then.
    type Objects: Send + Sync;
    /// What came of it.
    type Done: Send + Sync;
    /// What was written is remembered until the cache shows it, and conditions that others added are removed.
    const REMEMBERED: bool = true;

    /// What caches and memories know of it.
    fn observe(&self, ctx: &Ctx) -> Self::World;
    /// What follows from spec and world.
    ///
    /// # Errors
    /// What makes it impossible before anything is done.
    fn plan(&self, world: &Self::World) -> Result<Self::Plan, Error>;
    /// The objects that the plan asks for.
    fn build(&self, world: &Self::World, plan: &Self::Plan) -> Self::Objects;
    /// Brings the cluster, or the register, to what was built.
    fn apply(
        &self,
        ctx: &Ctx,
        world: &Self::World,
        plan: Self::Plan,
        objects: Self::Objects,
    ) -> impl Future<Output = Result<Self::Done, Error>> + Send;
    /// How it stands; `None`: there is nothing to say.
    fn summarise(
        &self,
        world: &Self::World,
        outcome: &Result<Self::Done, Error>,
        now: &Time,
    ) -> Option<Self::Status>;
    /// Events of a status that was written: before and after.
    fn events(
        &self,
        world: &Self::World,
        outcome: &Result<Self::Done, Error>,
        statuses: [&Self::Status; 2],
        now: &Time,
    ) -> Told;
    /// Until it is to be looked at again, whatever happens; `None`: not before it changes.
    fn next(&self, world: &Self::World, outcome: &Self::Done, now: &Time) -> Option<Duration>;

    /// What asks to leave everything alone, if anything does.
    fn paused(&self) -> Option<&'static str>;
    /// What came of leaving everything alone.
    fn left_alone(why: &'static str) -> Self::Done;
    /// Label of the measurement.
    fn label(_: &Self::Done) -> &'static str {
        "ok"
    }
    /// Its status without what nodes wrote, as the controller last wrote it.
    fn written(&self) -> Self::Status;
    /// Conditions of a status.
    fn conditions(status: &Self::Status) -> &[Condition];
    /// Whether the difference of two statuses is worth a write.
    fn difference(before: &Self::Status, after: &Self::Status) -> Difference;
    /// Whether nothing is left to be done: garbage collection follows the owner references.
    fn is_over(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }
    /// Before anything is done: notes what the first Events are compared with.
    fn begin(&self, _: &Ctx, _: &Self::World) {}
    /// After the Events of a status: notes what the next ones are compared with.
    fn note(&self, _: &Ctx, _: &Self::World, _: &Time) {}
}

/// Brings one resource a step nearer to its spec and writes how it stands.
///
/// # Errors
/// [`Error`]; it is in the status already, where that could be written.
pub(crate) async fn reconcile<P: Pipeline>(subject: Arc<P>, ctx: Arc<Ctx>) -> Result<Action, Error> {
    let uid = subject.uid().unwrap_or_default();
    if subject.is_over() {
        ctx.failures.forget(&uid);
        return Ok(Action::await_change());
    }
    let subject = ctx.newest(subject);
    let started = Instant::now();
    let outcome = bring(&*subject, &ctx).await;
    // The status tells what is there now.
    let (world, now) = (subject.observe(&ctx), Ctx::now());
    let written = write::write_status(&*subject, &ctx, &world, &outcome, &now).await;
    let label = outcome.as_ref().map_or_else(Error::reason, P::label);
    ctx.metrics.reconciled(&P::kind(&()), label, started.elapsed());
    let wait = written.map_err(Error::Status)?;
    let next = subject.next(&world, &outcome?, &now).map(|next| wait.map_or(next, |wait| next.min(wait)));
    ctx.failures.forget(&uid);
    Ok(next.map_or_else(Action::await_change, Action::requeue))
}

async fn bring<P: Pipeline>(subject: &P, ctx: &Ctx) -> Result<P::Done, Error> {
    if let Some(why) = subject.paused() {
        return Ok(P::left_alone(why));
    }
    let world = subject.observe(ctx);
    subject.begin(ctx, &world);
    let plan = subject.plan(&world)?;
    let objects = subject.build(&world, &plan);
    subject.apply(ctx, &world, plan, objects).await
}

/// Until nodes are looked at again: the usual time, or until what is due sooner. What faults a start is left with is told when it
/// is over.
pub(crate) fn next_look(
    subject: &impl kube::ResourceExt,
    usual: Duration,
    due: Option<Time>,
    now: &Time,
) -> Duration {
    let next = soonest(usual, due, now);
    soonest(next, start_ends(subject).filter(|end| end.0 > now.0), now)
}

/// The usual time, or that until an instant if it is shorter; a second at least.
fn soonest(usual: Duration, at: Option<Time>, now: &Time) -> Duration {
    let Some(at) = at else { return usual };
    let seconds = at.0.as_second().saturating_sub(now.0.as_second());
    usual.min(Duration::from_secs(u64::try_from(seconds).unwrap_or_default().saturating_add(1)))
}

/// When a failed reconcile is tried again; it was told in the status, and is logged here without the status's words.
#[expect(clippy::needless_pass_by_value, reason = "the runtime's signature")]
pub(crate) fn on_error<S: Cached>(subject: Arc<S>, error: &Error, ctx: Arc<Ctx>) -> Action {
    tracing::warn!(
        kind = %S::kind(&()), namespace = subject.namespace(), name = subject.name_any(), reason = error.reason(),
        error = error.logged(), "not reconciled"
    );
    let failures =
        ctx.failures.count(&subject.uid().unwrap_or_default(), subject.meta().generation, error.reason());
    Action::requeue(error.retry(failures))
}

/// When a resource's start is over.
pub(crate) fn start_ends(subject: &impl kube::ResourceExt) -> Option<Time> {
    Some(Time(pki::later(subject.creation_timestamp()?.0, events::START)))
}

/// Whether a resource is in its start.
pub(crate) fn is_new(subject: &impl kube::ResourceExt, now: &Time) -> bool {
    start_ends(subject).is_some_and(|end| now.0 < end.0)
}

/// Whether the annotation asks to leave a resource alone.
pub(crate) fn paused_by_annotation(subject: &impl kube::ResourceExt) -> Option<&'static str> {
    let value = subject.annotations().get(PAUSED_ANNOTATION)?;
    (value == "true").then_some("annotation sorcha.dev/paused is \"true\"")
}

/// The beginning of a hash, enough to tell two apart in a table; the nodes' reports have all of it.
#[must_use]
pub(crate) fn short(hash: &str) -> String {
    hash.chars().take(12).collect()
}

/// The finding on whether reconciliation is paused.
#[must_use]
pub(crate) fn paused_finding(result: &Result<Progress, Error>) -> Finding {
    match result {
        Ok(Progress::Paused(why)) => {
            Finding::new(PAUSED, true, "Suspended", format!("not reconciled: {why}"))
        }
        _ => Finding::new(PAUSED, false, "Reconciling", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_look_is_the_soonest() {
        let at = |text: &str| serde_json::from_value::<Time>(text.into()).expect("a time");
        let (now, usual) = (at("2026-11-25T10:00:00Z"), Duration::from_secs(600));
        for (due, seconds) in [
            (None, 600),
            (Some("2026-11-25T10:05:00Z"), 301),
            (Some("2026-11-26T10:00:00Z"), 600),
            (Some("2026-11-25T09:00:00Z"), 1),
        ] {
            assert_eq!(soonest(usual, due.map(at), &now), Duration::from_secs(seconds), "{due:?}");
        }
    }
}
