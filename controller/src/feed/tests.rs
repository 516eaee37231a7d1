//! Lists and watches of an API server that answers with bytes.

use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use futures::stream;
use http::{Request, Response};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Resource as _;
use serde_json::json;

use super::{object::Unreadable, *};

type Answers = Arc<Mutex<Vec<(u16, Vec<&'static str>, bool)>>>;

/// An API server that gives these answers in turn: status, chunks, and whether the last one stays open; then none.
fn server(answers: Vec<(u16, Vec<&'static str>, bool)>) -> (Client, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (seen, answers): (_, Answers) = (Arc::clone(&asked), Arc::new(Mutex::new(answers)));
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        seen.lock().unwrap().push(request.uri().to_string());
        let mut answers = answers.lock().unwrap();
        let next = if answers.is_empty() { None } else { Some(answers.remove(0)) };
        async move {
            let Some((code, chunks, open)) = next else { return std::future::pending().await };
            let chunks =
                stream::iter(chunks.into_iter().map(|chunk| Ok::<_, std::io::Error>(Bytes::from(chunk))));
            let body = if open {
                Body::from_stream(chunks.chain(stream::pending()))
            } else {
                Body::from_stream(chunks)
            };
            Ok::<_, std::io::Error>(Response::builder().status(code).body(body).unwrap())
        }
    });
    (Client::new(service, "shop"), asked)
}

fn source() -> Source {
    let path = ConfigMap::url_path(&(), None);
    Source { path, selector: Some("a=b".into()), page: 2, cut: Cut::Records, metadata_only: false }
}

fn told(event: &Event<ConfigMap>) -> String {
    let named = |seen: &Seen<ConfigMap>| match seen {
        Seen::Readable(map) => map.metadata.name.clone().unwrap_or_default(),
        Seen::Unreadable(object) => {
            let Unreadable { name, problem, .. } = &**object;
            assert!(!problem.contains("MARKER"), "{problem}");
            format!("unreadable {name}")
        }
    };
    match event {
        Event::Begin => "begin".into(),
        Event::Listed(seen) => format!("listed {}", named(seen)),
        Event::Complete => "complete".into(),
        Event::Changed(seen) => format!("changed {}", named(seen)),
        Event::Deleted(seen) => format!("deleted {}", named(seen)),
        Event::Following => "following".into(),
        Event::Nameless => "nameless".into(),
        Event::Failed(fault) => {
            assert!(!fault.to_string().contains("MARKER"), "{fault}");
            format!("failed {:?}", fault.code())
        }
    }
}

/// What happens until nothing does any more.
async fn events(answers: Vec<(u16, Vec<&'static str>, bool)>) -> (Vec<String>, Vec<String>) {
    let (client, asked) = server(answers);
    let mut seen = Vec::new();
    let (source, limit) = (source(), Duration::from_secs(100));
    let _for_ever = timeout(limit, follow(&client, &source, |event| seen.push(told(&event)))).await;
    let asked = asked.lock().unwrap().clone();
    (seen, asked)
}

const LIST: &str = r#"{"kind": "ConfigMapList", "metadata": {"resourceVersion": "5"}, "items": [
    {"metadata": {"name": "a", "resourceVersion": "1"}, "data": {"x": "y"}},
    {"metadata": {"name": "b", "resourceVersion": "1"}, "data": {"x": ["MARKER"]}},
    {"metadata": {"labels": {"MARKER": 1}}}, "MARKER",
    {"metadata": {"name": "c", "resourceVersion": "1"}, "data": null}]}"#;

