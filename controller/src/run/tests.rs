//! A whole controller before an API server whose objects are as odd as users make them.

use std::{
    collections::HashMap,
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::{Body, Bytes};
use futures::stream;
use http::{Request, Response};
use kube::Client;
use serde_json::{Value, json};
use tokio::time::timeout;
use tracing_subscriber::fmt::MakeWriter;

use crate::{fixtures::settings, logging, metrics::Metrics};

/// Stands in every object, Secret and token; it may get nowhere.
const MARKER: &str = "MARKER";

/// An API server that holds texts, by the collections' last word.
#[derive(Default)]
struct Api {
    items: HashMap<&'static str, Vec<String>>,
    /// Collections that can't be listed, and what they answer.
    broken: HashMap<&'static str, (u16, &'static str)>,
    /// What was patched: path and body.
    patched: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Api {
    fn client(self) -> Client {
        let api = Arc::new(self);
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let api = Arc::clone(&api);
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let (code, body) = api.answer(&parts, &body);
                Ok::<_, std::io::Error>(Response::builder().status(code).body(body).unwrap())
            }
        });
        Client::new(service, "shop")
    }

    fn answer(&self, parts: &http::request::Parts, body: &Bytes) -> (u16, Body) {
        let path = parts.uri.path();
        let query = parts.uri.query().unwrap_or_default();
        if parts.method != "GET" {
            let body = serde_json::from_slice(body).unwrap_or_default();
            self.patched.lock().unwrap().push((path.to_owned(), body));
            let token = json!({"metadata": {}, "spec": {"audiences": [], "expirationSeconds": 600},
                "status": {"token": MARKER, "expirationTimestamp": "2026-11-22T11:00:00Z"}});
            let text =
                if path.ends_with("/token") { token } else { json!({"metadata": {"resourceVersion": "9"}}) };
            return (200, Body::from(text.to_string()));
        }
        let last = path.rsplit('/').next().unwrap_or_default();
        if let Some(items) = self.items.get(last) {
            if let Some((code, text)) = self.broken.get(last) {
                return (*code, Body::from(*text));
            }
            if query.contains("watch=true") {
                return (200, Body::from_stream(stream::pending::<std::io::Result<Bytes>>()));
            }
            let list =
                format!(r#"{{"metadata": {{"resourceVersion": "5"}}, "items": [{}]}}"#, items.join(","));
            return (200, Body::from(list));
        }
        let plural = path.rsplit('/').nth(1).unwrap_or_default();
        let named = format!(r#""name": "{last}""#);
        let held = self.items.get(plural).into_iter().flatten();
        match held.into_iter().find(|item| item.contains(&named)) {
            Some(item) => (200, Body::from(item.clone())),
            None => (404, Body::from(json!({"code": 404, "reason": "NotFound"}).to_string())),
        }
    }
}

fn nested(levels: usize) -> String {
    format!("{}\"{MARKER}\"{}", format!("{{\"{MARKER}\":").repeat(levels), "}".repeat(levels))
}

/// A resource; `managed` is what one of its field managers owns.
fn resource(kind: &str, name: &str, managed: &str, spec: &str) -> String {
    format!(
        r#"{{"apiVersion": "sorcha.dev/v1alpha1", "kind": "{kind}", "metadata": {{"name": "{name}", "namespace": "shop",
        "uid": "uid-{name}", "resourceVersion": "5", "generation": 1, "creationTimestamp": "2026-11-22T10:00:00Z",
        "annotations": {{"x": "{MARKER}"}}, "managedFields": [{{"manager": "m", "fieldsV1": {managed}}}]}}, "spec": {spec},
        "status": {{"conditions": [{{"type": "Ready", "status": "True", "reason": "Serving", "message": "",
        "lastTransitionTime": "2026-11-22T10:00:00Z"}}]}}}}"#
    )
}

/// Kinds of Kubernetes' own that are watched.
const WATCHED: [&str; 11] = [
    "serviceaccounts",
    "roles",
    "rolebindings",
    "configmaps",
    "secrets",
    "services",
    "networkpolicies",
    "poddisruptionbudgets",
    "statefulsets",
    "cronjobs",
    "pods",
];

