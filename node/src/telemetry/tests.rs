use std::{sync::Arc, time::Instant};

use axum::http::{HeaderMap, HeaderValue};
use opentelemetry_proto::tonic::trace::v1::{span::SpanKind, status::StatusCode};
use sorcha_central::{CentralNode, log::RegisterLog, publish::Submission};
use sorcha_config::LogFormat;
use sorcha_http::AUDIT;
use sorcha_register::{names::PeerId, testing::entry, view::RegisterView};
use sorcha_runtime::{
    env::Env,
    metrics::SyncType,
    spans,
    testing::Lines,
    traces::{acknowledged, current_trace_parent, receive_span, request_span},
};
use sorcha_store::{
    Publication,
    journal::{JournalStore, Options},
};
use tracing::{Instrument as _, dispatcher};
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use self::collector::{Collector, Received, texts};
use super::*;

mod collector;
mod shown;

const TRACE_PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn output(lines: &Lines) -> Output {
    Output::to(BoxMakeWriter::new(lines.clone()))
}

fn config(endpoint: Option<String>) -> Config {
    let mut config = Config::default().with_identity("n0.sorcha.dev");
    config.telemetry.otlp_endpoint = endpoint;
    config.log.format = LogFormat::Json;
    config
}

fn silent(config: &Config) -> (Telemetry, Dispatch) {
    build(config, "central", output(&Lines::default())).unwrap()
}

fn central_node(telemetry: &Telemetry) -> Arc<CentralNode> {
    let store = JournalStore::in_memory(Options { inline: true, ..Options::default() }).unwrap();
    let env = Env::system(telemetry.metrics("n0"));
    let node = CentralNode::new(
        Arc::new(config(None)),
        env,
        RegisterLog::new(Arc::new(store), RegisterView::new(None)),
        Vec::new(),
    );
    let tailed = Arc::clone(&node);
    tokio::spawn(async move { tailed.log.tail().await });
    node
}

fn submission() -> Submission {
    Submission {
        blueprint_id: "invoice".into(),
        document: br#"{"id":"invoice"}"#.as_slice().into(),
        published_by: "tester".into(),
        metadata: [].into(),
    }
}

/// What peers do with a pushed entry, and the central node with its acknowledgement.
fn deliver(publication: &Publication) {
    let entry = publication.entry.entry();
    let span = receive_span(entry);
    span.in_scope(|| tracing::info!("applied"));
    spans::finish(&span, Duration::from_millis(2), &Ok::<_, std::fmt::Error>(()));
    acknowledged(entry, &PeerId::new("edge-0").unwrap(), Duration::from_millis(5));
}

/// Publishes and delivers under a subscriber that exports; returns what the collector has then.
async fn published_and_delivered() -> (Publication, Received) {
    let collector = Collector::default();
    let address = collector.start().await;
    let (telemetry, subscriber) = silent(&config(Some(format!("http://{address}"))));
    let publication = {
        let _subscriber = dispatcher::set_default(&subscriber);
        let publication = central_node(&telemetry).publish(submission()).await.unwrap();
        deliver(&publication);
        publication
    };
    let shut_down = Instant::now();
    telemetry.shutdown().await;
    assert!(shut_down.elapsed() < Duration::from_secs(1), "a live collector is not waited for");
    (publication, collector.received())
}

#[tokio::test]
async fn one_trace_from_publication_to_acknowledgement() {
    let (publication, received) = published_and_delivered().await;
    let names = ["peer.notification.receive", "peer.push.acknowledged", "register.publish"];
    assert_eq!(received.spans.keys().map(String::as_str).collect::<Vec<_>>(), names);
    let [receive, acknowledge, publish] = names.map(|name| &received.spans[name]);
    assert!(publish.parent_span_id.is_empty());
    for child in [receive, acknowledge] {
        assert_eq!((&child.trace_id, &child.parent_span_id), (&publish.trace_id, &publish.span_id));
    }
    let entry = publication.entry.entry();
    let ids = [&publish.trace_id, &publish.span_id].map(hex::encode);
    assert_eq!(entry.trace_parent(), format!("00-{}-{}-01", ids[0], ids[1]));
    assert_eq!(receive.kind(), SpanKind::Server);
    assert_eq!(receive.events[0].name, "applied");
    let published_at = u64::try_from(entry.published_at.as_millis()).unwrap() * 1_000_000;
    let took = acknowledge.end_time_unix_nano - acknowledge.start_time_unix_nano;
    assert_eq!((acknowledge.start_time_unix_nano, took), (published_at, 5_000_000));
}

