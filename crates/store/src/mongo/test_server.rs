//! The tests' server of the MongoDB protocol, and fresh databases on it.
//!
//! `SORCHA_TEST_MONGODB_URI` names a server to use instead. Without it and without Java the tests are skipped,
//! which in CI is a failure.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "what is wrong in a test may panic"
)]

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, OnceLock},
    time::Duration,
};

use mongodb::{Client, Collection, bson::Document};
use sorcha_config::MongoDb;
use sorcha_runtime::{env::Env, metrics::Metrics};

use super::{Documents, MongoStore};
use crate::StoreError;

const SERVE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/mongo/serve");
/// Ends the server when this process ends, however it ends: its end of the pipe on stdin closes then.
const WATCHDOG: &str =
    r#""$@" & server=$!; echo "pid $server"; cat; exec 2>/dev/null; kill -9 $server; wait $server"#;

/// A running server; dropping it kills it.
pub struct Server {
    watchdog: Child,
    leash: Option<ChildStdin>,
    pub port: u16,
    pid: u32,
}

impl Server {
    /// Starts a server on a port (0: any), with its data in a file or in memory.
    pub fn start(port: u16, file: Option<&Path>) -> Self {
        Self::start_with(port, file, &[])
    }

    /// The same with more of its arguments.
    pub(crate) fn start_with(port: u16, file: Option<&Path>, arguments: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", WATCHDOG, "sh", SERVE, "--port", &port.to_string()]).args(arguments);
        if let Some(file) = file {
            command.arg("--file").arg(file);
        }
        let mut watchdog = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let leash = watchdog.stdin.take();
        let mut lines = BufReader::new(watchdog.stdout.take().unwrap()).lines();
        let mut after = |prefix: &str| loop {
            let line = lines.next().expect("tests/mongo/serve ended; see its message above").unwrap();
            if let Some(rest) = line.strip_prefix(prefix) {
                return rest.to_owned();
            }
        };
        let pid = after("pid ").parse().unwrap();
        let port = after("listening on 127.0.0.1:").parse().unwrap();
        Self { watchdog, leash, port, pid }
    }

    pub fn uri(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?retryWrites=false", self.port)
    }

    /// Freezes it. The kernel stops thread by thread, so that some may answer after the signal, but none once this returns.
    pub fn freeze(&self) {
        self.signal("STOP");
        while !is_frozen(self.pid) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Thaws it.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        assert!(
            Command::new("kill")
                .args([&format!("-{name}"), &self.pid.to_string()])
                .status()
                .unwrap()
                .success()
        );
    }
}

/// Whether all threads of a process are stopped.
fn is_frozen(pid: u32) -> bool {
    // The state follows the name in parentheses, which may hold anything.
    let is_stopped = |stat: String| stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'));
    let mut threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.all(|thread| {
        // A thread may end meanwhile.
        std::fs::read_to_string(thread.unwrap().path().join("stat")).map_or(true, is_stopped)
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.leash.take());
        self.watchdog.wait().unwrap();
    }
}

/// Whether a server of our own can be started.
#[allow(clippy::disallowed_methods, reason = "whether a skip is a failure is no setting of a node")]
pub(crate) fn has_java(test: &str) -> bool {
    let found =
        Command::new("java").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{test}: java is not installed");
        println!("skipped: {test}: java is not installed");
    }
    found
}

/// Databases of one test on the server that all tests share.
pub struct Databases {
    uri: String,
    names: Mutex<Vec<String>>,
}

impl Databases {
    /// `None` when the test must be skipped.
    #[allow(clippy::disallowed_methods, reason = "what the tests run against is no setting of a node")]
    pub fn for_test(name: &str) -> Option<Self> {
        static SHARED: OnceLock<Server> = OnceLock::new();
        let uri = match std::env::var("SORCHA_TEST_MONGODB_URI") {
            Ok(uri) => uri,
            Err(_) if has_java(name) => SHARED.get_or_init(|| Server::start(0, None)).uri(),
            Err(_) => return None,
        };
        Some(Self { uri, names: Mutex::default() })
    }

    pub fn on(server: &Server) -> Self {
        Self { uri: server.uri(), names: Mutex::default() }
    }

    /// With more options in the connection string.
    #[cfg(test)]
    pub(crate) fn on_with(server: &Server, options: &str) -> Self {
        Self { uri: format!("{}{options}", server.uri()), names: Mutex::default() }
    }

    /// Settings for a database that nobody else uses.
    pub fn fresh(&self) -> MongoDb {
        let database = format!("sorcha-test-{:016x}", rand::random::<u64>());
        self.names.lock().unwrap().push(database.clone());
        MongoDb {
            database,
            poll_min: Duration::from_millis(10),
            poll_max: Duration::from_millis(100),
            ..MongoDb::default()
        }
    }

    pub async fn open(&self, config: &MongoDb) -> MongoStore {
        self.try_open(config).await.unwrap()
    }

    pub(crate) async fn try_open(&self, config: &MongoDb) -> Result<MongoStore, StoreError> {
        // All documents are read from the file.
        let documents = Documents { cache_bytes: 0, ..Documents::default() };
        MongoStore::open(&self.uri, config, documents, &Env::system(Metrics::disabled())).await
    }

    /// The collections of a store, for tampering.
    pub async fn raw(&self, config: &MongoDb) -> Raw {
        let database = Client::with_uri_str(&self.uri).await.unwrap().database(&config.database);
        Raw {
            entries: database.collection(&config.collection),
            meta: database.collection(&format!("{}_meta", config.collection)),
            database,
        }
    }

    /// Drops all databases of the test.
    pub async fn drop_all(self) {
        let client = Client::with_uri_str(&self.uri).await.unwrap();
        for name in self.names.into_inner().unwrap() {
            client.database(&name).drop().await.unwrap();
        }
    }
}

/// Collections as any other program would see them.
pub struct Raw {
    pub database: mongodb::Database,
    pub entries: Collection<Document>,
    pub meta: Collection<Document>,
}