/// Objects of all kinds, a good one and odd ones each.
fn items() -> HashMap<&'static str, Vec<String>> {
    let mut items = HashMap::from(WATCHED.map(|plural| (plural, odd(plural))));
    let central = |name: &str, managed: &str, spec: &str| resource("SorchaCentralNode", name, managed, spec);
    let later = format!(r#"{{"store": {{"embedded": {{}}}}, "tls": {{"mode": "{MARKER}"}}}}"#);
    items.insert(
        "sorchacentralnodes",
        vec![
            central("typed", "{}", &format!(r#"{{"store": "{MARKER}"}}"#)),
            central("deep", "{}", &format!(r#"{{"store": {}}}"#, nested(9_999))),
            central("later", "{}", &later),
            central("n0", &nested(9_999), r#"{"store": {"embedded": {}}}"#),
        ],
    );
    items.insert(
        "sorchapeers",
        vec![
            resource("SorchaPeer", "typed", "{}", &format!(r#"{{"replicas": "{MARKER}"}}"#)),
            resource("SorchaPeer", "edge", &nested(9_999), r#"{"replicas": 1}"#),
        ],
    );
    items.insert("sorchablueprints", blueprints());
    items
}

fn odd(plural: &str) -> Vec<String> {
    let metadata = |name: &str| {
        format!(r#""metadata": {{"name": "{plural}-{name}", "namespace": "shop", "resourceVersion": "5"}}"#)
    };
    vec![
        format!(
            r#"{{{}, "spec": "{MARKER}", "data": "{MARKER}", "rules": "{MARKER}", "subjects": 7, "secrets": 7}}"#,
            metadata("typed")
        ),
        format!(r#"{{{}, "spec": {}}}"#, metadata("deep"), nested(9_999)),
        format!(r#"{{"metadata": {{"labels": {{"a": "{MARKER}"}}}}}}"#),
        format!(r#"{{{}, "data": {{"long": "{}"}}}}"#, metadata("long"), MARKER.repeat(50_000)),
    ]
}

fn blueprints() -> Vec<String> {
    let blueprint = |name: &str, managed: &str, spec: &str| resource("SorchaBlueprint", name, managed, spec);
    let mut blueprints = vec![
        blueprint("typed", "{}", &format!(r#"{{"document": {{}}, "active": "{MARKER}"}}"#)),
        blueprint("listed", "{}", &format!(r#"{{"document": ["{MARKER}"]}}"#)),
        blueprint("good", &nested(9_999), r#"{"document": {"a": 1}}"#),
    ];
    for levels in [100, 126, 130, 1_000, 9_999] {
        let spec = format!(r#"{{"document": {}}}"#, nested(levels));
        blueprints.push(blueprint(&format!("deep-{levels}"), &nested(levels), &spec));
    }
    blueprints
}

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Runs a controller for a while; what it patched, what it logged, and its measurements.
async fn run(api: Api, seconds: u64) -> (Vec<(String, Value)>, String, Metrics) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(logging::filter("trace").unwrap())
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let patched = Arc::clone(&api.patched);
    let metrics = Metrics::new().unwrap();
    let mut settings = settings();
    // Nobody listens there.
    settings.central_urls = vec![("n0".into(), "http://127.0.0.1:9".parse().unwrap())];
    let controller = super::reconcile(
        api.client(),
        settings,
        "test".into(),
        metrics.clone(),
        crate::leader::fence::Fence::open(),
    );
    let _for_ever = timeout(Duration::from_secs(seconds), controller).await;
    let patched = patched.lock().unwrap().clone();
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    (patched, log, metrics)
}

/// Status and reason of a condition that was written last.
fn condition(patched: &[(String, Value)], plural: &str, name: &str, type_: &str) -> Option<(String, String)> {
    let path = format!("/{plural}/{name}/status");
    let written = patched.iter().rev().filter(|(at, _)| at.ends_with(&path));
    let mut conditions =
        written.flat_map(|(_, body)| body["status"]["conditions"].as_array().cloned().unwrap_or_default());
    let held = conditions.find(|condition| condition["type"] == type_)?;
    let text = |key: &str| held[key].as_str().unwrap_or_default().to_owned();
    Some((format!("{} {}", text("status"), text("reason")), text("message")))
}

#[tokio::test(start_paused = true)]
async fn an_odd_object_is_told_so_and_everything_else_goes_on() {
    let api = Api { items: items(), ..Api::default() };
    let (patched, log, _) = run(api, 120).await;
    let of =
        |plural: &str, name: &str, type_: &str| condition(&patched, plural, name, type_).unwrap_or_default();
    for (plural, name) in [
        ("sorchacentralnodes", "typed"),
        ("sorchacentralnodes", "deep"),
        ("sorchacentralnodes", "later"),
        ("sorchapeers", "typed"),
        ("sorchablueprints", "typed"),
    ] {
        let (condition, message) = of(plural, name, "Ready");
        assert_eq!(condition, "False InvalidSpec", "{plural} {name}\n{log}");
        assert!(message.starts_with("spec"), "{plural} {name}: {message}");
    }
    for name in ["deep-130", "deep-1000", "deep-9999", "listed"] {
        let (condition, message) = of("sorchablueprints", name, "Published");
        assert_eq!(condition, "False InvalidDocument", "{name}: {message}\n{log}");
        assert!(message.starts_with("spec.document is not a JSON object: "), "{message}");
    }
    for name in ["good", "deep-100", "deep-126"] {
        let (condition, message) = of("sorchablueprints", name, "Published");
        assert_eq!(condition, "False Waiting", "{name}: {message}");
        assert!(message.starts_with("n0: "), "it got as far as the central node: {message}");
    }
    assert!(!of("sorchacentralnodes", "n0", "Ready").0.is_empty(), "{log}");
    assert!(!of("sorchapeers", "edge", "Ready").0.is_empty(), "{log}");
    assert!(!log.contains(MARKER), "{}", log.lines().find(|line| line.contains(MARKER)).unwrap_or_default());
    let told = patched
        .iter()
        .filter(|(path, _)| !path.ends_with("/token"))
        .find(|(_, body)| body.to_string().contains(MARKER));
    assert_eq!(told, None, "nor is it in a condition or an Event");
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_cannot_be_listed_stops_only_what_needs_it() {
    let forbidden = r#"{"kind": "Status", "code": 403, "reason": "Forbidden", "message": "you may not"}"#;
    for (broken, nodes, blueprints) in [
        ("sorchablueprints", true, false),
        ("sorchapeers", false, true),
        ("pods", false, true),
        ("cronjobs", true, true),
        ("networkpolicies", true, true),
        ("secrets", false, true),
    ] {
        let answers = [(403, forbidden), (200, "<html>MARKER</html>"), (500, "MARKER")];
        let count = if broken == "pods" { answers.len() } else { 1 };
        for answer in answers.into_iter().take(count) {
            let api = Api { items: items(), broken: [(broken, answer)].into(), ..Api::default() };
            let (patched, log, metrics) = run(api, 120).await;
            let of = |plural: &str, name: &str| condition(&patched, plural, name, "Ready").is_some();
            assert_eq!(of("sorchacentralnodes", "n0"), nodes, "{broken}\n{log}");
            assert_eq!(of("sorchablueprints", "good"), blueprints, "{broken}\n{log}");
            assert!(!log.contains(MARKER), "{log}");
            let told = log.lines().filter(|line| line.contains("watch failed")).count();
            assert!((1..=4).contains(&told), "{told} lines of {broken}\n{log}");
            let families = metrics.registry().gather();
            let watches = families.iter().find(|f| f.name() == "sorcha_controller_watch_up").unwrap();
            let down = watches.get_metric().iter().filter(|m| m.get_gauge().get_value() < 0.5).count();
            assert_eq!(down, 1, "{broken}");
        }
    }
}
