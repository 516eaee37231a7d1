//! A peer that is led from an honest central node to a hostile one, and what it must show and keep.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    held::Served,
    kinds::{Kind, Shown, Then},
    server::HostileCentral,
};
use crate::{
    api::Api,
    network::{Network, eventually},
    scenarios::hostile::Gauge,
};

/// Memory that a hostile central node may cost, over what the peer had before.
const MEMORY_MB: u64 = 64;
const FILES: usize = 200;
/// An honest central node is back in the list: what is published has arrived within this time.
const GOES_ON_WITHIN: Duration = Duration::from_secs(30);
/// How long a hostile node may go on after it was found out.
const GOES_ON_LYING: Duration = Duration::from_secs(3);

/// A central node in a peer's list.
#[derive(Clone, Copy)]
pub(super) struct Listed(pub(super) &'static str, pub(super) u16);

/// Writes a list in the place of the one that is there.
pub(super) fn list(file: &PathBuf, central_nodes: &[Listed]) -> Result<()> {
    let nodes: Vec<Value> = (0..)
        .zip(central_nodes)
        .map(|(priority, Listed(id, port))| json!({ "id": id, "host": "127.0.0.1", "port": port, "priority": priority }))
        .collect();
    let new = file.with_extension("new");
    std::fs::write(&new, json!({ "central_nodes": nodes }).to_string())?;
    Ok(std::fs::rename(new, file)?)
}

/// The name that hostile nodes have in the list.
pub(super) const HOSTILE: &str = "n9.sorcha.dev";

/// A peer and the hostile node that it is led to.
pub(super) struct Led {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) http: u16,
    pub(super) file: PathBuf,
    before: Served,
    gauge: Gauge,
    hostile: HostileCentral,
    api: Api,
}

impl Led {
    /// Takes note of what the peer serves; the hostile node waits for it.
    pub(super) async fn begin(network: &Network, at: usize, kind: Kind, file: PathBuf) -> Result<Self> {
        let (api, node) = (network.api.clone(), &network.nodes[at]);
        Ok(Self {
            before: Served::by(&api, node.http).await?,
            gauge: Gauge::of(node.id()?)?,
            hostile: HostileCentral::start(HOSTILE, kind.lies.clone()).await?,
            kind,
            name: node.name.clone(),
            http: node.http,
            file,
            api,
        })
    }

    /// The hostile node is the only one in the list: the peer leaves the honest one.
    pub(super) async fn leaves(&self) -> Result<()> {
        list(&self.file, &[Listed(HOSTILE, self.hostile.port)])?;
        eventually("the peer leaves the honest node", async || {
            let status = self.api.get(self.http, "/api/connection/status").await?;
            let at = &status["connectedCentralNodeId"];
            ensure!(at.is_null() || at == HOSTILE, "it is at {at}");
            Ok(())
        })
        .await
    }

