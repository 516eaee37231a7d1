//! One resource, an API server that holds it, and central nodes over one register. Their answers can be spoilt.

mod central;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use kube::runtime::controller::Action;
use serde_json::{Value, json};
use sorcha_central::{CentralNode, publish::Submission};
use sorcha_config::Config;
use sorcha_crds::{SorchaBlueprint, SorchaBlueprintStatus, SorchaCentralNode};
use sorcha_host::{open_embedded, prepare_central};
use sorcha_http::{Auth, NodeHandle, router, serve};
use sorcha_register::{entry::Entry, names::BlueprintId};
use sorcha_runtime::{env::Env, metrics::Metrics};
use sorcha_store::Store;
use tokio::net::TcpListener;

use crate::{
    fixtures::{Call, Scene, central, put, settings},
    reconcile::{Error, reconcile},
};

pub(super) use self::central::{Central, Spoil};

/// What the API server gives for the controller's ServiceAccount.
pub(super) const TOKEN: &str = "0123456789abcdefghij";
pub(super) const ID: &str = "invoice-v1";

/// What the API server holds.
#[derive(Default)]
pub(super) struct Held {
    pub(super) blueprint: Option<Value>,
    pub(super) config_maps: HashMap<String, Value>,
    /// Whether their owners let them be published.
    pub(super) label: String,
    /// Other blueprints, which are read only.
    pub(super) others: HashMap<String, Value>,
    /// Somebody changes the resource before the next write of its metadata.
    pub(super) deleted_before_write: bool,
    pub(super) token: String,
    /// Audiences of the tokens that were asked for.
    pub(super) audiences: Vec<Value>,
}

pub(super) struct World {
    pub(super) scene: Scene,
    pub(super) held: Arc<Mutex<Held>>,
    pub(super) centrals: Vec<Central>,
    _data: tempfile::TempDir,
}

