//! A node's HTTP API, as its clients see it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use reqwest::{ClientBuilder, RequestBuilder, Response, StatusCode, Url, redirect};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sorcha_api::{
    Publication, Published,
    client::{self, CallError, Node, Refused, is_loopback, token},
};

use super::console::printable;

/// Time to reach a node.
const CONNECT: Duration = Duration::from_secs(5);
/// A transfer of which nothing comes for so long is given up.
const SILENCE: Duration = Duration::from_secs(60);
/// Where Kubernetes puts the token of a pod's ServiceAccount for this network, if the pod asks for one.
const PROJECTED_TOKEN: &str = "/var/run/secrets/sorcha.dev/token";

/// Flags of the commands that talk to a running node.
#[derive(Clone, Debug, Args)]
pub struct ApiArgs {
    /// HTTP address of the node
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", value_parser = parse_url)]
    pub url: Url,
    /// File with the bearer token, alone or as a line `name: token` of a node's token file
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

/// A node to talk to.
#[derive(Debug)]
pub(crate) struct Api {
    node: Node,
    token_file: Option<PathBuf>,
}

impl Api {
    /// Checks the token file and sets up a client that gives up after `timeout`.
    pub(crate) fn new(args: &ApiArgs, timeout: Duration) -> anyhow::Result<Self> {
        args.token_file.as_deref().map(token::read).transpose()?;
        Self::with(args, client::builder().timeout(timeout).connect_timeout(timeout.min(CONNECT)))
    }

    /// A client for answers of any size, which takes as long as something comes.
    pub(crate) fn for_transfers(url: &Url) -> anyhow::Result<Self> {
        let args = ApiArgs { url: url.clone(), token_file: None };
        Self::with(&args, client::builder().read_timeout(SILENCE).connect_timeout(CONNECT))
    }

    fn with(args: &ApiArgs, client: ClientBuilder) -> anyhow::Result<Self> {
        let client = client
            // A node redirects nobody; a redirect would carry the token elsewhere.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("sorcha-node/", env!("CARGO_PKG_VERSION")));
        // A proxy from the environment has no business between this machine and itself.
        let client = if is_loopback(&args.url) { client.no_proxy() } else { client };
        let client = client.build().context("set up the HTTP client")?;
        Ok(Self { node: Node::new(client, args.url.clone()), token_file: args.token_file.clone() })
    }

    /// Where the node is.
    pub(crate) fn url(&self) -> &str {
        self.node.url()
    }

    /// Asks for a resource.
    pub(crate) async fn get(&self, path: &[&str]) -> Result<Value, ApiError> {
        self.answer(self.node.get(path)).await.map(|(_, value)| value)
    }

    /// Asks for a resource that is no JSON, which comes piece by piece.
    pub(crate) async fn stream(&self, path: &[&str]) -> Result<Response, ApiError> {
        client::send(self.authorized(self.node.get(path))?).await.map_err(|error| self.explain(error))
    }

    /// Publishes; whether it was not published before, and what is published now.
    pub(crate) async fn publish(&self, publication: &Publication<'_>) -> Result<(bool, Published), ApiError> {
        let (status, published) = self.answer(self.node.publish(publication)).await?;
        Ok((status == StatusCode::CREATED, published))
    }

    /// Deprecates or reactivates.
    pub(crate) async fn set_active(&self, id: &str, active: bool) -> Result<Published, ApiError> {
        self.answer(self.node.set_active(id, active)).await.map(|(_, published)| published)
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<(StatusCode, T), ApiError> {
        client::answer(self.authorized(request)?).await.map_err(|error| self.explain(error))
    }

    /// The token is read for each request: Kubernetes renews those that it puts into pods.
    fn authorized(&self, request: RequestBuilder) -> Result<RequestBuilder, ApiError> {
        match &self.token_file {
            Some(file) => {
                Ok(request.bearer_auth(token::read(file).map_err(|error| ApiError::Token(error.into()))?))
            }
            None => Ok(request),
        }
    }

    fn explain(&self, error: CallError) -> ApiError {
        let url = self.url().to_owned();
        match error {
            CallError::Away(error) => ApiError::Away { url, why: printable(&client::innermost(&error)) },
            CallError::Refused(refused) => ApiError::Refused { explanation: self.explain_refusal(&refused) },
            CallError::NotUnderstood { status, why } => ApiError::NotUnderstood { url, status, why },
        }
    }

    /// What a refusal means and what to do about it.
    fn explain_refusal(&self, refused: &Refused) -> String {
        let told = refused.text().unwrap_or_else(|| format!("{} answered {}", self.url(), refused.status));
        let hint = match (refused.status, &self.token_file) {
            (StatusCode::UNAUTHORIZED, None) => {
                "; give a token with --token-file or SORCHA_TOKEN_FILE".to_owned()
            }
            (StatusCode::UNAUTHORIZED, Some(_)) => "; the token was not accepted".to_owned(),
            (StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS, _) => {
                let retry_after = refused.retry_after.as_ref();
                retry_after.map(|seconds| format!("; try again in {seconds} s")).unwrap_or_default()
            }
            _ => String::new(),
        };
        printable(&(told + &hint))
    }
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

    #[tokio::test]
    async fn a_pods_own_token_is_used_where_none_is_named_and_read_for_each_request() {
        let folder = tempfile::tempdir().unwrap();
        let (own, named) = (folder.path().join("token"), folder.path().join("named"));
        let shown =
            |headers: HeaderMap| async move { format!("{:?}", headers["authorization"].to_str().unwrap()) };
        let url = serve(Router::new().route("/", routing::get(shown))).await;
        let none = args(url);
        assert_eq!(none.with_token_of(&own).token_file, None, "outside a pod there is none");
        std::fs::write(&own, "first.pod.token").unwrap();
        std::fs::write(&named, "named").unwrap();
        let asked = async |api: &Api| api.get(&[]).await.map(|answer| answer.to_string());
        let api = Api::new(&none.with_token_of(&own), Duration::from_secs(2)).unwrap();
        assert_eq!(asked(&api).await.unwrap(), "\"Bearer first.pod.token\"");
        std::fs::write(&own, "second.pod.token").unwrap();
        assert_eq!(asked(&api).await.unwrap(), "\"Bearer second.pod.token\"");
        std::fs::remove_file(&own).unwrap();
        let gone = asked(&api).await.unwrap_err();
        assert!(matches!(gone, ApiError::Token(_)) && gone.to_string().contains("token"), "{gone}");
        let both = ApiArgs { token_file: Some(named), ..none };
        let api = Api::new(&both.with_token_of(&own), Duration::from_secs(2)).unwrap();
        assert_eq!(asked(&api).await.unwrap(), "\"Bearer named\"");
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
