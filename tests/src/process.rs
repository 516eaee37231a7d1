//! The real binary as processes, spoken to over HTTP.

use std::{
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use sorcha_api::client;
use tokio::process::{Child, Command};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The binary under test, beside the test's own.
///
/// # Panics
/// When it is not built.
#[must_use]
pub fn binary() -> PathBuf {
    program("sorcha-node")
}

/// A program of the workspace, as built beside this test.
///
/// # Panics
/// When it is not built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test's path");
    let directory = test.parent().and_then(|deps| deps.parent()).expect("a target directory");
    let program = directory.join(name);
    assert!(program.exists(), "{} is not built; run `cargo build --workspace` first", program.display());
    program
}

/// Ports that were free a moment ago.
///
/// # Panics
/// When there are none.
#[must_use]
pub fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}

/// A running node; killed when dropped.
pub struct Process(Child);

impl Process {
    /// Starts it; its log goes to the test's standard error.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.args(arguments);
        Self::spawn(command)
    }

    /// Starts a command, killed when this is dropped.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn spawn(mut command: Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).spawn();
        Self(child.expect("started"))
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id().expect("it runs")
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// When that can't be told.
    pub fn is_running(&mut self) -> bool {
        self.0.try_wait().expect("a status").is_none()
    }

    /// Waits for its end; the exit code, none after a signal.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn ended(&mut self) -> Option<i32> {
        let ended = tokio::time::timeout(PATIENCE, self.0.wait()).await.expect("it ends");
        ended.expect("a status").code()
    }

    /// kill -9, and waits for the end.
    ///
    /// # Panics
    /// When it can't be killed.
    pub async fn kill(&mut self) {
        self.0.kill().await.expect("killed");
    }

    /// SIGTERM; the exit code.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn terminate(mut self) -> Option<i32> {
        self.signal("TERM");
        self.ended().await
    }

    /// SIGSTOP: it hangs and holds its sockets.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let sent =
            std::process::Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill");
        assert!(sent.success());
    }
}

/// A server of MongoDB's protocol with a file behind it, or `None` where there is no Java to run it.
///
/// # Panics
/// When it does not start, or under CI when there is no Java.
#[must_use]
pub fn mongodb(test: &str, port: u16, file: &std::path::Path) -> Option<Process> {
    let java = std::process::Command::new("java").arg("-version").stderr(Stdio::null()).status();
    if !java.is_ok_and(|status| status.success()) {
        #[expect(clippy::disallowed_methods, reason = "in CI a test that can't run is a failure")]
        let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
        assert!(!in_ci, "{test}: java is not installed");
        println!("skipped: {test}: java is not installed");
        return None;
    }
    let serve = concat!(env!("CARGO_MANIFEST_DIR"), "/mongo/serve");
    let mut command = Command::new(serve);
    command.arg("--port").arg(port.to_string()).arg("--file").arg(file);
    Some(Process::spawn(command))
}

/// Waits until an attempt gives something.
///
/// # Panics
/// When it gave nothing in time.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut attempt: impl FnMut() -> F) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(started.elapsed() < PATIENCE, "not so after {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The body of a successful GET.
pub async fn get(port: u16, path: &str) -> Option<String> {
    let response = client::plain().ok()?.get(format!("http://127.0.0.1:{port}{path}")).send().await.ok()?;
    if response.status().is_success() { response.text().await.ok() } else { None }
}

/// Publishes a small document.
///
/// # Errors
/// The answer's body, or why there was none.
pub async fn publish(port: u16, token: &str, id: &str) -> Result<(), String> {
    let body = serde_json::json!({
        "blueprintId": id,
        "blueprint": { "@context": "https://sorcha.dev/blueprints/v1", "id": id, "name": format!("Blueprint {id}") },
    });
    let request = client::plain()
        .map_err(|error| error.to_string())?
        .post(format!("http://127.0.0.1:{port}/api/system-register/publish"))
        .bearer_auth(token)
        .json(&body);
    let response = request.send().await.map_err(|error| error.to_string())?;
    if response.status().is_success() { Ok(()) } else { Err(response.text().await.unwrap_or_default()) }
}
