//! A network of real processes on loopback, and what must be true of it once the faults have stopped.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use sorcha_register::names::Checksum;
use sorcha_tests::{
    history::Holder,
    process::{binary, free_ports},
};

use crate::{
    api::{Api, Stated, TOKEN},
    authority::{Authority, identity},
    node::{Node, Role},
    observer::Observer,
    publishers::Told,
};

/// How long anything may take once there are no faults any more.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Documents that are read from each node and hashed.
const SAMPLE: usize = 25;

/// Short times, so that a silent loss shows within a second, and rates that no storm of restarts reaches.
const CONFIG: &str = "
keepalive = { interval = '300ms', timeout = '700ms' }
connect = { initial_delay = '100ms', max_delay = '500ms' }
drain = { spread = '200ms', timeout = '3s' }
heartbeat = { interval = '10s', timeout = '10s' }
[store]
flush_within = '200ms'
[limits]
connects = { per_second = 100.0, burst = 1000 }
full_syncs = { per_second = 100.0, burst = 1000 }
[sync]
resubscribe_after = '200ms'
";

/// The nodes, who looks at them, and what publishers were told.
pub(crate) struct Network {
    pub(crate) directory: PathBuf,
    pub(crate) api: Api,
    pub(crate) nodes: Vec<Node>,
    pub(crate) told: Told,
    pub(crate) observer: Observer,
    pub(crate) grpc: Vec<u16>,
    /// Where the nodes speak mutual TLS.
    pub(crate) authority: Option<Authority>,
}

