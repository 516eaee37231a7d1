//! Any request to any route of the API: never a fault of the node, always a problem document when it is refused, and the
//! register is what it was unless something was published.

use std::sync::LazyLock;

use proptest::{collection::vec, prelude::*, sample::select, test_runner::TestRunner};

use super::*;

/// Methods and paths of all operations.
static OPERATIONS: LazyLock<Vec<(Method, String)>> = LazyLock::new(|| {
    let api = serde_json::to_value(crate::openapi()).unwrap();
    let paths = api["paths"].as_object().unwrap();
    let methods = |item: &Value| item.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let all = paths.iter().flat_map(|(path, item)| {
        methods(item).into_iter().map(move |method| (method.to_uppercase().parse().unwrap(), path.clone()))
    });
    all.collect()
});

/// A request as anybody may send it.
#[derive(Clone, Debug)]
struct Sent {
    method: Method,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

/// A part of a path or a query that a URI can hold.
fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => select(vec!["a", "b", "c", "register-creation-v1", "1", "0", "-1", "true", "18446744073709551616"]).prop_map(str::to_owned),
        2 => "[a-zA-Z0-9._~!$'()*+,;:@-]{0,20}",
        1 => "(%[0-9A-F]{2}){1,8}",
        1 => (250..300usize).prop_map(|length| "x".repeat(length)),
    ]
}

fn path() -> impl Strategy<Value = (Method, String)> {
    let known = ["page", "pageSize", "active", "raw", "limit", "full", "peerId"].map(str::to_owned).to_vec();
    let name = prop_oneof![4 => select(known), 1 => part()];
    let query = vec((name, part()), 0..4);
    let other =
        select(vec![Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS]);
    let method = prop_oneof![6 => Just(None), 1 => other.prop_map(Some)];
    (select(OPERATIONS.clone()), method, part(), query, any::<bool>()).prop_map(
        |((own, path), other, id, query, has_query)| {
            let path = path.replace("{id}", &id).replace("{peerId}", &id).replace("{peer_id}", &id);
            let query: Vec<_> = query.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
            let query = if has_query { format!("?{}", query.join("&")) } else { String::new() };
            (other.unwrap_or(own), format!("{path}{query}"))
        },
    )
}

fn headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let names = [
        "content-type",
        "accept",
        "authorization",
        "if-none-match",
        "content-length",
        "traceparent",
        "x-request-id",
        "range",
        "expect",
    ];
    let value = prop_oneof![
        3 => select(vec!["application/json", "application/ld+json", "*/*", "Bearer 0123456789abcdef", "\"1\"", "W/\"x\"", "0", "99999999999999999999"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(prop_oneof![0x20..0x7f_u8, 0x80..=0xff_u8], 0..40),
    ];
    vec((select(names.map(str::to_owned).to_vec()), value), 0..4)
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let document = select(vec![
        r#"{"id":"x"}"#,
        "{}",
        "[]",
        "null",
        "1",
        r#"{"a":1,"a":2}"#,
        r#""text""#,
        "{\"n\":1e999}",
    ]);
    let field = select(vec![
        "blueprintId",
        "blueprint",
        "metadata",
        "publishedBy",
        "previousTransactionId",
        "full",
        "other",
    ]);
    let value = prop_oneof![
        document.clone().prop_map(str::to_owned),
        "\"[a-z0-9-]{0,10}\"",
        Just(format!("\"{}\"", "y".repeat(300)))
    ];
    let object = vec((field, value), 0..5).prop_map(|fields| {
        let fields: Vec<_> = fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", fields.join(",")).into_bytes()
    });
    let good = ("[a-zA-Z0-9_-]{1,8}", document).prop_map(|(id, document)| {
        format!("{{\"blueprintId\":\"{id}\",\"blueprint\":{document}}}").into_bytes()
    });
    prop_oneof![3 => object, 2 => good, 1 => vec(any::<u8>(), 0..60), 1 => Just(Vec::new())]
}

fn sent() -> impl Strategy<Value = Sent> {
    let any = (path(), headers(), body()).prop_map(|((method, path), headers, body)| Sent {
        method,
        path,
        headers,
        body,
    });
    // Mostly right, so that what lies behind the first checks is reached.
    let json = |path: String, body: Vec<u8>| {
        let headers = vec![("content-type".to_owned(), b"application/json".to_vec())];
        Sent { method: Method::POST, path, headers, body }
    };
    let publication = body().prop_map(move |body| json("/api/system-register/publish".to_owned(), body));
    let change = (part(), select(vec!["deprecate", "reactivate"]))
        .prop_map(move |(id, verb)| json(format!("/api/system-register/blueprints/{id}/{verb}"), Vec::new()));
    prop_oneof![6 => any, 2 => publication, 1 => change]
}

/// The reply; none when no client can send such a request.
async fn send_any(router: &Router, sent: Sent) -> Option<Reply> {
    let mut request = Request::builder().method(sent.method).uri(sent.path);
    for (name, value) in sent.headers {
        request = request.header(name, value);
    }
    Some(send(router, request.body(Body::from(sent.body)).ok()?).await)
}

/// What holds for every answer.
fn check(reply: &Reply) -> Result<(), TestCaseError> {
    prop_assert_ne!(reply.status, StatusCode::INTERNAL_SERVER_ERROR, "{:?}", reply);
    if reply.status.is_client_error() || reply.status.is_server_error() {
        prop_assert_eq!(reply.header("content-type"), problem::MEDIA_TYPE, "{:?}", reply);
        let document: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        // A HEAD request gets the headers alone.
        if !reply.body.is_empty() {
            prop_assert_eq!(&document["status"], reply.status.as_u16());
            prop_assert!(
                document["detail"].as_str().is_some_and(|detail| !detail.is_empty()),
                "{}",
                document
            );
        }
    }
    Ok(())
}

fn run(cases: u32, router: &Router, sound: impl Fn() -> bool) {
    let mut runner =
        TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() });
    let result = runner.run(&sent(), |sent| {
        // The handlers need the runtime that this runs in.
        let reply = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(send_any(router, sent))
        });
        let Some(reply) = reply else { return Ok(()) };
        check(&reply)?;
        prop_assert!(sound(), "the register is damaged after {:?}", reply);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_to_a_central_node_is_answered_with_a_fault() {
    let (router, node) = central(|config| config.http.insecure_writes = true).await;
    run(1500, &router, || {
        let view = node.log.view();
        view.len() as i64 <= view.head().get()
            && view.iter().all(|entry| entry.whole().unwrap().validate().is_ok())
    });
    assert!(node.log.view().len() > 10, "some publications were good");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_to_a_peer_is_answered_with_a_fault() {
    let (router, node) = peer(|config| config.http.insecure_writes = true).await;
    let mut commands = node.take_commands().unwrap();
    // Plays the shell: every command is taken, no sync succeeds.
    tokio::spawn(async move {
        while let Some(command) = commands.recv().await {
            if let sorcha_peer::Command::Sync { reply, .. } = command {
                drop(reply.send(Err("not now".to_owned())));
            }
        }
    });
    let before = node.replica.view().digest();
    run(1500, &router, || node.replica.view().digest() == before);
}
