use serde_json::json;

use super::world::{ID, World};

const DOCUMENT: &str =
    r#"{"@context": "https://sorcha.dev/blueprints/v1", "id": "invoice-v1", "amount": 1.50}"#;

fn document() -> serde_json::Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

#[tokio::test]
async fn an_applied_document_is_published_once() {
    let mut world = World::new(2).await;
    world.apply(&json!({"document": document()}));
    world.pass().await.unwrap();
    let (entry, status) = (world.entry().expect("published"), world.status());
    assert!(entry.is_active);
    assert_eq!(status.version, Some(entry.version.get()));
    assert_eq!(status.checksum, Some(entry.document.checksum().to_string()));
    assert_eq!((status.active, status.central_node.as_deref()), (Some(true), Some("n0")));
    assert_eq!(status.published_by.as_deref(), Some("controller"), "whom the node takes the token for");
    assert_eq!(world.condition("Published").0, "True Published");
    assert_eq!(world.condition("Ready").0, "True Published");
    assert_eq!(world.finalizers(), ["sorcha.dev/deprecate"]);
    let events = World::events(&world.scene.take_calls());
    assert_eq!(events, [("Published".into(), format!("published; version {} at n0", entry.version))]);

    // Nothing to do: no call to anybody.
    let asked = world.centrals[0].take_seen();
    assert_eq!(asked, [format!("GET {ID}"), "POST publish".into(), format!("GET {ID}")]);
    world.pass().await.unwrap();
    assert_eq!(world.centrals[0].take_seen(), Vec::<String>::new());
    assert!(world.scene.take_calls().is_empty());

    // A restarted controller looks once, and writes nothing.
    world.restarted_pass().await.unwrap();
    assert_eq!(world.centrals[0].take_seen(), [format!("GET {ID}")]);
    assert!(world.scene.take_calls().iter().all(|call| call.method == "GET"));
    assert_eq!(world.entry().map(|now| now.version), Some(entry.version));
}

#[tokio::test]
async fn active_deprecates_and_reactivates() {
    let mut world = World::new(1).await;
    world.apply(&json!({"document": document()}));
    world.pass().await.unwrap();
    let first = world.entry().unwrap().version.get();
    world.scene.take_calls();
    for (active, version, condition, event) in [
        (false, first + 1, "True Deprecated", "Deprecated"),
        (true, first + 2, "True Published", "Reactivated"),
    ] {
        world.change("active", json!(active));
        world.pass().await.unwrap();
        let entry = world.entry().unwrap();
        assert_eq!((entry.is_active, entry.version.get()), (active, version));
        assert_eq!((world.status().active, world.status().version), (Some(active), Some(version)));
        assert_eq!(world.condition("Ready").0, condition);
        assert_eq!(world.condition("Published").0, condition);
        let events = World::events(&world.scene.take_calls());
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(events[0].0, event);
        assert!(!events[0].1.contains("somebody"), "{}", events[0].1);
    }
}

#[tokio::test]
async fn what_others_change_is_brought_back() {
    let mut world = World::new(1).await;
    world.apply(&json!({"document": document()}));
    world.pass().await.unwrap();
    world.scene.take_calls();
    world.centrals[0].node.set_active(ID, false).await.unwrap();
    world.pass().await.unwrap();
    assert!(!world.entry().unwrap().is_active, "within resync nobody looks");
    tokio::time::pause();
    tokio::time::advance(world.scene.ctx.settings.resync * 2).await;
    tokio::time::resume();
    world.pass().await.unwrap();
    assert!(world.entry().unwrap().is_active);
    let events = World::events(&world.scene.take_calls());
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].0, "Reactivated");
    assert!(events[0].1.starts_with("somebody had deprecated it: reactivated; version"), "{}", events[0].1);
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let mut world = World::new(1).await;
    world.apply(&json!({"document": document()}));
    world.pass().await.unwrap();
    world.scene.take_calls();
    world.centrals[0].take_seen();
    tokio::time::pause();
    tokio::time::advance(world.scene.ctx.settings.resync * 2).await;
    tokio::time::resume();
    world.pass().await.unwrap();
    assert_eq!(world.centrals[0].take_seen(), [format!("GET {ID}"), "not modified".into()]);
    let calls = world.scene.take_calls();
    assert!(calls.iter().all(|call| call.path.ends_with("/token")), "{calls:#?}");
}

