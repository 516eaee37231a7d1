//! Brings objects to what is desired: the only writer of owned objects.
//!
//! An object is left alone when it holds everything that is desired, hash of the desired object included; so a second
//! pass with nothing to do makes no call, a removed setting is noticed, and drift is repaired. Whose an object is, is
//! looked at before each write (`gate`): an object of others is never touched.

mod covers;
mod error;
pub(crate) mod gate;
mod hash;
pub(crate) mod owner;
mod quantity;
mod recent;

use std::{fmt, time::Duration};

use kube::{Client, ResourceExt, api::DynamicObject, core::ApiResource};
use serde::Serialize;
use serde_json::Value;

pub(crate) use self::{
    covers::covers_open,
    error::{ApplyError, is_conflict},
    hash::{HASH_ANNOTATION, hash_of},
};
use self::{
    covers::{Lists, covers},
    gate::{Permit, Place},
    hash::hashed,
    owner::Claim,
    recent::{Recent, key},
};
use crate::{
    cache::{Cached, Caches},
    desired::Desired,
    metrics::Metrics,
};

/// How often an object is looked at again because others wrote it in between.
const ATTEMPTS: usize = 4;
/// How long a cache may be behind what was applied.
pub(crate) const CACHE_LAG: Duration = Duration::from_secs(10);

/// Applies objects and remembers what it applied until the caches show it.
pub struct Applier {
    client: Client,
    caches: Caches,
    metrics: Metrics,
    recent: Recent,
}

impl fmt::Debug for Applier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Applier")
    }
}

impl Applier {
    /// One that has applied nothing yet.
    #[must_use]
    pub fn new(client: Client, caches: Caches, metrics: Metrics) -> Self {
        Self { client, caches, metrics, recent: Recent::default() }
    }

    /// Makes an object hold what is desired. `true` when a call was made.
    ///
    /// # Errors
    /// [`ApplyError`], which tells the remedy where a user has one.
    pub(crate) async fn apply<K: Cached + Serialize>(&self, desired: &K) -> Result<bool, ApplyError> {
        let (name, namespace) = (desired.name_any(), desired.namespace().unwrap_or_default());
        let place = self.place::<K>(&namespace, &name);
        let (wanted, hash) = hashed(desired).map_err(|error| place.failed(kube::Error::SerdeError(error)))?;
        let claim = Claim::of(desired.meta());
        let observed = self.caches.get::<K>(&namespace, &name);
        let permit = observed.as_ref().map(|held| place.seen(held.meta(), &claim)).transpose()?;
        let key = key::<K>(&namespace, &name);
        let seen = observed.as_ref().and_then(|object| version(&**object));
        // Asked first: what the cache has shown is not waited for any more, so that a deletion after it counts as one.
        let waiting = self.recent.is_same(&key, &hash, seen);
        let covered = observed.as_ref().is_some_and(|observed| {
            let held = serde_json::to_value(&**observed).unwrap_or_default();
            covers(&held, &wanted, Lists::of::<K>())
        });
        if covered || waiting {
            return Ok(false);
        }
        let applied = write(&place, permit, &claim, &wanted).await?;
        tracing::debug!(kind = %K::kind(&()), namespace, name, "applied");
        self.recent.add(key, hash, version(&applied).unwrap_or_default());
        Ok(true)
    }

    /// Checks, as far as the caches show it, that none of a resource's objects is another's: nothing is written where
    /// something would be missing.
    ///
    /// # Errors
    /// [`ApplyError::Taken`].
    pub(crate) fn check(&self, desired: &Desired) -> Result<(), ApplyError> {
        self.check_one(&desired.service_account)?;
        self.check_one(&desired.role)?;
        self.check_one(&desired.role_binding)?;
        self.check_one(&desired.config_map)?;
        self.check_one(&desired.headless)?;
        self.check_one(&desired.service)?;
        self.check_one(&desired.network_policy)?;
        desired.budget.iter().try_for_each(|budget| self.check_one(budget))?;
        desired.backup.iter().try_for_each(|backup| self.check_one(backup))?;
        self.check_one(&desired.stateful_set)
    }

    fn check_one<K: Cached + Serialize>(&self, desired: &K) -> Result<(), ApplyError> {
        let (name, namespace) = (desired.name_any(), desired.namespace().unwrap_or_default());
        let Some(held) = self.caches.get::<K>(&namespace, &name) else { return Ok(()) };
        self.place::<K>(&namespace, &name).seen(held.meta(), &Claim::of(desired.meta())).map(drop)
    }

    /// The place of an object, through which alone it is written.
    pub(crate) fn place<K: Cached + Serialize>(&self, namespace: &str, name: &str) -> Place<K> {
        Place::of(&self.client, &self.metrics, namespace, name)
    }

    /// The place of an object of a kind that is not watched.
    pub(crate) fn dynamic_place(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
    ) -> Place<DynamicObject> {
        Place::dynamic(&self.client, &self.metrics, resource, namespace, name)
    }

