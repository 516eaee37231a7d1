//! What a node's pods may do: write the status of their own resource, and, those of a central node that takes tokens of
//! Kubernetes, ask what users may do in their namespace.

use k8s_openapi::api::{
    core::v1::ServiceAccount,
    rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject},
};

use super::meta::Owner;

pub(super) fn service_account(owner: &Owner) -> ServiceAccount {
    ServiceAccount {
        metadata: owner.meta(&owner.name),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

pub(super) fn role(owner: &Owner, reviews: bool) -> Role {
    let report = PolicyRule {
        api_groups: Some(vec![sorcha_crds::GROUP.to_owned()]),
        resources: Some(vec![format!("{}/status", owner.component.plural())]),
        resource_names: Some(vec![owner.name.clone()]),
        verbs: vec!["patch".to_owned()],
        ..PolicyRule::default()
    };
    let mut rules = vec![report];
    rules.extend(reviews.then(|| PolicyRule {
        api_groups: Some(vec!["authorization.k8s.io".to_owned()]),
        resources: Some(vec!["localsubjectaccessreviews".to_owned()]),
        verbs: vec!["create".to_owned()],
        ..PolicyRule::default()
    }));
    Role { metadata: owner.meta(&owner.name), rules: Some(rules) }
}

pub(super) fn role_binding(owner: &Owner) -> RoleBinding {
    RoleBinding {
        metadata: owner.meta(&owner.name),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "Role".to_owned(),
            name: owner.name.clone(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: owner.name.clone(),
            namespace: Some(owner.namespace.clone()),
            ..Subject::default()
        }]),
    }
}
