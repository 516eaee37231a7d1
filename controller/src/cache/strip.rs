//! What of an object is not kept, because it is not read here.

use k8s_openapi::{
    api::core::v1::{ConfigMap, Pod, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use sorcha_crds::{PAUSED_ANNOTATION, ROTATE_CA_ANNOTATION, ROTATE_CERTIFICATE_ANNOTATION};

use super::Watched;
use crate::{apply::owner::is_of_sorcha, blueprint::FINALIZER, pki};

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

/// Annotations of resources that are read.
const READ: [&str; 3] = [PAUSED_ANNOTATION, ROTATE_CERTIFICATE_ANNOTATION, ROTATE_CA_ANNOTATION];

/// Of a resource labels and owners are not read, of its annotations three, and no finalizers but ours: `kubectl apply` keeps a
/// copy of it in an annotation, and anybody who may change it may add any number of them. Finalizers are read anew before
/// they are changed.
pub(super) fn strip_resource<K: Watched>(resource: &mut K) {
    let metadata = resource.meta_mut();
    metadata.labels = None;
    metadata.owner_references = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.retain(|key, _| READ.contains(&key.as_str()));
        annotations.values_mut().for_each(|value| *value = pki::secret::token(value));
    }
    if let Some(finalizers) = &mut metadata.finalizers {
        finalizers.retain(|name| name == FINALIZER);
    }
}

/// Of a ConfigMap that no resource owns, nothing is read but that it is there: anybody may give one our label.
pub(super) fn strip_config_map(map: &mut ConfigMap) {
    map.binary_data = None;
    if !is_owned(&map.metadata) {
        map.data = None;
    }
}

fn is_owned(metadata: &ObjectMeta) -> bool {
    metadata.owner_references.iter().flatten().any(is_of_sorcha)
}

/// Only keys that are read here.
pub(super) fn strip_secret(secret: &mut Secret) {
    if let Some(data) = &mut secret.data {
        data.retain(|key, _| pki::secret::KEYS.contains(&key.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::peer;

    #[test]
    fn of_a_resource_nothing_is_kept_that_its_author_may_make_long() {
        let mut peer = peer("edge", 1);
        let long = "x".repeat(250_000);
        let mut annotations = std::collections::BTreeMap::from([
            ("sorcha.dev/a".to_owned(), long.clone()),
            ("kubectl.kubernetes.io/last-applied-configuration".to_owned(), long.clone()),
        ]);
        annotations.extend(READ.map(|key| (key.to_owned(), long.clone())));
        peer.metadata.annotations = Some(annotations);
        peer.metadata.finalizers = Some((0..10_000).map(|number| format!("x/{number}")).collect());
        peer.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
        let mut again = peer.clone();
        again
            .metadata
            .annotations
            .as_mut()
            .expect("annotations")
            .insert(READ[1].to_owned(), format!("{long}y"));
        strip_resource(&mut peer);
        strip_resource(&mut again);
        assert!(json!(peer.metadata).to_string().len() < 1_000);
        let asked = |peer: &sorcha_crds::SorchaPeer| peer.metadata.annotations.clone().expect("annotations");
        assert_eq!(asked(&peer).len(), READ.len());
        assert_ne!(asked(&peer), asked(&again), "another value is another request, however long");
    }

    #[test]
    fn of_a_config_map_that_no_resource_owns_the_data_are_not_kept() {
        let map = |owners: serde_json::Value| {
            let map = json!({"metadata": {"name": "a", "ownerReferences": owners}, "data": {"a": "b"}});
            let mut map: ConfigMap = serde_json::from_value(map).expect("a ConfigMap");
            strip_config_map(&mut map);
            map.data.is_some()
        };
        let owner = |group: &str| json!([{"apiVersion": format!("{group}/v1"), "kind": "K", "name": "n", "uid": "u"}]);
        assert!(map(owner("sorcha.dev")) && !map(owner("apps")) && !map(json!(null)));
    }
}
