//! HTTP to nodes through `kubectl proxy`: the API server passes it on to pods and Services.

use std::{cell::RefCell, process::Stdio, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// A running `kubectl proxy`.
pub(crate) struct Proxy {
    base: String,
    client: reqwest::Client,
    process: RefCell<Child>,
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Result<Value> {
        anyhow::ensure!(self.status == 200, "HTTP {}: {}", self.status, self.body.trim());
        serde_json::from_str(&self.body).with_context(|| format!("not JSON: {}", self.body))
    }
}

impl Proxy {
    pub(crate) async fn start(kubeconfig: &str) -> Result<Self> {
        let mut process = Command::new("kubectl")
            .args(["--kubeconfig", kubeconfig, "proxy", "--port=0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("start kubectl proxy. Remedy: put kubectl on the PATH")?;
        let mut lines = BufReader::new(process.stdout.take().context("standard output")?).lines();
        let line = lines.next_line().await?.context("kubectl proxy says nothing")?;
        let address = line.rsplit(' ').next().unwrap_or_default();
        let client = sorcha_api::client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        Ok(Self { base: format!("http://{address}"), client, process: RefCell::new(process) })
    }

    /// Asks the API server itself, or what it passes a request on to.
    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        let request =
            headers.iter().fold(self.client.get(format!("{}{path}", self.base)), |request, (name, value)| {
                request.header(*name, *value)
            });
        answer(request).await
    }

    /// Ends it. Scenarios and the cluster hold each other, so that dropping them does not.
    pub(crate) fn end(&self) {
        // It has ended already, then.
        let _gone = self.process.borrow_mut().start_kill().is_err();
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answer { status, headers, body: response.text().await? })
}