#[tokio::test(start_paused = true)]
async fn one_object_that_cannot_be_read_keeps_no_other_from_being_read() {
    let watch = vec![
        "{\"type\": \"ADDED\", \"object\": {\"metadata\": {\"name\": \"d\", \"resourceVersion\": \"6\"}}}\n{\"type\":",
        "\"MODIFIED\", \"object\": {\"metadata\": {\"name\": \"a\", \"resourceVersion\": \"7\"}, \"data\": \"MARKER\"}}\n",
        "{\"object\": {\"metadata\": {\"name\": \"c\", \"resourceVersion\": \"8\"}}, \"type\": \"DELETED\"}\n",
        "{\"type\": \"BOOKMARK\", \"object\": {\"metadata\": {\"resourceVersion\": \"9\"}}}\n",
        "{\"type\": \"ADDED\", \"object\": {\"MARKER\": 1}}\n",
    ];
    let (seen, asked) =
        events(vec![(200, vec![LIST], false), (200, watch, false), (200, vec![], true)]).await;
    assert_eq!(
        seen,
        [
            "begin",
            "listed a",
            "listed unreadable b",
            "nameless",
            "listed c",
            "complete",
            "following",
            "changed d",
            "changed unreadable a",
            "deleted c",
            "nameless",
            "following",
        ]
    );
    assert!(asked[0].contains("limit=2") && asked[0].contains("labelSelector=a%3Db"), "{}", asked[0]);
    assert!(asked[1].contains("watch=true") && asked[1].ends_with("resourceVersion=5"), "{}", asked[1]);
    assert!(asked[2].ends_with("resourceVersion=9"), "bookmarks count: {}", asked[2]);
}

#[tokio::test(start_paused = true)]
async fn a_list_goes_on_page_by_page() {
    let first = r#"{"metadata": {"resourceVersion": "4", "continue": "next"}, "items": [{"metadata": {"name": "a"}}]}"#;
    let last = r#"{"metadata": {"resourceVersion": "4", "continue": ""}, "items": null}"#;
    let (seen, asked) = events(vec![(200, vec![first], false), (200, vec![last], false)]).await;
    assert_eq!(seen, ["begin", "listed a", "complete"]);
    assert!(asked[1].contains("continue=next"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_or_not_understood_is_listed_again() {
    let gone = "{\"type\": \"ERROR\", \"object\": {\"code\": 410, \"reason\": \"Expired\", \"message\": \"too old\"}}\n";
    let empty = r#"{"metadata": {"resourceVersion": "5"}, "items": []}"#;
    for watch in
        [(200, vec![gone], true), (410, vec![r#"{"code": 410}"#], false), (200, vec!["<html>MARKER\n"], true)]
    {
        let (seen, asked) = events(vec![(200, vec![empty], false), watch, (200, vec![empty], false)]).await;
        let begun = seen.iter().filter(|event| *event == "begin").count();
        assert_eq!(begun, 2, "{seen:?}");
        assert!(!asked[2].contains("watch"), "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_refused_for_another_reason_goes_on_where_it_was() {
    let empty = r#"{"metadata": {"resourceVersion": "5"}, "items": []}"#;
    let answers = vec![(200, vec![empty], false), (503, vec!["MARKER"], false), (200, vec![], true)];
    let (seen, asked) = events(answers).await;
    assert_eq!(seen, ["begin", "complete", "failed Some(503)", "following"]);
    assert!(asked[2].ends_with("resourceVersion=5"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_list_or_breaks_off_is_told_without_its_text() {
    let empty = r#"{"metadata": {"resourceVersion": "5"}, "items": []}"#;
    for body in
        ["<html>MARKER</html>", r#"{"items": [{"metadata": {"name": "a"}}, {"MARKER""#, r#"{"metadata": {}}"#]
    {
        let (seen, _) = events(vec![(200, vec![body], false), (200, vec![empty], false)]).await;
        assert!(seen.contains(&"failed None".to_owned()), "{seen:?}");
        assert_eq!(seen.last().map(String::as_str), Some("complete"), "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_are_told_with_the_api_servers_words_and_no_other_ones() {
    let body = json!({"kind": "Status", "code": 403, "reason": "Forbidden", "message": "you may not list"});
    assert_eq!(
        call::refused(403, body.to_string().as_bytes()).to_string(),
        "the API server answers 403 Forbidden: you may not list"
    );
    let other = call::refused(502, b"<html>MARKER").to_string();
    assert_eq!(other, "the API server answers 502 : it does not say why");
}
