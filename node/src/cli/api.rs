//! A node's HTTP API, as its clients see it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::{
    Client, ClientBuilder, Method, RequestBuilder, Response, StatusCode, Url,
    header::{CONTENT_TYPE, RETRY_AFTER},
    redirect,
};
use serde::Deserialize;
use serde_json::Value;
use sorcha_os::read;

use super::console::printable;
use crate::http_client;

/// No answer of a node is larger.
const ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// Time to reach a node.
const CONNECT: Duration = Duration::from_secs(5);
/// A transfer of which nothing comes for so long is given up.
const SILENCE: Duration = Duration::from_secs(60);
/// Where Kubernetes puts the token of a pod's ServiceAccount for this network, if the pod asks for one.
const PROJECTED_TOKEN: &str = "/var/run/secrets/sorcha.dev/token";
/// No token file is larger.
const TOKEN_FILE_BYTES: u64 = 64 * 1024;

/// Flags of the commands that talk to a running node.
#[derive(Clone, Debug, Args)]
pub struct ApiArgs {
    /// HTTP address of the node
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", value_parser = parse_url)]
    pub url: Url,
    /// File with the bearer token; a line `name: token`, as nodes read it, is taken too
    #[arg(long, value_name = "FILE", env = "SORCHA_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
}

impl ApiArgs {
    /// The same for a command that writes: without a token file, the pod's own token is used where there is one.
    #[must_use]
    pub(crate) fn writing(&self) -> Self {
        self.with_token_of(Path::new(PROJECTED_TOKEN))
    }

    fn with_token_of(&self, pod: &Path) -> Self {
        let projected = || pod.exists().then(|| pod.to_owned());
        Self { token_file: self.token_file.clone().or_else(projected), ..self.clone() }
    }
}

pub(crate) fn parse_url(text: &str) -> Result<Url, String> {
    let example = "write it as http://127.0.0.1:8080";
    let url = Url::parse(text).map_err(|error| format!("{error}; {example}"))?;
    match url.scheme() {
        "http" if url.has_host() => Ok(url),
        "https" => {
            Err("this program speaks plain HTTP to nodes; use a port-forward or a local proxy for HTTPS"
                .to_owned())
        }
        _ => Err(format!("it is not an HTTP address; {example}")),
    }
}

/// Why a node did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// No answer.
    #[error("{url} does not answer: {why}")]
    Away { url: String, why: String },
    /// There is no token to send.
    #[error("{0:#}")]
    Token(anyhow::Error),
    /// The node says no.
    #[error("{explanation}")]
    Refused { explanation: String },
    /// Something answers that is no node, or one of another time.
    #[error("{url} answered {status}, which this program does not understand: {why}")]
    NotUnderstood { url: String, status: StatusCode, why: String },
}

impl ApiError {
    /// Whether there was no answer at all.
    pub(crate) const fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. })
    }
}

/// The part of a problem document (RFC 9457) that people read.
#[derive(Deserialize)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
}

/// A node to talk to.
#[derive(Debug)]
pub(crate) struct Api {
    client: Client,
    url: Url,
    token_file: Option<PathBuf>,
}

impl Api {
    /// Checks the token file and sets up a client that gives up after `timeout`.
    pub(crate) fn new(args: &ApiArgs, timeout: Duration) -> anyhow::Result<Self> {
        args.token_file.as_deref().map(read_token).transpose()?;
        Self::with(args, http_client::builder().timeout(timeout).connect_timeout(timeout.min(CONNECT)))
    }

    /// A client for answers of any size, which takes as long as something comes.
    pub(crate) fn for_transfers(url: &Url) -> anyhow::Result<Self> {
        let args = ApiArgs { url: url.clone(), token_file: None };
        Self::with(&args, http_client::builder().read_timeout(SILENCE).connect_timeout(CONNECT))
    }

    fn with(args: &ApiArgs, client: ClientBuilder) -> anyhow::Result<Self> {
        let client = client
            // A node redirects nobody; a redirect would carry the token elsewhere.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("sorcha-node/", env!("CARGO_PKG_VERSION")));
        // A proxy from the environment has no business between this machine and itself.
        let client = if is_loopback(&args.url) { client.no_proxy() } else { client };
        let client = client.build().context("set up the HTTP client")?;
        Ok(Self { client, url: args.url.clone(), token_file: args.token_file.clone() })
    }

