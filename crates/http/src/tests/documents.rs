//! The OpenAPI document, its page, and what is answered where nothing is.

use std::collections::BTreeSet;

use super::*;
use crate::openapi;

/// Every operation, and which role serves it.
const ROUTES: [(&str, &str, &str); 39] = [
    ("both", "GET", "/livez"),
    ("both", "GET", "/readyz"),
    ("both", "GET", "/health"),
    ("both", "GET", "/api/health"),
    ("both", "GET", "/metrics"),
    ("both", "GET", "/api/node/info"),
    ("both", "GET", "/api/node/health"),
    ("both", "GET", "/api/central-nodes"),
    ("both", "GET", "/api/connection/central-nodes"),
    ("both", "GET", "/api/system-register"),
    ("both", "GET", "/api/system-register/bundle"),
    ("both", "GET", "/api/system-register/genesis"),
    ("both", "GET", "/api/system-register/blueprints"),
    ("both", "GET", "/api/system-register/blueprints/{id}"),
    ("both", "GET", "/api/system-register/blueprints/{id}/versions/{version}"),
    ("both", "GET", "/api/blueprints"),
    ("central", "POST", "/api/system-register/publish"),
    ("central", "POST", "/api/system-register/blueprints/{id}/deprecate"),
    ("central", "POST", "/api/system-register/blueprints/{id}/reactivate"),
    ("central", "POST", "/api/system-register/initialize"),
    ("central", "GET", "/api/peers"),
    ("central", "GET", "/api/peers/stats"),
    ("central", "GET", "/api/peers/health"),
    ("central", "GET", "/api/peers/connected"),
    ("central", "GET", "/api/peers/{peerId}"),
    ("peer", "GET", "/api/connection/status"),
    ("peer", "GET", "/api/central-connection"),
    ("peer", "POST", "/api/connection/reconnect"),
    ("peer", "GET", "/api/sync/checkpoint"),
    ("peer", "POST", "/api/sync/trigger"),
    ("peer", "POST", "/api/sync/reset-checkpoint"),
    ("peer", "GET", "/api/sync/history"),
    ("peer", "GET", "/api/heartbeat/status"),
    ("peer", "GET", "/api/notifications/subscription"),
    ("peer", "POST", "/api/notifications/subscribe"),
    ("docs", "GET", "/"),
    ("docs", "GET", "/docs"),
    ("docs", "GET", "/docs/"),
    ("docs", "GET", "/api/openapi.json"),
];

fn document() -> Value {
    serde_json::to_value(openapi()).unwrap()
}

/// Every operation of the document: path, method, content.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &Value)| {
        let item = item.as_object().unwrap().clone();
        let path = path.clone();
        item.into_iter().map(move |(method, operation)| (path.clone(), method.to_uppercase(), operation))
    };
    paths.iter().flat_map(of_path).collect()
}

#[test]
fn the_document_lists_every_route_and_no_other() {
    let listed: BTreeSet<_> =
        operations(&document()).into_iter().map(|(path, method, _)| (method, path)).collect();
    let expected: BTreeSet<_> = ROUTES
        .iter()
        .filter(|(role, ..)| *role != "docs")
        .map(|(_, method, path)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn each_role_serves_its_own_and_names_the_other() {
    let (central, _) = central(|_| ()).await;
    let (peer, _) = peer(|_| ()).await;
    for (role, method, path) in ROUTES {
        let path = path.replace("{id}", "a").replace("{version}", "1").replace("{peerId}", "edge-0");
        for (router, own, other) in [(&central, "central", "Peer"), (&peer, "peer", "Central")] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            // The token is asked for before anything else, so that commands do not wait here.
            let reply = call(router, method, &path, &[("content-type", "text/plain")], Body::empty()).await;
            if role == own || role == "both" || role == "docs" {
                let body = String::from_utf8_lossy(&reply.body);
                assert!(
                    !body.contains("problems/other-role") && !body.contains("no resource at"),
                    "{own} {path}: {body}"
                );
            } else {
                let detail = reply.problem(404, "other-role");
                assert!(detail.contains(&path) && detail.contains(&format!("role {other}")), "{detail}");
            }
        }
    }
}

#[test]
fn the_document_is_openapi_3_1_and_every_reference_resolves() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document = document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 100);
    for reference in found {
        let pointer =
            reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leads out of the document"));
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

#[test]
fn every_operation_is_described_with_examples_and_errors() {
    let document = document();
    let tags: BTreeSet<_> =
        document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        assert!(operation["summary"].as_str().is_some_and(|summary| summary.len() > 10), "{path}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{path}: two of one id");
        assert!(tags.contains(operation["tags"][0].as_str().unwrap()), "{path}");
        let responses = operation["responses"].as_object().unwrap();
        for (status, response) in responses {
            for (media, content) in response["content"].as_object().into_iter().flatten() {
                assert!(has_example(&document, content), "{method} {path} {status} {media} has no example");
                assert_eq!(media == problem::MEDIA_TYPE, status.as_str() >= "400", "{path} {status}");
            }
        }
        if method == "POST" {
            assert!(["401", "403", "503"].iter().all(|status| responses.contains_key(*status)), "{path}");
            assert_eq!(operation["security"][0]["bearer"], Value::Array(Vec::new()), "{path}");
        }
    }
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
}