    /// The hostile node is found out, and changes nothing.
    pub(super) async fn meets(&self) -> Result<()> {
        eventually("the hostile node is found out", async || self.is_shown().await).await?;
        let since = Instant::now();
        while since.elapsed() < GOES_ON_LYING {
            self.before.check_same(&Served::by(&self.api, self.http).await?)?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.gauge.check(FILES, MEMORY_MB).map(drop)
    }

    /// An honest node is there, too: the peer has what was published. How long that took. Once the hostile one is off the list, the
    /// peer is well: what it refused of it stands until then.
    pub(super) async fn goes_on(&self, honest: Listed, published: i64) -> Result<Duration> {
        let list_of = match self.kind.then {
            Then::Moves => vec![Listed(HOSTILE, self.hostile.port), honest],
            Then::IsMoved => vec![honest],
        };
        list(&self.file, &list_of)?;
        let since = Instant::now();
        eventually("the peer has what was published", async || {
            let version = self.api.register(self.http).await?.version;
            ensure!(version >= published, "it is at {version}, not at {published}");
            Ok(())
        })
        .await?;
        let took = since.elapsed();
        ensure!(took < GOES_ON_WITHIN, "it had what was published after {} s", took.as_secs());
        self.before.check_kept(&self.api, self.http).await?;
        list(&self.file, &[honest])?;
        eventually("the peer is healthy", async || {
            let health = self.api.get(self.http, "/health").await?;
            ensure!(health["status"] == "Healthy", "{health}");
            Ok(())
        })
        .await?;
        self.gauge.check(FILES, MEMORY_MB)?;
        Ok(took)
    }

    /// The hostile node pushes what contradicts nothing: the peer takes it, and keeps all else.
    pub(super) async fn takes(&self, version: i64) -> Result<()> {
        eventually("what is pushed is taken", async || {
            let stated = self.api.register(self.http).await?;
            ensure!(stated.version == version, "it is at {}", stated.version);
            Ok(())
        })
        .await?;
        self.before.check_kept(&self.api, self.http).await?;
        self.gauge.check(FILES, MEMORY_MB).map(drop)
    }

    /// An honest node is the only one: the peer says that it is ahead, and keeps all that it has.
    pub(super) async fn is_ahead_of(&self, honest: Listed, version: i64) -> Result<()> {
        list(&self.file, &[honest])?;
        eventually("the peer says that it is ahead", async || self.is_shown().await).await?;
        self.before.check_kept(&self.api, self.http).await?;
        let stated = self.api.register(self.http).await?;
        ensure!(stated.version == version, "it went back to {}", stated.version);
        Ok(())
    }

    async fn is_shown(&self) -> Result<()> {
        let status = self.api.get(self.http, "/api/connection/status").await?;
        let health = self.api.get(self.http, "/health").await?;
        let reason = health["reason"].as_str().unwrap_or_default();
        let is = |value: &str| health["status"] == value;
        match self.kind.shown {
            Shown::Refused(label) => {
                let refused = &status["refused"];
                ensure!(
                    refused["reason"] == label && refused["centralNodeId"] == HOSTILE,
                    "refused: {refused}"
                );
                ensure!(is("Degraded") && reason.contains(HOSTILE), "{health}");
                self.is_counted(label).await
            }
            Shown::SplitBrain => {
                ensure!(status["splitBrain"] == HOSTILE, "splitBrain: {}", status["splitBrain"]);
                ensure!(is("Degraded") && reason.contains("split brain"), "{health}");
                Ok(())
            }
            Shown::Ahead => {
                ensure!(is("Degraded") && reason.contains("is ahead of"), "{health}");
                let lag = status["versionLag"].as_i64().context("no versionLag")?;
                ensure!(lag < 0, "versionLag {lag}");
                Ok(())
            }
            Shown::Impaired(words) => {
                ensure!(is("Degraded") && reason.contains(words), "{health}");
                Ok(())
            }
            Shown::Failed(words) => {
                ensure!(is("Isolated"), "{health}");
                let nodes = self.api.get(self.http, "/api/connection/central-nodes").await?;
                let text = nodes.to_string();
                ensure!(text.contains(&format!("\"nodeId\":\"{HOSTILE}\"")), "{text}");
                let error = nodes.as_array().and_then(|nodes| nodes.first()).map(|node| &node["lastError"]);
                let error = error.and_then(Value::as_str).context("no lastError")?;
                ensure!(error.contains(words), "lastError: {error}");
                Ok(())
            }
        }
    }

    async fn is_counted(&self, label: &str) -> Result<()> {
        let metrics = self.api.get_bytes(self.http, "/metrics").await?;
        let metrics = String::from_utf8_lossy(&metrics);
        let label = format!("reason=\"{label}\"");
        let line = metrics.lines().find(|line| line.starts_with("register_refused") && line.contains(&label));
        let line = line.with_context(|| format!("no register_refused_total with {label}"))?;
        ensure!(!line.ends_with(" 0"), "{line}");
        Ok(())
    }
}
