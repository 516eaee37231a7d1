//! Central nodes of one network.

use super::*;

/// Conversation: another central node is down, so this one waits with its change, and says so.
#[tokio::test]
async fn central_nodes_take_turns() {
    let mut scene = Scene::new(secret);
    let (old, other) = (central("n0", 0), central("n1", 1));
    running(&mut scene, &old, true);
    running(&mut scene, &other, false);
    let mut changed = old.clone();
    changed.spec.log.filter = "debug".into();
    reconcile(Arc::new(changed.clone()), Arc::clone(&scene.ctx)).await.expect("reconciled");
    let calls = scene.take_calls();
    assert!(!calls.iter().any(|call| call.path.contains("/statefulsets/n0")), "{calls:#?}");
    let conditions = calls.last().expect("a status").body["status"]["conditions"].clone();
    assert_eq!(conditions[0]["reason"], "WaitingForTurn");

    running(&mut scene, &other, true);
    reconcile(Arc::new(changed), Arc::clone(&scene.ctx)).await.expect("reconciled");
    assert!(scene.take_calls().iter().any(|call| call.path.contains("/statefulsets/n0")));
    let mut second = other;
    second.spec.log.filter = "debug".into();
    reconcile(Arc::new(second), Arc::clone(&scene.ctx)).await.expect("reconciled");
    assert!(!scene.take_calls().iter().any(|call| call.path.contains("/statefulsets/n1")), "n0 has the turn");
}

#[test]
fn contradictions_tell_the_remedy() {
    let embedded = json!({"store": {"embedded": {}}});
    let two = |a: &SorchaCentralNode, b: &SorchaCentralNode| {
        Network::new("sorcha.dev", "shop", vec![Arc::new(a.clone()), Arc::new(b.clone())]).check(b)
    };
    let error =
        two(&central_with("n0", &embedded), &central_with("n1", &embedded)).expect_err("two registers");
    assert!(matches!(&error, Contradiction::Embedded { other, .. } if other == "n0"), "{error}");
    let named = json!({"hostname": "n0.sorcha.dev", "store": {"mongodb": {"uriSecretRef": {"name": "db", "key": "uri"}}}});
    assert!(matches!(
        two(&central("n0", 0), &central_with("n9", &named)),
        Err(Contradiction::Hostname { .. })
    ));
    let managed = |image: &str| json!({"store": {"mongodb": {"managed": {"image": image}}}});
    let error = two(&central_with("n0", &managed("a")), &central_with("n1", &managed("b")));
    assert!(matches!(error, Err(Contradiction::Managed { .. })));
    let database =
        json!({"store": {"mongodb": {"uriSecretRef": {"name": "db", "key": "uri"}, "database": "other"}}});
    let error = two(&central("n0", 0), &central_with("n1", &database));
    assert!(matches!(error, Err(Contradiction::Database { .. })));
    assert_eq!(two(&central("n0", 0), &central("n1", 0)), Ok(()));
}

#[tokio::test]
async fn a_version_far_beyond_that_of_the_other_central_nodes_is_not_taken() {
    let mut scene = Scene::new(|_| None);
    let ready = json!({"type": "Ready", "status": "True", "reason": "Serving", "message": "", "lastTransitionTime": "2026-11-22T10:00:00Z"});
    let mut other = made(central("n1", 1), "2026-11-22T10:00:00Z");
    other.status = serde_json::from_value(
        json!({"node": {"name": "n1-0", "version": 17}, "version": 17, "conditions": [ready]}),
    )
    .expect("a status");
    put(&mut scene.writers.central_nodes, other.clone());
    let younger = || made(central("n0", 0), "2026-11-22T10:00:01Z");
    let lie = reported(younger(), &bounded_report(1 << 40));
    running(&mut scene, &lie, true);
    let status = status_of(&scene, &lie);
    assert_eq!((status.version, status.converged_version), (None, None), "no lower one is claimed for it");
    // What a younger one says bounds an older one neither way.
    let mut network = crate::central::network_named(&scene.ctx.caches, "shop", "sorcha.dev");
    assert_eq!((network.head(Some(&other)), network.head(None)), (None, Some(17)));
    network.nodes.retain(|node| node.metadata.name.as_deref() == Some("n0"));
    assert_eq!(network.head(None), None, "what was not believed is no head");
    let near = reported(younger(), &bounded_report(20));
    running(&mut scene, &near, true);
    assert_eq!(status_of(&scene, &near).converged_version, Some(20), "reports don't come at once");
}

fn made(mut node: SorchaCentralNode, at: &str) -> SorchaCentralNode {
    node.metadata.creation_timestamp = serde_json::from_value(json!(at)).expect("a time");
    node
}

/// Conversation: a second central node with a register of its own comes into a network: the first one goes on.
#[tokio::test]
async fn of_two_contradictory_central_nodes_the_older_one_goes_on_and_the_newer_is_not_started() {
    let embedded = json!({"priority": 5, "store": {"embedded": {}}});
    let older = made(central_with("n5", &embedded), "2026-11-22T10:00:00Z");
    let newer = made(central_with("n0", &json!({"store": {"embedded": {}}})), "2026-11-22T10:00:01Z");
    let mut scene = Scene::new(|_| None);
    for node in [&older, &newer] {
        put(&mut scene.writers.central_nodes, node.clone());
    }
    let error = reconcile(Arc::new(newer), Arc::clone(&scene.ctx)).await.expect_err("refused");
    assert_eq!(error.reason(), "Conflict");
    assert!(error.to_string().contains("n5 is older"), "{error}");
    let calls = scene.take_calls();
    let written: Vec<_> =
        calls.iter().filter(|call| call.method != "GET").map(|call| call.path.as_str()).collect();
    assert!(
        written.iter().all(|path| path.contains("/sorchacentralnodes/n0/status") || path.contains("/events")),
        "{written:?}"
    );
    reconcile(Arc::new(older), Arc::clone(&scene.ctx)).await.expect("the older one is right");
    let calls = scene.take_calls();
    assert!(calls.iter().any(|call| call.path.ends_with("/statefulsets/n5")));
    let map = calls.iter().find(|call| {
        call.method == "PATCH" && call.path.ends_with("/configmaps/sorcha-central-nodes.sorcha.dev")
    });
    let published = map.expect("endpoints").body["data"]["central-nodes.json"].to_string();
    assert!(published.contains("n5") && !published.contains("n0.shop"), "{published}");
}

#[tokio::test]
async fn two_lineages_in_one_network_are_told_at_both_central_nodes() {
    let mut scene = Scene::new(|_| None);
    let (ours, theirs) = ("a".repeat(64), "b".repeat(64));
    let first = reported(central("n0", 0), &healthy("n0-0", &ours));
    let second = reported(central("n1", 1), &healthy("n1-0", &theirs));
    running(&mut scene, &first, true);
    running(&mut scene, &second, true);
    for node in [&first, &second] {
        let status = status_of(&scene, node);
        let converged = status.conditions.iter().find(|c| c.type_ == CONVERGED).expect("a condition");
        assert_eq!((converged.status.as_str(), converged.reason.as_str()), ("False", "LineagesDiffer"));
        for told in ["aaaaaaaaaaaa", "bbbbbbbbbbbb", "n0", "n1"] {
            assert!(converged.message.contains(told), "{}", converged.message);
        }
    }
    let same = reported(central("n1", 1), &healthy("n1-0", &ours));
    running(&mut scene, &same, true);
    assert!(is_true(&status_of(&scene, &first).conditions, CONVERGED));
}
