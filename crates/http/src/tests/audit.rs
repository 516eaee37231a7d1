//! What the audit log tells of a write, and what it never tells.

use std::sync::LazyLock;

use sorcha_config::Http;
use sorcha_runtime::testing::Lines;
use tracing::Dispatch;

use super::*;
use crate::audit::Remote;

const TOKEN: &str = "alice-token-0123456789";
const PUBLISH: &str = "/api/system-register/publish";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// The newest line of the audit log.
fn last(lines: &Lines) -> Value {
    let lines = lines.json();
    let line = lines.iter().rfind(|line| line["target"] == "audit").expect("a line of the audit log");
    line["fields"].clone()
}

/// With one subscriber in the whole process, the library asks only the thread that comes first to a line whether anybody
/// wants it; other tests' threads have none. So there are always two.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));

fn logging() -> (Lines, tracing::subscriber::DefaultGuard) {
    LazyLock::force(&SECOND);
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().json().with_writer(lines.clone()).finish();
    (lines, tracing::subscriber::set_default(subscriber))
}

async fn node() -> (Router, Arc<CentralNode>, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("alice: {TOKEN}\n")).unwrap();
    let path = file.path().to_owned();
    let (router, node) =
        central(|config| config.http = Http { token_file: Some(path), ..Http::default() }).await;
    (router, node, file)
}

async fn write(router: &Router, path: &str, token: &str, body: impl Into<Body>) -> Reply {
    let request = Request::post(path)
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {token}"))
        .header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"))
        .extension(Remote("192.0.2.7:4711".into()));
    send(router, request.body(body.into()).unwrap()).await
}

#[tokio::test(start_paused = true)]
async fn publications_and_changes_are_told_with_who_what_and_result() {
    let (router, ..) = node().await;
    let (lines, _guard) = logging();
    let path = |verb| format!("/api/system-register/blueprints/a/{verb}");
    let bytes = r#"{"name":"Blueprint a","id":"a"}"#.len();
    for (path, action, result, version, status) in [
        (PUBLISH.to_owned(), "publish", "done", 1, 201),
        (PUBLISH.to_owned(), "publish", "unchanged", 1, 200),
        (path("deprecate"), "deprecate", "done", 2, 200),
        (path("reactivate"), "reactivate", "done", 3, 200),
    ] {
        let body = if action == "publish" { publication("a") } else { String::new() };
        let reply = write(&router, &path, TOKEN, body).await;
        assert_eq!(reply.status.as_u16(), status, "{reply:?}");
        let line = last(&lines);
        let told = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        assert_eq!((told("action"), told("result")), (action.into(), result.into()), "{line}");
        assert_eq!((told("who"), told("via")), ("alice".into(), "token_file".into()));
        assert_eq!((told("remote"), told("trace")), ("192.0.2.7:4711".into(), TRACE.into()));
        assert_eq!(
            (told("blueprint_id"), told("checksum")),
            ("a".into(), reply.json()["checksum"].as_str().unwrap().into())
        );
        assert_eq!(
            (line["version"].as_i64(), line["status"].as_u64()),
            (Some(version), Some(u64::from(status)))
        );
        assert_eq!(line["bytes"].as_u64(), (action == "publish").then_some(bytes as u64));
        assert!(line.get("reason").is_none(), "{line}");
    }
    let all = lines.text();
    assert!(!all.contains(TOKEN) && !all.contains("Blueprint a"), "{all}");
    assert_eq!(all.matches("\"target\":\"audit\"").count(), 4);
}

#[tokio::test(start_paused = true)]
async fn refusals_are_told_with_their_reason() {
    let (router, ..) = node().await;
    let (lines, _guard) = logging();
    let long = "x".repeat(5000);
    for (token, body, result, who, id) in [
        ("wrong-token-0123456789", publication("a"), "unauthorized", None, None),
        (TOKEN, "{".to_owned(), "invalid-request", Some("alice"), None),
        (TOKEN, publication("not an id"), "invalid-request", Some("alice"), Some("not an id")),
        (TOKEN, publication(&long), "invalid-request", Some("alice"), Some(&long[..300])),
    ] {
        assert!(write(&router, PUBLISH, token, body).await.status.is_client_error());
        let line = last(&lines);
        assert_eq!(
            (line["action"].as_str(), line["result"].as_str()),
            (Some("publish"), Some(result)),
            "{line}"
        );
        assert_eq!((line["who"].as_str(), line["blueprint_id"].as_str()), (who, id), "{line}");
        assert!(
            line["reason"].as_str().is_some_and(|reason| !reason.is_empty() && reason.len() <= 300),
            "{line}"
        );
        assert!(line.get("version").is_none());
    }
    write(&router, "/api/system-register/blueprints/b/deprecate", TOKEN, "").await.problem(404, "not-found");
    let line = last(&lines);
    assert_eq!((line["result"].as_str(), line["blueprint_id"].as_str()), (Some("not-found"), Some("b")));
    assert!(!lines.text().contains("wrong-token"));
    let reads = lines.text().matches("\"target\":\"audit\"").count();
    get(&router, "/api/system-register").await;
    assert_eq!(lines.text().matches("\"target\":\"audit\"").count(), reads, "reads are not told");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_has_a_line_too() {
    let (router, ..) = node().await;
    let (lines, _guard) = logging();
    let endless = Body::from_stream(futures::stream::pending::<Result<Bytes, std::convert::Infallible>>());
    let asked = write(&router, PUBLISH, TOKEN, endless);
    assert!(tokio::time::timeout(std::time::Duration::from_secs(1), asked).await.is_err());
    let line = last(&lines);
    assert_eq!(
        (line["result"].as_str(), line["who"].as_str()),
        (Some("unanswered"), Some("alice")),
        "{line}"
    );
}
