use serde_json::json;
use sorcha_crds::blueprint::BlueprintDeletionPolicy;

use super::{
    super::leave::is_deprecated_first,
    world::{ID, Spoil, World},
};

/// An hour ago as seen from the limit of five minutes.
const LONG_AGO: &str = "2020-01-01T00:00:00Z";
const FAR_AHEAD: &str = "2120-01-01T00:00:00Z";

async fn published(spec: serde_json::Value) -> World {
    let mut world = World::new(1).await;
    world.apply(&spec);
    world.pass().await.unwrap();
    assert_eq!(world.condition("Published").0, "True Published");
    world.scene.take_calls();
    world.centrals[0].take_seen();
    world
}

#[test]
fn what_is_done_follows_from_policy_and_central_nodes() {
    let (deprecate, retain) = (BlueprintDeletionPolicy::Deprecate, BlueprintDeletionPolicy::Retain);
    assert!(is_deprecated_first(deprecate, 2));
    assert!(!is_deprecated_first(deprecate, 0));
    assert!(!is_deprecated_first(retain, 2));
}

#[tokio::test]
async fn deletion_deprecates_first() {
    let mut world = published(json!({"document": {"a": 1}})).await;
    let version = world.entry().unwrap().version.get();
    world.delete(FAR_AHEAD);
    assert!(world.blueprint().is_some(), "the finalizer holds it");
    world.pass().await.unwrap();
    assert!(world.blueprint().is_none());
    let entry = world.entry().unwrap();
    assert_eq!((entry.is_active, entry.version.get()), (false, version + 1));
    let events = World::events(&world.scene.take_calls());
    assert_eq!(events, [("Deprecated".into(), format!("deprecated; version {} at n0", version + 1))]);
}

#[tokio::test]
async fn a_retained_blueprint_has_no_finalizer() {
    let mut world = published(json!({"document": {"a": 1}, "deletionPolicy": "Retain"})).await;
    assert!(world.finalizers().is_empty());
    // It comes and goes with the policy.
    world.change("deletionPolicy", json!("Deprecate"));
    world.pass().await.unwrap();
    assert_eq!(world.finalizers(), ["sorcha.dev/deprecate"]);
    world.change("deletionPolicy", json!("Retain"));
    world.pass().await.unwrap();
    assert!(world.finalizers().is_empty());
    world.delete(FAR_AHEAD);
    assert!(world.blueprint().is_none() && world.entry().unwrap().is_active);
}

#[tokio::test]
async fn foreign_finalizers_are_kept() {
    let mut world = World::new(1).await;
    world.apply(&json!({"document": {"a": 1}}));
    world.held.lock().unwrap().blueprint.as_mut().unwrap()["metadata"]["finalizers"] = json!(["x/y"]);
    world.pass().await.unwrap();
    assert_eq!(world.finalizers(), ["x/y", "sorcha.dev/deprecate"]);
    world.delete(FAR_AHEAD);
    world.pass().await.unwrap();
    assert_eq!(world.finalizers(), ["x/y"]);
    // Let go: nothing is done any more.
    world.pass().await.unwrap();
    assert_eq!(world.finalizers(), ["x/y"]);
}

#[tokio::test]
async fn a_central_node_that_is_away_is_waited_for() {
    let mut world = published(json!({"document": {"a": 1}})).await;
    world.delete(FAR_AHEAD);
    world.centrals[0].spoil("POST deprecate", Spoil::Answer(503));
    world.pass().await.unwrap();
    let (condition, message) = world.condition("Ready");
    assert_eq!(condition, "False Deprecating");
    assert!(message.contains("until 2120-01-01T00:05:00Z at the longest: n0: it answers 503"), "{message}");
    assert_eq!(world.condition("Published").0, "True Published");
    // Not before its time.
    world.centrals[0].take_seen();
    world.pass().await.unwrap();
    assert!(world.centrals[0].take_seen().is_empty() && world.blueprint().is_some());
    world.restarted_pass().await.unwrap();
    assert!(world.blueprint().is_none() && !world.entry().unwrap().is_active);
}

#[tokio::test]
async fn after_the_limit_it_is_let_go_and_told() {
    let mut world = published(json!({"document": {"a": 1}})).await;
    world.report(0, false, &json!({}));
    world.delete(LONG_AGO);
    world.pass().await.unwrap();
    assert!(world.blueprint().is_none(), "no delete waits for ever");
    assert!(world.entry().unwrap().is_active);
    let calls = world.scene.take_calls();
    let sent = calls.iter().find(|call| call.path.ends_with("/events")).expect("an Event");
    assert_eq!(
        (sent.body["reason"].as_str(), sent.body["type"].as_str()),
        (Some("NotDeprecated"), Some("Warning"))
    );
    let note = sent.body["note"].as_str().unwrap();
    assert!(note.starts_with("invoice-v1 stays active in the register: no central node"), "{note}");
}

