//! One reconcile, the same for both kinds of nodes: converge, then say how it stands, whatever came of it.

mod words;

use std::{fmt::Debug, sync::Arc, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference, Time};
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
    core::Request,
    runtime::{controller::Action, events::Event},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use sorcha_crds::{
    CONTROLLER_FIELD_MANAGER, PAUSED_ANNOTATION,
    conditions::{Finding, PAUSED},
};
use tokio::time::Instant;

pub use self::words::told;
pub(crate) use self::words::{logged, said};
use crate::{
    apply,
    cache::Cached,
    context::Ctx,
    events,
    feed::{
        call::{self, Fault},
        object::{self, Cut, Seen},
    },
    network::{Contradiction, age},
    pki,
    publication::decide::retry,
};

/// Shortest wait before something that only a change of a resource can mend is looked at again.
const RETRY_INVALID: Duration = Duration::from_secs(30);

/// Why a resource is not as its spec wants it. The text tells the remedy where a user has one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The spec contradicts an older resource's.
    #[error(transparent)]
    Invalid(#[from] Contradiction),
    /// A Secret is missing.
    #[error("Secret {name} has no key {key}, or does not exist: create it in namespace {namespace}")]
    SecretMissing {
        /// The Secret.
        name: String,
        /// The key.
        key: String,
        /// Where it is looked for.
        namespace: String,
    },
    /// There is no certificate that the nodes could use.
    #[error("{message}")]
    Certificate {
        /// Reason of the conditions.
        reason: &'static str,
        /// What is missing, and the remedy.
        message: String,
    },
    /// An owned object can't be applied.
    #[error(transparent)]
    Apply(#[from] apply::Error),
    /// Reading failed.
    #[error("read cluster state: {}", told(.0))]
    Read(#[source] kube::Error),
    /// The status, or a finalizer, can't be written.
    #[error("write status: {0}")]
    Status(#[source] Fault),
}

impl Error {
    /// Reason of the condition, of the Event and label of the measurement.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(contradiction) => contradiction.reason(),
            Self::SecretMissing { .. } => "SecretNotFound",
            Self::Certificate { reason, .. } => reason,
            Self::Apply(error) => error.reason(),
            Self::Read(_) => "ReadFailed",
            Self::Status(_) => "StatusFailed",
        }
    }

    /// What may be logged. What speaks of a resource's values or of a Secret stands in the status alone.
    fn logged(&self) -> Option<String> {
        match self {
            Self::Read(error) => Some(logged(error)),
            Self::Apply(apply::Error::Api { source, .. }) => Some(logged(source)),
            Self::Status(fault) => Some(fault.logged()),
            Self::Invalid(_) | Self::SecretMissing { .. } | Self::Certificate { .. } | Self::Apply(_) => None,
        }
    }

    /// Wait before the next attempt, after so many failures in a row.
    fn retry(&self, failures: u32) -> Duration {
        let wait = retry(failures, rand::random());
        match self {
            Self::Invalid(_) | Self::Apply(apply::Error::Rejected { .. } | apply::Error::Taken { .. }) => {
                wait.max(RETRY_INVALID)
            }
            _ => wait,
        }
    }
}

/// How far a reconcile got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything desired is applied.
    Applied,
    /// The pod may not change before another central node of the network is ready again.
    WaitingFor(String),
    /// Nothing was done; the text says what asked for it.
    Paused(&'static str),
}

/// A custom resource with its reconciliation.
pub trait Subject: Cached + Serialize {
    /// Its status.
    type Status: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync;

    /// Whether its spec asks to leave everything alone.
    fn suspended(&self) -> bool;
    /// Its status without what nodes wrote, as the controller last wrote it.
    fn written(&self) -> Self::Status;
    /// Conditions of a status.
    fn conditions(status: &Self::Status) -> &[Condition];
    /// Whether the difference of two statuses is worth a write now.
    fn differs(before: &Self::Status, after: &Self::Status) -> bool;
    /// Applies what is desired.
    fn converge(&self, ctx: &Ctx) -> impl Future<Output = Result<Progress, Error>> + Send;
    /// When it is to be looked at again, whatever happens; `None`: after the usual time.
    fn look_again(&self, ctx: &Ctx, now: &Time) -> Option<Time>;
    /// How it stands; a function of what was observed.
    fn status(&self, ctx: &Ctx, result: &Result<Progress, Error>, now: &Time) -> Self::Status;
    /// Further Events of a change of status.
    fn events(&self, ctx: &Ctx, before: &Self::Status, after: &Self::Status) -> Vec<Event>;
}

/// Brings one resource a step nearer to its spec and writes how it stands.
///
/// # Errors
/// [`Error`]; it is in the status already, where that could be written.
pub async fn reconcile<S: Subject>(subject: Arc<S>, ctx: Arc<Ctx>) -> Result<Action, Error> {
    // Garbage collection follows the owner references; nothing is left to do.
    if subject.meta().deletion_timestamp.is_some() {
        ctx.failures.forget(&subject.uid().unwrap_or_default());
        return Ok(Action::await_change());
    }
    let subject = ctx.newest(subject);
    let started = Instant::now();
    let result = match paused(&*subject) {
        Some(why) => Ok(Progress::Paused(why)),
        None => subject.converge(&ctx).await,
    };
    let label = result.as_ref().map_or_else(Error::reason, |_| "ok");
    let written = write_status(&*subject, &ctx, &result).await;
    ctx.metrics.reconciled(&S::kind(&()), label, started.elapsed());
    written.map_err(Error::Status)?;
    let waiting = ctx.applier.is_waiting(&subject.namespace().unwrap_or_default());
    let usual = if waiting { apply::CACHE_LAG } else { ctx.settings.resync };
    let now = Ctx::now();
    let next = soonest(usual, subject.look_again(&ctx, &now), &now);
    let next = soonest(next, start_ends(&*subject).filter(|end| end.0 > now.0), &now);
    result.map(|_progress| {
        ctx.failures.forget(&subject.uid().unwrap_or_default());
        Action::requeue(next)
    })
}

/// The usual time, or that until an instant if it is shorter; a second at least.
fn soonest(usual: Duration, at: Option<Time>, now: &Time) -> Duration {
    let Some(at) = at else { return usual };
    let seconds = at.0.as_second().saturating_sub(now.0.as_second());
    usual.min(Duration::from_secs(u64::try_from(seconds).unwrap_or_default().saturating_add(1)))
}

/// When a failed reconcile is tried again; it was told in the status, and is logged here without the status's words.
#[expect(clippy::needless_pass_by_value, reason = "the runtime's signature")]
pub fn on_error<S: Cached>(subject: Arc<S>, error: &Error, ctx: Arc<Ctx>) -> Action {
    tracing::warn!(
        kind = %S::kind(&()), namespace = subject.namespace(), name = subject.name_any(), reason = error.reason(),
        error = error.logged(), "not reconciled"
    );
    let failures =
        ctx.failures.count(&subject.uid().unwrap_or_default(), subject.meta().generation, error.reason());
    Action::requeue(error.retry(failures))
}

fn paused<S: Subject>(subject: &S) -> Option<&'static str> {
    if subject.suspended() {
        Some("spec.suspend is true")
    } else if subject.annotations().get(PAUSED_ANNOTATION).is_some_and(|value| value == "true") {
        Some("annotation sorcha.dev/paused is \"true\"")
    } else {
        None
    }
}

