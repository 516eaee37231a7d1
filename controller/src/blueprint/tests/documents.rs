use serde_json::json;

use super::world::World;

fn from_config_map(world: &World, text: Option<&str>) {
    let mut held = world.held.lock().unwrap();
    match text {
        Some(text) => drop(held.config_maps.insert("docs".into(), json!({"invoice.json": text}))),
        None => drop(held.config_maps.remove("docs")),
    }
}

#[tokio::test]
async fn a_config_map_that_is_missing_then_there_then_changed_then_gone() {
    let mut world = World::new(1).await;
    world.apply(&json!({"configMapRef": {"name": "docs", "key": "invoice.json"}}));
    world.pass().await.unwrap();
    let (condition, message) = world.condition("Published");
    assert_eq!(condition, "False ConfigMapNotFound");
    let told =
        "ConfigMap docs has no key invoice.json in its data, or does not exist: create it in namespace shop";
    assert_eq!(message, told);

    from_config_map(&world, Some(" {\"a\": 1.0}\n"));
    world.restarted_pass().await.unwrap();
    assert_eq!(world.condition("Published").0, "True Published");
    let entry = world.entry().unwrap();
    assert_eq!(entry.document.bytes().as_ref(), br#"{"a":1}"#);

    from_config_map(&world, Some("{\"a\": 2}"));
    world.restarted_pass().await.unwrap();
    let (condition, message) = world.condition("Published");
    assert_eq!(condition, "False DocumentChanged");
    assert!(message.contains(&format!("the published one's is {}", entry.document.checksum())), "{message}");
    assert_eq!(world.condition("Ready").0, "False DocumentChanged");
    assert_eq!(world.status().checksum, Some(entry.document.checksum().to_string()), "still pinned");
    assert_eq!(world.entry().unwrap().version, entry.version, "nothing was changed");

    // Another form of the same document is the same.
    from_config_map(&world, Some("{ \"a\" : 1e0 }"));
    world.restarted_pass().await.unwrap();
    assert_eq!(world.condition("Published").0, "True Published");

    // What is published needs no ConfigMap.
    from_config_map(&world, None);
    world.change("active", json!(false));
    world.pass().await.unwrap();
    assert_eq!(world.condition("Ready").0, "True Deprecated");
}

#[tokio::test]
async fn text_that_is_no_document_is_refused_with_its_place() {
    let mut world = World::new(1).await;
    world.apply(&json!({"configMapRef": {"name": "docs", "key": "invoice.json"}}));
    for (text, problem) in
        [("[]", "it is a list"), ("{\"a\":", "it ends too early"), ("", "it ends too early")]
    {
        from_config_map(&world, Some(text));
        world.restarted_pass().await.unwrap();
        let (condition, message) = world.condition("Published");
        assert_eq!(condition, "False InvalidDocument");
        assert!(
            message.starts_with("key invoice.json of ConfigMap docs is not a JSON object: "),
            "{message}"
        );
        assert!(message.contains(problem), "{message}");
    }
    // What only the node sees: a key twice.
    from_config_map(&world, Some("{\"a\": 1, \"a\": 2}"));
    world.restarted_pass().await.unwrap();
    let (condition, message) = world.condition("Published");
    assert_eq!(condition, "False Rejected");
    assert!(message.contains("duplicate") || message.contains("twice"), "{message}");
    assert!(world.entry().is_none());
}

/// The API server's rule passes over a key that was renamed.
#[tokio::test]
async fn a_document_that_changed_in_the_resource_is_refused() {
    let mut world = World::new(1).await;
    world.apply(&json!({"document": {"name": "a"}}));
    world.pass().await.unwrap();
    let version = world.entry().unwrap().version;
    world.change("document", json!({"title": "a"}));
    world.pass().await.unwrap();
    assert_eq!(world.condition("Published").0, "False DocumentChanged");
    assert_eq!(world.entry().unwrap().version, version);
    let events = World::events(&world.scene.take_calls());
    assert_eq!(events.last().map(|(reason, _)| reason.as_str()), Some("DocumentChanged"));
}

#[tokio::test]
async fn a_config_map_that_cannot_be_read_is_waited_for() {
    let mut world = World::new(1).await;
    let held = std::sync::Arc::clone(&world.held);
    let settings = (*world.scene.ctx.settings).clone();
    world.scene = crate::fixtures::Scene::with(settings, move |call| {
        let forbidden = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden",
            "message": "configmaps is forbidden",
        });
        if call.path.contains("/configmaps/") {
            Some((403, forbidden))
        } else {
            held.lock().unwrap().answer(call)
        }
    });
    world.report(0, true, &json!({}));
    world.apply(&json!({"configMapRef": {"name": "docs", "key": "invoice.json"}}));
    world.pass().await.unwrap();
    let (condition, message) = world.condition("Published");
    assert_eq!(condition, "False Waiting");
    assert!(message.contains("configmaps is forbidden"), "{message}");
}

/// Who may write SorchaBlueprints may not be one who may read the ConfigMap.
#[tokio::test]
async fn a_config_map_whose_owner_has_not_agreed_is_not_published() {
    let mut world = World::new(1).await;
    from_config_map(&world, Some("{\"password\": \"MARKER\"}"));
    world.apply(&json!({"configMapRef": {"name": "docs", "key": "invoice.json"}}));
    for label in ["false", "", "True"] {
        world.held.lock().unwrap().label = label.into();
        world.restarted_pass().await.unwrap();
        let (condition, message) = world.condition("Published");
        assert_eq!(condition, "False ConfigMapNotReleased");
        assert!(message.contains("lacks the label sorcha.dev/publish=true"), "{message}");
        assert!(!message.contains("MARKER") && world.entry().is_none());
    }
    world.held.lock().unwrap().label = "true".into();
    world.restarted_pass().await.unwrap();
    assert_eq!(world.condition("Published").0, "True Published");
}
