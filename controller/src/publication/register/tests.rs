//! Against a program in the place of a central node that answers what it likes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, http::Response};
use serde_json::{Value, json};

use super::*;

const LONG: usize = 250_000;

/// An answer to everything, and how often it was given.
async fn server(status: u16, tag: usize, body: Value) -> (Url, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let router = Router::new().fallback(move || {
        count.fetch_add(1, Ordering::Relaxed);
        let answer = Response::builder().status(status).header("etag", "t".repeat(tag));
        let answer = answer.body(Body::from(body.to_string())).expect("an answer");
        async move { answer }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}").parse().expect("an address"), asked)
}

fn register<'a>(base: Url, client: &'a Client, fence: &'a Fence) -> Register<'a> {
    Register { client, fence, base, central: "n0", token: "t", id: "a-v1" }
}

fn client() -> Client {
    crate::publication::http::client(Duration::from_secs(5), Duration::from_secs(5)).expect("a client")
}

fn entry(checksum: &str, by: &str) -> Value {
    let at = "2026-11-22T10:00:00Z";
    json!({"version": 1, "checksum": checksum, "isActive": true, "publishedAt": at, "publishedBy": by})
}

#[tokio::test]
async fn an_entry_has_no_longer_texts_than_a_register() {
    let (checksum, fence, client) = (format!("sha256:{}", "a".repeat(64)), Fence::open(), client());
    let (url, _) = server(200, 4_000, entry(&checksum, &"b".repeat(LONG))).await;
    let known = register(url, &client, &fence).look(None).await.expect("an answer").expect("an entry");
    assert_eq!((known.tag, known.entry.checksum), (None, checksum));
    assert_eq!(known.entry.published_by.map(|by| by.chars().count()), Some(255));
    for checksum in ["c".repeat(LONG), format!("sha256:{}", "A".repeat(64)), String::new()] {
        let (url, _) = server(200, 1, entry(&checksum, "b")).await;
        let fault = register(url, &client, &fence).look(None).await.expect_err("no checksum");
        assert_eq!(
            fault,
            Fault::Passing(
                "its answer is not understood: its checksum is not sha256: and 64 hex digits".to_owned()
            )
        );
    }
}

#[tokio::test]
async fn what_it_says_is_cut_whatever_it_was_asked() {
    let (fence, client) = (Fence::open(), client());
    for status in [400, 403, 409, 500] {
        let (url, _) = server(status, 1, json!({"title": "t", "detail": "d".repeat(60_000)})).await;
        let register = register(url, &client, &fence);
        let document = Document::parse("{}", "here").expect("a document");
        let faults = [
            register.look(None).await.expect_err("refused"),
            register.publish(&document).await.expect_err("refused"),
            register.set_active(true).await.expect_err("refused"),
        ];
        for fault in faults {
            let length = format!("{fault:?}").len();
            assert!((500..1_500).contains(&length), "{status}: {length}");
        }
    }
}

/// A process that was stopped for longer than its lease holds: another one has it by now.
#[tokio::test]
async fn once_the_lease_is_over_no_register_is_asked_or_changed() {
    let (url, asked) = server(200, 1, entry(&format!("sha256:{}", "a".repeat(64)), "b")).await;
    let (fence, client) = (Fence::open(), client());
    let register = register(url, &client, &fence);
    assert!(register.set_active(false).await.is_ok());
    fence.set(None);
    let document = Document::parse("{}", "here").expect("a document");
    assert!(matches!(register.look(None).await, Err(Fault::Passing(why)) if why.contains("lease")));
    assert!(matches!(register.publish(&document).await, Err(Fault::Passing(_))));
    assert!(matches!(register.set_active(true).await, Err(Fault::Passing(_))));
    assert_eq!(asked.load(Ordering::Relaxed), 1, "nothing was sent");
}
