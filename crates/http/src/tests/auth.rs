//! Who may write.

use std::{io::Write as _, time::Duration};

use sorcha_config::{ConfigError, Http};
use tempfile::NamedTempFile;

use super::*;

const ALICE: &str = "alice-token-0123456789";

fn file(content: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file
}

fn with_tokens(file: &NamedTempFile) -> impl FnOnce(&mut Config) {
    let path = file.path().to_owned();
    move |config| config.http = Http { token_file: Some(path), ..Http::default() }
}

async fn publish(router: &Router, authorization: &[&str], id: &str) -> Reply {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(authorization.iter().map(|value| ("authorization", *value)));
    call(router, Method::POST, PUBLISH, &headers, publication(id).into()).await
}

#[tokio::test(start_paused = true)]
async fn a_token_names_the_publisher() {
    let file = file(&format!("# who may publish\n\nalice: {ALICE}\n  0123456789abcdef  \n"));
    let (router, _) = central(with_tokens(&file)).await;
    assert_eq!(publish(&router, &[&format!("Bearer {ALICE}")], "a").await.status, StatusCode::CREATED);
    assert_eq!(publish(&router, &["bearer 0123456789abcdef"], "b").await.status, StatusCode::CREATED);
    let publisher = async |id: &str| {
        get(&router, &format!("/api/system-register/blueprints/{id}")).await.json()["publishedBy"].clone()
    };
    assert_eq!((publisher("a").await, publisher("b").await), ("alice".into(), "publisher".into()));
}

#[tokio::test(start_paused = true)]
async fn without_a_valid_token_nothing_is_written_or_read_of_the_body() {
    let file = file(ALICE);
    let (router, node) = central(with_tokens(&file)).await;
    for authorization in
        [vec![], vec!["Bearer wrong-token-0123456789"], vec!["Basic YTpi"], vec!["Bearer"], vec![ALICE]]
    {
        let reply = publish(&router, &authorization, "a").await;
        let detail = reply.problem(401, "unauthorized");
        assert!(!detail.contains("wrong-token"), "a token must not be shown: {detail}");
        assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"sorcha\"");
    }
    let unread = Body::from_stream(futures::stream::once(async {
        panic!("read") as Result<Bytes, std::convert::Infallible>
    }));
    post(&router, PUBLISH, unread).await.problem(401, "unauthorized");
    assert_eq!(node.log.view().head().get(), 0);
    assert_eq!(get(&router, "/api/system-register").await.status, StatusCode::OK, "reads need no token");
}

#[tokio::test(start_paused = true)]
async fn every_post_needs_a_token() {
    let file = file(ALICE);
    let (central, _) = central(with_tokens(&file)).await;
    let (peer, _) = peer(with_tokens(&file)).await;
    let api = crate::openapi();
    let posts = || {
        api.paths
            .paths
            .iter()
            .filter(|(_, item)| item.post.is_some())
            .map(|(path, _)| path.replace("{id}", "a"))
    };
    assert_eq!(posts().count(), 8);
    for path in posts() {
        let own =
            if post(&central, &path, "").await.status == StatusCode::NOT_FOUND { &peer } else { &central };
        post(own, &path, "").await.problem(401, "unauthorized");
    }
}

#[tokio::test(start_paused = true)]
async fn without_tokens_writes_are_off_and_say_how_to_turn_them_on() {
    let (router, _) = central(|config| config.http = Http::default()).await;
    let detail = publish(&router, &[], "a").await.problem(403, "writes-disabled");
    assert!(detail.contains("http.token_file") && detail.contains("http.insecure_writes"), "{detail}");
    let detail = publish(&router, &[&format!("Bearer {ALICE}")], "a").await.problem(403, "writes-disabled");
    assert!(!detail.contains(ALICE));
}

#[tokio::test(start_paused = true)]
async fn the_file_is_read_again_when_it_changes() {
    let file = file(ALICE);
    let (router, _) = central(with_tokens(&file)).await;
    let bob = "Bearer bob-token-0123456789";
    publish(&router, &[bob], "a").await.problem(401, "unauthorized");
    std::fs::write(file.path(), "bob: bob-token-0123456789\n").unwrap();
    publish(&router, &[bob], "a").await.problem(401, "unauthorized");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(publish(&router, &[bob], "a").await.status, StatusCode::CREATED);
    publish(&router, &[&format!("Bearer {ALICE}")], "b").await.problem(401, "unauthorized");
    std::fs::write(file.path(), "# nobody\n").unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    publish(&router, &[bob], "a").await.problem(401, "unauthorized");
}

