//! What of an object is not kept, because nobody reads it here.

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use sorcha_crds::SorchaBlueprint;

use super::Watched;
use crate::{blueprint::FINALIZER, pki};

/// Of a pod only its state is read.
pub(super) fn strip_pod(pod: &mut Pod) {
    pod.spec = None;
    pod.metadata.annotations = None;
    if let Some(status) = &mut pod.status {
        status.pod_ips = None;
        status.host_ips = None;
    }
}

pub(super) fn keep<K>(_: &mut K) {}

/// Of a resource nobody reads labels and owners, and no annotations but ours: `kubectl apply` keeps a copy of it in one.
pub(super) fn strip_resource<K: Watched>(resource: &mut K) {
    let metadata = resource.meta_mut();
    metadata.labels = None;
    metadata.owner_references = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.retain(|key, _| key.starts_with("sorcha.dev/"));
    }
}

/// Of other finalizers than ours there may be many; who changes them reads them first.
pub(super) fn strip_blueprint(blueprint: &mut SorchaBlueprint) {
    strip_resource(blueprint);
    if let Some(finalizers) = &mut blueprint.metadata.finalizers {
        finalizers.retain(|name| name == FINALIZER);
    }
}

pub(super) fn strip_config_map(map: &mut ConfigMap) {
    map.binary_data = None;
}

/// Only keys that are read here.
pub(super) fn strip_secret(secret: &mut Secret) {
    if let Some(data) = &mut secret.data {
        data.retain(|key, _| pki::secret::KEYS.contains(&key.as_str()));
    }
}