/// An example of its own, or one that follows from the schema: on it, on its items, on all its members.
fn has_example(document: &Value, content: &Value) -> bool {
    fn of_schema(document: &Value, schema: &Value) -> bool {
        let follow = |reference: &Value| document.pointer(reference.as_str()?.strip_prefix('#')?);
        match follow(&schema["$ref"]) {
            Some(target) => of_schema(document, target),
            None if schema.get("example").is_some() || schema.get("examples").is_some() => true,
            None if schema.get("items").is_some() => of_schema(document, &schema["items"]),
            None => ["allOf", "properties"].iter().any(|key| match &schema[*key] {
                Value::Array(parts) => parts.iter().all(|part| of_schema(document, part)),
                Value::Object(members) => members.values().all(|member| of_schema(document, member)),
                _ => false,
            }),
        }
    }
    content.get("example").is_some() || of_schema(document, &content["schema"])
}

#[test]
fn reads_describe_their_headers() {
    let document = document();
    let operation = &document["paths"]["/api/system-register/blueprints/{id}"]["get"];
    let headers = operation["responses"]["200"]["headers"].as_object().unwrap();
    for name in
        ["sorcha-register-version", "sorcha-replica-staleness", "sorcha-peer-state", "etag", "warning"]
    {
        assert!(headers.contains_key(name), "{name}");
    }
    let responses = operation["responses"].as_object().unwrap();
    assert!(["304", "400", "404", "503"].iter().all(|status| responses.contains_key(*status)));
}

#[tokio::test]
async fn the_document_and_its_page_are_served_from_here() {
    let (router, _) = central(|_| ()).await;
    assert_eq!(get(&router, "/api/openapi.json").await.json(), document());
    for (path, to) in [("/", "/docs/"), ("/docs", "/docs/")] {
        let reply = get(&router, path).await;
        assert_eq!((reply.status, reply.header("location")), (StatusCode::SEE_OTHER, to));
    }
    let page = get(&router, "/docs/").await;
    assert_eq!((page.status, page.header("content-type")), (StatusCode::OK, "text/html"));
    let html = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(html.contains("swagger-ui") && !html.contains("http://") && !html.contains("https://"), "{html}");
    assert!(page.header("content-security-policy").contains("default-src 'self'"));
    for source in html.split("src=\"").skip(1).chain(html.split("href=\"").skip(1)) {
        let file = source.split('"').next().unwrap().trim_start_matches("./");
        assert_eq!(get(&router, &format!("/docs/{file}")).await.status, StatusCode::OK, "{file}");
    }
    let start = get(&router, "/docs/swagger-initializer.js").await;
    let script = String::from_utf8(start.body.to_vec()).unwrap();
    assert!(
        script.contains("\"/api/openapi.json\"") && script.contains("\"validatorUrl\": \"none\""),
        "{script}"
    );
    get(&router, "/docs/nothing.js").await.problem(404, "not-found");
}

#[tokio::test]
async fn nothing_and_wrong_methods_are_problems_too() {
    let (router, _) = central(|_| ()).await;
    let reply = get(&router, "/api/nothing?x=1").await;
    assert!(reply.problem(404, "not-found").contains("/api/nothing"));
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    let document: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(document["instance"], "/api/nothing");
    let reply = call(&router, Method::DELETE, "/api/system-register/blueprints/a", &[], Body::empty()).await;
    let detail = reply.problem(405, "method-not-allowed");
    assert!(detail.contains("DELETE") && detail.contains("GET"), "{detail}");
    assert!(reply.header("allow").contains("GET"));
    get(&router, "/api/system-register/publish").await.problem(405, "method-not-allowed");
    post(&router, "/livez", "").await.problem(405, "method-not-allowed");
}

#[tokio::test]
async fn a_panic_is_a_problem() {
    let panicking = Router::new()
        .route("/", axum::routing::get(|| async { panic!("on purpose") as StatusCode }))
        .layer(axum::middleware::from_fn(problem::finish));
    let detail = get(&panicking, "/").await.problem(500, "internal");
    assert!(!detail.contains("on purpose"), "{detail}");
}
