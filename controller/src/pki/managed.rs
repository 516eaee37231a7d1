//! `tls.mode: Managed`: brings the authority and the certificate's Secret to what is decided.
//!
//! Every write names the version that it was decided from. Who comes second reads again and decides again, so that two
//! reconciles, or two controllers for a moment, never make two authorities.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{ResourceExt as _, api::ObjectMeta};

use super::{
    Policy,
    authority::{Authority, Held, Phase, RotationStep, step},
    holder::{self, Holder, Member},
    issue,
    leaf::{Decision, Leaf, WantedLeaf, Why, decide},
    secret,
    x509::{self, Certificate, CertificateFault},
};
use crate::{
    apply::{ApplyError, owner::Claim},
    cache::Cached,
    context::Ctx,
    events::note,
    names,
    reconcile::Error,
};

/// How often a decision is made again because somebody else wrote first.
const ATTEMPTS: usize = 4;

/// Issues, renews, repairs and changes authorities.
///
/// # Errors
/// What keeps the resource from having a certificate.
pub(super) async fn ensure<S: Cached>(
    ctx: &Ctx,
    subject: &S,
    holder: &Holder,
    further: Vec<Certificate>,
) -> Result<(), Error> {
    let members = holder::members(&ctx.caches, &holder.namespace, &holder.network);
    let authority = authority(ctx, subject, holder, &members).await?;
    let bundle = ConfigMap {
        metadata: shared_meta(holder, &members),
        data: Some([(secret::TRUST.to_owned(), authority.bundle())].into()),
        ..ConfigMap::default()
    };
    ctx.applier.apply(&bundle).await?;
    let wanted = WantedLeaf { names: holder.names.clone(), token: holder.token.clone(), further };
    leaf(ctx, subject, holder, &authority, &wanted).await
}

fn shared_meta(holder: &Holder, members: &[Member]) -> ObjectMeta {
    ObjectMeta {
        name: Some(names::authority(&holder.network)),
        namespace: Some(holder.namespace.clone()),
        labels: Some(names::authority_labels(&holder.network)),
        owner_references: Some(holder::owners(members)),
        ..ObjectMeta::default()
    }
}

async fn authority<S: Cached>(
    ctx: &Ctx,
    subject: &S,
    holder: &Holder,
    members: &[Member],
) -> Result<Authority, Error> {
    let name = names::authority(&holder.network);
    let meta = shared_meta(holder, members);
    let mut held = ctx.caches.get::<Secret>(&holder.namespace, &name);
    for _ in 0..ATTEMPTS {
        check_owner(ctx, held.as_deref(), &meta)?;
        let now = Ctx::now().0;
        let requests = secret::requests(members.iter().filter_map(|m| m.request.as_ref()), held.as_deref());
        let (authority, told) = match held.as_deref() {
            None => (first(ctx, holder, members, requests, now)?, None),
            Some(secret) => next(ctx, holder, members, secret, &requests, now)?,
        };
        let content = secret::authority_content(&authority);
        let wanted = secret::wanted(held.as_deref(), meta.clone(), content);
        if !write(ctx, held.as_deref(), &wanted).await? {
            held = live(ctx, &holder.namespace, &name).await?;
            continue;
        }
        if let Some(told) = told {
            let text = format!("{} of {}: {told}", authority.newest.certificate.subject, holder.network);
            tracing::info!(namespace = holder.namespace, network = holder.network, "{text}");
            ctx.send(subject, &note("AuthorityChanged".to_owned(), text, true)).await;
        }
        return Ok(authority);
    }
    Err(contended(&name))
}

fn contended(name: &str) -> Error {
    Error::Certificate {
        reason: "Contended",
        message: format!("Secret {name} is being written by others; trying again"),
    }
}

fn unreadable(name: &str, fault: &CertificateFault) -> Error {
    let message = format!(
        "Secret {name} can't be read as the network's authority ({fault}); it is never written over: restore it, or \
         delete it for a new authority"
    );
    Error::Certificate { reason: "AuthorityUnreadable", message }
}

