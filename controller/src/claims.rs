//! Volumes that pods would take up: a StatefulSet mounts whatever claim has the name, whose ever it is.

use std::ops::Range;

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::PersistentVolumeClaim};
use kube::Api;

use crate::{
    apply::{
        ApplyError,
        owner::{self, Claim},
    },
    context::Ctx,
    desired::VOLUME,
    names,
};

/// Checks the claims of the pods that a StatefulSet is about to get: one that is kept from an earlier resource of the same
/// kind and name is taken up again, one of another kind or of a user's own is not.
///
/// # Errors
/// [`ApplyError::Taken`] when a claim is another's; [`ApplyError::Api`] when the API server does not answer.
pub(crate) async fn check(
    ctx: &Ctx,
    held: Option<&StatefulSet>,
    desired: &StatefulSet,
) -> Result<(), ApplyError> {
    let spec = desired.spec.clone().unwrap_or_default();
    if spec.volume_claim_templates.is_none() {
        return Ok(());
    }
    let name = desired.metadata.name.clone().unwrap_or_default();
    let api: Api<PersistentVolumeClaim> =
        Api::namespaced(ctx.client.clone(), desired.metadata.namespace.as_deref().unwrap_or_default());
    for ordinal in new_pods(held, spec.replicas.unwrap_or(1)) {
        let claim = format!("{VOLUME}-{}", names::pod(&name, ordinal));
        ctx.metrics.called("get", "persistentvolumeclaims");
        let found = api.get_metadata_opt(&claim).await;
        let found = found.map_err(|error| ApplyError::of("PersistentVolumeClaim", &claim, error))?;
        let Some(found) = found else { continue };
        // The StatefulSet's controller gives claims the labels that select its pods.
        let marks = Claim::Network(spec.selector.match_labels.clone().unwrap_or_default());
        let mut labels = found.metadata.clone();
        labels.owner_references = None;
        if marks.check(&labels).is_err() {
            let owner = owner::owner(&found.metadata);
            return Err(ApplyError::Taken { kind: "PersistentVolumeClaim".to_owned(), name: claim, owner });
        }
    }
    Ok(())
}

fn new_pods(held: Option<&StatefulSet>, wanted: i32) -> Range<i32> {
    let had = held.and_then(|set| set.spec.as_ref()).map_or(0, |spec| spec.replicas.unwrap_or(1));
    had..wanted
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        fixtures::{Call, Scene},
        names::Component,
    };

    fn set(replicas: i32) -> StatefulSet {
        let labels = names::selector(Component::Peer, "x");
        serde_json::from_value(json!({
            "metadata": {"name": "x", "namespace": "shop"},
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": labels}, "serviceName": "x", "template": {},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
            },
        }))
        .expect("a StatefulSet")
    }

    async fn checked(labels: Value, held: Option<&StatefulSet>) -> (Result<(), ApplyError>, Vec<Call>) {
        let scene = Scene::new(move |call| {
            let there = call.path.ends_with("/persistentvolumeclaims/data-x-1");
            there.then(|| {
                (200, json!({"metadata": {"name": "data-x-1", "namespace": "shop", "labels": labels}}))
            })
        });
        let result = check(&scene.ctx, held, &set(3)).await;
        (result, scene.take_calls())
    }

    #[tokio::test]
    async fn a_volume_of_another_is_not_mounted() {
        for labels in
            [json!({}), json!({"app": "theirs"}), json!(names::selector(Component::CentralNode, "x"))]
        {
            let error = checked(labels.clone(), None).await.0.expect_err("another's");
            assert!(
                matches!(&error, ApplyError::Taken { name, .. } if name == "data-x-1"),
                "{labels}: {error}"
            );
        }
        let kept = json!(names::selector(Component::Peer, "x"));
        assert!(checked(kept, None).await.0.is_ok(), "one of an earlier resource of the same name");
    }

    #[tokio::test]
    async fn only_new_pods_are_looked_at() {
        assert_eq!(checked(json!({}), Some(&set(3))).await.1.len(), 0);
        let (result, calls) = checked(json!({}), Some(&set(1))).await;
        assert!(result.is_err() && calls.len() == 1);
    }
}
