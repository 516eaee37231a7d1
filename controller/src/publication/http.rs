//! What all calls to central nodes' HTTP API have in common.

use std::{net::IpAddr, sync::Arc, time::Duration};

use reqwest::{Client, ClientBuilder, StatusCode, Url, redirect};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use serde_json::Value;

use crate::names::{HTTP_PORT, HTTPS_PORT, service_host};

/// An idle connection is kept for less than the 10 s after which a node closes it, so that no request runs into that.
const IDLE: Duration = Duration::from_secs(5);
/// How an address is written.
const EXAMPLE: &str = "write it as n0=https://127.0.0.1:8443";

/// A client of central nodes in plain text.
///
/// # Errors
/// When it can't be set up.
pub fn client(call: Duration, connect: Duration) -> reqwest::Result<Client> {
    with(plain(), call, connect)
}

/// A client that carries its token nowhere else: it follows no redirect and uses no proxy of the environment.
///
/// # Errors
/// When it can't be set up.
pub fn with(builder: ClientBuilder, call: Duration, connect: Duration) -> reqwest::Result<Client> {
    let builder = builder.timeout(call).connect_timeout(connect).pool_idle_timeout(IDLE);
    builder.redirect(redirect::Policy::none()).no_proxy().build()
}

/// A client's settings for addresses of plain HTTP: it trusts no certificate, and so needs none of the machine's.
pub fn plain() -> ClientBuilder {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
    match config {
        Ok(config) => Client::builder().tls_backend_preconfigured(config),
        // The provider knows these versions.
        Err(_) => Client::builder(),
    }
}

/// Where a central node's Service serves HTTP. `None` for a name that no Service has.
#[must_use]
pub fn service_url(central: &str, namespace: &str) -> Option<Url> {
    Url::parse(&format!("http://{}:{HTTP_PORT}", service_host(central, namespace))).ok()
}

/// The same over TLS.
#[must_use]
pub fn secure_url(central: &str, namespace: &str) -> Option<Url> {
    Url::parse(&format!("https://{}:{HTTPS_PORT}", service_host(central, namespace))).ok()
}

/// `n0=https://127.0.0.1:8443`: an address in place of that of a central node's Service. In plain text only on this machine.
///
/// # Errors
/// What is wrong with it.
pub fn parse_publisher_address(text: &str) -> Result<(String, Url), String> {
    let (name, url) = text.split_once('=').ok_or(EXAMPLE)?;
    let url = Url::parse(url).map_err(|error| format!("{error}; {EXAMPLE}"))?;
    match url.scheme() {
        "https" => Ok((name.to_owned(), url)),
        "http" if is_loopback(&url) => Ok((name.to_owned(), url)),
        "http" => Err(format!("tokens are sent in plain text to this machine only; {EXAMPLE}")),
        _ => Err(EXAMPLE.to_owned()),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `n0=http://127.0.0.1:8080`: an address in place of that of a central node's Service.
///
/// # Errors
/// What is wrong with it.
pub fn parse_address(text: &str) -> Result<(String, Url), String> {
    let (name, url) = text.split_once('=').ok_or("write it as n0=http://127.0.0.1:8080")?;
    let url = Url::parse(url).map_err(|error| format!("{error}; write it as n0=http://127.0.0.1:8080"))?;
    if url.scheme() != "http" {
        return Err("nodes speak plain HTTP; write it as n0=http://127.0.0.1:8080".to_owned());
    }
    Ok((name.to_owned(), url))
}

/// What a refusal says: title and detail of a problem document (RFC 9457), or the bare status.
#[must_use]
pub fn problem(status: StatusCode, body: &[u8]) -> String {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let part = |key| problem.get(key).and_then(Value::as_str);
    match (part("title"), part("detail")) {
        (Some(title), Some(detail)) => format!("{title}: {detail}"),
        (Some(text), None) | (None, Some(text)) => text.to_owned(),
        (None, None) => format!("it answers {status}"),
    }
}

/// Whether another time or another central node may do what this answer refuses.
#[must_use]
pub fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// The cause under the HTTP client's layers.
#[must_use]
pub fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
