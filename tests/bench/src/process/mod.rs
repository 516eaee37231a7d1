//! Servers as processes of their own: started with their output in a file, watched through /proc, and killed by
//! their process id at the end, whatever happens.

pub(crate) mod central;
pub(crate) mod etcd;
pub(crate) mod mongo;
pub(crate) mod nats;
pub(crate) mod nginx;
pub(crate) mod usage;

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tokio::process::{Child, Command};

/// How long a server may take until it answers, and until it ends.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// Where the ids of running servers stand, for whoever cleans up after a benchmark that was killed itself.
const PIDS: &str = "pids";

/// A running server; dropping it kills it.
pub(crate) struct Server {
    name: String,
    child: Child,
    pid: u32,
    pid_file: PathBuf,
    log: PathBuf,
}

impl Server {
    /// Starts a program with its output in `work/NAME.log`.
    pub(crate) fn start<I, S>(name: &str, program: &Path, arguments: I, work: &Path) -> Result<Self>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let log = work.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        let child = Command::new(program)
            .args(arguments)
            .current_dir(work)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let pid = child.id().context("the process ended at once")?;
        let pids = work.join(PIDS);
        fs::create_dir_all(&pids)?;
        let pid_file = pids.join(pid.to_string());
        fs::write(&pid_file, name)?;
        Ok(Self { name: name.to_owned(), child, pid, pid_file, log })
    }

    /// Its process id.
    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Notes a process that it has started, for whoever cleans up.
    fn note(&self, child: u32) -> Result<()> {
        Ok(fs::write(self.pid_file.with_file_name(child.to_string()), &self.name)?)
    }

    /// Waits until it answers, as `answers` tells.
    pub(crate) async fn until_ready<F: Future<Output = bool>>(
        &mut self,
        mut answers: impl FnMut() -> F,
    ) -> Result<()> {
        let started = Instant::now();
        while !answers().await {
            self.ensure_running()?;
            if started.elapsed() > PATIENCE {
                bail!("{} does not answer after {PATIENCE:?}: {}", self.name, self.last_words());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Fails with its last words once it has ended.
    pub(crate) fn ensure_running(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} ended with {status}: {}", self.name, self.last_words()),
            None => Ok(()),
        }
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// kill -9, and waits for the end.
    pub(crate) async fn kill(mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("kill {}", self.name))
    }

    /// SIGTERM, and waits for the end.
    pub(crate) async fn terminate(mut self) -> Result<()> {
        self.signal("TERM")?;
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.with_context(|| format!("{} does not end", self.name))??;
        Ok(())
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        let sent =
            std::process::Command::new("kill").args([&format!("-{name}"), &self.pid.to_string()]).status()?;
        if !sent.success() {
            bail!("can't send {name} to {}", self.name);
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The child itself is killed by its own drop; a pid file that stays behind harms nothing.
        drop(fs::remove_file(&self.pid_file));
    }
}

/// Ports that were free a moment ago.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let listeners: Vec<_> =
        (0..N).map(|_| std::net::TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<_>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// A loopback port that takes connections.
pub(crate) async fn accepts(port: u16) -> bool {
    tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
}