async fn write_status<S: Subject>(
    subject: &S,
    ctx: &Ctx,
    result: &Result<Progress, Error>,
) -> Result<(), Fault> {
    let (before, now) = (subject.written(), Ctx::now());
    let after = subject.status(ctx, result, &now);
    let is_new = start_ends(subject).is_some_and(|end| now.0 < end.0);
    if !is_new {
        tell_overdue(subject, ctx, S::conditions(&after)).await;
    }
    if !S::differs(&before, &after) {
        return Ok(());
    }
    ctx.metrics.called("apply", &format!("{}/status", S::plural(&())));
    let written = match patch_status(subject, ctx, CONTROLLER_FIELD_MANAGER, &json!(after)).await? {
        Written::Not => return Ok(()),
        Written::As(written) => written,
    };
    if let Some(written) = written {
        // Conditions that others added stay when ours are applied.
        let ours = S::conditions(&after);
        if S::conditions(&written.written()).iter().any(|held| ours.iter().all(|c| c.type_ != held.type_)) {
            remove_from_status(&*written, ctx, &json!({"conditions": ours})).await?;
        } else {
            ctx.remember(*written);
        }
    }
    let told = events::transitions(S::conditions(&before), S::conditions(&after), is_new);
    hold_back(subject, ctx, told.held_back);
    for event in told.events.into_iter().chain(subject.events(ctx, &before, &after)) {
        ctx.send(subject, &event).await;
    }
    Ok(())
}

