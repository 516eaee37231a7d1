//! What is said to the API server.

use super::*;

/// A resource that was made anew under the name: nothing was written into it, and nothing is told of it.
#[tokio::test]
async fn what_was_not_written_is_not_told() {
    for (code, told) in [(409, false), (200, true)] {
        let scene = Scene::new(move |call| {
            let refused = json!({"kind": "Status", "code": 409, "reason": "Conflict", "message": "uid"});
            (code == 409 && call.path.ends_with("/sorchapeers/edge/status")).then_some((409, refused))
        });
        let mut edge = peer("edge", 1);
        edge.metadata.creation_timestamp =
            Some(serde_json::from_value(json!("2026-11-22T10:00:00Z")).expect("a time"));
        let ready = json!({"type": "Ready", "status": "True", "reason": "Serving", "message": "", "lastTransitionTime": "2026-11-22T10:00:00Z"});
        edge.status = Some(serde_json::from_value(json!({"conditions": [ready]})).expect("a status"));
        reconcile(Arc::new(edge), Arc::clone(&scene.ctx)).await.expect("reconciled");
        let events = scene.take_calls().iter().filter(|call| call.path.ends_with("/events")).count();
        assert_eq!(events > 0, told, "{code}");
    }
}

/// The cache is behind: what was written a moment ago is neither written nor told again.
#[tokio::test]
async fn a_transition_is_told_once() {
    let mut edge = peer("edge", 1);
    edge.metadata.resource_version = Some("5".into());
    let whole = json!(edge);
    let scene = Scene::new(move |call| {
        let written = call.method == "PATCH" && call.path.ends_with("/sorchapeers/edge/status");
        written.then(|| {
            let mut edge = whole.clone();
            edge["status"] = call.body["status"].clone();
            (200, edge)
        })
    });
    let tells = |calls: &[Call]| {
        writes(calls).iter().filter(|call| call.contains("status") || call.contains("events")).count()
    };
    let edge = Arc::new(edge);
    reconcile(Arc::clone(&edge), Arc::clone(&scene.ctx)).await.expect("reconciled");
    assert_eq!(tells(&scene.take_calls()), 1);
    reconcile(Arc::clone(&edge), Arc::clone(&scene.ctx)).await.expect("reconciled");
    assert_eq!(tells(&scene.take_calls()), 0);
    let mut seen = (*edge).clone();
    seen.metadata.resource_version = Some("8".into());
    reconcile(Arc::new(seen), Arc::clone(&scene.ctx)).await.expect("reconciled");
    assert_eq!(tells(&scene.take_calls()), 1, "the cache is ahead and shows no status: that counts");
}

/// Conversation: a new resource gets its objects in order, then a status.
#[tokio::test]
async fn creates_everything_once() {
    let scene = Scene::new(|_| None);
    let edge = Arc::new(peer("edge", 2));
    let action = reconcile(Arc::clone(&edge), Arc::clone(&scene.ctx)).await.expect("reconciled");
    assert_eq!(action, Action::requeue(crate::apply::CACHE_LAG), "what was applied must show in the caches");
    let calls = scene.take_calls();
    assert_eq!(
        writes(&calls),
        [
            "POST secrets",
            "PATCH configmaps/sorcha-ca.sorcha.dev",
            "POST secrets",
            "PATCH serviceaccounts/edge",
            "PATCH roles/edge",
            "PATCH rolebindings/edge",
            "PATCH configmaps/edge",
            "PATCH services/edge-headless",
            "PATCH services/edge",
            "PATCH networkpolicies/edge",
            "PATCH poddisruptionbudgets/edge",
            "PATCH statefulsets/edge",
            "PATCH sorchapeers/edge/status",
        ]
    );
    let (first, last) = (calls.iter().find(|call| call.method == "PATCH"), calls.last());
    let (first, last) = (first.expect("a patch"), last.expect("a status"));
    assert!(first.query.contains("fieldManager=sorcha-controller"));
    assert!(!first.query.contains("force=true"), "what may be somebody else's is not taken");
    assert_eq!(last.body["status"]["observedGeneration"], 1);
    assert!(last.body["status"].get("nodes").is_none(), "the nodes' part is not touched");

    reconcile(edge, Arc::clone(&scene.ctx)).await.expect("reconciled");
    let again = writes(&scene.take_calls());
    assert_eq!(
        again,
        ["POST secrets", "POST secrets", "PATCH sorchapeers/edge/status"],
        "objects are not applied twice while the cache is behind, and a Secret that is there is not made again"
    );
}

