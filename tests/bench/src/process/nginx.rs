//! nginx as a server of files, with a worker for each core.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Result;

use super::{Server, accepts, free_ports};

/// A running server; dropping it kills it with its workers.
pub(crate) struct Nginx {
    // Dropped first: it would start new workers in the place of killed ones.
    server: Server,
    workers: Workers,
    port: u16,
}

/// Processes that nginx has started, which outlive it when it is killed.
struct Workers(Vec<u32>);

impl Nginx {
    /// Starts one that serves the files of a folder.
    pub(crate) async fn start(program: &Path, work: &Path, files: &Path) -> Result<Self> {
        let [port] = free_ports()?;
        let home = work.join("nginx");
        DirBuilder::new().create(&home)?;
        let (configuration, errors) = (home.join("nginx.conf"), home.join("error.log"));
        let count = std::thread::available_parallelism()?.get();
        fs::write(&configuration, configured(&home, files, port, count)?)?;
        let arguments = [Path::new("-p"), &home, Path::new("-c"), &configuration, Path::new("-e"), &errors];
        let mut server = Server::start("nginx", program, arguments, work)?;
        let pid = server.pid();
        server.until_ready(|| async { accepts(port).await && children(pid).len() == count }).await?;
        let workers = Workers(children(pid));
        for pid in &workers.0 {
            server.note(*pid)?;
        }
        Ok(Self { server, workers, port })
    }

    /// Where it listens, on loopback.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// All its processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        std::iter::once(self.server.pid()).chain(self.workers.0.iter().copied()).collect()
    }

    /// Ends it and its workers.
    pub(crate) async fn stop(self) -> Result<()> {
        let Self { server, mut workers, .. } = self;
        server.terminate().await?;
        // It has waited for them.
        workers.0.clear();
        Ok(())
    }
}

/// The processes that a process has started.
fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

impl Drop for Workers {
    fn drop(&mut self) {
        if self.0.is_empty() {
            return;
        }
        let pids = self.0.iter().map(u32::to_string);
        // A worker that has ended meanwhile is as well.
        drop(Command::new("kill").arg("-KILL").args(pids).stderr(Stdio::null()).status());
    }
}

/// Debian's settings for files, no log of requests, open files cached, and connections that stay open.
fn configured(home: &Path, files: &Path, port: u16, workers: usize) -> Result<String> {
    // Workers may read what the caller may read; only root can say so.
    let user = if fs::metadata("/proc/self")?.uid() == 0 { "user root;\n" } else { "" };
    let home = home.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|part| format!("  {part}_temp_path {home}/{part};\n"))
        .concat();
    Ok(format!(
        "{user}daemon off;\npid {home}/pid;\nworker_processes {workers};\nevents {{ worker_connections 4096; }}\n\
         http {{\n  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  open_file_cache max=1000 inactive=60s;\n  \
         keepalive_requests 1000000000;\n  default_type application/ld+json;\n{temporary}  \
         server {{ listen 127.0.0.1:{port} backlog=1024; root {}; }}\n}}\n",
        files.display()
    ))
}
