//! Tokens that Kubernetes knows: against a client whose API server answers from a script.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    http::{Method, Request, StatusCode},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use kube::{Client, client::Body as KubeBody};
use serde_json::{Value, json};
use sorcha_config::Http;
use sorcha_http::testing::*;

use super::*;

const PUBLISH: &str = "/api/system-register/publish";
const AUDIENCE: &str = "publish.sorcha.dev/shop/sorcha.dev";
const ACCOUNT: &str = "system:serviceaccount:ci:deployer";

/// What was asked of the API server: path and body.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// Answers a TokenReview by the token, and a LocalSubjectAccessReview by the user.
fn answer(path: &str, body: &Value) -> (u16, Value) {
    match path {
        "/apis/authentication.k8s.io/v1/tokenreviews" => token_review(body),
        "/apis/authorization.k8s.io/v1/namespaces/shop/localsubjectaccessreviews" => {
            match body["spec"]["user"].as_str() {
                Some(ACCOUNT | "jane@example.org") => review(body, &json!({"allowed": true})),
                Some("unheard") => failure(403, "localsubjectaccessreviews is forbidden"),
                _ => review(body, &json!({"allowed": false, "reason": "no RBAC policy matched"})),
            }
        }
        other => panic!("asked for {other:?}"),
    }
}

fn token_review(body: &Value) -> (u16, Value) {
    let user = |name: &str| {
        let user = json!({"username": name, "uid": "u-1", "groups": ["system:authenticated"], "extra": {"k": ["v"]}});
        review(body, &json!({"authenticated": true, "user": user, "audiences": [AUDIENCE]}))
    };
    let token = body["spec"]["token"].as_str().unwrap_or_default();
    if let Some(audience) = token.strip_prefix("for:") {
        return review(body, &made_for(audience, body));
    }
    match token.split('.').next().unwrap_or_default() {
        "good" => user(ACCOUNT),
        "stranger" => user("system:serviceaccount:ci:stranger"),
        "unheard" => user("unheard"),
        "person" => user("jane@example.org"),
        "long" => user(&format!("system:serviceaccount:{}", "x".repeat(240))),
        "nameless" => user(""),
        "expired" => review(body, &json!({"error": "[invalid bearer token,\ntoken has expired]"})),
        "audience" => review(body, &json!({"authenticated": true, "user": {"username": ACCOUNT}})),
        // A server that takes its own audience for any.
        "lax" => {
            let (user, audience) = (json!({"username": ACCOUNT}), "https://kubernetes.default.svc");
            review(body, &json!({"authenticated": true, "user": user, "audiences": [audience]}))
        }
        "norights" => failure(403, "tokenreviews is forbidden"),
        "down" => failure(500, "etcd is away"),
        _ => review(body, &json!({"authenticated": false})),
    }
}

fn review(body: &Value, status: &Value) -> (u16, Value) {
    (201, json!({"metadata": {}, "spec": body["spec"], "status": status}))
}

fn failure(code: u16, why: &str) -> (u16, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "message": why});
    (code, status)
}

/// As an API server does: the audiences that were asked for and that the token has.
fn made_for(audience: &str, body: &Value) -> Value {
    let asked = body["spec"]["audiences"].as_array().unwrap();
    if asked.iter().any(|asked| asked == audience) {
        return json!({"authenticated": true, "user": {"username": ACCOUNT}, "audiences": [audience]});
    }
    let why =
        format!("[invalid bearer token, token audiences [{audience}] is invalid for the target audiences]");
    json!({"error": why})
}

fn reviewer() -> (Arc<dyn Reviewer>, Asked) {
    let asked = Asked::default();
    let recorded = Arc::clone(&asked);
    let service = tower::service_fn(move |request: Request<KubeBody>| {
        let recorded = Arc::clone(&recorded);
        async move {
            let (parts, body) = request.into_parts();
            let body: Value = serde_json::from_slice(&body.collect_bytes().await.unwrap()).unwrap();
            let path = parts.uri.path().to_owned();
            if body["spec"]["token"] == "hangs" {
                std::future::pending::<()>().await;
            }
            let (code, answer) = answer(&path, &body);
            recorded.lock().unwrap().push((path, body));
            let body = KubeBody::from(answer.to_string().into_bytes());
            Ok::<_, Infallible>(axum::http::Response::builder().status(code).body(body).unwrap())
        }
    });
    (Arc::new(KubernetesReviewer::new(Client::new(service, "elsewhere"), "sorcha.dev", "n0", "shop")), asked)
}

