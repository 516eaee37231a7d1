//! Resources of one id with policies of their own, one that is paused while its spec changes, and documents as long as an
//! object may be.

use kube::runtime::watcher;
use serde_json::{Value, json};
use sorcha_crds::SorchaBlueprint;

use super::world::{ID, World};
use crate::fixtures::put;

const FAR_AHEAD: &str = "2120-01-01T00:00:00Z";

/// Another resource of the same id and document, as the cache shows it.
fn other(at: &str, policy: &str) -> SorchaBlueprint {
    let spec = json!({"id": ID, "document": {"a": 1}, "deletionPolicy": policy});
    let mut other = crate::fixtures::blueprint("other", &spec);
    other.metadata.creation_timestamp = serde_json::from_value(json!(at)).unwrap();
    other
}

#[tokio::test]
async fn while_an_older_one_has_the_id_the_policy_of_a_newer_one_does_not_count() {
    let mut world = World::new(1).await;
    world.publish_by_hand(&json!({"a": 1})).await;
    let older = other("2026-11-22T09:00:00Z", "Retain");
    put(&mut world.scene.writers.blueprints, older.clone());
    world.apply(&json!({"document": {"a": 1}, "deletionPolicy": "Deprecate"}));
    world.pass().await.unwrap();
    assert_eq!(world.condition("Ready").0, "False Conflict");
    assert!(world.finalizers().is_empty());
    world.delete(FAR_AHEAD);
    assert!(world.blueprint().is_none() && world.entry().unwrap().is_active);

    // With the older one gone, the next one has the id, and its policy counts.
    world.scene.writers.blueprints.apply_watcher_event(&watcher::Event::Delete(older));
    world.apply(&json!({"document": {"a": 1}, "deletionPolicy": "Deprecate"}));
    world.restarted_pass().await.unwrap();
    assert_eq!(world.condition("Published").0, "True Published");
    world.delete(FAR_AHEAD);
    world.pass().await.unwrap();
    assert!(world.blueprint().is_none() && !world.entry().unwrap().is_active);
}

#[tokio::test]
async fn the_oldest_ones_policy_is_done_and_the_next_one_brings_back_what_it_wants() {
    let mut world = World::new(1).await;
    world.apply(&json!({"document": {"a": 1}, "deletionPolicy": "Deprecate"}));
    world.pass().await.unwrap();
    put(&mut world.scene.writers.blueprints, other("2026-11-22T11:00:00Z", "Retain"));
    world.delete(FAR_AHEAD);
    world.pass().await.unwrap();
    assert!(world.blueprint().is_none() && !world.entry().unwrap().is_active, "Retain is the younger one's");
    // The younger one, which has the id now.
    world
        .scene
        .writers
        .blueprints
        .apply_watcher_event(&watcher::Event::Delete(other("2026-11-22T11:00:00Z", "Retain")));
    world.apply(&json!({"document": {"a": 1}, "deletionPolicy": "Retain"}));
    world.restarted_pass().await.unwrap();
    assert!(world.entry().unwrap().is_active && world.finalizers().is_empty());
    world.delete(FAR_AHEAD);
    assert!(world.blueprint().is_none() && world.entry().unwrap().is_active);
}

fn pause(world: &World, value: &str) {
    let mut held = world.held.lock().unwrap();
    let object = held.blueprint.as_mut().unwrap();
    object["metadata"]["annotations"] = json!({"sorcha.dev/paused": value});
}

#[tokio::test]
async fn a_paused_one_changes_nothing_in_the_register_whatever_its_spec_says_meanwhile() {
    let mut world = World::new(1).await;
    world.apply(&json!({"document": {"a": 1}}));
    world.pass().await.unwrap();
    world.centrals[0].take_seen();
    pause(&world, "true");
    world.change("active", json!(false));
    world.pass().await.unwrap();
    assert!(world.entry().unwrap().is_active && world.centrals[0].take_seen().is_empty());
    assert_eq!(world.condition("Paused").0, "True Suspended");
    assert_eq!(world.condition("Ready").0, "False Suspended", "it is not as the spec says");
    pause(&world, "false");
    world.pass().await.unwrap();
    assert!(!world.entry().unwrap().is_active);
    assert_eq!(world.condition("Ready").0, "True Deprecated");
}

#[tokio::test]
async fn a_paused_one_that_is_deleted_does_not_wait() {
    let mut world = World::new(1).await;
    world.apply(&json!({"document": {"a": 1}}));
    world.pass().await.unwrap();
    pause(&world, "true");
    world.delete(FAR_AHEAD);
    world.pass().await.unwrap();
    assert!(world.blueprint().is_none() && !world.entry().unwrap().is_active);
}

/// The API server sets the limit: 1.5 MB an object, 1 MiB a ConfigMap.
#[tokio::test]
async fn a_document_is_published_that_is_as_long_as_an_object_may_be() {
    let document = |bytes: usize| json!({"text": "x".repeat(bytes)});
    let spec = |bytes: usize| json!({"document": document(bytes)});
    let by_map = json!({"configMapRef": {"name": "docs", "key": "long.json"}});
    let (inline, in_map) = (1_500_000, 1024 * 1024 - 64);
    let cases: [(usize, Value); 2] = [(inline, spec(inline)), (in_map, by_map)];
    for (bytes, spec) in cases {
        let mut world = World::new(1).await;
        let docs = json!({"long.json": document(in_map).to_string()});
        world.held.lock().unwrap().config_maps.insert("docs".into(), docs);
        world.apply(&spec);
        world.pass().await.unwrap();
        assert_eq!(world.condition("Published").0, "True Published", "{bytes}");
        assert!(world.entry().unwrap().document.bytes().len() > bytes);
    }
}