    /// Applies all objects of a node resource but its pods, in the order in which they need each other.
    ///
    /// # Errors
    /// As [`Applier::apply`]; what comes later is not applied then.
    pub(crate) async fn apply_surroundings(&self, desired: &Desired) -> Result<(), ApplyError> {
        let Desired {
            service_account,
            role,
            role_binding,
            config_map,
            headless,
            service,
            network_policy,
            budget,
            backup,
            stateful_set: _,
        } = desired;
        self.apply(service_account).await?;
        self.apply(role).await?;
        self.apply(role_binding).await?;
        self.apply(config_map).await?;
        self.apply(headless).await?;
        self.apply(service).await?;
        self.apply(network_policy).await?;
        if let Some(budget) = budget {
            self.apply(budget).await?;
        }
        if let Some(backup) = backup {
            self.apply(backup).await?;
        }
        Ok(())
    }

    /// Deletes an object that is not desired any more, if the cache shows one that this claim holds for.
    ///
    /// # Errors
    /// [`ApplyError::Api`]; one that is gone already, or is another's by now, is none.
    pub(crate) async fn delete<K: Cached + Serialize>(
        &self,
        claim: &Claim,
        namespace: &str,
        name: &str,
    ) -> Result<(), ApplyError> {
        let Some(held) = self.caches.get::<K>(namespace, name) else { return Ok(()) };
        let place = self.place::<K>(namespace, name);
        if held.meta().deletion_timestamp.is_some() {
            return Ok(());
        }
        let mut permit = place.seen(held.meta(), claim);
        for _ in 0..ATTEMPTS {
            let permitted = match permit {
                Err(ApplyError::Taken { .. }) => return Ok(()),
                other => other?,
            };
            match permitted.delete().await {
                Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
                Err(error) if is_conflict(&error) => permit = place.look(claim).await,
                other => return other.map_err(|error| place.failed(error)),
            }
        }
        Err(place.contended())
    }

    /// Writes an object whole that was decided from what is held. `false`: others wrote first, or made one; what there is now
    /// is to be looked at.
    ///
    /// # Errors
    /// [`ApplyError`], which tells the remedy where a user has one.
    pub(crate) async fn put<K: Cached + Serialize>(
        &self,
        held: Option<&K>,
        wanted: &K,
    ) -> Result<bool, ApplyError> {
        let place = self.place::<K>(&wanted.namespace().unwrap_or_default(), &wanted.name_any());
        let claim = Claim::of(wanted.meta());
        let permit = match held {
            Some(held) => place.seen(held.meta(), &claim)?,
            // Making one fails where there is one.
            None => place.missing(),
        };
        match permit.put(wanted).await {
            Ok(_) => Ok(true),
            // There already, changed meanwhile, or gone.
            Err(kube::Error::Api(status)) if matches!(status.code, 409 | 404) => {
                place.look(&claim).await.map(|_| false)
            }
            Err(error) => Err(place.failed(error)),
        }
    }

    /// Applies metadata of an object that exists; of one that does not, nothing.
    ///
    /// # Errors
    /// As [`Applier::put`].
    pub(crate) async fn apply_metadata<K: Cached + Serialize>(
        &self,
        claim: &Claim,
        body: &Value,
    ) -> Result<(), ApplyError> {
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let place = self.place::<K>(text("/metadata/namespace"), text("/metadata/name"));
        for _ in 0..ATTEMPTS {
            let permit = place.look(claim).await?;
            if !permit.exists() {
                return Ok(());
            }
            match permit.apply_metadata(body).await {
                Err(error) if is_conflict(&error) => {}
                other => return other.map_err(|error| place.failed(error)),
            }
        }
        Err(place.contended())
    }

    /// Whether the cache does not show yet what was applied a moment ago.
    #[must_use]
    pub(crate) fn is_behind<K: Cached>(&self, namespace: &str, name: &str) -> bool {
        let seen = self.caches.get::<K>(namespace, name).as_ref().and_then(|object| version(&**object));
        self.recent.is_ahead(&key::<K>(namespace, name), seen)
    }

    /// Whether something was applied a moment ago that the caches have not been seen to show.
    #[must_use]
    pub(crate) fn is_waiting(&self, namespace: &str) -> bool {
        self.recent.is_any(namespace)
    }
}

/// Applies an object. Where others wrote it since it was looked at, it is looked at again.
async fn write<'a, K: Cached + Serialize>(
    place: &'a Place<K>,
    permit: Option<Permit<'a, K>>,
    claim: &Claim,
    wanted: &Value,
) -> Result<K, ApplyError> {
    let mut permit = match permit {
        Some(permit) => permit,
        None => place.look(claim).await?,
    };
    for _ in 0..ATTEMPTS {
        let applied = match permit.apply(wanted).await {
            // Applying merges lists by key, which a changed key makes impossible: of a Service with another port number of
            // the same name, it would have both.
            Err(refused) if permit.exists() && is_invalid(&refused) => {
                permit.merge(wanted).await.map_err(|error| if is_conflict(&error) { error } else { refused })
            }
            other => other,
        };
        match applied {
            Err(error) if is_conflict(&error) => permit = place.look(claim).await?,
            other => return other.map_err(|error| place.failed(error)),
        }
    }
    Err(place.contended())
}

fn is_invalid(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 422)
}

/// Resource versions of one kind are ordered numbers.
pub(crate) fn version<K: Cached>(object: &K) -> Option<u64> {
    object.resource_version()?.parse().ok()
}

#[cfg(test)]
mod tests;
