//! Reading the register, and the headers that state what the answer is worth.

use std::time::Duration;

use sorcha_peer::machine::state::PeerState;
use sorcha_register::{
    canonical::Document,
    clock::{Clock, Monotonic},
};
use sorcha_store::Store;

use super::*;

const LIST: &str = "/api/system-register/blueprints";

#[tokio::test(start_paused = true)]
async fn the_register_as_a_whole() {
    let (router, node) = peer(|_| ()).await;
    let register = get(&router, "/api/system-register").await.json();
    assert_eq!(register["registerId"], "00000000-0000-0000-0000-000000000000");
    assert_eq!(register["status"], "Online");
    assert_eq!((&register["blueprintCount"], &register["activeCount"]), (&3.into(), &2.into()));
    assert_eq!((&register["currentVersion"], &register["height"]), (&4.into(), &4.into()));
    assert_eq!(register["createdAt"], "2023-11-14T22:13:20.000Z");
    assert_eq!(register["lineage"], genesis(1).lineage().to_string());
    assert_eq!(register["digest"], node.replica.view().digest().to_string());
    assert_eq!(register["findings"], Value::Array(Vec::new()));
    let (empty, _) = empty_peer(|_| ()).await;
    let register = get(&empty, "/api/system-register").await.json();
    assert_eq!((&register["status"], &register["createdAt"]), (&"Uninitialized".into(), &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn pages_are_newest_first_and_counted() {
    let (router, _) = peer(|_| ()).await;
    let ids = |page: &Value| -> Vec<String> {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| i["blueprintId"].as_str().unwrap().to_owned())
            .collect()
    };
    let page = get(&router, LIST).await.json();
    assert_eq!(ids(&page), ["c", "b", "a"]);
    assert_eq!((&page["page"], &page["pageSize"]), (&1.into(), &20.into()));
    assert_eq!((&page["totalCount"], &page["totalPages"]), (&3.into(), &1.into()));
    let second = get(&router, &format!("{LIST}?page=2&pageSize=2")).await.json();
    assert_eq!(ids(&second), ["a"]);
    assert_eq!(second["totalPages"], 2);
    let beyond = get(&router, &format!("{LIST}?page=18446744073709551615&pageSize=100")).await.json();
    assert!(ids(&beyond).is_empty());
    let active = get(&router, &format!("{LIST}?active=true")).await.json();
    assert_eq!((ids(&active), &active["totalCount"]), (vec!["c".into(), "a".into()], &2.into()));
    let inactive = get(&router, &format!("{LIST}?active=false")).await.json();
    assert_eq!((ids(&inactive), &inactive["totalCount"]), (vec!["b".into()], &1.into()));
}

#[tokio::test(start_paused = true)]
async fn items_have_all_fields_but_the_document() {
    let (router, node) = peer(|_| ()).await;
    let page = get(&router, LIST).await.json();
    let checksum = node.replica.view().iter().next_back().unwrap().entry().document.checksum().to_string();
    let expected = serde_json::json!({
        "blueprintId": "c", "version": 4, "publishedAt": "2023-11-14T22:13:20.004Z", "publishedBy": "tester", "isActive": true,
        "checksum": checksum, "metadata": {"category": "test", "tags": "a,b"}, "transactionId": "tx-4"
    });
    assert_eq!(page["items"][0], expected);
    let flat = get(&router, "/api/blueprints").await.json();
    let expected = serde_json::json!({
        "blueprintId": "c", "version": 4, "publishedAt": "2023-11-14T22:13:20.004Z", "publishedBy": "tester", "isActive": true
    });
    assert_eq!((flat.as_array().unwrap().len(), &flat[0]), (3, &expected));
}

#[tokio::test(start_paused = true)]
async fn bad_queries_name_parameter_value_and_range() {
    let (router, _) = peer(|_| ()).await;
    for (query, parts) in [
        ("page=0", vec!["page", "\"0\"", "1 or more"]),
        ("page=-1", vec!["page", "\"-1\""]),
        ("pageSize=101", vec!["pageSize", "\"101\"", "from 1 to 100"]),
        ("pageSize=ten", vec!["pageSize", "\"ten\""]),
        ("active=yes", vec!["active", "\"yes\"", "true or false"]),
        ("pagesize=5", vec!["\"pagesize\"", "page, pageSize, active"]),
        ("page=1&page=2", vec!["page", "twice"]),
    ] {
        let detail = get(&router, &format!("{LIST}?{query}")).await.problem(400, "invalid-request");
        assert!(parts.iter().all(|part| detail.contains(part)), "{query}: {detail}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_entry_embeds_its_document_and_raw_gives_its_bytes() {
    let (router, node) = peer(|_| ()).await;
    let path = format!("{LIST}/a");
    let document = node.replica.view().iter().next().unwrap().whole().unwrap().document;
    let reply = get(&router, &path).await;
    assert_eq!(reply.json()["blueprint"], serde_json::from_slice::<Value>(document.bytes()).unwrap());
    assert_eq!(reply.json()["checksum"], document.checksum().to_string());
    assert_eq!(reply.header("vary"), "accept");
    let raw = get(&router, &format!("{path}?raw=true")).await;
    assert_eq!((raw.header("content-type"), &raw.body), ("application/ld+json", document.bytes()));
    assert_ne!(raw.header("etag"), reply.header("etag"), "two representations need two strong validators");
    for (accept, is_raw) in [
        ("application/ld+json", true),
        ("application/ld+json, application/json;q=0.5", true),
        ("application/json, application/ld+json", false),
        ("application/ld+json;q=0.1, application/json", false),
        ("application/ld+json;q=0", false),
        ("*/*", false),
    ] {
        let reply = get_with(&router, &path, &[("accept", accept)]).await;
        assert_eq!(reply.header("content-type") == "application/ld+json", is_raw, "{accept}");
    }
    get(&router, &format!("{path}?raw=1")).await.problem(400, "invalid-request");
}

#[tokio::test(start_paused = true)]
async fn versions_must_be_the_entrys() {
    let (router, _) = peer(|_| ()).await;
    assert_eq!(get(&router, &format!("{LIST}/b/versions/3")).await.json()["isActive"], false);
    let detail = get(&router, &format!("{LIST}/b/versions/2")).await.problem(404, "not-found");
    assert!(detail.contains("at version 3, not at 2"), "{detail}");
    let detail = get(&router, &format!("{LIST}/b/versions/x")).await.problem(400, "invalid-request");
    assert!(detail.contains("\"x\""), "{detail}");
    get(&router, &format!("{LIST}/zzz/versions/1")).await.problem(404, "not-found");
    let unknown = get(&router, &format!("{LIST}/zzz")).await;
    assert_eq!(unknown.problem(404, "not-found"), "no blueprint zzz is published");
    assert_eq!(unknown.header("sorcha-register-version"), "4", "also an error states what it was taken from");
    let detail = get(&router, &format!("{LIST}/a.b")).await.problem(400, "invalid-request");
    assert!(detail.starts_with("blueprintId has the character '.'"), "{detail}");
    get(&router, &format!("{LIST}/%ff")).await.problem(400, "invalid-request");
}

#[tokio::test(start_paused = true)]
async fn validators_spare_the_body() {
    let (router, node) = peer(|_| ()).await;
    for path in
        ["/api/system-register", LIST, "/api/blueprints", &format!("{LIST}/a"), &format!("{LIST}/a?raw=true")]
    {
        let tag = get(&router, path).await.header("etag").to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 10, "{path}: {tag}");
        for known in [tag.clone(), format!("\"x\", {tag}"), format!("W/{tag}"), "*".to_owned()] {
            let reply = get_with(&router, path, &[("if-none-match", &known)]).await;
            assert_eq!((reply.status, reply.body.len()), (StatusCode::NOT_MODIFIED, 0), "{path}: {known}");
            assert_eq!((reply.header("etag"), reply.header("sorcha-register-version")), (tag.as_str(), "4"));
        }
        assert_eq!(get_with(&router, path, &[("if-none-match", "\"x\"")]).await.status, StatusCode::OK);
    }
    let tag = get(&router, LIST).await.header("etag").to_owned();
    node.replica.apply(vec![entry("d", 5).seal()], Version::ZERO, &provenance(START)).await.unwrap();
    assert_eq!(get_with(&router, LIST, &[("if-none-match", &tag)]).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn the_genesis_is_served_byte_for_byte() {
    let (router, _) = peer(|_| ()).await;
    assert_eq!(&get(&router, "/api/system-register/genesis").await.body, genesis(1).bytes());
    let (empty, _) = empty_peer(|_| ()).await;
    get(&empty, "/api/system-register/genesis").await.problem(404, "not-found");
}

#[tokio::test(start_paused = true)]
async fn a_document_that_is_not_json_is_still_served_raw() {
    let (router, node) = peer(|_| ()).await;
    let mut foreign = entry("bson", 5);
    foreign.document = Document::from_received(Bytes::from_static(b"\x05\0\0\0\0"));
    node.replica.apply(vec![foreign.seal()], Version::ZERO, &provenance(START)).await.unwrap();
    get(&router, &format!("{LIST}/bson")).await.problem(406, "not-acceptable");
    assert_eq!(get(&router, &format!("{LIST}/bson?raw=true")).await.body.as_ref(), b"\x05\0\0\0\0");
}

#[tokio::test(start_paused = true)]
async fn a_replica_states_its_age() {
    let (router, node) = peer(|_| ()).await;
    node.change_status(|status| status.state = PeerState::Isolated);
    tokio::time::advance(Duration::from_secs(90)).await;
    let reply = get(&router, LIST).await;
    let states = |reply: &Reply| {
        [
            "sorcha-register-version",
            "sorcha-replica-staleness",
            "sorcha-peer-state",
            "warning",
            "cache-control",
        ]
        .map(|name| reply.header(name).to_owned())
    };
    assert_eq!(states(&reply), ["4", "90", "Isolated", "", "no-cache"]);
    tokio::time::advance(Duration::from_secs(3600)).await;
    let stale = get(&router, LIST).await;
    assert_eq!((stale.status, stale.header("warning")), (StatusCode::OK, "110 - \"Response is Stale\""));
    node.change_status(|status| status.fresh_as_of = Some(node.env.clock.moment()));
    assert_eq!(get(&router, LIST).await.header("sorcha-replica-staleness"), "0");
    let (never, _) = empty_peer(|_| ()).await;
    let reply = get(&never, LIST).await;
    assert_eq!(states(&reply), ["0", "", "Disconnected", "110 - \"Response is Stale\"", "no-cache"]);
}

/// A clock whose wall time somebody sets.
struct SetClock(VirtualClock, std::sync::atomic::AtomicI64);

impl SetClock {
    fn set_back(&self, hours: i64) {
        self.1.store(-hours * 3_600_000, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.now().as_millis() + self.1.load(std::sync::atomic::Ordering::Relaxed))
    }

    fn monotonic(&self) -> Monotonic {
        self.0.monotonic()
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_makes_no_replica_young() {
    let clock = Arc::new(SetClock(VirtualClock::new(START, 0), 0.into()));
    let store: Arc<dyn Store> = Arc::new(store());
    let start = async || {
        let env = Env { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..env() };
        let config = config("edge-0", |_| ());
        let auth = Auth::new(&config.http, Arc::clone(&env.clock), None).unwrap();
        let replica = Replica::load(Arc::clone(&store)).await.unwrap();
        let id = PeerId::new("edge-0").unwrap();
        let node = PeerNode::new(config, env, id, replica, Arc::new(PlainText));
        (router(NodeHandle::Peer(Arc::clone(&node)), auth, prometheus::Registry::new()), node)
    };
    let (_, first) = start().await;
    let view =
        RegisterView::with_entries(Some(Arc::new(genesis(1))), vec![entry("a", 1).seal()], Version::ZERO);
    first.replica.replace(view, &provenance(START)).await.unwrap();
    let age = async |router: &Router| get(router, LIST).await.header("sorcha-replica-staleness").to_owned();
    // Not heard of anybody since this process began; then heard.
    let (router, node) = start().await;
    tokio::time::advance(Duration::from_secs(90)).await;
    clock.set_back(24);
    assert_eq!(age(&router).await, "90");
    node.change_status(|status| status.fresh_as_of = Some(node.env.clock.moment()));
    tokio::time::advance(Duration::from_secs(60)).await;
    clock.set_back(48);
    assert_eq!(age(&router).await, "60");
    // A process that begins with the clock that was set back.
    let (router, node) = start().await;
    let reply = get(&router, LIST).await;
    assert!(!reply.headers.contains_key("sorcha-replica-staleness"));
    assert_eq!(reply.header("warning"), "110 - \"Response is Stale\"");
    let health = get(&router, "/health").await.json();
    assert!(
        health["status"] == "Degraded" && health["reason"].as_str().unwrap().contains("clock was set back"),
        "{health}"
    );
    node.change_status(|status| status.fresh_as_of = Some(node.env.clock.moment()));
    assert_eq!(age(&router).await, "0");
    assert_eq!(get(&router, "/health").await.json()["status"], "Healthy");
}

#[tokio::test(start_paused = true)]
async fn a_replica_may_be_too_old_to_be_read() {
    let refusing = |config: &mut Config| config.http.max_staleness.refuse_reads = true;
    let (router, node) = peer(refusing).await;
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(get(&router, LIST).await.status, StatusCode::OK, "exactly the limit is not beyond it");
    tokio::time::advance(Duration::from_secs(1)).await;
    let detail = get(&router, LIST).await.problem(503, "stale-replica");
    assert!(detail.contains("3601 s old") && detail.contains("max_staleness"), "{detail}");
    node.change_status(|status| status.fresh_as_of = Some(node.env.clock.moment()));
    assert_eq!(get(&router, LIST).await.status, StatusCode::OK);
    let (never, _) = empty_peer(refusing).await;
    let detail = get(&never, &format!("{LIST}/a")).await.problem(503, "stale-replica");
    assert!(detail.contains("never synced"), "{detail}");
    assert_eq!(
        get(&never, "/api/connection/status").await.status,
        StatusCode::OK,
        "what tells why is not refused"
    );
}

#[tokio::test(start_paused = true)]
async fn a_central_node_states_its_version_only() {
    let (router, _) = central(|_| ()).await;
    post(&router, "/api/system-register/publish", publication("a")).await;
    let reply = get(&router, LIST).await;
    assert_eq!(reply.header("sorcha-register-version"), "1");
    assert!(
        !reply.headers.contains_key("sorcha-replica-staleness")
            && !reply.headers.contains_key("sorcha-peer-state")
    );
    let head = call(&router, Method::HEAD, LIST, &[], Body::empty()).await;
    assert_eq!(
        (head.status, head.header("etag"), head.body.len()),
        (StatusCode::OK, reply.header("etag"), 0)
    );
}