fn no_tokens(config: &mut Config) {
    config.http = Http::default();
}

async fn publish(router: &Router, token: &str, id: &str) -> Reply {
    let authorization = format!("Bearer {token}");
    let headers = [("content-type", "application/json"), ("authorization", authorization.as_str())];
    call(router, Method::POST, PUBLISH, &headers, publication(id).into()).await
}

/// A token, the answer's status and kind, and what its detail says.
type Row = (&'static str, u16, &'static str, &'static [&'static str]);

const REFUSED: [Row; 11] = [
    (
        "expired",
        401,
        "unauthorized",
        &[
            "invalid bearer token, token has expired",
            "kubectl create token NAME --audience publish.sorcha.dev/shop/sorcha.dev",
        ],
    ),
    (
        "audience",
        401,
        "unauthorized",
        &["not made for publish.sorcha.dev/shop/sorcha.dev", "--audience publish.sorcha.dev/shop/sorcha.dev"],
    ),
    ("lax", 401, "unauthorized", &["not made for publish.sorcha.dev/shop/sorcha.dev"]),
    ("rubbish", 401, "unauthorized", &["is not known", "--audience publish.sorcha.dev/shop/sorcha.dev"]),
    (
        "stranger",
        403,
        "forbidden",
        &[
            "system:serviceaccount:ci:stranger",
            "verb publish",
            "sorchacentralnodes.sorcha.dev/n0",
            "namespace shop",
            "--clusterrole=sorcha-publisher --serviceaccount=ci:stranger",
            "no RBAC policy matched",
        ],
    ),
    ("long", 403, "forbidden", &["262 characters", "1 to 255"]),
    ("nameless", 403, "forbidden", &["0 characters"]),
    (
        "norights",
        503,
        "not-reviewed",
        &["this node may not ask", "tokenreviews is forbidden", "ServiceAccount"],
    ),
    ("unheard", 503, "not-reviewed", &["localsubjectaccessreviews is forbidden"]),
    ("down", 503, "not-reviewed", &["etcd is away", "tokens of http.token_file are still accepted"]),
    ("hangs", 503, "not-reviewed", &["5s", "http.kubernetes.timeout"]),
];

#[tokio::test(start_paused = true)]
async fn every_kind_of_token_has_its_answer() {
    let (reviewer, _) = reviewer();
    let (router, node) = central_reviewed(reviewer, no_tokens).await;
    for (token, status, slug, parts) in REFUSED {
        let reply = publish(&router, token, "a").await;
        let detail = reply.problem(status, slug);
        assert!(parts.iter().all(|part| detail.contains(part)), "{token}: {detail}");
        assert_eq!(status == 503, !reply.header("retry-after").is_empty(), "{token}");
        assert_eq!(status == 401, !reply.header("www-authenticate").is_empty(), "{token}");
    }
    let reply = post(&router, PUBLISH, publication("a")).await;
    let detail = reply.problem(401, "unauthorized");
    assert!(
        detail.contains("Bearer <token>") && detail.contains("--audience publish.sorcha.dev/shop/sorcha.dev"),
        "{detail}"
    );
    assert_eq!(node.log.view().head().get(), 0, "nothing was stored");
    for (token, id, publisher) in [("good", "a", ACCOUNT), ("person", "b", "jane@example.org")] {
        assert_eq!(publish(&router, token, id).await.status, StatusCode::CREATED);
        let entry = get(&router, &format!("/api/system-register/blueprints/{id}")).await.json();
        assert_eq!(entry["publishedBy"], publisher);
    }
}

#[tokio::test(start_paused = true)]
async fn the_api_server_is_asked_for_what_is_needed_and_once_a_minute() {
    let (reviewer, asked) = reviewer();
    let (router, _) = central_reviewed(reviewer, no_tokens).await;
    for (id, after) in [("a", 0), ("b", 59), ("c", 1)] {
        tokio::time::advance(Duration::from_secs(after)).await;
        assert_eq!(publish(&router, "good", id).await.status, StatusCode::CREATED);
    }
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 4, "twice two: {asked:?}");
    assert_eq!(asked[0].1["spec"], json!({"token": "good", "audiences": [AUDIENCE]}));
    let expected = json!({
        "user": ACCOUNT, "uid": "u-1", "groups": ["system:authenticated"], "extra": {"k": ["v"]},
        "resourceAttributes": {
            "group": "sorcha.dev", "version": "v1alpha1", "resource": "sorchacentralnodes", "name": "n0",
            "namespace": "shop", "verb": "publish",
        },
    });
    assert_eq!(asked[1].1["spec"], expected);
}

