//! Brings objects to what is desired: the only writer of owned objects.
//!
//! An object is left alone when it holds everything that is desired, hash of the desired object included; so a second
//! pass with nothing to do makes no call, a removed setting is noticed, and drift is repaired.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sorcha_crds::CONTROLLER_FIELD_MANAGER;
use tokio::time::Instant;

use crate::{
    cache::{Cached, Caches},
    desired::Desired,
    metrics::Metrics,
    names::{MANAGER, label},
};

/// Annotation with the hash of the desired object.
pub const HASH_ANNOTATION: &str = "sorcha.dev/desired-hash";
/// How long a cache may be behind what was applied.
pub const CACHE_LAG: Duration = Duration::from_secs(10);

/// Why an object is not as desired.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else's object has the name.
    #[error("{kind} {name} exists and belongs to {owner}: delete it, or give this resource another name")]
    Taken {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// Whose it is.
        owner: String,
    },
    /// The API server refuses the object as it follows from the spec.
    #[error("{kind} {name} is refused: {message}")]
    Rejected {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// What the API server says.
        message: String,
    },
    /// The API server does not answer, or not to us.
    #[error("{kind} {name}: {}", crate::reconcile::told(source))]
    Api {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// What went wrong.
        source: Box<kube::Error>,
    },
}

impl Error {
    /// Reason of the condition and label of the measurement.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Taken { .. } => "NameTaken",
            Self::Rejected { .. } => "InvalidSpec",
            Self::Api { .. } => "ApplyFailed",
        }
    }
}

/// Applies objects and remembers what it applied until the caches show it.
pub struct Applier {
    client: Client,
    caches: Caches,
    metrics: Metrics,
    recent: Mutex<HashMap<String, Recent>>,
}