    /// Where the node is.
    pub(crate) fn url(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// Asks for a resource.
    pub(crate) async fn get(&self, path: &[&str]) -> Result<Value, ApiError> {
        self.answer(self.request(Method::GET, path)?).await.map(|(_, value)| value)
    }

    /// Asks for a resource that is no JSON, which comes piece by piece.
    pub(crate) async fn stream(&self, path: &[&str]) -> Result<Response, ApiError> {
        let mut response =
            self.request(Method::GET, path)?.send().await.map_err(|error| self.away(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let retry_after = retry_after(&response);
        let body = self.body(&mut response).await?;
        Err(ApiError::Refused { explanation: self.explain(status, &body, retry_after) })
    }

    /// Asks for a change; `body` is JSON.
    pub(crate) async fn post(&self, path: &[&str], body: Vec<u8>) -> Result<(StatusCode, Value), ApiError> {
        let request = self.request(Method::POST, path)?.header(CONTENT_TYPE, "application/json").body(body);
        self.answer(request).await
    }

    /// The token is read for each request: Kubernetes renews those that it puts into pods.
    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, ApiError> {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let request = self.client.request(method, url);
        match &self.token_file {
            Some(file) => Ok(request.bearer_auth(read_token(file).map_err(ApiError::Token)?)),
            None => Ok(request),
        }
    }

    async fn answer(&self, request: RequestBuilder) -> Result<(StatusCode, Value), ApiError> {
        let mut response = request.send().await.map_err(|error| self.away(&error))?;
        let status = response.status();
        let retry_after = retry_after(&response);
        let body = self.body(&mut response).await?;
        if !status.is_success() {
            return Err(ApiError::Refused { explanation: self.explain(status, &body, retry_after) });
        }
        let value =
            serde_json::from_slice(&body).map_err(|error| self.not_understood(status, error.to_string()))?;
        Ok((status, value))
    }

    async fn body(&self, response: &mut Response) -> Result<Vec<u8>, ApiError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.away(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES {
                let why = format!("it has more than {ANSWER_BYTES} bytes");
                return Err(self.not_understood(response.status(), why));
            }
        }
        Ok(body)
    }

    fn away(&self, error: &reqwest::Error) -> ApiError {
        ApiError::Away { url: self.url().to_owned(), why: innermost(error) }
    }

    pub(crate) fn not_understood(&self, status: StatusCode, why: String) -> ApiError {
        ApiError::NotUnderstood { url: self.url().to_owned(), status, why }
    }

    /// What a refusal means and what to do about it.
    fn explain(&self, status: StatusCode, body: &[u8], retry_after: Option<String>) -> String {
        let problem: Option<Problem> = serde_json::from_slice(body).ok();
        let told = match problem {
            Some(Problem { title: Some(title), detail: Some(detail) }) => format!("{title}: {detail}"),
            Some(
                Problem { title: Some(text), detail: None } | Problem { title: None, detail: Some(text) },
            ) => text,
            _ => format!("{} answered {status}", self.url()),
        };
        let hint = match (status, &self.token_file) {
            (StatusCode::UNAUTHORIZED, None) => {
                "; give a token with --token-file or SORCHA_TOKEN_FILE".to_owned()
            }
            (StatusCode::UNAUTHORIZED, Some(_)) => "; the token was not accepted".to_owned(),
            (StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS, _) => {
                retry_after.map(|seconds| format!("; try again in {seconds} s")).unwrap_or_default()
            }
            _ => String::new(),
        };
        printable(&(told + &hint))
    }
}

fn retry_after(response: &Response) -> Option<String> {
    response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The cause under reqwest's layers: "connection refused" rather than "error sending request".
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    printable(&cause.to_string())
}

/// The first token in a file. Empty lines and lines that begin with `#` don't count.
fn read_token(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let text =
        read::text_once(path, TOKEN_FILE_BYTES).with_context(|| format!("read the token file {shown}"))?;
    let Some(line) = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))
    else {
        bail!("the token file {shown} holds no token");
    };
    // A token has no colon and no space (RFC 6750), so this line can't be misread.
    let token = line.rsplit_once(':').map_or(line, |(_name, token)| token.trim());
    let is_token_char = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    if token.is_empty() || !token.chars().all(is_token_char) {
        bail!("the token file {shown} holds no bearer token: letters, digits and -._~+/= are allowed");
    }
    Ok(token.to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use axum::{Router, http::HeaderMap, response::IntoResponse, routing};

    use super::*;

    /// Serves a router on a free port for as long as the test's runtime lives.
    pub(crate) async fn serve(router: Router) -> Url {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Url::parse(&format!("http://{address}")).unwrap()
    }

    /// Flags that name a server.
    pub(crate) fn args(url: Url) -> ApiArgs {
        ApiArgs { url, token_file: None }
    }

    /// An address where nobody listens.
    pub(crate) async fn nobody() -> Url {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap()
    }

    fn api(url: Url) -> Api {
        Api::new(&args(url), Duration::from_secs(2)).unwrap()
    }

    #[test]
    fn addresses_that_cannot_work_are_refused_with_the_remedy() {
        assert!(parse_url("http://n0.sorcha.dev:8080/base").is_ok());
        assert!(parse_url("https://n0.sorcha.dev").unwrap_err().contains("port-forward"));
        for wrong in ["n0:8080", "ftp://n0", "http://", "8080"] {
            assert!(parse_url(wrong).unwrap_err().contains("http://127.0.0.1:8080"), "{wrong}");
        }
    }

    #[test]
    fn a_token_file_is_the_clients_or_the_servers() {
        let file = |content: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), content).unwrap();
            read_token(file.path())
        };
        assert_eq!(file("abc.DEF-1\n").unwrap(), "abc.DEF-1");
        assert_eq!(file("\u{feff}abc.DEF-1\r\n").unwrap(), "abc.DEF-1");
        assert_eq!(file("# tokens\n\nci: s3cret==\nother: x\n").unwrap(), "s3cret==");
        assert!(file("\n# none\n").unwrap_err().to_string().contains("holds no token"));
        let broken = file("two words").unwrap_err().to_string();
        assert!(broken.contains("no bearer token") && !broken.contains("two words"), "{broken}");
        assert!(read_token(Path::new("/nowhere/token")).unwrap_err().to_string().contains("/nowhere/token"));
    }

    #[tokio::test]
    async fn a_pods_own_token_is_used_where_none_is_named_and_read_for_each_request() {
        let folder = tempfile::tempdir().unwrap();
        let (own, named) = (folder.path().join("token"), folder.path().join("named"));
        let shown =
            |headers: HeaderMap| async move { format!("{:?}", headers["authorization"].to_str().unwrap()) };
        let url = serve(Router::new().route("/", routing::post(shown))).await;
        let none = args(url);
        assert_eq!(none.with_token_of(&own).token_file, None, "outside a pod there is none");
        std::fs::write(&own, "first.pod.token").unwrap();
        std::fs::write(&named, "named").unwrap();
        let posted = async |api: &Api| api.post(&[], Vec::new()).await.map(|(_, answer)| answer.to_string());
        let api = Api::new(&none.with_token_of(&own), Duration::from_secs(2)).unwrap();
        assert_eq!(posted(&api).await.unwrap(), "\"Bearer first.pod.token\"");
        std::fs::write(&own, "second.pod.token").unwrap();
        assert_eq!(posted(&api).await.unwrap(), "\"Bearer second.pod.token\"");
        std::fs::remove_file(&own).unwrap();
        let gone = posted(&api).await.unwrap_err();
        assert!(matches!(gone, ApiError::Token(_)) && gone.to_string().contains("token"), "{gone}");
        let both = ApiArgs { token_file: Some(named), ..none };
        let api = Api::new(&both.with_token_of(&own), Duration::from_secs(2)).unwrap();
        assert_eq!(posted(&api).await.unwrap(), "\"Bearer named\"");
    }

    #[tokio::test]
    async fn a_problem_document_is_told_with_the_way_out() {
        let problem = |status: StatusCode, title: &'static str| {
            routing::get(move || async move {
                let body = serde_json::json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": "so\u{1b} it is"});
                (status, [("retry-after", "7")], axum::Json(body)).into_response()
            })
        };
        let router = Router::new()
            .route("/base/401", problem(StatusCode::UNAUTHORIZED, "No token"))
            .route("/base/503", problem(StatusCode::SERVICE_UNAVAILABLE, "Store away"))
            .route("/base/bare", routing::get(|| async { (StatusCode::BAD_GATEWAY, "<html>") }))
            .route("/base/html", routing::get(|| async { "<html>" }));
        let api = api(serve(router).await.join("base/").unwrap());
        let told = async |path: &str| api.get(&[path]).await.unwrap_err().to_string();
        assert_eq!(
            told("401").await,
            "No token: so\\u{1b} it is; give a token with --token-file or SORCHA_TOKEN_FILE"
        );
        assert_eq!(told("503").await, "Store away: so\\u{1b} it is; try again in 7 s");
        assert!(told("bare").await.contains("answered 502"));
        assert!(told("html").await.contains("does not understand"));
    }

    #[tokio::test]
    async fn a_node_that_is_away_is_named_with_the_cause() {
        let error = api(nobody().await).get(&["api"]).await.unwrap_err();
        assert!(error.is_away());
        let text = error.to_string().to_lowercase();
        assert!(text.contains("does not answer") && text.contains("refused"), "{text}");
    }

    #[tokio::test]
    async fn a_silent_node_is_given_up_and_a_redirect_not_followed() {
        let router = Router::new()
            .route("/slow", routing::get(std::future::pending::<()>))
            .route("/moved", routing::get(|| async { axum::response::Redirect::temporary("/caught") }))
            .route("/caught", routing::get(|headers: HeaderMap| async move { format!("{headers:?}") }));
        let url = serve(router).await;
        let api = Api::new(&args(url), Duration::from_millis(200)).unwrap();
        assert!(api.get(&["slow"]).await.unwrap_err().to_string().contains("no answer in time"));
        assert!(api.get(&["moved"]).await.unwrap_err().to_string().contains("answered 307"));
    }
}