/// Looks until it succeeds; when it does not in time, its last error tells why.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        match look().await {
            Ok(value) => return Ok(value),
            Err(error) if started.elapsed() > PATIENCE => {
                return Err(error).with_context(|| format!("not so within {} s: {what}", PATIENCE.as_secs()));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

impl Network {
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        std::fs::write(directory.join("tokens"), format!("tester: {TOKEN}\n"))?;
        std::fs::write(directory.join("sorcha.toml"), CONFIG)?;
        Ok(Self {
            directory: directory.to_owned(),
            api: Api::new()?,
            nodes: Vec::new(),
            told: Told::default(),
            observer: Observer::new(),
            grpc: Vec::new(),
            authority: None,
        })
    }

    /// Adds a central node; with `mongodb` its register lies there, else in its own directory.
    pub(crate) fn central(&mut self, mongodb: Option<u16>) -> Result<usize> {
        let [grpc, http] = free_ports();
        let name = format!("n{}", self.grpc.len());
        let mut arguments = self.common("central", http, &self.directory.join(&name));
        let hostname = format!("{name}.sorcha.dev");
        arguments.extend(["--hostname".to_owned(), hostname]);
        arguments.extend(["--listen-grpc".to_owned(), format!("127.0.0.1:{grpc}")]);
        if let Some(port) = mongodb {
            let uri = format!("mongodb://127.0.0.1:{port}/?retryWrites=false\n");
            std::fs::write(self.directory.join("mongodb-uri"), uri)?;
            arguments.extend(["--mongodb-uri-file".to_owned(), self.path("mongodb-uri")]);
        }
        self.grpc.push(grpc);
        let mut node = Node::new(&name, Role::Central, http, &self.directory, arguments);
        node.environment = self.environment(&name, &identity("sorchacentralnode", &name))?;
        Ok(self.add(node))
    }

    /// Adds a peer of all central nodes so far.
    pub(crate) fn peer(&mut self, name: &str, more: &[&str]) -> Result<usize> {
        let mut arguments = Vec::new();
        for (number, port) in self.grpc.iter().enumerate() {
            arguments.extend(["--central-node".to_owned(), format!("n{number}.sorcha.dev=127.0.0.1:{port}")]);
        }
        arguments.extend(more.iter().map(|&word| word.to_owned()));
        self.peer_with(name, arguments)
    }

    /// Adds a peer with these arguments, which name its central nodes.
    pub(crate) fn peer_with(&mut self, name: &str, more: Vec<String>) -> Result<usize> {
        let [http] = free_ports();
        let mut arguments = self.common("peer", http, &self.directory.join(name));
        arguments.extend(["--node-id".to_owned(), name.to_owned()]);
        arguments.extend(more);
        let mut node = Node::new(name, Role::Peer, http, &self.directory, arguments);
        node.environment = self.environment(name, &identity("peer", name))?;
        Ok(self.add(node))
    }

    fn environment(&self, name: &str, uri: &str) -> Result<Vec<(String, String)>> {
        let [https] = free_ports();
        self.authority.as_ref().map_or(Ok(Vec::new()), |authority| authority.environment(name, uri, https))
    }

    fn common(&self, role: &str, http: u16, data: &Path) -> Vec<String> {
        let config = self.path("sorcha.toml");
        let listen = format!("127.0.0.1:{http}");
        let (data, tokens) = (data.display().to_string(), self.path("tokens"));
        ["--config", &config, role, "--listen-http", &listen, "--data-dir", &data, "--token-file", &tokens]
            .map(str::to_owned)
            .to_vec()
    }

    fn path(&self, file: &str) -> String {
        self.directory.join(file).display().to_string()
    }

    fn add(&mut self, node: Node) -> usize {
        self.observer.watch(self.api.clone(), node.name.clone(), node.http, node.role);
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// HTTP ports of the nodes of a role.
    pub(crate) fn ports(&self, role: Role) -> Vec<u16> {
        self.nodes.iter().filter(|node| node.role == role).map(|node| node.http).collect()
    }

    /// Starts all that do not run, and waits until they are ready.
    pub(crate) async fn start_all(&mut self) -> Result<()> {
        for node in self.nodes.iter_mut().filter(|node| !node.is_started()) {
            node.start()?;
        }
        for at in 0..self.nodes.len() {
            self.ready(at).await?;
        }
        Ok(())
    }

    /// Waits until a node is ready.
    pub(crate) async fn ready(&mut self, at: usize) -> Result<()> {
        let (api, node) = (self.api.clone(), &mut self.nodes[at]);
        eventually(&format!("{} is ready", node.name), async || {
            if node.has_ended() {
                // It will not become ready any more; its last words tell why.
                let log = node.log_since(0)?;
                bail!("{} ended: {}", node.name, log.lines().last().unwrap_or_default());
            }
            api.get(node.http, "/readyz").await
        })
        .await?;
        Ok(())
    }

    /// kill -9; a later start must show what was shown before.
    pub(crate) async fn kill(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.kill().await;
        let must_hold = match node.role {
            // Everything that anybody was told lies in its store.
            Role::Central => Some(self.told.history().highest()),
            Role::Peer => None,
        };
        self.observer.reborn(&node.name, must_hold);
    }

    /// Waits until all nodes hold the same register, and returns it.
    pub(crate) async fn converged(&self) -> Result<Stated> {
        let least = self.told.history().highest();
        eventually("all nodes hold the same register", async || {
            let mut first: Option<Stated> = None;
            for node in &self.nodes {
                let stated = self.api.register(node.http).await.with_context(|| node.name.clone())?;
                ensure!(stated.version >= least, "{} is at {}, not at {least}", node.name, stated.version);
                ensure!(stated.findings == 0, "{} has findings", node.name);
                let first = first.get_or_insert_with(|| stated.clone());
                ensure!(*first == stated, "{} has {stated:?}, others {first:?}", node.name);
            }
            first.context("no nodes")
        })
        .await
    }

    /// The faults have stopped: everything acknowledged is everywhere, nothing else is anywhere, and all ends well.
    pub(crate) async fn verify(&mut self, harmless: &[&str]) -> Result<String> {
        self.start_all().await?;
        let stated = self.converged().await?;
        for node in &self.nodes {
            self.verify_entries(node).await.with_context(|| node.name.clone())?;
        }
        let looks = self.observer.check()?;
        for node in &mut self.nodes {
            node.terminate().await?;
            node.check_log(harmless)?;
            verify_store(node).await?;
        }
        let counts = self.told.history().counts();
        Ok(format!(
            "{} acknowledged, {} refused, {} left open, nothing lost; version {} on {} nodes, {looks} looks",
            counts.acknowledged,
            counts.refused,
            counts.unknown,
            stated.version,
            self.nodes.len()
        ))
    }

    /// Some node of a role has logged a line with all of these words.
    pub(crate) fn some_logged(&self, role: Role, words: &[&str]) -> Result<()> {
        let nodes = self.nodes.iter().filter(|node| node.role == role);
        let is_there = nodes.map(|node| node.logged(0, words)).any(|line| line.is_ok());
        ensure!(is_there, "no node logged a line with {words:?}");
        Ok(())
    }

    async fn verify_entries(&self, node: &Node) -> Result<()> {
        let entries = self.api.entries(node.http).await?;
        let holder = match node.role {
            Role::Central => Holder::Everything,
            Role::Peer => Holder::MayLackInactive,
        };
        let wrong = self.told.history().disagreements(&entries, holder);
        ensure!(wrong.is_empty(), "{} disagreements, such as {}", wrong.len(), wrong[0]);
        // The documents themselves, spread over all of them.
        for entry in entries.iter().step_by(entries.len() / SAMPLE + 1) {
            let path = format!("/api/system-register/blueprints/{}?raw=true", entry.id);
            let bytes = self.api.get_bytes(node.http, &path).await?;
            ensure!(Checksum::of(&bytes).to_string() == entry.checksum, "{} has other bytes", entry.id);
        }
        Ok(())
    }
}

/// `register verify` finds nothing in the stopped node's file, where it has one.
async fn verify_store(node: &Node) -> Result<()> {
    if !["register.journal", "replica.journal"].iter().any(|file| node.data.join(file).exists()) {
        return Ok(());
    }
    let (code, output) = register_tool(&node.data, &["verify"]).await?;
    ensure!(code == Some(0), "register verify of {}: {output}", node.name);
    Ok(())
}

/// Runs a register tool on a data directory; its exit code and all that it said.
pub(crate) async fn register_tool(data: &Path, words: &[&str]) -> Result<(Option<i32>, String)> {
    let data = data.to_string_lossy();
    run_to_end(&[&["register"], words, &["--data-dir", &data]].concat()).await
}

/// Runs the binary until it ends by itself; its exit code and all that it said.
pub(crate) async fn run_to_end(words: &[&str]) -> Result<(Option<i32>, String)> {
    let mut command = tokio::process::Command::new(binary());
    command.args(words).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.context("it does not end")??;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
}