/// A central node that accepts and stays silent holds nothing up beyond the limit.
#[tokio::test]
async fn after_the_limit_what_was_tried_is_not_tried_again() {
    let mut world = published(json!({"document": {"a": 1}})).await;
    world.delete(FAR_AHEAD);
    world.centrals[0].spoil("POST deprecate", Spoil::Answer(503));
    world.pass().await.unwrap();
    world.delete(LONG_AGO);
    world.centrals[0].take_seen();
    let ctx = std::sync::Arc::clone(&world.scene.ctx);
    let turns: Vec<_> = std::iter::from_fn(|| ctx.publisher.lanes.enter("shop")).collect();
    world.pass().await.unwrap();
    drop(turns);
    assert!(world.blueprint().is_none() && world.centrals[0].take_seen().is_empty());
    let events = World::events(&world.scene.take_calls());
    let (reason, message) = &events[events.len() - 1];
    assert_eq!(
        (reason.as_str(), message.contains("n0: it answers 503")),
        ("NotDeprecated", true),
        "{message}"
    );
}

#[tokio::test]
async fn after_the_limit_it_is_tried_once_more() {
    let mut world = published(json!({"document": {"a": 1}})).await;
    world.delete(LONG_AGO);
    world.pass().await.unwrap();
    assert!(world.blueprint().is_none() && !world.entry().unwrap().is_active);
}

#[tokio::test]
async fn with_the_last_central_node_there_is_nothing_to_deprecate() {
    let mut world = published(json!({"document": {"a": 1}})).await;
    let gone = crate::fixtures::central("n0", 0);
    let event = kube::runtime::watcher::Event::Delete(gone);
    world.scene.writers.central_nodes.apply_watcher_event(&event);
    world.delete(FAR_AHEAD);
    world.pass().await.unwrap();
    assert!(world.blueprint().is_none() && world.entry().unwrap().is_active);
    assert!(world.centrals[0].take_seen().is_empty());
}

#[tokio::test]
async fn one_that_was_never_published_goes_at_once() {
    let mut world = World::new(1).await;
    world.publish_by_hand(&json!({"a": 1})).await;
    world.apply(&json!({"document": {"a": 2}}));
    world.pass().await.unwrap();
    world.delete(FAR_AHEAD);
    assert!(world.blueprint().is_none());
    assert!(world.entry().unwrap().is_active, "somebody else's");
}

#[tokio::test]
async fn what_is_inactive_or_another_document_is_left_as_it_is() {
    let mut world = published(json!({"document": {"a": 1}})).await;
    world.centrals[0].node.set_active(ID, false).await.unwrap();
    let version = world.entry().unwrap().version;
    world.delete(FAR_AHEAD);
    world.pass().await.unwrap();
    assert!(world.blueprint().is_none());
    assert_eq!(world.entry().unwrap().version, version);
    assert!(World::events(&world.scene.take_calls()).is_empty());
}

#[tokio::test]
async fn one_that_is_deleted_before_it_is_held_is_not_published() {
    let mut world = World::new(1).await;
    world.apply(&json!({"document": {"a": 1}}));
    world.held.lock().unwrap().deleted_before_write = true;
    world.pass().await.unwrap();
    assert!(world.blueprint().is_none() && world.entry().is_none(), "nobody would have deprecated it");
}

/// What a controller leaves behind that is killed after a publication, before it has written the status.
async fn killed_after_publication(spec: &serde_json::Value) -> World {
    let mut world = World::new(1).await;
    let docs = json!({"invoice.json": "{\"a\": 1}"});
    world.held.lock().unwrap().config_maps.insert("docs".into(), docs);
    world.apply(spec);
    world.pass().await.unwrap();
    assert!(world.entry().unwrap().is_active);
    world.held.lock().unwrap().blueprint.as_mut().unwrap()["status"] = json!(null);
    world.scene.ctx.publisher.memory.forget("uid-1");
    world.scene.take_calls();
    world
}

#[tokio::test]
async fn a_controller_that_was_killed_before_it_wrote_the_status_deprecates_all_the_same() {
    let by_map = json!({"configMapRef": {"name": "docs", "key": "invoice.json"}});
    for spec in [json!({"document": {"a": 1}}), by_map] {
        let mut world = killed_after_publication(&spec).await;
        world.delete(FAR_AHEAD);
        world.pass().await.unwrap();
        assert!(world.blueprint().is_none() && !world.entry().unwrap().is_active, "{spec}");
        assert_eq!(World::events(&world.scene.take_calls())[0].0, "Deprecated");
    }
}

#[tokio::test]
async fn what_cannot_be_told_to_be_ours_stays_active_and_is_told() {
    let by_map = json!({"configMapRef": {"name": "docs", "key": "invoice.json"}});
    let mut world = killed_after_publication(&by_map).await;
    world.held.lock().unwrap().config_maps.clear();
    world.delete(LONG_AGO);
    world.pass().await.unwrap();
    assert!(world.blueprint().is_none() && world.entry().unwrap().is_active);
    let events = World::events(&world.scene.take_calls());
    assert_eq!(events[0].0, "NotDeprecated");
    assert!(events[0].1.contains("ConfigMap docs"), "{events:?}");
}