struct Recent {
    hash: String,
    version: u64,
    at: Instant,
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
        Self { client, caches, metrics, recent: Mutex::default() }
    }

    /// Makes an object hold what is desired. `true` when a call was made.
    ///
    /// # Errors
    /// [`Error`], which tells the remedy where a user has one.
    pub async fn apply<K: Cached + Serialize>(&self, desired: &K) -> Result<bool, Error> {
        let (name, namespace) = (desired.name_any(), desired.namespace().unwrap_or_default());
        let (wanted, hash) =
            hashed(desired).map_err(|error| Self::error::<K>(&name, kube::Error::SerdeError(error)))?;
        let observed = self.caches.get::<K>(&namespace, &name);
        if let Some(observed) = &observed {
            check_owner(&**observed, desired)?;
        }
        let key = key::<K>(&namespace, &name);
        let seen = observed.as_ref().and_then(|object| version(&**object));
        // Asked first: what the cache has shown is not waited for any more, so that a deletion after it counts as one.
        let waiting = self.just_applied(&key, &hash, seen);
        let covered = observed.as_ref().is_some_and(|observed| {
            let held = serde_json::to_value(&**observed).unwrap_or_default();
            covers(&held, &wanted, Lists::of::<K>())
        });
        if covered || waiting {
            return Ok(false);
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        if observed.is_none() {
            self.check_free(&api, desired).await?;
        }
        let mut parameters = PatchParams::apply(CONTROLLER_FIELD_MANAGER);
        // What is not known to be ours is not taken from its owner.
        parameters.force = observed.is_some();
        self.metrics.called("apply", &K::plural(&()));
        let patched = match api.patch(&name, &parameters, &Patch::Apply(&wanted)).await {
            Err(refused) if observed.is_some() && is_invalid(&refused) => {
                self.replace(&api, &wanted, &name).await.map_err(|_| refused)
            }
            other => other,
        };
        let applied = patched.map_err(|error| Self::error::<K>(&name, error))?;
        tracing::debug!(kind = %K::kind(&()), namespace, name, "applied");
        let version = version(&applied).unwrap_or_default();
        self.recent().insert(key, Recent { hash, version, at: Instant::now() });
        Ok(true)
    }

    /// Applies all objects of a node resource but its pods, in the order in which they need each other.
    ///
    /// # Errors
    /// As [`Applier::apply`]; what comes later is not applied then.
    pub async fn apply_surroundings(&self, desired: &Desired) -> Result<(), Error> {
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

    /// Deletes an object that is not desired any more, if the cache shows one that belongs to this owner.
    ///
    /// # Errors
    /// [`Error::Api`]; one that is gone already is none.
    pub async fn delete<K: Cached>(&self, owner_uid: &str, namespace: &str, name: &str) -> Result<(), Error> {
        let Some(held) = self.caches.get::<K>(namespace, name) else { return Ok(()) };
        let is_deleted = held.meta().deletion_timestamp.is_some();
        if is_deleted || !held.owner_references().iter().any(|owner| owner.uid == owner_uid) {
            return Ok(());
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        self.metrics.called("delete", &K::plural(&()));
        match api.delete(name, &DeleteParams::background()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop).map_err(|error| Self::error::<K>(name, error)),
        }
    }

    /// Lists as they are desired and nothing else in them. Applying merges lists by key, which a changed key makes
    /// impossible: of a Service with another port number of the same name, it would have both.
    async fn replace<K: Cached>(&self, api: &Api<K>, wanted: &Value, name: &str) -> kube::Result<K> {
        self.metrics.called("patch", &K::plural(&()));
        let parameters = PatchParams {
            field_manager: Some(CONTROLLER_FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        api.patch(name, &parameters, &Patch::Merge(wanted)).await
    }

    /// The caches hold only what has our label: an object that they don't show may be somebody's all the same, and
    /// applying would merge ours into it.
    async fn check_free<K: Cached>(&self, api: &Api<K>, desired: &K) -> Result<(), Error> {
        let name = desired.name_any();
        self.metrics.called("get", &K::plural(&()));
        let held = api.get_metadata_opt(&name).await.map_err(|error| Self::error::<K>(&name, error))?;
        let Some(held) = held else { return Ok(()) };
        if held.owner_references().is_empty()
            && held.labels().get(label::MANAGED_BY).is_none_or(|by| by != MANAGER)
        {
            let owner = "somebody else".to_owned();
            return Err(Error::Taken { kind: K::kind(&()).into_owned(), name, owner });
        }
        check_owner(&held, desired)
    }

    /// Whether the cache does not show yet what was applied a moment ago.
    #[must_use]
    pub fn is_behind<K: Cached>(&self, namespace: &str, name: &str) -> bool {
        let seen = self.caches.get::<K>(namespace, name).as_ref().and_then(|object| version(&**object));
        let recent = self.recent();
        let last = recent.get(&key::<K>(namespace, name));
        last.is_some_and(|last| last.at.elapsed() < CACHE_LAG && seen.is_none_or(|seen| seen < last.version))
    }

    /// Whether something was applied a moment ago that the caches have not been seen to show. It may never come: created
    /// and deleted again, it makes one change of the cache, or none.
    #[must_use]
    pub fn is_waiting(&self, namespace: &str) -> bool {
        let mut recent = self.recent();
        recent.retain(|_, last| last.at.elapsed() < CACHE_LAG);
        recent.keys().any(|key| key.split('/').nth(1) == Some(namespace))
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, HashMap<String, Recent>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the very same was applied a moment ago, and the cache does not show it yet.
    fn just_applied(&self, key: &str, hash: &str, seen: Option<u64>) -> bool {
        let mut recent = self.recent();
        let Some(last) = recent.get(key) else { return false };
        let waiting = last.at.elapsed() < CACHE_LAG && seen.is_none_or(|seen| seen < last.version);
        if !waiting {
            recent.remove(key);
            return false;
        }
        last.hash == hash
    }

    fn error<K: Cached>(name: &str, error: kube::Error) -> Error {
        let (kind, name) = (K::kind(&()).into_owned(), name.to_owned());
        match &error {
            kube::Error::Api(status) if status.code == 409 => {
                Error::Taken { kind, name, owner: format!("somebody else ({})", status.message) }
            }
            kube::Error::Api(status) if matches!(status.code, 400 | 422) => {
                Error::Rejected { kind, name, message: status.message.clone() }
            }
            _ => Error::Api { kind, name, source: Box::new(error) },
        }
    }
}

/// Under which an applied object is remembered; `is_waiting` reads the namespace out of it.
fn key<K: Cached>(namespace: &str, name: &str) -> String {
    format!("{}/{namespace}/{name}", K::kind(&()))
}

fn is_invalid(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 422)
}

/// Resource versions of one kind are ordered numbers.
pub(crate) fn version<K: Cached>(object: &K) -> Option<u64> {
    object.resource_version()?.parse().ok()
}

fn check_owner<K: Cached>(observed: &impl kube::ResourceExt, desired: &K) -> Result<(), Error> {
    let mine = desired.owner_references();
    let theirs = observed.owner_references();
    if theirs.is_empty() || theirs.iter().any(|owner| mine.iter().any(|me| me.uid == owner.uid)) {
        return Ok(());
    }
    let owner =
        theirs.iter().map(|owner| format!("{} {}", owner.kind, owner.name)).collect::<Vec<_>>().join(", ");
    Err(Error::Taken { kind: K::kind(&()).into_owned(), name: desired.name_any(), owner })
}

/// Hash that the annotation of an applied object has.
///
/// # Errors
/// When the object can't be written as JSON, which no object of Kubernetes does.
pub fn hash_of<K: Cached + Serialize>(desired: &K) -> Result<String, serde_json::Error> {
    hashed(desired).map(|(_, hash)| hash)
}

/// The desired object as JSON, with its hash as an annotation.
fn hashed<K: Cached + Serialize>(desired: &K) -> Result<(Value, String), serde_json::Error> {
    let mut value = serde_json::to_value(desired)?;
    let hash = hex::encode(&Sha256::digest(value.to_string())[..16]);
    value["metadata"]["annotations"][HASH_ANNOTATION] = Value::String(hash.clone());
    Ok((value, hash))
}

/// What else the lists of an object may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lists {
    /// Whatever the server or others added.
    Open,
    /// Nothing: who may do what, and who may connect, is as the spec says. These lists are atomic, so that applying
    /// removes what was added.
    Closed,
}

impl Lists {
    fn of<K: Cached>() -> Self {
        match &*K::kind(&()) {
            "Role" | "RoleBinding" | "NetworkPolicy" => Self::Closed,
            _ => Self::Open,
        }
    }
}

/// Whether everything desired is held. What the server or others added does not count, but in closed lists; the order of
/// lists does not count either.
fn covers(held: &Value, desired: &Value, lists: Lists) -> bool {
    match (held, desired) {
        (Value::Object(held), Value::Object(desired)) => desired.iter().all(|(key, desired)| {
            // Owner references and the like are anybody's to add.
            let lists = if key == "metadata" { Lists::Open } else { lists };
            held.get(key).map_or_else(|| is_empty(desired), |held| covers(held, desired, lists))
        }),
        (Value::Array(held), Value::Array(desired)) => {
            (lists == Lists::Open || held.len() == desired.len())
                && desired.iter().all(|desired| held.iter().any(|held| covers(held, desired, lists)))
        }
        _ => held == desired,
    }
}

/// Whether an object holds everything desired, whatever else it holds.
#[must_use]
pub(crate) fn covers_open(held: &Value, desired: &Value) -> bool {
    covers(held, desired, Lists::Open)
}

/// Empty lists and maps are not kept by the server.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_server_adds_is_no_drift() {
        let desired = json!({"spec": {"ports": [{"port": 1}], "selector": {"a": "b"}, "list": []}});
        let held = json!({"spec": {"ports": [{"port": 1, "protocol": "TCP"}], "selector": {"a": "b"}, "clusterIP": "x"}});
        assert!(covers(&held, &desired, Lists::Open));
    }

    #[test]
    fn what_others_add_to_a_closed_list_is_drift() {
        let desired = json!({"metadata": {"ownerReferences": [1]}, "rules": [{"verbs": ["patch"]}]});
        let held = |rules: Value| json!({"metadata": {"ownerReferences": [1, 2]}, "rules": rules});
        assert!(covers(&held(json!([{"verbs": ["patch"]}])), &desired, Lists::Closed));
        for rules in [json!([{"verbs": ["patch"]}, {"verbs": ["get"]}]), json!([{"verbs": ["patch", "get"]}])]
        {
            assert!(!covers(&held(rules.clone()), &desired, Lists::Closed), "{rules}");
            assert!(covers(&held(rules), &desired, Lists::Open));
        }
    }

    #[test]
    fn a_changed_or_missing_value_is_drift() {
        let desired = json!({"spec": {"replicas": 3, "ports": [{"port": 1}, {"port": 2}]}});
        for held in [
            json!({"spec": {"replicas": 2, "ports": [{"port": 1}, {"port": 2}]}}),
            json!({"spec": {"ports": [{"port": 1}, {"port": 2}]}}),
            json!({"spec": {"replicas": 3, "ports": [{"port": 1}]}}),
            json!({}),
        ] {
            assert!(!covers(&held, &desired, Lists::Open), "{held}");
        }
    }
}
