//! The custom resources of Sorcha: `SorchaCentralNode`, `SorchaPeer` and `SorchaBlueprint`.
//!
//! A crate of their own, because nodes report into their status. Defaults and validation are in the schema (CEL), so that the
//! API server refuses invalid resources without a webhook. The YAML beside this file is
//! made by `sorcha-controller crds`; a test fails when it is stale. Every field is described, and every text of a status bounded.
//!
//! Deliberately absent: any client, any decision.
//! Begin with [`SorchaCentralNodeSpec`], [`SorchaPeerSpec`], [`conditions::merge`], [`all_crds`].

#![allow(unreachable_pub, reason = "KubeSchema repeats each type inside a function")]

pub mod central_node;
pub mod conditions;
pub mod peer;
pub mod blueprint;
pub mod shared;
pub mod text;
pub mod tls;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

pub use self::{
    blueprint::{SorchaBlueprint, SorchaBlueprintSpec, SorchaBlueprintStatus},
    central_node::{SorchaCentralNode, SorchaCentralNodeSpec, SorchaCentralNodeStatus},
    peer::{SorchaPeer, SorchaPeerSpec, SorchaPeerStatus},
};

/// API group of the resources.
pub const GROUP: &str = "sorcha.dev";
/// Version of the resources.
pub const VERSION: &str = "v1alpha1";
/// Annotation that stops reconciliation of a resource while it is `"true"`, like `spec.suspend`.
pub const PAUSED_ANNOTATION: &str = "sorcha.dev/paused";
/// Annotation of a resource: a new value asks for a new certificate, once.
pub const ROTATE_CERTIFICATE_ANNOTATION: &str = "sorcha.dev/rotate-certificate";
/// Annotation of a resource, or of the authority's Secret: a new value asks for a new authority of the network, once.
pub const ROTATE_CA_ANNOTATION: &str = "sorcha.dev/rotate-ca";
/// Field manager of everything that the controller applies.
pub const CONTROLLER_FIELD_MANAGER: &str = "sorcha-controller";

/// Field manager under which a node applies its own part of a status.
#[must_use]
pub fn node_field_manager(pod: &str) -> String {
    format!("sorcha-node.{pod}")
}

/// Audience of the tokens that let publish on the central nodes of a network in a namespace. It names both, so that a token
/// for one network is good for no other, and it begins with a name that no other service uses, the API server least of all.
#[must_use]
pub fn publish_audience(namespace: &str, network: &str) -> String {
    format!("publish.{GROUP}/{namespace}/{network}")
}

/// The definitions, in the order in which the YAML lists them.
#[must_use]
pub fn all_crds() -> Vec<CustomResourceDefinition> {
    vec![SorchaCentralNode::crd(), SorchaPeer::crd(), SorchaBlueprint::crd()]
}

/// A definition as YAML with a line that says where it comes from.
///
/// # Errors
/// When it can't be written as YAML, which a test rules out.
pub fn yaml(crd: &CustomResourceDefinition) -> Result<String, serde_saphyr::ser::Error> {
    let text = serde_saphyr::to_string(crd)?;
    Ok(format!("# Made by `sorcha-controller crds`; do not edit.\n{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_described() {
        fn undescribed(path: &str, schema: &serde_json::Value, found: &mut Vec<String>) {
            if let Some(properties) = schema["properties"].as_object() {
                for (name, field) in properties {
                    let path = format!("{path}.{name}");
                    if field["description"].as_str().is_none_or(str::is_empty) {
                        found.push(path.clone());
                    }
                    undescribed(&path, field, found);
                }
            }
            for inner in ["items", "additionalProperties"].iter().filter_map(|key| schema.get(key)) {
                undescribed(&format!("{path}[]"), inner, found);
            }
        }
        for crd in all_crds() {
            let value = serde_json::to_value(&crd).expect("a definition is JSON");
            let schema = &value["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            let mut found = Vec::new();
            undescribed(&crd.spec.names.kind, schema, &mut found);
            assert_eq!(found, Vec::<String>::new());
        }
    }

    /// Whichever program writes a status: the schema bounds its texts.
    #[test]
    fn every_text_of_a_status_is_bounded() {
        fn unbounded(path: &str, schema: &serde_json::Value, found: &mut Vec<String>) {
            let is_text = schema["type"] == "string" && schema["format"] != "date-time";
            if is_text && schema.get("maxLength").is_none() && schema.get("enum").is_none() {
                found.push(path.to_owned());
            }
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                // Conditions have the schema of Kubernetes.
                if name != "conditions" {
                    unbounded(&format!("{path}.{name}"), field, found);
                }
            }
            if let Some(items) = schema.get("items") {
                unbounded(&format!("{path}[]"), items, found);
            }
        }
        for crd in all_crds() {
            let value = serde_json::to_value(&crd).expect("a definition is JSON");
            let schema = &value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
            let mut found = Vec::new();
            unbounded(&crd.spec.names.kind, schema, &mut found);
            assert_eq!(found, Vec::<String>::new());
        }
    }

    #[test]
    fn yaml_in_the_repository_is_fresh() {
        for crd in all_crds() {
            let file = concat!(env!("CARGO_MANIFEST_DIR"), "/").to_owned() + &crd.spec.names.plural + ".yaml";
            let fresh = yaml(&crd).expect("a definition is YAML");
            let kept = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(kept == fresh, "{file} is stale: run `sorcha-controller crds --write crds`");
        }
    }
}