/// Conversation: everything is as it should be.
#[tokio::test]
async fn nothing_to_do_makes_no_call() {
    let mut scene = Scene::new(|_| None);
    let first = Arc::new(peer("edge", 1));
    reconcile(Arc::clone(&first), Arc::clone(&scene.ctx)).await.expect("reconciled");
    let made = scene.take_calls();
    fill(&mut scene.writers, &made);
    put(&mut scene.writers.pods, pod("edge-0", "peer", "edge", true));
    let mut edge = peer("edge", 1);
    edge.status = Some(status_of(&scene, &edge));
    reconcile(Arc::new(edge), Arc::clone(&scene.ctx)).await.expect("reconciled");
    assert_eq!(writes(&scene.take_calls()), Vec::<String>::new());
}

/// What was applied, as watches would show it.
fn fill(writers: &mut Writers, calls: &[Call]) {
    fn object<K: serde::de::DeserializeOwned>(call: &Call) -> K {
        let mut body = call.body.clone();
        body["metadata"]["resourceVersion"] = json!("8");
        serde_json::from_value(body).expect("an object")
    }
    for call in calls {
        match call.body["kind"].as_str().unwrap_or_default() {
            "ServiceAccount" => put(&mut writers.service_accounts, object(call)),
            "Role" => put(&mut writers.roles, object(call)),
            "RoleBinding" => put(&mut writers.role_bindings, object(call)),
            "Secret" => put(&mut writers.secrets, object(call)),
            "ConfigMap" => put(&mut writers.config_maps, object(call)),
            "Service" => put(&mut writers.services, object(call)),
            "NetworkPolicy" => put(&mut writers.network_policies, object(call)),
            "PodDisruptionBudget" => put(&mut writers.budgets, object(call)),
            "StatefulSet" => {
                let mut set: StatefulSet = object(call);
                settle(&mut set);
                put(&mut writers.stateful_sets, set);
            }
            _ => {}
        }
    }
}

/// Conversation: the API server says no; the status tells it.
#[tokio::test]
async fn a_refusal_reaches_the_user() {
    let scene = Scene::new(|call| {
        let refused = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 422, "reason": "Invalid",
            "message": "StatefulSet.apps \"edge\" is invalid: spec.template: bad",
        });
        (call.method == "PATCH" && call.path.ends_with("/statefulsets/edge")).then_some((422, refused))
    });
    let error = reconcile(Arc::new(peer("edge", 1)), Arc::clone(&scene.ctx)).await.expect_err("refused");
    assert_eq!(error.reason(), "InvalidSpec");
    let calls = scene.take_calls();
    let told = &calls.last().expect("a status").body["status"]["conditions"][0];
    assert_eq!((told["type"].as_str(), told["status"].as_str()), (Some("Ready"), Some("False")));
    assert!(told["message"].as_str().is_some_and(|m| m.contains("spec.template: bad")), "{told}");
}

