//! What all calls to central nodes' HTTP API have in common.

use std::time::Duration;

use reqwest::{Client, ClientBuilder, Url, redirect};
use sorcha_api::client::{builder, is_loopback};

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
    with(builder(), call, connect)
}

/// A client that carries its token nowhere else: it follows no redirect and uses no proxy of the environment.
///
/// # Errors
/// When it can't be set up.
pub fn with(builder: ClientBuilder, call: Duration, connect: Duration) -> reqwest::Result<Client> {
    let builder = builder.timeout(call).connect_timeout(connect).pool_idle_timeout(IDLE);
    builder.redirect(redirect::Policy::none()).no_proxy().build()
}

/// Where a central node's Service serves HTTP. `None` for a name that no Service has.
#[must_use]
pub(crate) fn service_url(central: &str, namespace: &str) -> Option<Url> {
    Url::parse(&format!("http://{}:{HTTP_PORT}", service_host(central, namespace))).ok()
}

/// The same over TLS.
#[must_use]
pub(crate) fn secure_url(central: &str, namespace: &str) -> Option<Url> {
    Url::parse(&format!("https://{}:{HTTPS_PORT}", service_host(central, namespace))).ok()
}

/// `n0=https://127.0.0.1:8443`: an address in place of that of a central node's Service. In plain text only on this machine.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse_publisher_address(text: &str) -> Result<(String, Url), String> {
    let (name, url) = text.split_once('=').ok_or(EXAMPLE)?;
    let url = Url::parse(url).map_err(|error| format!("{error}; {EXAMPLE}"))?;
    match url.scheme() {
        "https" => Ok((name.to_owned(), url)),
        "http" if is_loopback(&url) => Ok((name.to_owned(), url)),
        "http" => Err(format!("tokens are sent in plain text to this machine only; {EXAMPLE}")),
        _ => Err(EXAMPLE.to_owned()),
    }
}

/// `n0=http://127.0.0.1:8080`: an address in place of that of a central node's Service.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse_address(text: &str) -> Result<(String, Url), String> {
    let (name, url) = text.split_once('=').ok_or("write it as n0=http://127.0.0.1:8080")?;
    let url = Url::parse(url).map_err(|error| format!("{error}; write it as n0=http://127.0.0.1:8080"))?;
    if url.scheme() != "http" {
        return Err("nodes speak plain HTTP; write it as n0=http://127.0.0.1:8080".to_owned());
    }
    Ok((name.to_owned(), url))
}
