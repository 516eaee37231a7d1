use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde_json::{Value, json};

use super::*;
use crate::cli::{
    api::tests::{nobody, serve},
    blueprint::FILE_BYTES,
    console::tests::{Full, on_console},
};

type Requests = Arc<Mutex<Vec<(HeaderMap, Value)>>>;

/// A central node that numbers publications, knows `known-v1` and refuses `refused-v1`.
async fn central() -> (reqwest::Url, Requests) {
    async fn handler(
        State(requests): State<Requests>,
        headers: HeaderMap,
        Json(body): Json<Value>,
    ) -> (StatusCode, Json<Value>) {
        let mut requests = requests.lock().unwrap();
        requests.push((headers, body.clone()));
        let status = match body["blueprintId"].as_str() {
            Some("known-v1") => StatusCode::OK,
            Some("refused-v1") => {
                let detail = "blueprint refused-v1 is already published with other content";
                let problem =
                    json!({"type": "about:blank", "title": "Conflict", "status": 409, "detail": detail});
                return (StatusCode::CONFLICT, Json(problem));
            }
            _ => StatusCode::CREATED,
        };
        (status, Json(published(&body["blueprintId"], requests.len())))
    }
    let requests = Requests::default();
    let router =
        Router::new().route("/api/system-register/publish", post(handler)).with_state(Arc::clone(&requests));
    (serve(router).await, requests)
}

/// A central node's answer to a publication.
fn published(id: &Value, version: usize) -> Value {
    json!({
        "transactionId": "tx", "blueprintId": id, "version": version, "publishedAt": "2026-01-01T00:00:00.000Z",
        "checksum": "sha256:0", "isActive": true,
    })
}

fn args(url: reqwest::Url, files: &[PathBuf]) -> PublishArgs {
    PublishArgs {
        files: files.to_vec(),
        api: ApiArgs { url, token_file: None },
        id: None,
        metadata: Vec::new(),
        published_by: None,
        wait: None,
        output: OutputFormat::Table,
    }
}