impl World {
    /// Central nodes n0, n1, …, all ready.
    pub(super) async fn new(centrals: usize) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.store.data_dir = data.path().to_owned();
        let store = open_embedded(&config, &Env::system(Metrics::disabled()), false).await.unwrap();
        let (mut nodes, mut settings) = (Vec::new(), settings());
        for number in 0..centrals {
            let (central, address) = Central::start(number, Arc::clone(&store)).await;
            settings.central_urls.push((format!("n{number}"), format!("http://{address}").parse().unwrap()));
            nodes.push(central);
        }
        let held = Arc::new(Mutex::new(Held {
            token: TOKEN.to_owned(),
            label: "true".to_owned(),
            ..Held::default()
        }));
        let api = Arc::clone(&held);
        let scene = Scene::with(settings, move |call| api.lock().unwrap().answer(call));
        let mut world = Self { scene, held, centrals: nodes, _data: data };
        for number in 0..centrals {
            world.report(number, true, &json!({}));
        }
        world
    }

    /// Creates the resource `invoice-v1`.
    pub(super) fn apply(&self, spec: &Value) {
        let metadata = json!({
            "name": ID, "namespace": "shop", "uid": "uid-1", "generation": 1, "resourceVersion": "1",
            "creationTimestamp": "2026-11-22T10:00:00Z",
        });
        let kind = json!({"apiVersion": "sorcha.dev/v1alpha1", "kind": "SorchaBlueprint"});
        let mut object = json!({"metadata": metadata, "spec": spec});
        object.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
        self.held.lock().unwrap().blueprint = Some(object);
    }

    /// Changes the spec.
    pub(super) fn change(&self, field: &str, value: Value) {
        let mut held = self.held.lock().unwrap();
        let object = held.blueprint.as_mut().unwrap();
        object["spec"][field] = value;
        object["metadata"]["generation"] = json!(object["metadata"]["generation"].as_i64().unwrap() + 1);
    }

    /// Deletes the resource as the API server does: with finalizers it stays for a while.
    pub(super) fn delete(&self, at: &str) {
        let mut held = self.held.lock().unwrap();
        held.blueprint.as_mut().unwrap()["metadata"]["deletionTimestamp"] = json!(at);
        held.collect();
    }

    pub(super) fn blueprint(&self) -> Option<SorchaBlueprint> {
        let held = self.held.lock().unwrap();
        held.blueprint.clone().map(|value| serde_json::from_value(value).unwrap())
    }

    pub(super) fn status(&self) -> SorchaBlueprintStatus {
        self.blueprint().expect("the resource").status.unwrap_or_default()
    }

    pub(super) fn finalizers(&self) -> Vec<String> {
        self.blueprint().expect("the resource").metadata.finalizers.unwrap_or_default()
    }

    /// Status and reason of a condition, and its message.
    pub(super) fn condition(&self, type_: &str) -> (String, String) {
        let conditions = self.status().conditions;
        let condition = conditions.iter().find(|c| c.type_ == type_).expect("the condition");
        (format!("{} {}", condition.status, condition.reason), condition.message.clone())
    }

    /// One reconcile over what the API server holds now.
    pub(super) async fn pass(&mut self) -> Result<Action, Error> {
        let blueprint = self.blueprint().expect("the resource");
        put(&mut self.scene.writers.blueprints, blueprint.clone());
        reconcile(Arc::new(blueprint), Arc::clone(&self.scene.ctx)).await
    }

    /// One reconcile of a controller that remembers nothing.
    pub(super) async fn restarted_pass(&mut self) -> Result<Action, Error> {
        self.scene.ctx.publisher.memory.forget("uid-1");
        self.pass().await
    }

    /// What the resource of a central node says.
    pub(super) fn report(&mut self, number: usize, ready: bool, status: &Value) {
        let mut node: SorchaCentralNode = central(&format!("n{number}"), i32::try_from(number).unwrap());
        let mut status = status.clone();
        status["conditions"] = json!([{
            "type": "Ready", "status": if ready { "True" } else { "False" }, "reason": "Serving", "message": "",
            "lastTransitionTime": "2026-11-22T10:00:00Z",
        }]);
        node.status = serde_json::from_value(status).unwrap();
        put(&mut self.scene.writers.central_nodes, node);
    }

    /// What the register holds under the id.
    pub(super) fn entry(&self) -> Option<Entry> {
        let id = BlueprintId::new(ID).unwrap();
        self.centrals[0].node.log.view().get(&id).map(|sealed| sealed.whole().unwrap())
    }

    /// Somebody else publishes.
    pub(super) async fn publish_by_hand(&self, document: &Value) -> i64 {
        let submission = Submission {
            blueprint_id: ID.to_owned(),
            document: document.to_string().into(),
            published_by: "alice".to_owned(),
            metadata: std::collections::BTreeMap::new(),
        };
        self.centrals[0].node.publish(submission).await.unwrap().entry.entry().version.get()
    }

    /// Reasons of the Events since the last time, with their messages.
    pub(super) fn events(calls: &[Call]) -> Vec<(String, String)> {
        let sent = calls.iter().filter(|call| call.path.ends_with("/events"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        sent.map(|call| (text(&call.body["reason"]), text(&call.body["note"]))).collect()
    }
}

impl Held {
    pub(super) fn answer(&mut self, call: &Call) -> Option<(u16, Value)> {
        let missing = || json!({"kind": "Status", "apiVersion": "v1", "code": 404, "reason": "NotFound"});
        if call.path.ends_with("/serviceaccounts/sorcha-publisher/token") {
            let spec = &call.body["spec"];
            self.audiences.push(spec["audiences"].clone());
            let status = json!({"token": self.token, "expirationTimestamp": "2026-11-22T11:00:00Z"});
            return Some((200, json!({"metadata": {}, "spec": spec, "status": status})));
        }
        if let Some((_, name)) = call.path.split_once("/configmaps/") {
            let data = self.config_maps.get(name);
            let labels = json!({"sorcha.dev/publish": self.label});
            let found =
                data.map(|data| (200, json!({"metadata": {"name": name, "labels": labels}, "data": data})));
            return Some(found.unwrap_or_else(|| (404, missing())));
        }
        let (_, rest) = call.path.split_once("/sorchablueprints/")?;
        if let Some(other) = self.others.get(rest) {
            return Some((200, other.clone()));
        }
        if call.method == "PATCH" && std::mem::take(&mut self.deleted_before_write) {
            self.blueprint = None;
        }
        let Some(object) = &mut self.blueprint else { return Some((404, missing())) };
        match (call.method.as_str(), rest.ends_with("/status")) {
            ("GET", _) => {}
            (_, true) => object["status"] = call.body["status"].clone(),
            (_, false) => object["metadata"]["finalizers"] = call.body["metadata"]["finalizers"].clone(),
        }
        let answer = object.clone();
        self.collect();
        Some((200, answer))
    }

    fn collect(&mut self) {
        let gone = self.blueprint.as_ref().is_some_and(|object| {
            let metadata = &object["metadata"];
            metadata["deletionTimestamp"].is_string()
                && metadata["finalizers"].as_array().is_none_or(Vec::is_empty)
        });
        if gone {
            self.blueprint = None;
        }
    }
}