/// What the file becomes, and whether alice may write then; bob's line is gone or broken each time.
fn broken_files(both: &str) -> [(Option<Vec<u8>>, bool, &'static str); 9] {
    let utf_16: Vec<u8> =
        [0xfeff].into_iter().chain(both.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    [
        (Some(format!("alice: {ALICE}\nbob: short\n").into()), true, "line 2"),
        (Some(format!("bob: two words-0123456789\nalice: {ALICE}\n").into()), true, "line 1"),
        (Some([b"bob: \xff-token-0123456789\n".as_slice(), ALICE.as_bytes()].concat()), true, "line 1"),
        (Some(format!("{ALICE}\nbob: b\0ob-token-0123456789\n").into()), true, "line 2"),
        (Some(format!("\u{feff}alice: {ALICE}\r\n").into()), true, ""),
        (Some(format!("alice: {ALICE}\nalso: {ALICE}").into()), true, "line 2"),
        (Some(utf_16), false, "UTF-16"),
        (Some(vec![b'#'; 2 << 20]), false, "more than"),
        (None, false, "No such file"),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_not_in_the_file_as_it_is_now_is_not_good() {
    let (alice, bob) = (format!("Bearer {ALICE}"), "Bearer bob-token-0123456789");
    let both = format!("alice: {ALICE}\nbob: bob-token-0123456789\n");
    for (number, (content, alice_may, told)) in broken_files(&both).into_iter().enumerate() {
        let file = file(&both);
        let (router, _) = central(with_tokens(&file)).await;
        assert_eq!(publish(&router, &[bob], "before").await.status, StatusCode::CREATED);
        match &content {
            Some(content) => std::fs::write(file.path(), content).unwrap(),
            None => std::fs::remove_file(file.path()).unwrap(),
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        publish(&router, &[bob], "b").await.problem(401, "unauthorized");
        let status = publish(&router, &[&alice], "a").await.status;
        assert_eq!(status == StatusCode::CREATED, alice_may, "row {number}");
        let health = get(&router, "/health").await.json();
        if told.is_empty() {
            assert_eq!(health["status"], "Healthy", "row {number}: {health}");
        } else {
            let reason = health["reason"].as_str().unwrap_or_default();
            assert!(health["status"] == "Degraded" && reason.contains(told), "row {number}: {health}");
            assert!(!reason.contains("0123456789"), "row {number} shows a token: {health}");
        }
        // A file that is back is taken at once where it was missing.
        std::fs::write(file.path(), &both).unwrap();
        if content.is_some() {
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(publish(&router, &[bob], "c").await.status, StatusCode::CREATED, "row {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoked_token_is_not_good_though_the_new_file_has_the_old_ones_length_and_time() {
    let file = file("alice: alice-token-0123456789\n");
    let (router, _) = central(with_tokens(&file)).await;
    let time = std::fs::metadata(file.path()).unwrap().modified().unwrap();
    let beside = file.path().with_extension("new");
    for (in_place, name) in [(true, "bobby"), (false, "carol")] {
        let content = format!("{name}: {name}-token-0123456789\n");
        let path = if in_place { file.path() } else { &beside };
        std::fs::write(path, content).unwrap();
        std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        if !in_place {
            std::fs::rename(&beside, file.path()).unwrap();
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        publish(&router, &[&format!("Bearer {ALICE}")], "a").await.problem(401, "unauthorized");
        let new = format!("Bearer {name}-token-0123456789");
        assert_eq!(publish(&router, &[&new], name).await.status, StatusCode::CREATED);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pipe_in_the_token_files_place_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    std::fs::write(&path, format!("alice: {ALICE}\n")).unwrap();
    let named = path.clone();
    let (router, _) =
        central(move |config| config.http = Http { token_file: Some(named), ..Http::default() }).await;
    std::fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    tokio::time::advance(Duration::from_secs(1)).await;
    publish(&router, &[&format!("Bearer {ALICE}")], "a").await.problem(401, "unauthorized");
    let health = get(&router, "/health").await.json();
    assert!(health["reason"].as_str().unwrap().contains("a pipe or a device"), "{health}");
}

#[tokio::test(start_paused = true)]
async fn a_byte_order_mark_is_no_part_of_a_publishers_name() {
    for content in [format!("\u{feff}alice: {ALICE}\r\n"), format!("# first\n\u{feff}alice : {ALICE}\n")] {
        let file = file(&content);
        let (router, _) = central(with_tokens(&file)).await;
        assert_eq!(publish(&router, &[&format!("Bearer {ALICE}")], "a").await.status, StatusCode::CREATED);
        let entry = get(&router, "/api/system-register/blueprints/a").await.json();
        assert_eq!(entry["publishedBy"], "alice");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_of_the_file_publishes_as_nobody_of_kubernetes() {
    let file = file(&format!("alice: {ALICE}"));
    for insecure in [false, true] {
        let with_file = with_tokens(&file);
        let (router, node) = central(|config| {
            with_file(config);
            config.http.insecure_writes = insecure;
        })
        .await;
        let authorization = format!("Bearer {ALICE}");
        let as_whom = async |token: &str, publisher: &str| {
            let mut body: Value = serde_json::from_str(&publication("a")).unwrap();
            body["publishedBy"] = publisher.into();
            let headers = [("content-type", "application/json"), ("authorization", token)];
            call(&router, Method::POST, PUBLISH, &headers, body.to_string().into()).await
        };
        for publisher in ["system:serviceaccount:ci:deployer", "System:node:a", "  system:", "system:"] {
            for token in [authorization.as_str(), "Bearer none-0123456789abc"] {
                let reply = as_whom(token, publisher).await;
                if reply.status == StatusCode::UNAUTHORIZED && !insecure {
                    continue;
                }
                let detail = reply.problem(400, "invalid-request");
                assert!(detail.contains("publishedBy") && detail.contains("system:"), "{detail}");
            }
        }
        assert_eq!(node.log.view().head().get(), 0, "nothing was stored");
        assert_eq!(as_whom(&authorization, "bob").await.status, StatusCode::CREATED);
    }
}

#[test]
fn a_bad_token_file_is_a_start_up_error_that_shows_no_token() {
    let refuse = |content: &str| {
        let file = file(content);
        let http = Http { token_file: Some(file.path().to_owned()), ..Http::default() };
        Auth::new(&http, env_clock(), None).map(|_| ()).unwrap_err().to_string()
    };
    for (content, parts) in [
        (
            "ok: 0123456789abcdef\nalice: 0123456789abcde",
            vec!["http.token_file", "line 2", "15 characters", "16 or more"],
        ),
        ("alice: 0123456789 abcdef", vec!["line 1", "HTTP headers can't carry"]),
        ("alice: 0123456789abcdé\u{20ac}", vec!["line 1", "HTTP headers can't carry"]),
        (": 0123456789abcdef", vec!["line 1", "name"]),
        ("ali\u{200b}ce: 0123456789abcdef", vec!["line 1", "an invisible character"]),
        ("a\tb: 0123456789abcdef", vec!["line 1", "an invisible character"]),
        ("\u{fffe}\0", vec!["line 1"]),
        ("system: 0123456789abcdef", vec!["line 1", "`system`", "Kubernetes"]),
        ("ok: fedcba9876543210\nSystem:serviceaccount:ci:deployer-0123456789", vec!["line 2", "`system`"]),
        ("a: 0123456789abcdef\nb: 0123456789abcdef", vec!["line 2", "has the same token"]),
    ] {
        let message = refuse(content);
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        assert!(!message.contains("0123456789"), "{message}");
    }
    let http = Http { token_file: Some("/nonexistent/tokens".into()), ..Http::default() };
    let error = Auth::new(&http, env_clock(), None).map(|_| ()).unwrap_err();
    assert!(matches!(error, ConfigError::File { setting: "http.token_file", .. }), "{error}");
}

fn env_clock() -> Arc<dyn sorcha_register::clock::Clock> {
    Arc::new(Frozen)
}

struct Frozen;

impl sorcha_register::clock::Clock for Frozen {
    fn now(&self) -> Timestamp {
        START
    }
    fn monotonic(&self) -> sorcha_register::clock::Monotonic {
        sorcha_register::clock::Monotonic::default()
    }
}

proptest::proptest! {
    #[test]
    fn token_files_with_any_content_are_read_or_refused_by_line(
        text in "[a-z0-9: #é\t\n-]{0,200}", bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..100)
    ) {
        for content in [text.as_bytes(), &bytes] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), content).unwrap();
            let http = Http { token_file: Some(file.path().to_owned()), ..Http::default() };
            if let Err(error) = Auth::new(&http, env_clock(), None) {
                let told = error.to_string();
                proptest::prop_assert!(told.starts_with("http.token_file: "), "{}", told);
                let names_the_place = told.contains("line ") || told.contains("read ");
                proptest::prop_assert!(names_the_place, "{}", told);
            }
        }
    }
}