#[tokio::test]
async fn spans_and_resource_carry_their_attributes() {
    let (_, received) = published_and_delivered().await;
    for (span, field, value) in [
        ("register.publish", "blueprint_id", "invoice"),
        ("register.publish", "version", "1"),
        ("register.publish", "published_by", "tester"),
        ("register.publish", "success", "true"),
        ("peer.notification.receive", "blueprint_id", "invoice"),
        ("peer.notification.receive", "version", "1"),
        ("peer.notification.receive", "duration_ms", "2"),
        ("peer.push.acknowledged", "peer_id", "edge-0"),
        ("peer.push.acknowledged", "blueprint_id", "invoice"),
        ("peer.push.acknowledged", "version", "1"),
        ("peer.push.acknowledged", "duration_ms", "5"),
    ] {
        let attributes = texts(&received.spans[span].attributes);
        assert_eq!(attributes.get(field).map(String::as_str), Some(value), "{span} {field}");
    }
    for (key, value) in [
        ("service.name", "sorcha-node"),
        ("service.instance.id", "n0.sorcha.dev"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("sorcha.role", "central"),
    ] {
        assert_eq!(received.resource[key], value);
    }
    assert!(received.metrics.contains(&"central.publications".to_owned()), "{:?}", received.metrics);
}

#[tokio::test]
async fn a_callers_trace_reaches_the_entry() {
    let collector = Collector::default();
    let address = collector.start().await;
    let (telemetry, subscriber) = silent(&config(Some(format!("http://{address}"))));
    let headers =
        HeaderMap::from_iter([("traceparent".parse().unwrap(), HeaderValue::from_static(TRACE_PARENT))]);
    {
        let _subscriber = dispatcher::set_default(&subscriber);
        let node = central_node(&telemetry);
        let request = request_span(&headers);
        request.record("otel.name", "POST /api/system-register/blueprints");
        let publication = node.publish(submission()).instrument(request).await.unwrap();
        assert!(publication.entry.entry().trace_parent().starts_with(&TRACE_PARENT[..36]));
        let refused = Submission { published_by: String::new(), ..submission() };
        node.publish(refused).await.unwrap_err();
    }
    telemetry.shutdown().await;

    let spans = collector.received().spans;
    let request = &spans["POST /api/system-register/blueprints"];
    assert_eq!(hex::encode(&request.parent_span_id), "b7ad6b7169203331");
    let refused = &spans["register.publish"];
    let attributes = texts(&refused.attributes);
    assert_ne!(refused.trace_id, request.trace_id);
    assert_eq!(attributes["success"], "false");
    assert!(attributes["error.message"].contains("published_by"), "{attributes:?}");
    assert!(attributes["error.type"].ends_with("PublishError"), "{attributes:?}");
    assert_eq!(refused.status.as_ref().unwrap().code(), StatusCode::Error);
}

#[test]
fn an_unsampled_caller_is_not_traced() {
    let (_telemetry, subscriber) = silent(&config(Some("http://127.0.0.1:1".into())));
    let unsampled = HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
    dispatcher::with_default(&subscriber, || {
        let headers = HeaderMap::from_iter([("traceparent".parse().unwrap(), unsampled)]);
        assert_eq!(request_span(&headers).in_scope(current_trace_parent), "");
        assert_eq!(request_span(&HeaderMap::new()).in_scope(current_trace_parent).len(), 55);
    });
}

#[test]
fn without_an_endpoint_nothing_is_traced() {
    for endpoint in [None, Some(String::new())] {
        let (_telemetry, subscriber) = silent(&config(endpoint));
        dispatcher::with_default(&subscriber, || {
            let mut entry = entry("a", 1);
            entry.trace_parent = TRACE_PARENT.into();
            let entry = entry.header();
            assert_eq!(receive_span(&entry).in_scope(current_trace_parent), "");
            acknowledged(&entry, &PeerId::new("edge-0").unwrap(), Duration::ZERO);
        });
    }
}

/// Start, a thousand spans, measurements and the end, all against a collector that does not answer.
async fn survive(endpoint: String) {
    let start = Instant::now();
    let (telemetry, subscriber) = silent(&config(Some(endpoint)));
    assert!(start.elapsed() < Duration::from_millis(500), "the start does not wait");
    dispatcher::with_default(&subscriber, || {
        for number in 0..1000 {
            telemetry.metrics("edge-0").heartbeat_acknowledged("n0", Duration::from_millis(1));
            spans::heartbeat("n0", number).in_scope(|| tracing::info!("sent"));
        }
    });
    telemetry.shutdown().await;
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

/// Nobody listens there.
fn dead() -> String {
    "http://127.0.0.1:1".into()
}

#[tokio::test]
async fn a_dead_collector_disturbs_nothing() {
    survive(dead()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_collector_disturbs_nothing_on_many_threads() {
    survive(dead()).await;
}

#[tokio::test]
async fn a_stuck_collector_disturbs_nothing() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    survive(format!("http://{}", listener.local_addr().unwrap())).await;
}

#[test]
fn telemetry_needs_no_runtime() {
    let (telemetry, subscriber) = silent(&config(Some(dead())));
    dispatcher::with_default(&subscriber, || spans::heartbeat("n0", 1).in_scope(current_trace_parent));
    let start = Instant::now();
    drop(telemetry);
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[test]
fn bad_settings_are_named() {
    let mut bad_filter = config(None);
    bad_filter.log.filter = "info,sorcha_node=loud".into();
    let message = build(&bad_filter, "peer", output(&Lines::default())).unwrap_err().to_string();
    assert!(message.starts_with("log.filter:") && message.contains("sorcha_node=loud"), "{message}");
    for endpoint in ["http://[broken", "https://collector:4317", "collector:4317"] {
        let bad_endpoint = config(Some(endpoint.into()));
        let message = build(&bad_endpoint, "peer", output(&Lines::default())).unwrap_err().to_string();
        assert!(message.starts_with("telemetry.otlp_endpoint: ") && message.contains(endpoint), "{message}");
    }
}
