//! Publishing, deprecating, and everything that is refused.

use async_trait::async_trait;
use sorcha_register::{entry::SealedEntry, integrity::Fault, lineage::Genesis, names::BlueprintId};
use sorcha_store::{Checkpoint, Draft, Loaded, Publication, StateChange, Store, StoreError};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_publication_is_created_once() {
    let (router, node) = central(|_| ()).await;
    let created = post(&router, PUBLISH, publication("a")).await;
    assert_eq!(created.status, StatusCode::CREATED);
    assert_eq!(created.header("location"), "/api/system-register/blueprints/a");
    let body = created.json();
    assert_eq!((&body["blueprintId"], &body["version"]), (&"a".into(), &1.into()));
    assert_eq!(body["publishedAt"], START_TEXT);
    assert_eq!(body["transactionId"].as_str().unwrap().len(), 36);
    let read = get(&router, created.header("location")).await.json();
    assert_eq!(read["checksum"], body["checksum"]);
    assert_eq!((&read["publishedBy"], &read["metadata"]["category"]), (&"anonymous".into(), &"test".into()));

    let spaced = r#" { "blueprint" : { "id" : "a", "name" : "Blueprint a" }, "blueprintId" : "a" } "#;
    let again = post(&router, PUBLISH, spaced).await;
    assert_eq!((again.status, again.json()), (StatusCode::OK, body));
    assert!(!again.headers.contains_key("location"));
    assert_eq!(node.log.view().head().get(), 1);

    let other = post(&router, PUBLISH, r#"{"blueprintId":"a","blueprint":{"id":"other"}}"#).await;
    assert!(other.problem(409, "conflict").contains("already published with other content"));
}

#[tokio::test(start_paused = true)]
async fn nothing_of_the_document_is_lost() {
    let (router, _) = central(|_| ()).await;
    let body = r#"{"blueprintId":"a","blueprint":{"n":0.1e1,"s":"é\u0001","z":1e30},"publishedBy":"alice","metadata":null,"previousTransactionId":"tx-0"}"#;
    assert_eq!(post(&router, PUBLISH, body).await.status, StatusCode::CREATED);
    let raw = get(&router, "/api/system-register/blueprints/a?raw=true").await;
    assert_eq!(raw.body, "{\"n\":1,\"s\":\"é\\u0001\",\"z\":1e+30}");
    assert_eq!(get(&router, "/api/system-register/blueprints/a").await.json()["publishedBy"], "alice");
}

#[tokio::test(start_paused = true)]
async fn deprecation_and_reactivation_take_new_versions() {
    let (router, _) = central(|_| ()).await;
    post(&router, PUBLISH, publication("a")).await;
    let of = |reply: &Reply| {
        (reply.status.as_u16(), reply.json()["version"].as_i64(), reply.json()["isActive"].as_bool())
    };
    let deprecate = "/api/system-register/blueprints/a/deprecate";
    assert_eq!(of(&post(&router, deprecate, "").await), (200, Some(2), Some(false)));
    assert_eq!(of(&post(&router, deprecate, "").await), (200, Some(2), Some(false)));
    let reactivate = "/api/system-register/blueprints/a/reactivate";
    assert_eq!(of(&post(&router, reactivate, "").await), (200, Some(3), Some(true)));
    post(&router, "/api/system-register/blueprints/zzz/deprecate", "").await.problem(404, "not-found");
    post(&router, "/api/system-register/blueprints/a.b/reactivate", "").await.problem(400, "invalid-request");
}

/// Each body is refused, with all of these parts in the message, and nothing is stored.
#[tokio::test(start_paused = true)]
async fn a_publication_belongs_to_its_callers_trace() {
    use opentelemetry::trace::TracerProvider as _;
    use tracing_subscriber::layer::SubscriberExt as _;
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let (router, node) = central(|_| ()).await;
    // A span that another test's thread meets for the first time just now would stay off: here all are known already.
    post(&router, PUBLISH, publication("z")).await;
    let provider = opentelemetry_sdk::trace::SdkTracerProvider::default();
    let tracer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let _in_effect = tracing::subscriber::set_default(tracing_subscriber::registry().with(tracer));

    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let headers = [("content-type", "application/json"), ("traceparent", parent.as_str())];
    call(&router, Method::POST, PUBLISH, &headers, publication("a").into()).await;
    let published = BlueprintId::new("a").unwrap();
    let stored = node.log.view().get(&published).unwrap().entry().trace_parent().to_owned();
    assert!(stored.starts_with(&format!("00-{TRACE}-")) && stored != parent, "{stored}");
}

#[tokio::test(start_paused = true)]
async fn initialisation_is_idempotent() {
    let (router, node) = central(|_| ()).await;
    let first = post(&router, "/api/system-register/initialize", "").await.json();
    assert_eq!((&first["status"], node.log.view().len()), (&"Initialized".into(), 1));
    let second = post(&router, "/api/system-register/initialize", "").await.json();
    assert_eq!((&second["status"], node.log.view().len()), (&"AlreadyInitialized".into(), 1));
    let seed = get(&router, "/api/system-register/blueprints/register-creation-v1").await.json();
    assert_eq!((&seed["publishedBy"], &seed["metadata"]["isDefault"]), (&"system".into(), &"true".into()));
    let (bare, _) = central_over(Arc::new(store()), Vec::new(), |_| ()).await;
    post(&bare, "/api/system-register/initialize", "").await.problem(503, "not-ready");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_register_takes_nothing() {
    let findings = vec![Finding::at(Version::try_from(3).unwrap(), None, Fault::Missing)];
    let (router, _) = central_over(Arc::new(store()), findings, |_| ()).await;
    for (path, body) in [
        (PUBLISH, publication("a")),
        ("/api/system-register/blueprints/a/deprecate", String::new()),
        ("/api/system-register/initialize", String::new()),
    ] {
        let detail = post(&router, path, body).await.problem(503, "register-damaged");
        assert!(detail.contains("version 3: missing") && detail.contains("register restore"), "{detail}");
    }
    let register = get(&router, "/api/system-register").await.json();
    assert_eq!((&register["status"], &register["findings"][0]["version"]), (&"Damaged".into(), &3.into()));
}

/// A store whose writes fail.
struct Failing(JournalStore, StoreError);

#[async_trait]
impl Store for Failing {
    fn kind(&self) -> &'static str {
        "failing"
    }
    async fn load(&self) -> Result<Loaded, StoreError> {
        self.0.load().await
    }
    async fn init_genesis(&self, genesis: Genesis) -> Result<Genesis, StoreError> {
        self.0.init_genesis(genesis).await
    }
    async fn publish(&self, _: Draft) -> Result<Publication, StoreError> {
        Err(self.1.clone())
    }
    async fn set_active(&self, _: StateChange) -> Result<Publication, StoreError> {
        Err(self.1.clone())
    }
    async fn read_after(&self, after: Version, limit: usize) -> Result<Vec<Arc<SealedEntry>>, StoreError> {
        self.0.read_after(after, limit).await
    }
    async fn changed(&self, after: Version) {
        self.0.changed(after).await;
    }
    async fn apply(&self, _: Vec<Arc<SealedEntry>>, _: Checkpoint) -> Result<(), StoreError> {
        Err(self.1.clone())
    }
    async fn replace(
        &self,
        _: Option<Genesis>,
        _: Vec<Arc<SealedEntry>>,
        _: Option<Checkpoint>,
    ) -> Result<(), StoreError> {
        Err(self.1.clone())
    }
    async fn flush(&self) -> Result<(), StoreError> {
        Err(self.1.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn each_store_error_has_its_status() {
    let id = || BlueprintId::new("a").unwrap();
    let why = || "because".to_owned();
    let invalid = sorcha_register::names::check_length("trace_parent", &"x".repeat(56), 55).unwrap_err();
    for (error, status, slug) in [
        (StoreError::Unavailable(why()), 503, "store-unavailable"),
        (StoreError::Full(why()), 507, "store-full"),
        (StoreError::NotFound(id()), 404, "not-found"),
        (StoreError::Invalid(invalid), 400, "invalid-request"),
        (StoreError::Unstorable(why()), 422, "unstorable"),
        (StoreError::Damaged(why()), 503, "register-damaged"),
        (StoreError::Internal(why()), 500, "internal"),
    ] {
        let (router, _) = central_over(Arc::new(Failing(store(), error.clone())), Vec::new(), |_| ()).await;
        for (path, body) in
            [(PUBLISH, publication("a")), ("/api/system-register/blueprints/a/deprecate", String::new())]
        {
            let reply = post(&router, path, body).await;
            reply.problem(status, slug);
            assert_eq!(
                reply.headers.contains_key("retry-after"),
                matches!(error, StoreError::Unavailable(_))
            );
        }
    }
}