/// Conversation: somebody else's StatefulSet has the name; it is left alone.
#[tokio::test]
async fn nothing_is_taken_from_others() {
    let mut scene = Scene::new(|_| None);
    let mut theirs = desired::desired(&peer("edge", 1), IMAGE, "IfNotPresent").stateful_set;
    for owner in theirs.metadata.owner_references.iter_mut().flatten() {
        owner.uid = "another".into();
        owner.kind = "Deployment".into();
    }
    put(&mut scene.writers.stateful_sets, theirs);
    let error = reconcile(Arc::new(peer("edge", 1)), Arc::clone(&scene.ctx)).await.expect_err("taken");
    assert!(
        matches!(&error, Error::Apply(crate::apply::ApplyError::Taken { owner, .. }) if owner.contains("Deployment"))
    );
    assert!(!writes(&scene.take_calls()).iter().any(|call| call.contains("statefulsets")));
}

/// Conversation: a user's own ConfigMap, which no cache shows, has the name; nothing is merged into it.
#[tokio::test]
async fn nothing_is_taken_from_users() {
    let scene = Scene::new(|call| {
        let theirs = json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "edge", "namespace": "shop"},
        });
        (call.method == "GET" && call.path.ends_with("/configmaps/edge")).then_some((200, theirs))
    });
    let error = reconcile(Arc::new(peer("edge", 1)), Arc::clone(&scene.ctx)).await.expect_err("taken");
    assert_eq!(error.reason(), "NameTaken");
    let written = writes(&scene.take_calls());
    assert!(!written.iter().any(|call| call.contains("configmaps/edge")), "{written:?}");
    assert_eq!(written.last().map(String::as_str), Some("PATCH sorchapeers/edge/status"));
}

/// Conversation: a resource that is being deleted is left to garbage collection; a paused one is left alone.
#[tokio::test]
async fn deleted_and_paused() {
    let scene = Scene::new(|_| None);
    let mut leaving = peer("edge", 1);
    leaving.metadata.deletion_timestamp =
        serde_json::from_value(json!("2026-11-22T10:00:00Z")).expect("a time");
    reconcile(Arc::new(leaving), Arc::clone(&scene.ctx)).await.expect("reconciled");
    assert!(scene.take_calls().is_empty());

    let mut paused = peer("edge", 1);
    paused.metadata.annotations = Some([("sorcha.dev/paused".to_owned(), "true".to_owned())].into());
    reconcile(Arc::new(paused), Arc::clone(&scene.ctx)).await.expect("reconciled");
    let calls = scene.take_calls();
    assert_eq!(writes(&calls), ["PATCH sorchapeers/edge/status"]);
    let conditions = calls[0].body["status"]["conditions"].as_array().cloned().unwrap_or_default();
    assert!(conditions.iter().any(|c| c["type"] == "Paused" && c["status"] == "True"));
}

/// Conditions that others add stay when ours are applied: they are taken out.
#[tokio::test]
async fn conditions_that_others_write_are_removed() {
    let whole = json!(peer("edge", 1));
    let scene = Scene::new(move |call| {
        let applied =
            call.method == "PATCH" && call.query.contains("force=true") && call.path.ends_with("/status");
        applied.then(|| {
            let mut edge = whole.clone();
            edge["status"] = call.body["status"].clone();
            let foreign = json!({"type": "Blessed", "status": "True", "reason": "Mine", "message": "", "lastTransitionTime": "2026-11-22T10:00:00Z"});
            edge["status"]["conditions"].as_array_mut().expect("conditions").push(foreign);
            (200, edge)
        })
    });
    reconcile(Arc::new(peer("edge", 1)), Arc::clone(&scene.ctx)).await.expect("reconciled");
    let calls = scene.take_calls();
    let removal = calls.last().expect("a call");
    assert!(
        removal.path.ends_with("/sorchapeers/edge/status") && !removal.query.contains("force"),
        "{removal:#?}"
    );
    let types: Vec<_> = removal.body["status"]["conditions"]
        .as_array()
        .expect("conditions")
        .iter()
        .map(|c| &c["type"])
        .collect();
    assert!(!types.contains(&&json!("Blessed")) && types.contains(&&json!("Ready")), "{types:?}");
}