/// When a resource's start is over.
fn start_ends(subject: &impl kube::ResourceExt) -> Option<Time> {
    Some(Time(pki::later(subject.creation_timestamp()?.0, events::START)))
}

fn hold_back(subject: &impl kube::ResourceExt, ctx: &Ctx, mut faults: Vec<Condition>) {
    if faults.is_empty() {
        return;
    }
    let uid = subject.uid().unwrap_or_default();
    faults.extend(ctx.held_back.last(&uid).iter().flat_map(|held| held.iter().cloned()));
    ctx.held_back.put(uid, Arc::new(faults));
}

async fn tell_overdue<S: Cached>(subject: &S, ctx: &Ctx, now: &[Condition]) {
    let uid = subject.uid().unwrap_or_default();
    let Some(held_back) = ctx.held_back.last(&uid) else { return };
    ctx.held_back.forget(&uid);
    for event in events::overdue(&held_back, now) {
        ctx.send(subject, &event).await;
    }
}

/// What came of a write of a status.
pub(crate) enum Written<S> {
    /// Nothing: the resource is gone, or is another one now.
    Not,
    /// The resource as it is then, if it can be read.
    As(Option<Box<S>>),
}

/// Applies a part of a resource's status under a field manager's name. A resource that is gone is no error.
///
/// # Errors
/// When the API server does not answer, or not to us.
pub(crate) async fn patch_status<S: Cached>(
    subject: &S,
    ctx: &Ctx,
    manager: &str,
    status: &serde_json::Value,
) -> Result<Written<S>, Fault> {
    let body = json!({
        "apiVersion": S::api_version(&()), "kind": S::kind(&()),
        // That of one that was made anew under the name is left alone.
        "metadata": {"name": subject.name_any(), "uid": subject.uid()},
        "status": status,
    });
    let request = Request::new(S::url_path(&(), Some(&subject.namespace().unwrap_or_default())));
    let parameters = PatchParams::apply(manager).force();
    let request = request.patch_subresource("status", &subject.name_any(), &parameters, &Patch::Apply(body));
    let Some(text) = object_as_it_was(ctx, request).await? else { return Ok(Written::Not) };
    Ok(Written::As(match object::read(&text, Cut::Document) {
        Ok(Seen::Readable(object)) => Some(Box::new(object)),
        Ok(Seen::Unreadable(_)) | Err(_) => None,
    }))
}

/// Checks that no older resource of the other kind has the name: their objects would have the same names.
///
/// # Errors
/// [`Contradiction::Name`].
pub fn check_name<S: Cached, O: Cached>(subject: &S, ctx: &Ctx) -> Result<(), Contradiction> {
    let (namespace, name) = (subject.namespace().unwrap_or_default(), subject.name_any());
    let Some(other) = ctx.caches.get::<O>(&namespace, &name) else { return Ok(()) };
    if other.meta().deletion_timestamp.is_some() || age(subject) < age(&*other) {
        return Ok(());
    }
    Err(Contradiction::Name { kind: O::kind(&()).into_owned(), name })
}

