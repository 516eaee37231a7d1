//! The one way to write an object that the controller makes: with a [`Permit`], which only a look at whose the object is
//! gives.
//!
//! What was looked at is a precondition of the write: the API server refuses it where the object was changed, replaced or
//! made by others in between, and the caller looks again.

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sorcha_crds::CONTROLLER_FIELD_MANAGER;

use super::{ApplyError, owner::Claim};
use crate::{cache::Cached, metrics::Metrics};

/// A resource version that no object ever has, the store's before its first write: applied with it, an object is made
/// where there is none, and one that exists is left alone.
const NONE_YET: &str = "1";

/// Where an object lies or may lie.
pub(crate) struct Place<K> {
    api: Api<K>,
    kind: String,
    plural: String,
    name: String,
    metrics: Metrics,
}

/// How a name stood when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ownership {
    /// Free.
    Free,
    /// Ours.
    Ours {
        /// Which object.
        uid: Option<String>,
        /// As it was.
        version: Option<String>,
    },
}

/// The right to one write of an object.
pub(crate) struct Permit<'a, K> {
    place: &'a Place<K>,
    standing: Ownership,
}

impl<K> Place<K>
where
    K: Cached + Serialize,
{
    /// Of an object of a kind that the crate knows.
    pub(crate) fn of(client: &Client, metrics: &Metrics, namespace: &str, name: &str) -> Self {
        Self {
            api: Api::namespaced(client.clone(), namespace),
            kind: K::kind(&()).into_owned(),
            plural: K::plural(&()).into_owned(),
            name: name.to_owned(),
            metrics: metrics.clone(),
        }
    }
}

impl Place<DynamicObject> {
    /// Of an object of another kind.
    pub(crate) fn dynamic(
        client: &Client,
        metrics: &Metrics,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
    ) -> Self {
        Self {
            api: Api::namespaced_with(client.clone(), namespace, resource),
            kind: resource.kind.clone(),
            plural: resource.plural.clone(),
            name: name.to_owned(),
            metrics: metrics.clone(),
        }
    }
}

impl<K> Place<K>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    /// Whether an object that was seen may be written.
    ///
    /// # Errors
    /// [`ApplyError::Taken`] when it is another's.
    pub(crate) fn seen(&self, held: &ObjectMeta, claim: &Claim) -> Result<Permit<'_, K>, ApplyError> {
        claim.check(held).map_err(|owner| self.taken(owner))?;
        let standing = Ownership::Ours { uid: held.uid.clone(), version: held.resource_version.clone() };
        Ok(Permit { place: self, standing })
    }

    /// Looks at the object itself: caches hold only what has our label, and may be behind.
    ///
    /// # Errors
    /// [`ApplyError::Taken`] when it is another's; [`ApplyError::Api`] when the API server does not answer.
    pub(crate) async fn look(&self, claim: &Claim) -> Result<Permit<'_, K>, ApplyError> {
        self.metrics.called("get", &self.plural);
        let held = self.api.get_metadata_opt(&self.name).await.map_err(|error| self.failed(error))?;
        match held {
            Some(held) => self.seen(&held.metadata, claim),
            None => Ok(Permit { place: self, standing: Ownership::Free }),
        }
    }

    /// Of an object that was just found to be missing; one that came meanwhile is not written.
    pub(crate) const fn missing(&self) -> Permit<'_, K> {
        Permit { place: self, standing: Ownership::Free }
    }

    /// What an answer of the API server means.
    pub(crate) fn failed(&self, error: kube::Error) -> ApplyError {
        ApplyError::of(&self.kind, &self.name, error)
    }

    /// That others write the object all the time.
    pub(crate) fn contended(&self) -> ApplyError {
        ApplyError::Contended { kind: self.kind.clone(), name: self.name.clone() }
    }

    fn taken(&self, owner: String) -> ApplyError {
        ApplyError::Taken { kind: self.kind.clone(), name: self.name.clone(), owner }
    }
}

impl<K> Permit<'_, K>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    /// Whether the object exists.
    #[must_use]
    pub(crate) fn exists(&self) -> bool {
        self.standing != Ownership::Free
    }

    /// Applies an object; fields of ours that others took over are taken back.
    pub(crate) async fn apply(&self, wanted: &Value) -> kube::Result<K> {
        self.count("apply");
        let body = Patch::Apply(self.fenced(wanted));
        self.place.api.patch(&self.place.name, &self.parameters(), &body).await
    }

    /// The same of metadata alone; the answer has nothing else either.
    pub(crate) async fn apply_metadata(&self, wanted: &Value) -> kube::Result<()> {
        self.count("apply");
        let body = Patch::Apply(self.fenced(wanted));
        self.place.api.patch_metadata(&self.place.name, &self.parameters(), &body).await.map(drop)
    }

    /// Replaces whole lists, which applying merges by key.
    pub(crate) async fn merge(&self, wanted: &Value) -> kube::Result<K> {
        self.count("patch");
        let parameters = PatchParams {
            field_manager: Some(CONTROLLER_FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        self.place.api.patch(&self.place.name, &parameters, &Patch::Merge(self.fenced(wanted))).await
    }

    /// Writes an object whole.
    pub(crate) async fn put(&self, wanted: &K) -> kube::Result<K>
    where
        K: Serialize,
    {
        let parameters =
            PostParams { field_manager: Some(CONTROLLER_FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let mut object = wanted.clone();
        let Ownership::Ours { uid, version } = &self.standing else {
            self.count("create");
            object.meta_mut().resource_version = None;
            return self.place.api.create(&parameters, &object).await;
        };
        self.count("update");
        object.meta_mut().uid.clone_from(uid);
        object.meta_mut().resource_version.clone_from(version);
        self.place.api.replace(&self.place.name, &parameters, &object).await
    }

    /// Deletes the object that was looked at, and no later one of the same name.
    pub(crate) async fn delete(&self) -> kube::Result<()> {
        let Ownership::Ours { uid, version } = &self.standing else { return Ok(()) };
        self.count("delete");
        let preconditions = Preconditions { uid: uid.clone(), resource_version: version.clone() };
        let parameters = DeleteParams::background().preconditions(preconditions);
        self.place.api.delete(&self.place.name, &parameters).await.map(drop)
    }

    fn parameters(&self) -> PatchParams {
        PatchParams { force: self.exists(), ..PatchParams::apply(CONTROLLER_FIELD_MANAGER) }
    }

    /// The body with what was looked at as a precondition.
    fn fenced(&self, wanted: &Value) -> Value {
        let mut body = wanted.clone();
        let metadata = &mut body["metadata"];
        match &self.standing {
            Ownership::Free => metadata["resourceVersion"] = NONE_YET.into(),
            Ownership::Ours { uid, version } => {
                for (key, value) in [("uid", uid), ("resourceVersion", version)] {
                    if let Some(value) = value {
                        metadata[key] = value.as_str().into();
                    }
                }
            }
        }
        body
    }

    fn count(&self, verb: &str) {
        self.place.metrics.called(verb, &self.place.plural);
    }
}
