//! Bodies of publications that are not taken, and why.

use std::{convert::Infallible, time::Duration};

use futures::stream;
use sorcha_register::limits;

use super::*;
use crate::body::LIMIT;

async fn each_is_refused<const N: usize>(bodies: [(&str, &[&str]); N]) {
    let (router, node) = central(|_| ()).await;
    for (body, parts) in bodies {
        let detail = post(&router, PUBLISH, body.to_owned()).await.problem(400, "invalid-request");
        assert!(parts.iter().all(|part| detail.contains(part)), "{body:.60}: {detail}");
    }
    assert_eq!(node.log.view().head().get(), 0);
}

#[tokio::test(start_paused = true)]
async fn bad_json_is_refused_naming_the_place() {
    each_is_refused([
        ("", &["not JSON", "EOF"]),
        ("{\n \"blueprintId\": ,", &["not JSON", "line 2 column 17"]),
        (r#"{"blueprintId":"a","blueprint":{}} x"#, &["not one JSON value", "trailing"]),
        (r#" ["a",{},null,null,null]"#, &["array"]),
        (r#""a""#, &["invalid type: string"]),
        (r#"{"blueprintId":"a"}"#, &["missing field `blueprint`"]),
        (r#"{"blueprintId":5,"blueprint":{}}"#, &["blueprintId:", "integer `5`", "column 16"]),
        (r#"{"blueprintId":"a","blueprint":{},"metadata":{"tags":["a"]}}"#, &["metadata.tags:", "string"]),
        (
            r#"{"blueprintId":"a","blueprint":{},"metadata":{"k":"1","k":"2"}}"#,
            &["metadata", "\"k\" appears twice"],
        ),
        (r#"{"blueprintId":"a","blueprint":{},"metdata":{}}"#, &["unknown field `metdata`", "metadata"]),
        (r#"{"blueprintId":"a","blueprint":[1]}"#, &["blueprint:", "not a JSON object"]),
        (r#"{"blueprintId":"a","blueprint":{"k":1,"k":2}}"#, &["blueprint:", "\"k\" appears twice"]),
        (r#"{"blueprintId":"a","blueprint":{"n":9007199254740993}}"#, &["write it as a string"]),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn bad_fields_are_refused_naming_field_and_limit() {
    let with = |field: &str, length: usize| {
        let value = "x".repeat(length);
        format!(r#"{{"blueprintId":"a","blueprint":{{}},"{field}":"{value}"}}"#)
    };
    let metadata =
        format!(r#"{{"blueprintId":"a","blueprint":{{}},"metadata":{{"k":"{}"}}}}"#, "v".repeat(4096));
    let id = format!(r#"{{"blueprintId":"{}","blueprint":{{}}}}"#, "x".repeat(256));
    each_is_refused([
        (r#"{"blueprintId":"a.b","blueprint":{}}"#, &["blueprintId", "'.'", "position 1"]),
        (r#"{"blueprintId":"","blueprint":{}}"#, &["blueprintId is empty"]),
        (&id, &["blueprintId", "256", "255"]),
        (&with("publishedBy", 0), &["publishedBy is empty"]),
        (&with("publishedBy", 256), &["publishedBy", "256", "255"]),
        (
            r#"{"blueprintId":"a","blueprint":{},"publishedBy":"me\u0000"}"#,
            &["publishedBy", "control character", "position 2"],
        ),
        (
            r#"{"blueprintId":"a","blueprint":{},"metadata":{"k\n":"1"}}"#,
            &["metadata", "control character", "position 1"],
        ),
        (&with("previousTransactionId", 256), &["previousTransactionId", "256", "255"]),
        (&metadata, &["metadata", "4097 bytes", "4096"]),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn media_types_are_checked() {
    let (router, _) = central(|_| ()).await;
    for (media, status) in [
        (Some("application/json; charset=utf-8"), 201),
        (Some("Application/LD+JSON"), 200),
        (Some("text/plain"), 415),
        (None, 415),
    ] {
        let headers: Vec<_> = media.iter().map(|media| ("content-type", *media)).collect();
        let reply = call(&router, Method::POST, PUBLISH, &headers, publication("a").into()).await;
        assert_eq!(reply.status.as_u16(), status, "{media:?}");
        if status == 415 {
            let detail = reply.problem(415, "unsupported-media-type");
            assert!(detail.contains(media.unwrap_or("missing")), "{detail}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_in_another_encoding_is_not_taken_for_one_without() {
    let (router, _) = central(|_| ()).await;
    for (encoding, status) in [("gzip", 415), ("br", 415), ("identity", 201)] {
        let headers = [("content-type", "application/json"), ("content-encoding", encoding)];
        let reply = call(&router, Method::POST, PUBLISH, &headers, publication("a").into()).await;
        assert_eq!(reply.status.as_u16(), status, "{encoding}");
        if status == 415 {
            assert!(reply.problem(415, "unsupported-media-type").contains(encoding));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_body_is_refused_before_and_while_it_is_read() {
    let (router, _) = central(|_| ()).await;
    let unread =
        Body::from_stream(stream::once(async { panic!("the body was read") as Result<Bytes, Infallible> }));
    let length = (LIMIT + 1).to_string();
    let headers = [("content-type", "application/json"), ("content-length", length.as_str())];
    let detail = call(&router, Method::POST, PUBLISH, &headers, unread).await.problem(413, "too-large");
    assert!(detail.contains(&LIMIT.to_string()), "{detail}");

    let chunk = Bytes::from(vec![b' '; 1024 * 1024]);
    let endless = stream::repeat_with(move || Ok::<_, Infallible>(chunk.clone()));
    post(&router, PUBLISH, Body::from_stream(endless)).await.problem(413, "too-large");

    let body =
        format!(r#"{{"blueprintId":"a","blueprint":{{"d":"{}"}}}}"#, "x".repeat(limits::DOCUMENT_BYTES));
    let detail = post(&router, PUBLISH, body).await.problem(413, "too-large");
    assert!(detail.contains("the limit is 16777216"), "{detail}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_or_broken_body_is_given_up() {
    let (router, _) = central(|_| ()).await;
    let silent = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    assert!(post(&router, PUBLISH, silent).await.problem(408, "request-timeout").contains("10 s"));
    let trickle = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(9)).await;
        Some((Ok::<_, Infallible>(Bytes::from_static(b" ")), ()))
    });
    assert!(
        post(&router, PUBLISH, Body::from_stream(trickle))
            .await
            .problem(408, "request-timeout")
            .contains("less than 8192 bytes a second over 20 s")
    );
    let broken = stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("reset"))]);
    assert!(
        post(&router, PUBLISH, Body::from_stream(broken))
            .await
            .problem(400, "invalid-request")
            .contains("broke off")
    );
}