fn failed(fault: &CertificateFault) -> Error {
    Error::Certificate { reason: "IssuingFailed", message: fault.to_string() }
}

/// A new authority where there is none. Nodes that still have certificates of a lost one keep them until the new one is
/// known to all.
fn first(
    ctx: &Ctx,
    holder: &Holder,
    members: &[Member],
    requests: BTreeSet<String>,
    now: Timestamp,
) -> Result<Authority, Error> {
    let policy = ctx.settings.certificates.policy();
    let newest =
        issue::authority(&holder.network, policy.ca_lifetime, now).map_err(|fault| failed(&fault))?;
    let secrets = members.iter().filter_map(|member| member.secret(&ctx.caches, &holder.namespace));
    let mut lost: Vec<Certificate> = Vec::new();
    for leaf in secrets.filter_map(|secret| secret::read_leaf(&secret).ok()) {
        let signer = x509::read(leaf.trust.as_bytes()).unwrap_or_default().into_iter();
        let signer = signer.filter(|c| c.subject == leaf.pair.certificate.issuer && !lost.contains(c));
        lost.extend(signer.collect::<Vec<_>>());
    }
    Ok(if lost.is_empty() {
        Authority::first(newest, requests)
    } else {
        Authority::after_loss(newest, lost, requests)
    })
}

/// The authority after one step, and what is to be told.
fn next(
    ctx: &Ctx,
    holder: &Holder,
    members: &[Member],
    held: &Secret,
    requests: &BTreeSet<String>,
    now: Timestamp,
) -> Result<(Authority, Option<&'static str>), Error> {
    let policy = ctx.settings.certificates.policy();
    let name = names::authority(&holder.network);
    let authority = secret::read_authority(held).map_err(|fault| unreadable(&name, &fault))?;
    Ok(match step(&authority, &known(ctx, holder, &authority, members), requests, &policy, now) {
        RotationStep::Wait(..) => (authority, None),
        RotationStep::Begin => {
            let newest =
                issue::authority(&holder.network, policy.ca_lifetime, now).map_err(|fault| failed(&fault))?;
            (authority.distributing(newest, requests), Some("made; it signs when every node trusts it"))
        }
        RotationStep::Write(next, told) => (*next, Some(told)),
    })
}

/// What the resources' Secrets hold, which only a change of authorities asks about. One that is missing counts where pods may still use what it held.
fn known(ctx: &Ctx, holder: &Holder, authority: &Authority, members: &[Member]) -> Vec<Held> {
    if authority.phase == Phase::Stable {
        return Vec::new();
    }
    let held = members.iter().map(|member| (member, member.secret(&ctx.caches, &holder.namespace)));
    held.filter(|(member, secret)| member.runs || secret.is_some())
        .map(|(member, secret)| secret::held(&member.name, secret.as_deref()))
        .collect()
}

/// A network's authority, and what the resources hold that it signs for.
pub(super) struct Rotation {
    authority: Authority,
    held: Vec<Held>,
}

/// The authority of a network and its resources, as the caches show them; `None`: there is none that can be read.
pub(super) fn rotation(ctx: &Ctx, holder: &Holder) -> Option<Rotation> {
    let secret = ctx.caches.get::<Secret>(&holder.namespace, &names::authority(&holder.network))?;
    let authority = secret::read_authority(&secret).ok()?;
    let members = holder::members(&ctx.caches, &holder.namespace, &holder.network);
    Some(Rotation { held: known(ctx, holder, &authority, &members), authority })
}

impl Rotation {
    /// What a change of authorities waits for, and until when.
    pub(super) fn waits(&self, policy: &Policy, now: Timestamp) -> (Option<Timestamp>, Option<String>) {
        // A request is noticed when it is made; here only what time brings about counts.
        match step(&self.authority, &self.held, &BTreeSet::new(), policy, now) {
            RotationStep::Wait(at, why) => {
                (at, why.map(|why| format!("{} {why}", self.authority.newest.certificate.subject)))
            }
            RotationStep::Begin | RotationStep::Write(..) => (Some(now), None),
        }
    }
}

