//! The trial MongoDB server: its password, and what becomes of it.

use std::sync::Arc;

use serde_json::{Value, json};
use sorcha_crds::SorchaCentralNode;

use super::desired;
use crate::{
    fixtures::{Call, Scene, central_with, put, settings},
    network::Network,
    reconcile::reconcile,
};

const SERVER: &str = "sorcha-dev-mongodb";

fn managed(name: &str, server: &Value, policy: &str) -> SorchaCentralNode {
    central_with(name, &json!({"store": {"mongodb": {"managed": server}}, "deletionPolicy": policy}))
}

/// A first look at a central node with a managed server.
async fn made(server: &Value, policy: &str) -> (Scene, Arc<SorchaCentralNode>, Vec<Call>) {
    // What is merged into its metadata leaves the rest of the Secret as it is.
    let mut scene = Scene::new(|call| {
        let merged = call.method == "PATCH" && call.path.ends_with(&format!("/secrets/{SERVER}"));
        merged.then(|| (200, call.body.clone()))
    });
    let node = managed("n0", server, policy);
    put(&mut scene.writers.central_nodes, node.clone());
    let node = Arc::new(node);
    reconcile(Arc::clone(&node), Arc::clone(&scene.ctx)).await.expect("reconciled");
    let calls = scene.take_calls();
    (scene, node, calls)
}

fn secret(calls: &[Call]) -> Option<&Value> {
    let made = |call: &&Call| call.method == "POST" && call.body["metadata"]["name"] == SERVER;
    calls
        .iter()
        .filter(|call| call.path.ends_with("/secrets"))
        .find(made)
        .map(|call| &call.body["stringData"])
}

fn applied<'a>(calls: &'a [Call], path: &str) -> &'a Value {
    let found = calls.iter().find(|call| call.method == "PATCH" && call.path.ends_with(path));
    &found.unwrap_or_else(|| panic!("{path} is not written")).body
}

/// The server's first user is made from the Secret that its clients' connection string stands in; the password stands nowhere
/// else, and is another one each time.
#[tokio::test]
async fn server_and_clients_have_one_random_password_from_one_secret() {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let (_, _, calls) = made(&json!({}), "Retain").await;
        let secret = secret(&calls).expect("a Secret");
        let password = secret["password"].as_str().expect("a password").to_owned();
        assert!(password.len() >= 32 && !seen.contains(&password));
        let uri = secret["uri"].as_str().expect("a connection string");
        assert!(uri.starts_with(&format!("mongodb://sorcha:{password}@{SERVER}.shop.svc:27017/")), "{uri}");
        let server = applied(&calls, &format!("/statefulsets/{SERVER}"));
        let env = &server["spec"]["template"]["spec"]["containers"][0]["env"];
        let from = |name: &str, key: &str| json!({"name": name, "valueFrom": {"secretKeyRef": {"name": SERVER, "key": key}}});
        assert_eq!(
            env,
            &json!([
                from("MONGO_INITDB_ROOT_USERNAME", "username"),
                from("MONGO_INITDB_ROOT_PASSWORD", "password")
            ])
        );
        let volumes = &applied(&calls, "/statefulsets/n0")["spec"]["template"]["spec"]["volumes"];
        let volume = volumes.as_array().expect("volumes").iter().find(|volume| volume["name"] == "mongodb");
        let source = json!({"secretName": SERVER, "items": [{"key": "uri", "path": "uri"}]});
        assert_eq!(volume.map(|volume| &volume["secret"]), Some(&source));
        let told = calls.iter().filter(|call| call.body.to_string().contains(&password)).count();
        assert_eq!(told, 1, "in its Secret alone");
        seen.push(password);
    }
}

