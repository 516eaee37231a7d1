use serde_json::json;

use super::world::{ID, Spoil, World};

fn published(world: &World) -> i64 {
    assert_eq!(world.condition("Published").0, "True Published");
    let version = world.entry().expect("published").version.get();
    assert_eq!(world.status().version, Some(version));
    version
}

#[tokio::test]
async fn nobody_ready_then_somebody() {
    let mut world = World::new(1).await;
    world.report(0, false, &json!({}));
    world.apply(&json!({"document": {"a": 1}}));
    world.pass().await.unwrap();
    let (condition, message) = world.condition("Published");
    assert_eq!(condition, "False Waiting");
    assert_eq!(message, "no central node of network sorcha.dev in namespace shop is ready: n0");
    assert!(world.centrals[0].take_seen().is_empty() && world.finalizers().is_empty());
    assert!(World::events(&world.scene.take_calls()).is_empty(), "waiting is no news");
    // Its report is enough, however long the wait would be.
    world.report(0, true, &json!({}));
    world.pass().await.unwrap();
    published(&world);
}

#[tokio::test]
async fn another_central_node_takes_over() {
    let said = Spoil::Say(r#"{"version": "seven"}"#);
    let answers = [503, 429, 500, 408, 401, 403, 302, 204].map(Spoil::Answer);
    for spoil in answers.into_iter().chain([Spoil::Lose, said]) {
        let mut world = World::new(2).await;
        world.apply(&json!({"document": {"a": 1}}));
        world.centrals[0].spoil("POST publish", spoil);
        let before = world.centrals[0].node.log.view().head().get();
        world.pass().await.unwrap();
        assert_eq!(published(&world), before + 1, "{spoil:?}: one version, however often it was asked for");
        assert_eq!(world.status().central_node.as_deref(), Some("n1"), "{spoil:?}");
    }
}

#[tokio::test]
async fn a_lost_answer_costs_no_second_version() {
    let mut world = World::new(1).await;
    world.apply(&json!({"document": {"a": 1}}));
    world.centrals[0].spoil("POST publish", Spoil::Lose);
    world.pass().await.unwrap();
    let (condition, message) = world.condition("Published");
    assert_eq!(condition, "False Waiting");
    assert!(message.starts_with("n0: "), "{message}");
    let version = world.entry().expect("it was published all the same").version.get();
    world.pass().await.unwrap();
    assert_eq!(world.condition("Published").0, "False Waiting", "not before its time");
    world.restarted_pass().await.unwrap();
    assert_eq!(published(&world), version);
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_told() {
    for (body, problem) in [
        ("", "ends too early"),
        ("<html>", "is not JSON"),
        ("[]", "has a field, value or type"),
        (r#"{"version": 1}"#, "line 1 column 14"),
        (r#"{"version": 1.5, "MARKER": "MARKER"}"#, "line 1 column 15"),
    ] {
        let mut world = World::new(1).await;
        world.apply(&json!({"document": {"a": 1}}));
        world.centrals[0].spoil("GET invoice-v1", Spoil::Say(body));
        world.pass().await.unwrap();
        let (condition, message) = world.condition("Published");
        assert_eq!(condition, "False Waiting");
        assert!(message.starts_with("n0: its answer is not understood: "), "{message}");
        assert!(message.contains(problem), "{body}: {message}");
        assert!(!message.contains("MARKER"), "{message}");
    }
}

#[tokio::test]
async fn the_node_goes_in_the_middle() {
    // Published, then away before the deprecation.
    let mut world = World::new(1).await;
    world.apply(&json!({"document": {"a": 1}, "active": false}));
    world.centrals[0].spoil("POST deprecate", Spoil::Answer(503));
    world.pass().await.unwrap();
    assert_eq!(world.condition("Ready").0, "False Waiting");
    assert!(world.entry().unwrap().is_active);
    world.restarted_pass().await.unwrap();
    assert_eq!(world.condition("Ready").0, "True Deprecated");
    assert!(!world.entry().unwrap().is_active);
}

#[tokio::test]
async fn a_central_node_that_is_away_changes_no_status() {
    let mut world = World::new(1).await;
    world.apply(&json!({"document": {"a": 1}}));
    world.pass().await.unwrap();
    let before = world.status();
    world.centrals[0].spoil("GET invoice-v1", Spoil::Answer(503));
    world.restarted_pass().await.unwrap();
    assert_eq!(world.status(), before, "the register is where it was");
    // A change that can't be made is told.
    world.change("active", json!(false));
    world.report(0, false, &json!({}));
    world.pass().await.unwrap();
    assert_eq!(world.condition("Ready").0, "False Waiting");
    assert_eq!(world.condition("Published").0, "True Published");
}

#[tokio::test]
async fn an_address_where_nobody_listens() {
    let mut world = World::new(1).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut settings = crate::fixtures::settings();
    settings.central_urls = vec![("n0".into(), format!("http://{free}").parse().unwrap())];
    let held = std::sync::Arc::clone(&world.held);
    world.scene = crate::fixtures::Scene::with(settings, move |call| held.lock().unwrap().answer(call));
    world.report(0, true, &json!({}));
    world.apply(&json!({"document": {"a": 1}}));
    world.pass().await.unwrap();
    let (condition, message) = world.condition("Published");
    assert_eq!(condition, "False Waiting");
    assert!(message.contains("onnection refused"), "{message}");
}

#[tokio::test]
async fn an_id_that_is_taken_between_look_and_publication() {
    let mut world = World::new(1).await;
    world.publish_by_hand(&json!({"a": 1})).await;
    let theirs = world.entry().unwrap().document.checksum().to_string();
    world.apply(&json!({"document": {"a": 2}}));
    world.centrals[0].spoil("GET invoice-v1", Spoil::Answer(404));
    world.pass().await.unwrap();
    let (condition, message) = world.condition("Published");
    assert_eq!(condition, "False Conflict");
    assert!(
        message.contains(&theirs) && message.contains("this resource's document is sha256:"),
        "{message}"
    );
}

#[tokio::test]
async fn a_document_that_the_node_refuses_is_not_sent_again() {
    let mut world = World::new(2).await;
    world.apply(&json!({"document": {"amount": 9_007_199_254_740_993_u64}}));
    world.pass().await.unwrap();
    let (condition, message) = world.condition("Published");
    assert_eq!(condition, "False Rejected");
    assert!(message.starts_with("n0 refuses the document: "), "{message}");
    assert!(message.contains("9007199254740993"), "{message}");
    assert_eq!(World::events(&world.scene.take_calls())[0].0, "Rejected");
    assert_eq!(world.centrals[0].take_seen(), [format!("GET {ID}"), "POST publish".into()]);
    // Neither there again nor elsewhere: no central node takes it.
    world.report(1, false, &json!({}));
    world.pass().await.unwrap();
    assert!(world.centrals[0].take_seen().is_empty() && world.centrals[1].take_seen().is_empty());
}

#[tokio::test]
async fn a_token_that_is_not_taken_is_told() {
    let mut world = World::new(1).await;
    world.held.lock().unwrap().token = "another-token-than-the-node's".into();
    world.apply(&json!({"document": {"a": 1}}));
    world.pass().await.unwrap();
    let (condition, message) = world.condition("Published");
    assert_eq!(condition, "False NotAllowed");
    assert!(message.starts_with("n0 takes no publication from this controller: A valid token"), "{message}");
    // A new token is asked for once the old one is not quite new.
    world.held.lock().unwrap().token = super::world::TOKEN.into();
    world.restarted_pass().await.unwrap();
    assert_eq!(world.condition("Published").0, "False NotAllowed");
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    tokio::time::resume();
    // One pass finds that the old one is not taken; one more may find its connection closed.
    for _ in 0..3 {
        world.restarted_pass().await.unwrap();
    }
    published(&world);
}

#[tokio::test]
async fn a_token_is_made_for_the_networks_own_audience_and_nothing_else() {
    let mut world = World::new(2).await;
    world.centrals[0].spoil("POST publish", Spoil::Answer(503));
    let mut other = crate::fixtures::central("n1", 1);
    other.status = world.scene.ctx.caches.central_nodes.state()[0].status.clone();
    crate::fixtures::put(&mut world.scene.writers.central_nodes, other);
    world.apply(&json!({"document": {"a": 1}}));
    world.pass().await.unwrap();
    published(&world);
    assert_eq!(world.held.lock().unwrap().audiences, [json!(["publish.sorcha.dev/shop/sorcha.dev"])]);
}

#[tokio::test]
async fn many_resources_ask_once_for_a_token_and_one_look_each() {
    use futures::StreamExt as _;
    let mut world = World::new(1).await;
    let names: Vec<String> = (0..200).map(|number| format!("many-{number}")).collect();
    let many: Vec<_> = names
        .iter()
        .map(|name| {
            crate::fixtures::blueprint(name, &json!({"document": {"id": name}, "deletionPolicy": "Retain"}))
        })
        .collect();
    for blueprint in &many {
        crate::fixtures::put(&mut world.scene.writers.blueprints, blueprint.clone());
        world.held.lock().unwrap().others.insert(blueprint.metadata.name.clone().unwrap(), json!(blueprint));
    }
    for (pass, requests, tokens) in [(1, 3 * many.len(), 1), (2, 0, 0)] {
        futures::stream::iter(&many)
            .for_each_concurrent(4, |blueprint| {
                let (blueprint, ctx) = (std::sync::Arc::new(blueprint.clone()), &world.scene.ctx);
                async move {
                    // Its status can't be written.
                    let _written = crate::reconcile::reconcile(blueprint, std::sync::Arc::clone(ctx)).await;
                }
            })
            .await;
        assert_eq!(world.centrals[0].take_seen().len(), requests, "pass {pass}");
        let asked = world.scene.take_calls().iter().filter(|call| call.path.ends_with("/token")).count();
        assert_eq!(asked, tokens, "pass {pass}");
    }
    assert_eq!(world.centrals[0].node.log.view().len(), many.len() + 1, "and the seed");
}