async fn leaf<S: Cached>(
    ctx: &Ctx,
    subject: &S,
    holder: &Holder,
    authority: &Authority,
    wanted: &WantedLeaf,
) -> Result<(), Error> {
    let name = names::tls_secret(&holder.name);
    let meta = holder.meta(name.clone());
    let mut held = ctx.caches.get::<Secret>(&holder.namespace, &name);
    for _ in 0..ATTEMPTS {
        check_owner(ctx, held.as_deref(), &meta)?;
        let now = Ctx::now().0;
        let parsed = held.as_deref().map(secret::read_leaf);
        let decision = decide(parsed.as_ref(), wanted, authority, now);
        let (leaf, why) = match (decision, parsed) {
            (Decision::Keep(_), Some(Ok(leaf))) => (leaf, None),
            (Decision::Trust, Some(Ok(leaf))) => {
                (Leaf { trust: wanted.trust(authority), written: Some(now), ..leaf }, None)
            }
            (Decision::Issue(why), _) => (make(ctx, holder, authority, wanted, now)?, Some(why)),
            // The other two speak of what could be read.
            (Decision::Keep(_) | Decision::Trust, _) => return Err(contended(&name)),
        };
        let desired = secret::wanted(held.as_deref(), meta.clone(), secret::leaf_content(&leaf));
        if !write(ctx, held.as_deref(), &desired).await? {
            held = live(ctx, &holder.namespace, &name).await?;
            continue;
        }
        if let Some(why) = why {
            tell(ctx, subject, &leaf, &why).await;
        }
        return Ok(());
    }
    Err(contended(&name))
}

fn make(
    ctx: &Ctx,
    holder: &Holder,
    authority: &Authority,
    wanted: &WantedLeaf,
    now: Timestamp,
) -> Result<Leaf, Error> {
    let policy = ctx.settings.certificates.policy();
    let signer = authority.signer(now);
    let pair = issue::leaf(&holder.name, &wanted.names, &holder.network, &signer, policy.lifetime, now)
        .map_err(|fault| failed(&fault))?;
    Ok(Leaf { pair, trust: wanted.trust(authority), token: wanted.token.clone(), written: Some(now) })
}

/// The first certificate of a resource is told by its status; a thousand new peers need no thousand Events.
async fn tell<S: Cached>(ctx: &Ctx, subject: &S, leaf: &Leaf, why: &Why) {
    let certificate = &leaf.pair.certificate;
    let text = format!("{} signed a certificate until {}: {why}", certificate.issuer, certificate.not_after);
    tracing::info!(namespace = subject.namespace(), name = subject.name_any(), "{text}");
    if *why != Why::Missing {
        ctx.send(subject, &note("CertificateRenewed".to_owned(), text, true)).await;
    }
}

async fn live(ctx: &Ctx, namespace: &str, name: &str) -> Result<Option<Arc<Secret>>, Error> {
    Ok(ctx.secret(namespace, name).await.map_err(Error::Read)?.map(Arc::new))
}

/// A Secret of others is not even read as one of ours.
fn check_owner(ctx: &Ctx, held: Option<&Secret>, wanted: &ObjectMeta) -> Result<(), Error> {
    let Some(held) = held else { return Ok(()) };
    let place = ctx.applier.place::<Secret>("", &held.name_any());
    place.seen(&held.metadata, &Claim::of(wanted)).map(drop).map_err(Error::Apply)
}

/// Writes a Secret that differs from what is held. `false`: others wrote first.
async fn write(ctx: &Ctx, held: Option<&Secret>, wanted: &Secret) -> Result<bool, Error> {
    if held == Some(wanted) {
        return Ok(true);
    }
    ctx.applier.put(held, wanted).await.map_err(|error| match error {
        ApplyError::Api { source, .. } => Error::Read(*source),
        other => Error::Apply(other),
    })
}