#[tokio::test]
async fn without_authentication_nobody_is_asked_for_a_password() {
    let (_, _, calls) = made(&json!({"authentication": "Disabled"}), "Retain").await;
    let uri = secret(&calls).expect("a Secret")["uri"].as_str().expect("a connection string");
    assert!(uri.starts_with(&format!("mongodb://{SERVER}.shop.svc:27017/")), "{uri}");
    let server = applied(&calls, &format!("/statefulsets/{SERVER}"));
    let env = &server["spec"]["template"]["spec"]["containers"][0]["env"];
    assert!(env.as_array().is_none_or(Vec::is_empty), "{env}");
}

/// The server keeps its password in its volume: a Secret that is there stays, and one that is lost beside a server is not made
/// up anew.
#[tokio::test]
async fn a_password_is_made_once() {
    let (mut scene, node, calls) = made(&json!({}), "Retain").await;
    reconcile(Arc::clone(&node), Arc::clone(&scene.ctx)).await.expect("one that is there is no error");
    let again = scene.take_calls();
    let others = again.iter().filter(|call| call.path.ends_with(&format!("/secrets/{SERVER}")));
    for call in others.filter(|call| call.method != "GET") {
        assert!(call.body.get("data").is_none() && call.body.get("stringData").is_none(), "{call:?}");
    }
    let mut server = applied(&calls, &format!("/statefulsets/{SERVER}")).clone();
    server["metadata"]["resourceVersion"] = json!("8");
    put(&mut scene.writers.stateful_sets, serde_json::from_value(server).expect("a StatefulSet"));
    reconcile(node, Arc::clone(&scene.ctx)).await.expect("reconciled");
    assert_eq!(secret(&scene.take_calls()), None, "there is a server: its Secret is not made anew");
}

/// It goes with the last central node if that says so, and is kept while any of them wants it; its password likewise.
#[tokio::test]
async fn of_mixed_policies_retain_counts_and_the_secret_goes_where_the_volume_goes() {
    for (policies, expected) in [
        (vec!["Delete", "Delete"], "Delete"),
        (vec!["Delete", "Retain"], "Retain"),
        (vec!["Retain", "Delete"], "Retain"),
        (vec!["Delete"], "Delete"),
        (vec!["Retain"], "Retain"),
    ] {
        let nodes = policies.iter().enumerate();
        let nodes: Vec<_> = nodes
            .map(|(number, policy)| Arc::new(managed(&format!("n{number}"), &json!({}), policy)))
            .collect();
        let count = nodes.len();
        let shared = desired::shared(&settings(), &Network::new("sorcha.dev", "shop", nodes), |_| None);
        let server = shared.mongodb.expect("a server").stateful_set;
        let retention = server.spec.and_then(|spec| spec.persistent_volume_claim_retention_policy);
        let found = retention.and_then(|retention| retention.when_deleted);
        assert_eq!(found.as_deref(), Some(expected), "{policies:?}");
        assert_eq!(server.metadata.owner_references.map(|owners| owners.len()), Some(count), "{policies:?}");
    }
    for (policy, owners) in [("Retain", json!([])), ("Delete", json!(["uid-n0"]))] {
        let (_, _, calls) = made(&json!({}), policy).await;
        let metadata = &applied(&calls, &format!("/secrets/{SERVER}"))["metadata"];
        let held = metadata["ownerReferences"].as_array().cloned().unwrap_or_default();
        let held: Vec<_> = held.iter().map(|owner| owner["uid"].clone()).collect();
        assert_eq!(json!(held), owners, "{policy}");
    }
}

#[tokio::test]
async fn a_server_of_one_member_has_no_budget() {
    let (_, _, calls) = made(&json!({}), "Retain").await;
    let budgets = calls.iter().filter(|call| call.method == "PATCH");
    let budgets: Vec<_> = budgets.filter_map(|call| call.path.split_once("/poddisruptionbudgets/")).collect();
    assert_eq!(
        budgets.iter().map(|(_, name)| *name).collect::<Vec<_>>(),
        ["sorcha-central-nodes.sorcha.dev"]
    );
}
