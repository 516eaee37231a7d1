//! Whose an object is; pure.
//!
//! An object of one resource has that resource as its controller. An object that a network shares has no controller: its
//! labels say which network's it is, and no owner but resources of Sorcha may stand on it. Everything else is another's,
//! labels or not, and is never written.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use sorcha_crds::GROUP;

use crate::names::{MANAGER, label};

/// Labels by which a shared object is known.
const MARKS: [&str; 4] = [label::MANAGED_BY, label::COMPONENT, label::INSTANCE, label::NETWORK];
/// Field managers that a message names.
const NAMED: usize = 3;

/// What an object must show to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The resource of this uid is its controller.
    Resource(String),
    /// It has these labels, and resources of Sorcha or no owners.
    Network(BTreeMap<String, String>),
}

impl Claim {
    /// That of a desired object.
    #[must_use]
    pub(crate) fn of(desired: &ObjectMeta) -> Self {
        let controller =
            desired.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        if let Some(controller) = controller {
            return Self::Resource(controller.uid.clone());
        }
        let labels = desired.labels.iter().flatten();
        let marks = labels.filter(|(key, _)| MARKS.contains(&key.as_str()));
        Self::Network(marks.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    /// Checks an object that exists.
    ///
    /// # Errors
    /// Whose it is instead, in words.
    pub(crate) fn check(&self, held: &ObjectMeta) -> Result<(), String> {
        let mut owners = held.owner_references.iter().flatten();
        let ours = match self {
            Self::Resource(uid) => {
                !uid.is_empty() && owners.any(|owner| owner.controller == Some(true) && owner.uid == *uid)
            }
            Self::Network(marks) => {
                let held = |key: &str| held.labels.as_ref()?.get(key);
                !marks.is_empty()
                    && marks.iter().all(|(key, value)| held(key) == Some(value))
                    && owners.all(is_of_sorcha)
            }
        };
        if ours { Ok(()) } else { Err(owner(held)) }
    }
}

/// Whether an owner is a resource of Sorcha.
pub(crate) fn is_of_sorcha(owner: &OwnerReference) -> bool {
    owner.api_version.split('/').next() == Some(GROUP)
}

/// Whose an object is, in words: its owners, the program that manages it, or those who wrote its fields.
#[must_use]
pub(crate) fn owner(held: &ObjectMeta) -> String {
    let owners: Vec<String> = held
        .owner_references
        .iter()
        .flatten()
        .map(|owner| format!("{} {}", owner.kind, owner.name))
        .collect();
    if !owners.is_empty() {
        return owners.join(", ");
    }
    let manager = held.labels.as_ref().and_then(|labels| labels.get(label::MANAGED_BY));
    if let Some(manager) = manager.filter(|manager| *manager != MANAGER) {
        let release = held.annotations.as_ref().and_then(|all| all.get("meta.helm.sh/release-name"));
        return release.map_or_else(|| manager.clone(), |release| format!("{manager} release {release}"));
    }
    let mut writers: Vec<&str> =
        held.managed_fields.iter().flatten().filter_map(|entry| entry.manager.as_deref()).collect();
    writers.dedup();
    writers.truncate(NAMED);
    if writers.is_empty() {
        return "no resource of Sorcha".to_owned();
    }
    format!("no resource of Sorcha (written by {})", writers.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::names::{self, Component};

    fn meta(value: &Value) -> ObjectMeta {
        serde_json::from_value(value.clone()).expect("metadata")
    }

    fn reference(kind: &str, name: &str, uid: &str, controller: bool) -> Value {
        json!({"apiVersion": "sorcha.dev/v1alpha1", "kind": kind, "name": name, "uid": uid, "controller": controller})
    }

    #[test]
    fn an_object_of_a_resource_has_it_as_controller() {
        let mine = reference("SorchaPeer", "x", "u1", true);
        let claim = Claim::of(&meta(&json!({"ownerReferences": [mine]})));
        assert_eq!(claim.check(&meta(&json!({"ownerReferences": [mine]}))), Ok(()));
        let labels = names::labels(Component::Peer, "x", "sorcha.dev");
        for (held, owner) in [
            (json!({}), "no resource of Sorcha"),
            // Our labels alone are easily copied.
            (json!({"labels": labels}), "no resource of Sorcha"),
            (
                json!({"ownerReferences": [reference("SorchaCentralNode", "x", "u2", true)]}),
                "SorchaCentralNode x",
            ),
            // One of the same name that was there before.
            (json!({"ownerReferences": [reference("SorchaPeer", "x", "u0", true)]}), "SorchaPeer x"),
            // Owned, but not its controller.
            (json!({"ownerReferences": [reference("SorchaPeer", "x", "u1", false)]}), "SorchaPeer x"),
            (
                json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": {"meta.helm.sh/release-name": "shop"}}),
                "Helm release shop",
            ),
            (
                json!({"managedFields": [{"manager": "kubectl-create"}]}),
                "no resource of Sorcha (written by kubectl-create)",
            ),
        ] {
            assert_eq!(claim.check(&meta(&held)), Err(owner.to_owned()), "{held}");
        }
    }

    #[test]
    fn a_resource_without_uid_owns_nothing() {
        let nobody = reference("SorchaPeer", "x", "", true);
        let claim = Claim::of(&meta(&json!({"ownerReferences": [nobody]})));
        assert!(claim.check(&meta(&json!({"ownerReferences": [nobody]}))).is_err());
    }

    #[test]
    fn an_object_of_a_network_has_its_labels_and_no_foreign_owner() {
        let labels = |network: &str| json!(names::labels(Component::MongoDb, "a-b-mongodb", network));
        let claim = Claim::of(&meta(&json!({"labels": labels("a.b")})));
        let member = reference("SorchaCentralNode", "n7", "u7", false);
        for held in
            [json!({"labels": labels("a.b")}), json!({"labels": labels("a.b"), "ownerReferences": [member]})]
        {
            assert_eq!(claim.check(&meta(&held)), Ok(()), "{held}");
        }
        let foreign = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "theirs", "uid": "u9"});
        for held in [
            json!({}),
            // Two networks whose servers have one name.
            json!({"labels": labels("a-b"), "ownerReferences": [member]}),
            json!({"labels": labels("a.b"), "ownerReferences": [member, foreign]}),
        ] {
            assert!(claim.check(&meta(&held)).is_err(), "{held}");
        }
    }
}
