//! Resources, pods and an API server that answers from a script, for the tests of this crate.

mod pods;

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http::{Request, Response};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, Pod, PodSpec, PodTemplateSpec},
};
use kube::{
    Client,
    client::Body,
    runtime::{reflector::store::Writer, watcher},
};
use serde_json::{Value, json};
use sorcha_crds::{SorchaBlueprint, SorchaCentralNode, SorchaPeer};

pub(crate) use self::pods::{
    assert_configured, assert_confined, assert_overridden, every_override, pod, settle,
};
use crate::{
    cache::{self, Watched, Writers},
    config::{Certificates, LogFormat, Settings},
    context::Ctx,
    leader::fence::Fence,
    metrics::Metrics,
};

pub(crate) const IMAGE: &str = "localhost/sorcha:test";

/// A central node over a MongoDB of the user's.
pub(crate) fn central(name: &str, priority: i32) -> SorchaCentralNode {
    central_with(
        name,
        &json!({"priority": priority, "store": {"mongodb": {"uriSecretRef": {"name": "db", "key": "uri"}}}}),
    )
}

pub(crate) fn central_with(name: &str, spec: &Value) -> SorchaCentralNode {
    resource("SorchaCentralNode", name, spec)
}

pub(crate) fn peer(name: &str, replicas: i32) -> SorchaPeer {
    peer_with(name, &json!({"replicas": replicas}))
}

pub(crate) fn peer_with(name: &str, spec: &Value) -> SorchaPeer {
    resource("SorchaPeer", name, spec)
}

pub(crate) fn blueprint(name: &str, spec: &Value) -> SorchaBlueprint {
    resource("SorchaBlueprint", name, spec)
}

fn resource<K: serde::de::DeserializeOwned>(kind: &str, name: &str, spec: &Value) -> K {
    let value = json!({
        "apiVersion": "sorcha.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "generation": 1, "resourceVersion": "5"},
        "spec": spec,
    });
    serde_json::from_value(value).expect("a resource")
}

/// A call that was made.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
}

impl Call {
    async fn of(request: Request<Body>) -> Self {
        let (parts, body) = request.into_parts();
        let bytes = body.collect_bytes().await.expect("a body");
        Self {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
        }
    }
}

/// A controller over caches that the test fills and an API server that the test writes.
pub(crate) struct Scene {
    pub(crate) ctx: Arc<Ctx>,
    pub(crate) writers: Writers,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Scene {
    /// `answer` gives status code and body for a call. Where it gives `None`, writes succeed as they are, and nothing is
    /// found but Secrets that were made.
    pub(crate) fn new(answer: impl Fn(&Call) -> Option<(u16, Value)> + Send + Sync + 'static) -> Self {
        Self::with(settings(), answer)
    }

    /// The same, with other settings.
    pub(crate) fn with(
        settings: Settings,
        answer: impl Fn(&Call) -> Option<(u16, Value)> + Send + Sync + 'static,
    ) -> Self {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (recorded, answer) = (Arc::clone(&calls), Arc::new(answer));
        let secrets = Arc::new(Mutex::new(HashMap::new()));
        let service = tower::service_fn(move |request: Request<Body>| {
            let (recorded, answer, secrets) =
                (Arc::clone(&recorded), Arc::clone(&answer), Arc::clone(&secrets));
            async move {
                let call = Call::of(request).await;
                let otherwise = || otherwise(&call, &mut secrets.lock().expect("secrets"));
                let (code, mut body) = answer(&call).unwrap_or_else(otherwise);
                if code == 200 {
                    body["metadata"]["resourceVersion"] = json!("7");
                    if call.path.ends_with("/status") && body.get("spec").is_none() {
                        body["spec"] = json!({"store": {}});
                        // What was written is no whole resource: it is not to be remembered as this one.
                        body["metadata"]["uid"] = Value::Null;
                    }
                }
                recorded.lock().expect("calls").push(call);
                let response =
                    Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
                Ok::<_, Infallible>(response.expect("a response"))
            }
        });
        let (caches, writers) = cache::caches();
        let metrics = Metrics::new().expect("metrics");
        let client = Client::new(service, "shop");
        Self {
            ctx: Arc::new(Ctx::new(client, settings, caches, metrics, "test".into(), Fence::open())),
            writers,
            calls,
        }
    }

    /// The calls since the last time.
    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().expect("calls"))
    }
}

/// What an API server answers that has nothing but the Secrets that were made.
fn otherwise(call: &Call, secrets: &mut HashMap<String, Value>) -> (u16, Value) {
    let failure = |code: u16, reason: &str| {
        (
            code,
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason}),
        )
    };
    let is_secret = call.path.contains("/secrets");
    let name = call.body["metadata"]["name"].as_str().unwrap_or_default();
    let path = if call.method == "POST" { format!("{}/{name}", call.path) } else { call.path.clone() };
    match call.method.as_str() {
        "GET" => secrets.get(&path).cloned().map_or_else(|| failure(404, "NotFound"), |secret| (200, secret)),
        "POST" if secrets.contains_key(&path) => failure(409, "AlreadyExists"),
        _ => {
            if is_secret {
                secrets.insert(path, call.body.clone());
            }
            (200, call.body.clone())
        }
    }
}

/// What was written; looks are free.
pub(crate) fn writes(calls: &[Call]) -> Vec<String> {
    calls
        .iter()
        .filter(|call| call.method != "GET")
        .map(|call| format!("{} {}", call.method, call.path.rsplit("/shop/").next().unwrap_or_default()))
        .collect()
}

/// A condition of a status that was written.
pub(crate) fn condition<'a>(status: &'a Value, type_: &str) -> &'a Value {
    let list = status["conditions"].as_array().expect("conditions");
    list.iter().find(|condition| condition["type"] == type_).expect("a condition")
}

/// Puts an object into a cache.
pub(crate) fn put<K: Watched>(writer: &mut Writer<K>, object: K) {
    writer.apply_watcher_event(&watcher::Event::Apply(object));
}

pub(crate) fn settings() -> Settings {
    Settings {
        node_image: IMAGE.into(),
        node_image_pull_policy: "IfNotPresent".into(),
        node_reviews_binding: Some("sorcha-node-reviews".into()),
        disruption_budgets: true,
        namespace: None,
        leader_elect: false,
        lease_name: "lease".into(),
        lease_namespace: None,
        lease_seconds: 15,
        listen: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
        concurrency: 1,
        resync: std::time::Duration::from_secs(600),
        publisher_service_account: Some("sorcha-publisher".into()),
        publisher_service_account_namespace: Some("sorcha-system".into()),
        publish_timeout: std::time::Duration::from_secs(5),
        deprecate_timeout: std::time::Duration::from_secs(300),
        central_urls: Vec::new(),
        certificates: Certificates {
            ca_lifetime: std::time::Duration::from_secs(365 * 86_400),
            certificate_lifetime: std::time::Duration::from_secs(30 * 86_400),
            certificate_settle: std::time::Duration::from_secs(300),
            foreign_refresh: std::time::Duration::from_secs(60),
        },
        log: "info".into(),
        log_format: LogFormat::Human,
    }
}