#[tokio::test]
async fn the_same_document_of_somebody_else_is_adopted() {
    let mut world = World::new(1).await;
    // The same in canonical form.
    let version = world.publish_by_hand(&json!({"b": 1, "a": [1.0]})).await;
    world.apply(&json!({"document": {"a": [1], "b": 1.0}}));
    world.pass().await.unwrap();
    let status = world.status();
    assert_eq!((status.version, status.published_by.as_deref()), (Some(version), Some("alice")));
    assert_eq!(world.condition("Published").0, "True Published");
    assert_eq!(world.entry().unwrap().version.get(), version, "no new version");
    let events = World::events(&world.scene.take_calls());
    assert_eq!(events[0].0, "Published");
    assert!(events[0].1.contains("published already, by alice: adopted"), "{events:?}");
}

#[tokio::test]
async fn a_blueprint_that_is_to_be_inactive_is_published_and_deprecated() {
    let mut world = World::new(1).await;
    world.apply(&json!({"document": document(), "active": false}));
    world.pass().await.unwrap();
    assert!(!world.entry().unwrap().is_active);
    let events = World::events(&world.scene.take_calls());
    let reasons: Vec<&str> = events.iter().map(|(reason, _)| reason.as_str()).collect();
    assert_eq!(reasons, ["Published", "Deprecated"]);
}

#[tokio::test]
async fn another_document_under_the_id_is_a_conflict() {
    let mut world = World::new(1).await;
    let version = world.publish_by_hand(&json!({"a": 1})).await;
    let theirs = world.entry().unwrap();
    world.apply(&json!({"document": {"a": 2}, "active": false}));
    for _ in 0..2 {
        world.restarted_pass().await.unwrap();
        let (condition, message) = world.condition("Published");
        assert_eq!(condition, "False Conflict");
        assert!(message.contains(&theirs.document.checksum().to_string()), "{message}");
        assert!(message.contains("this one's is sha256:") && message.contains("by alice"), "{message}");
        assert_eq!(world.condition("Ready").0, "False Conflict");
        assert_eq!(world.condition("Converged").0, "Unknown NotPublished");
        let now = world.entry().unwrap();
        assert_eq!((now.version.get(), now.is_active), (version, true), "nothing was changed");
        assert!(world.finalizers().is_empty(), "it is not ours");
    }
    assert_eq!(World::events(&world.scene.take_calls()).len(), 1, "told once");
    assert!(world.centrals[0].take_seen().iter().all(|call| call.starts_with("GET")));
    // Not asked again before resync.
    world.pass().await.unwrap();
    assert!(world.centrals[0].take_seen().is_empty());
}

#[tokio::test]
async fn of_two_resources_with_one_id_the_older_has_it() {
    let mut world = World::new(1).await;
    let mut older = crate::fixtures::blueprint("older", &json!({"id": ID, "document": {"a": 1}}));
    older.metadata.creation_timestamp = serde_json::from_value(json!("2026-11-22T09:00:00Z")).unwrap();
    crate::fixtures::put(&mut world.scene.writers.blueprints, older.clone());
    world.apply(&json!({"document": {"a": 1}}));
    world.pass().await.unwrap();
    assert_eq!(world.condition("Published").0, "False Conflict");
    assert!(world.condition("Ready").1.contains("also that of SorchaBlueprint older"));
    assert!(world.entry().is_none() && world.finalizers().is_empty());
    // One of another network is no matter.
    older.spec.network = "other.test".into();
    crate::fixtures::put(&mut world.scene.writers.blueprints, older);
    world.restarted_pass().await.unwrap();
    assert_eq!(world.condition("Published").0, "True Published");
}

#[tokio::test]
async fn a_paused_resource_is_left_alone() {
    let mut world = World::new(1).await;
    world.apply(&json!({"document": document()}));
    world.held.lock().unwrap().blueprint.as_mut().unwrap()["metadata"]["annotations"] =
        json!({"sorcha.dev/paused": "true"});
    world.pass().await.unwrap();
    assert_eq!(world.condition("Paused").0, "True Suspended");
    assert_eq!(world.condition("Published").0, "Unknown NotLookedAt");
    assert_eq!(world.condition("Ready").0, "False Suspended");
    assert!(world.centrals[0].take_seen().is_empty());
    world.held.lock().unwrap().blueprint.as_mut().unwrap()["metadata"]["annotations"] = json!({});
    world.pass().await.unwrap();
    assert_eq!(world.condition("Paused").0, "False Reconciling");
    assert!(world.entry().is_some());
}
