//! One central node as a process, and what it is looked at by.

use std::{path::Path, sync::Arc, time::Duration};

use serde_json::{Value, json};
use sorcha_register::{entry::SealedEntry, lineage::Genesis};
use sorcha_store::{
    Store as _,
    journal::{JournalStore, Options, REGISTER_FILE},
};
use sorcha_tests::{
    probing::{AT_ONCE, Probes},
    process::{Process, binary, free_ports, get, until},
};
use tokio::{process::Command, time::timeout};

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// A port that others flood: the kernel drops a SYN while its queue of connections is full, and the client sends it again after
/// 1, 3 and 7 seconds. What probes are promised is on the port of the probes.
const BEHIND_A_FLOOD: Duration = Duration::from_secs(15);

pub(crate) struct Node {
    pub(crate) grpc: u16,
    pub(crate) http: u16,
    pub(crate) probes: u16,
    process: Process,
    folder: tempfile::TempDir,
}

impl Node {
    pub(crate) async fn start(config: &str) -> Self {
        Self::start_under(config, "true").await
    }

    /// Starts it in a shell after a command such as `ulimit -n 1024`.
    pub(crate) async fn start_under(config: &str, command: &str) -> Self {
        allow_many_files();
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("tokens"), format!("tester: {TOKEN}\n")).unwrap();
        std::fs::write(path("sorcha.toml"), config).unwrap();
        Self::start_in(folder, command).await
    }

    /// Kills it, and starts it on what it has stored.
    pub(crate) async fn again(self) -> Self {
        let Self { process, folder, .. } = self;
        drop(process);
        Self::start_in(folder, "true").await
    }

    /// Kills it, adds entries to what it has stored, and starts it again. Returns what limits count for all entries, bytes, too.
    pub(crate) async fn again_with(self, entries: Vec<Arc<SealedEntry>>) -> (Self, u64) {
        let Self { process, folder, .. } = self;
        drop(process);
        let file = folder.path().join("n0").join(REGISTER_FILE);
        // The process that was killed holds it a moment longer.
        let opened = || async { JournalStore::open(file.clone(), Options::default()).await.ok() };
        let store = until("the register can be opened", opened).await;
        let view = store.load().await.unwrap().view;
        let all = view.iter().cloned().chain(entries).collect();
        store.replace(view.genesis().map(|genesis| Genesis::clone(genesis)), all, None).await.unwrap();
        let counted = store.load().await.unwrap().view.memory();
        drop(store);
        let is_let_go = || async { std::fs::File::open(&file).ok()?.try_lock().ok() };
        until("the store has let go of its file", is_let_go).await;
        (Self::start_in(folder, "true").await, counted)
    }

    /// Starts a peer of it. Its probes answer long before it has synced.
    pub(crate) async fn peer(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [http, probes] = free_ports();
        let mut command = Command::new(binary());
        command.args(["peer", "--node-id", "edge-1", "--data-dir", &folder.path().display().to_string()]);
        command.args(["--central-node", &format!("n0.sorcha.dev=127.0.0.1:{}", self.grpc)]);
        let ports = [("--listen-http", http), ("--listen-probes", probes)];
        let process = spawned(command, &ports, folder.path());
        until("the peer is alive", || get(probes, "/livez")).await;
        Self { grpc: self.grpc, http, probes, process, folder }
    }

    async fn start_in(folder: tempfile::TempDir, command: &str) -> Self {
        let path = |name: &str| folder.path().join(name).display().to_string();
        let [grpc, http, probes] = free_ports();
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{command} && exec \"$0\" \"$@\"")]).arg(binary());
        shell.args(["--config", &path("sorcha.toml"), "central", "--hostname", "n0.sorcha.dev"]);
        shell.args(["--data-dir", &path("n0"), "--token-file", &path("tokens")]);
        let ports = [("--listen-grpc", grpc), ("--listen-http", http), ("--listen-probes", probes)];
        let process = spawned(shell, &ports, folder.path());
        until("the node is ready", || get(http, "/readyz")).await;
        Self { grpc, http, probes, process, folder }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Publishes a document with a text of this size, and metadata of that.
    pub(crate) async fn publish(&self, id: &str, text: usize, metadata: usize) {
        let document = json!({ "id": id, "text": "x".repeat(text) });
        let body =
            json!({ "blueprintId": id, "blueprint": document, "metadata": { "k": "v".repeat(metadata) } });
        let (status, told) = self.post(body.to_string()).await;
        assert_eq!(status, 201, "{told}");
    }

    /// Sends a publication; status and answer.
    pub(crate) async fn post(&self, body: String) -> (u16, Value) {
        let url = format!("http://127.0.0.1:{}/api/system-register/publish", self.http);
        let request = sorcha_api::client::plain().unwrap().post(url).bearer_auth(TOKEN).body(body);
        match request.header("content-type", "application/json").send().await {
            Ok(answer) => (answer.status().as_u16(), answer.json().await.unwrap_or_default()),
            // Refused, and the connection closed, while the body was still being sent.
            Err(error) if error.is_request() && !error.is_connect() => (413, error.to_string().into()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Probes of both ports, each by threads of their own.
    pub(crate) fn probed(&self, what: &str) -> [Probes; 2] {
        self.probed_within(AT_ONCE, what)
    }

    fn probed_within(&self, within: Duration, what: &str) -> [Probes; 2] {
        [(self.http, "HTTP port", BEHIND_A_FLOOD), (self.probes, "port of the probes", within)]
            .map(|(port, name, within)| Probes::start(port, &format!("{what}: {name}"), within))
    }

    /// Both ports are probed for a while; each answer comes at once.
    pub(crate) async fn is_alive_for(&self, time: Duration, what: &str) {
        watch(self.probed(what), time).await;
    }

    /// The same while the port of the probes is flooded, too.
    pub(crate) async fn is_alive_behind_a_flood_for(&self, time: Duration, what: &str) {
        watch(self.probed_within(BEHIND_A_FLOOD, what), time).await;
    }

    /// Megabytes of memory that the process has.
    pub(crate) fn megabytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// The most that the process had at any time while something was done.
    pub(crate) async fn most_megabytes(&self, done: impl Future<Output = ()>) -> u64 {
        let mut done = std::pin::pin!(done);
        let mut most = self.megabytes();
        loop {
            tokio::select! {
                () = &mut done => return most.max(self.megabytes()),
                () = tokio::time::sleep(Duration::from_millis(5)) => most = most.max(self.megabytes()),
            }
        }
    }
}

/// Runs a node that listens on these ports of loopback, with its log in a folder.
fn spawned(mut command: Command, ports: &[(&str, u16)], folder: &Path) -> Process {
    for (flag, port) in ports {
        command.args([*flag, &format!("127.0.0.1:{port}")]);
    }
    command.stderr(std::fs::File::create(folder.join("log")).unwrap());
    Process::spawn(command)
}

async fn watch(probed: [Probes; 2], time: Duration) {
    let failed = async {
        while probed.iter().all(|probes| probes.failure().is_none()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    drop(timeout(time, failed).await);
    check(probed);
}

/// Fails if an answer was not there at once.
pub(crate) fn check(probed: [Probes; 2]) {
    for probes in probed {
        let measured = probes.stop().unwrap();
        println!("{measured:?}");
    }
}

/// This process opens the other ends of all connections.
fn allow_many_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}