/// Replaces a list of a resource's status by one without what is not anybody's to write there, unless it has changed
/// meanwhile: then the next look does it.
///
/// # Errors
/// When the API server does not answer, or not to us.
pub async fn remove_from_status<S: Cached>(
    subject: &S,
    ctx: &Ctx,
    lists: &serde_json::Value,
) -> Result<(), Fault> {
    ctx.metrics.called("patch", &format!("{}/status", S::plural(&())));
    let body = json!({
        "metadata": {"uid": subject.uid(), "resourceVersion": subject.resource_version()}, "status": lists,
    });
    let request = Request::new(S::url_path(&(), Some(&subject.namespace().unwrap_or_default())));
    let parameters =
        PatchParams { field_manager: Some(CONTROLLER_FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let request = request.patch_subresource("status", &subject.name_any(), &parameters, &Patch::Merge(body));
    object_as_it_was(ctx, request).await.map(drop)
}

/// The answer to a write; `None` where the object is gone, or is another one now.
async fn object_as_it_was(
    ctx: &Ctx,
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<Option<Vec<u8>>, Fault> {
    match call::object(&ctx.client, request).await {
        Err(fault) if fault.code() == Some(409) => Ok(None),
        other => other,
    }
}

/// The beginning of a hash, enough to tell two apart in a table; the nodes' reports have all of it.
#[must_use]
pub fn short(hash: &str) -> String {
    hash.chars().take(12).collect()
}

/// The finding on whether reconciliation is paused.
#[must_use]
pub fn paused_finding(result: &Result<Progress, Error>) -> Finding {
    match result {
        Ok(Progress::Paused(why)) => {
            Finding::new(PAUSED, true, "Suspended", format!("not reconciled: {why}"))
        }
        _ => Finding::new(PAUSED, false, "Reconciling", ""),
    }
}

/// The owner reference of a resource's own objects.
#[must_use]
pub fn controller_reference<S: Subject>(subject: &S) -> OwnerReference {
    OwnerReference { controller: Some(true), block_owner_deletion: Some(true), ..shared_reference(subject) }
}

/// The owner reference of objects that several resources share: gone with the last of them.
#[must_use]
pub fn shared_reference<S: Subject>(subject: &S) -> OwnerReference {
    OwnerReference {
        api_version: S::api_version(&()).into_owned(),
        kind: S::kind(&()).into_owned(),
        name: subject.name_any(),
        uid: subject.uid().unwrap_or_default(),
        controller: None,
        block_owner_deletion: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The API server quotes what it refuses.
    #[test]
    fn no_value_of_a_resource_is_logged_and_messages_are_short() {
        let status = |code: u16| {
            let status =
                json!({"status": "Failure", "code": code, "reason": "R", "message": "V".repeat(60_000)});
            kube::Error::Api(Box::new(serde_json::from_value(status).expect("a status")))
        };
        for code in [400, 422] {
            let refused = Error::Apply(apply::Error::of("Service", "n0", status(code)));
            assert_eq!((refused.reason(), refused.logged()), ("InvalidSpec", None));
            assert!(refused.to_string().len() < 1_000);
            assert!(!Error::Read(status(code)).logged().expect("a text").contains('V'));
        }
        assert!(Error::Read(status(403)).logged().expect("a text").contains("VVV"));
        let certificate = Error::Certificate { reason: "TrustUnusable", message: "V".to_owned() };
        assert_eq!(certificate.logged(), None);
    }

    #[test]
    fn one_that_keeps_failing_is_tried_ever_less_often() {
        let missing =
            Error::SecretMissing { name: "a".to_owned(), key: "b".to_owned(), namespace: "c".to_owned() };
        let seconds = |failures| missing.retry(failures).as_secs();
        assert!((5..8).contains(&seconds(1)) && (120..181).contains(&seconds(20)));
        let invalid = Error::Invalid(Contradiction::TooMany { network: "a".to_owned() });
        assert!(invalid.retry(1) == RETRY_INVALID && invalid.retry(20).as_secs() >= 120);
    }

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