fn write(directory: &tempfile::TempDir, name: &str, content: &str) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn blueprint(id: &str) -> String {
    format!(r#"{{ "id": "{id}", "@context": "https://sorcha.dev/blueprints/v1", "n": 1.0 }}"#)
}

#[tokio::test]
async fn sends_the_document_with_everything_that_was_said() {
    let (directory, (url, requests)) = (tempfile::tempdir().unwrap(), central().await);
    let mut args = args(url, &[write(&directory, "file.json", &blueprint("inner-v1"))]);
    args.api.token_file = Some(write(&directory, "token", "s3cret\n"));
    args.metadata = vec![("category".into(), "trade".into())];
    args.published_by = Some("ci".into());
    let (result, out, err) = on_console!(None, |console| run(&args, &mut console));
    assert_eq!((result.unwrap(), err.as_str()), (Outcome::Done, ""));
    assert_eq!(out, "published inner-v1 at version 1\n");
    let requests = requests.lock().unwrap();
    let (headers, body) = &requests[0];
    assert_eq!(headers["authorization"], "Bearer s3cret");
    let expected = json!({
        "blueprintId": "inner-v1",
        "blueprint": {"id": "inner-v1", "@context": "https://sorcha.dev/blueprints/v1", "n": 1},
        "metadata": {"category": "trade"},
        "publishedBy": "ci",
    });
    assert_eq!(body, &expected);
}

#[tokio::test]
async fn the_id_is_the_flags_the_documents_or_the_files() {
    let (directory, (url, requests)) = (tempfile::tempdir().unwrap(), central().await);
    let own = write(&directory, "a.json", &blueprint("own-v1"));
    let urn = write(&directory, "stem-v1.json", &blueprint("urn:not:an:id"));
    let none = write(&directory, "none-v1.json", r#"{"@context": "x", "id": 7}"#);
    let (result, ..) =
        on_console!(None, |console| run(&args(url.clone(), &[own.clone(), urn, none]), &mut console));
    assert_eq!(result.unwrap(), Outcome::Done);
    let flagged = PublishArgs { id: Some(BlueprintId::new("flag-v1").unwrap()), ..args(url, &[own]) };
    let (result, ..) = on_console!(None, |console| run(&flagged, &mut console));
    assert_eq!(result.unwrap(), Outcome::Done);
    let ids: Vec<_> = requests.lock().unwrap().iter().map(|(_, body)| body["blueprintId"].clone()).collect();
    assert_eq!(ids, ["own-v1", "stem-v1", "none-v1", "flag-v1"]);
}

#[tokio::test]
async fn goes_on_after_a_failed_file_and_fails_at_the_end() {
    let (directory, (url, _)) = (tempfile::tempdir().unwrap(), central().await);
    let files = [
        write(&directory, "broken.json", "{"),
        write(&directory, "refused.json", &blueprint("refused-v1")),
        write(&directory, "known.json", &blueprint("known-v1")),
        directory.path().join("missing.json"),
        write(&directory, "twice.json", r#"{"@context": 1, "a": 1, "a": 2}"#),
        write(&directory, "no good name.json", r#"{"@context": 1}"#),
        write(&directory, "good.json", &blueprint("good-v1")),
    ];
    let (result, out, _) = on_console!(None, |console| run(&args(url.clone(), &files), &mut console));
    assert_eq!(result.unwrap(), Outcome::Failed);
    let lines: Vec<_> = out.lines().collect();
    assert!(lines[0].starts_with("ID") && lines[0].ends_with("RESULT"));
    assert!(lines[1].contains("broken.json") && lines[1].contains("not unambiguous JSON"), "{}", lines[1]);
    assert!(
        lines[2].contains("refused-v1") && lines[2].contains("failed: Conflict: blueprint"),
        "{}",
        lines[2]
    );
    assert!(lines[3].contains("known-v1") && lines[3].ends_with("unchanged"), "{}", lines[3]);
    assert!(lines[4].contains("missing.json") && lines[4].contains("No such file"), "{}", lines[4]);
    assert!(lines[5].contains("appears twice"), "{}", lines[5]);
    assert!(lines[6].contains("name one with --id"), "{}", lines[6]);
    assert!(lines[7].contains("good-v1") && lines[7].ends_with("published"), "{}", lines[7]);

    let json = PublishArgs { output: OutputFormat::Json, ..args(url, &files) };
    let (result, out, _) = on_console!(None, |console| run(&json, &mut console));
    assert_eq!(result.unwrap(), Outcome::Failed);
    let rows: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let results: Vec<_> = rows.iter().map(|row| row["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["failed", "failed", "unchanged", "failed", "failed", "failed", "published"]);
    assert_eq!((&rows[2]["blueprintId"], &rows[2]["transactionId"]), (&json!("known-v1"), &json!("tx")));
    assert!(rows[0]["error"].as_str().unwrap().contains("JSON") && rows[0]["blueprintId"].is_null());
}

#[tokio::test]
async fn one_file_is_told_in_a_sentence() {
    let (directory, (url, _)) = (tempfile::tempdir().unwrap(), central().await);
    let known = write(&directory, "known.json", &blueprint("known-v1"));
    let (_, out, _) = on_console!(None, |console| run(&args(url.clone(), &[known]), &mut console));
    assert_eq!(out, "known-v1 is already published, at version 1\n");
    let refused = write(&directory, "refused.json", &blueprint("refused-v1"));
    let (result, out, err) = on_console!(None, |console| run(&args(url, &[refused]), &mut console));
    assert_eq!((result.unwrap(), out.as_str()), (Outcome::Failed, ""));
    assert!(err.starts_with("error: ") && err.contains("Conflict: blueprint refused-v1 is already"), "{err}");
}

#[tokio::test]
async fn warns_of_a_document_without_context() {
    let (directory, (url, requests)) = (tempfile::tempdir().unwrap(), central().await);
    let file = write(&directory, "plain-v1.json", "{}");
    let (result, _, err) = on_console!(None, |console| run(&args(url, &[file]), &mut console));
    assert_eq!(result.unwrap(), Outcome::Done);
    assert!(err.contains("warning") && err.contains("no @context"), "{err}");
    assert_eq!(requests.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_file_over_the_limit_is_not_even_read() {
    let (directory, (url, requests)) = (tempfile::tempdir().unwrap(), central().await);
    let path = directory.path().join("huge.json");
    std::fs::File::create(&path).unwrap().set_len(FILE_BYTES + 1).unwrap();
    let (result, _, err) = on_console!(None, |console| run(&args(url, &[path]), &mut console));
    assert_eq!(result.unwrap(), Outcome::Failed);
    assert!(err.contains("the limit for a document is 16777216"), "{err}");
    assert!(requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_node_that_is_away_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(&directory, "a.json", &blueprint("a-v1"));
    let (result, _, err) = on_console!(None, |console| run(&args(nobody().await, &[file]), &mut console));
    assert_eq!(result.unwrap(), Outcome::Failed);
    assert!(err.contains("does not answer"), "{err}");
}

#[tokio::test]
async fn the_sample_blueprints_are_publishable() {
    let (url, _) = central().await;
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../blueprints");
    let files: Vec<_> = std::fs::read_dir(samples)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    let (result, _, err) = on_console!(None, |console| run(&args(url, &files), &mut console));
    assert_eq!((result.unwrap(), err.as_str()), (Outcome::Done, ""));
}

#[tokio::test]
async fn every_file_is_published_though_nobody_can_be_told() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["first-v1", "refused-v1", "last-v1"].map(|id| {
        let file = folder.path().join(format!("{id}.json"));
        // Without @context: each is worth a warning.
        std::fs::write(&file, format!(r#"{{"id":"{id}"}}"#)).unwrap();
        file
    });
    for output in [OutputFormat::Table, OutputFormat::Json] {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::BrokenPipe] {
            let (url, requests) = central().await;
            let args = PublishArgs { output, ..args(url, &files) };
            let (mut out, mut err) = (Full(kind), Vec::new());
            let mut console = Console { out: &mut out, out_is_terminal: false, err: &mut err, answers: None };
            let error = run(&args, &mut console).await.unwrap_err();
            assert_eq!(requests.lock().unwrap().len(), 3);
            assert_eq!(crate::cli::console::is_broken_pipe(&error), kind == io::ErrorKind::BrokenPipe);
            let told = String::from_utf8(err).unwrap();
            assert!(
                told.contains("error: ") && told.contains("refused-v1"),
                "the failure is told elsewhere: {told}"
            );

            let (mut out, mut err) = (Vec::new(), Full(kind));
            let mut console = Console { out: &mut out, out_is_terminal: false, err: &mut err, answers: None };
            assert_eq!(run(&args, &mut console).await.unwrap(), Outcome::Failed, "one is refused");
            assert_eq!(requests.lock().unwrap().len(), 6);
            let good = PublishArgs { files: files[..1].to_vec(), ..args };
            assert_eq!(run(&good, &mut console).await.unwrap(), Outcome::Done);
            assert!(String::from_utf8(out).unwrap().contains("last-v1"));
        }
    }
}

/// A central node whose peers report these lowest versions, one after the other, the last one for ever.
async fn with_peers(total: usize, lowest: &'static [i64]) -> reqwest::Url {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::routing::get;

    let looks = Arc::new(AtomicUsize::new(0));
    let stats = move || async move {
        let look = looks.fetch_add(1, Ordering::SeqCst);
        let lowest = lowest.get(look).or(lowest.last());
        Json(json!({"totalPeers": total, "minVersion": lowest, "currentVersion": 9}))
    };
    let publish = || async { (StatusCode::CREATED, Json(published(&json!("inner-v1"), 5))) };
    let router = Router::new().route("/api/system-register/publish", post(publish));
    serve(router.route("/api/peers/stats", get(stats))).await
}

async fn waiting(url: reqwest::Url, limit: Duration) -> (Outcome, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let mut args = args(url, &[write(&directory, "file.json", &blueprint("inner-v1"))]);
    args.wait = Some(limit);
    let (result, out, err) = on_console!(None, |console| run(&args, &mut console));
    (result.unwrap(), out, err)
}

#[tokio::test]
async fn waiting_ends_when_every_connected_peer_holds_that_version() {
    let url = with_peers(3, &[0, 4, 4, 6]).await;
    let (outcome, out, err) = waiting(url, Duration::from_secs(60)).await;
    assert_eq!((outcome, err.as_str()), (Outcome::Done, ""));
    assert_eq!(out, "published inner-v1 at version 5\nall 3 connected peers hold version 5\n");
    let (outcome, out, _) = waiting(with_peers(0, &[]).await, Duration::from_secs(60)).await;
    assert_eq!(outcome, Outcome::Done);
    assert!(out.ends_with("no peer is connected to this central node\n"), "{out}");
}

#[tokio::test]
async fn waiting_in_vain_fails_and_tells_how_far_the_peers_are() {
    let (outcome, out, err) = waiting(with_peers(2, &[4]).await, Duration::from_millis(200)).await;
    assert_eq!((outcome, out.as_str()), (Outcome::Failed, "published inner-v1 at version 5\n"));
    assert!(
        err.contains("not all of the 2 connected peers hold version 5") && err.contains("version 4"),
        "{err}"
    );
    // A node that does not tell, such as a proxy in between.
    let (url, _) = central().await;
    let (outcome, _, err) = waiting(url, Duration::from_millis(200)).await;
    assert_eq!(outcome, Outcome::Failed);
    assert!(err.contains("is not known after 200ms"), "{err}");
}