#[tokio::test(start_paused = true)]
async fn a_token_for_another_namespace_or_network_or_for_the_api_server_is_refused() {
    let (reviewer, _) = reviewer();
    let (router, node) = central_reviewed(reviewer, no_tokens).await;
    for other in [
        "publish.sorcha.dev/market/sorcha.dev",
        "publish.sorcha.dev/shop/orders.test",
        "publish.sorcha.dev/shop",
        "sorcha.dev",
        "https://kubernetes.default.svc.cluster.local",
    ] {
        let detail = publish(&router, &format!("for:{other}"), "a").await.problem(401, "unauthorized");
        assert!(detail.contains("invalid for the target audiences") && detail.contains(AUDIENCE), "{detail}");
    }
    assert_eq!(node.log.view().head().get(), 0, "nothing was stored");
    assert_eq!(publish(&router, &format!("for:{AUDIENCE}"), "a").await.status, StatusCode::CREATED);
}

#[tokio::test(start_paused = true)]
async fn a_yes_ends_with_its_token() {
    let (reviewer, asked) = reviewer();
    let (router, _) = central_reviewed(reviewer, no_tokens).await;
    let end = START.as_millis() / 1000 + 20;
    let claims = BASE64_URL_SAFE_NO_PAD.encode(json!({"exp": end}).to_string());
    let token = format!("good.{claims}.signature");
    for (id, after) in [("a", 0), ("b", 19), ("c", 1)] {
        tokio::time::advance(Duration::from_secs(after)).await;
        assert_eq!(publish(&router, &token, id).await.status, StatusCode::CREATED);
    }
    assert_eq!(asked.lock().unwrap().len(), 4, "asked again once the token has ended");
}

#[tokio::test(start_paused = true)]
async fn tokens_of_the_file_come_first_and_are_taken_without_an_api_server() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "alice: alice-token-0123456789\n").unwrap();
    let path = file.path().to_owned();
    let (reviewer, asked) = reviewer();
    let with_file = |config: &mut Config| config.http = Http { token_file: Some(path), ..Http::default() };
    let (router, _) = central_reviewed(reviewer, with_file).await;
    assert_eq!(publish(&router, "alice-token-0123456789", "a").await.status, StatusCode::CREATED);
    assert!(asked.lock().unwrap().is_empty());
    publish(&router, "down", "b").await.problem(503, "not-reviewed");
    assert_eq!(publish(&router, "alice-token-0123456789", "b").await.status, StatusCode::CREATED);
    assert_eq!(publish(&router, "good", "c").await.status, StatusCode::CREATED);
}

#[tokio::test(start_paused = true)]
async fn whom_kubernetes_knows_publishes_as_itself_only() {
    let (reviewer, _) = reviewer();
    let (router, node) = central_reviewed(reviewer, no_tokens).await;
    let headers = [("content-type", "application/json"), ("authorization", "Bearer good")];
    let as_whom = async |id: &str, publisher: &str| {
        let mut body: Value = serde_json::from_str(&publication(id)).unwrap();
        body["publishedBy"] = publisher.into();
        call(&router, Method::POST, PUBLISH, &headers, body.to_string().into()).await
    };
    let detail = as_whom("a", "alice").await.problem(400, "invalid-request");
    assert!(detail.contains("publishedBy") && detail.contains(ACCOUNT), "{detail}");
    assert_eq!(node.log.view().head().get(), 0);
    assert_eq!(as_whom("a", ACCOUNT).await.status, StatusCode::CREATED);
}

#[tokio::test(start_paused = true)]
async fn who_may_publish_also_sees_the_peers() {
    let (reviewer, _) = reviewer();
    let (router, _) = central_reviewed(reviewer, no_tokens).await;
    for (token, sees) in [("good", true), ("stranger", false), ("down", false)] {
        let authorization = format!("Bearer {token}");
        let reply = get_with(&router, "/api/peers/connected", &[("authorization", &authorization)]).await;
        assert_eq!(reply.json().get("peers").is_some(), sees, "{token}");
    }
}
