//! The StatefulSet of a node resource.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec},
        core::v1::{
            EnvVar, PersistentVolumeClaim, PersistentVolumeClaimSpec, PodTemplateSpec, ResourceRequirements,
            VolumeResourceRequirements,
        },
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use sha2::{Digest as _, Sha256};
use sorcha_crds::{
    shared::{DeletionPolicy, PodOverrides, SecretKeyRef, Storage},
    tls::CaKeyRef,
};

use super::{
    meta::Owner,
    pod::{from_field, pod},
    tls_volume::Mount,
};
use crate::names;

/// Annotation by which a changed configuration restarts the pods.
const CONFIG_ANNOTATION: &str = "sorcha.dev/config-hash";
/// Name of the volume with the register.
pub(crate) const DATA: &str = "data";

/// What the pods of a resource run.
#[derive(Clone, Debug)]
pub(crate) struct Workload<'a> {
    /// Number of pods.
    pub replicas: i32,
    /// Image.
    pub image: &'a str,
    /// When it is pulled.
    pub image_pull_policy: &'a str,
    /// Requests and limits, if the spec has them.
    pub resources: Option<&'a ResourceRequirements>,
    /// Where and how they run.
    pub overrides: &'a PodOverrides,
    /// Text of the configuration; another one restarts the pods.
    pub config: &'a str,
    /// Volume with the register; `None`: nothing is kept on a volume.
    pub storage: Option<&'a Storage>,
    /// What happens to volumes.
    pub deletion_policy: DeletionPolicy,
    /// Secret key with MongoDB's connection string.
    pub mongodb_uri: Option<SecretKeyRef>,
    /// Certificate, key and trusted authorities; `None`: plain text. Pods read them again when they change, so that a
    /// renewed certificate restarts nothing.
    pub tls: Option<&'a Mount>,
    /// Authorities of single central nodes, by their place in the peer's list.
    pub authorities: Vec<(usize, CaKeyRef)>,
    /// Secret key with the publishers' tokens.
    pub publishers: Option<SecretKeyRef>,
    /// Further environment of the node.
    pub env: Vec<EnvVar>,
    /// Seconds between SIGTERM and SIGKILL.
    pub grace_seconds: i64,
}

/// The StatefulSet of a node resource.
#[must_use]
pub(crate) fn stateful_set(owner: &Owner, workload: &Workload<'_>) -> StatefulSet {
    let spec = StatefulSetSpec {
        replicas: Some(workload.replicas),
        selector: LabelSelector { match_labels: Some(owner.selector()), ..LabelSelector::default() },
        service_name: Some(names::headless(&owner.name)),
        pod_management_policy: Some("Parallel".to_owned()),
        revision_history_limit: Some(3),
        template: template(owner, workload),
        volume_claim_templates: workload.storage.map(|storage| vec![claim(storage)]),
        persistent_volume_claim_retention_policy: Some(retention(workload.deletion_policy)),
        ..StatefulSetSpec::default()
    };
    StatefulSet { metadata: owner.meta(&owner.name), spec: Some(spec), ..StatefulSet::default() }
}

/// Scaled-down replicas keep their volume: scaled up again they resume from it.
pub(super) fn retention(policy: DeletionPolicy) -> StatefulSetPersistentVolumeClaimRetentionPolicy {
    let when_deleted = match policy {
        DeletionPolicy::Retain => "Retain",
        DeletionPolicy::Delete => "Delete",
    };
    StatefulSetPersistentVolumeClaimRetentionPolicy {
        when_deleted: Some(when_deleted.to_owned()),
        when_scaled: Some("Retain".to_owned()),
    }
}

pub(super) fn claim(storage: &Storage) -> PersistentVolumeClaim {
    let requests = BTreeMap::from([("storage".to_owned(), storage.size.clone())]);
    PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some(DATA.to_owned()), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements { requests: Some(requests), limits: None }),
            storage_class_name: storage.class_name.clone(),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

fn template(owner: &Owner, workload: &Workload<'_>) -> PodTemplateSpec {
    let mut labels = workload.overrides.labels.clone();
    labels.extend(owner.labels());
    let mut annotations = workload.overrides.annotations.clone();
    let hash = hex::encode(&Sha256::digest(workload.config)[..16]);
    annotations.insert(CONFIG_ANNOTATION.to_owned(), hash);
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(pod(owner, workload)),
    }
}

impl Workload<'_> {
    /// Environment of a peer: its id is the pod's name, and so is the end of its database's.
    #[must_use]
    pub(crate) fn peer_env(database_prefix: Option<&str>) -> Vec<EnvVar> {
        let mut env = vec![from_field("SORCHA_NODE__ID", "metadata.name")];
        env.extend(database_prefix.map(|prefix| EnvVar {
            name: "SORCHA_STORE__MONGODB__DATABASE".to_owned(),
            value: Some(format!("{prefix}$(SORCHA_NODE__ID)")),
            ..EnvVar::default()
        }));
        env
    }
}
