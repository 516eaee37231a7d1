//! What the figures were made on and with.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    bench::{Bench, Programs},
    stats::Distribution,
};

/// Writes whose fsync is timed.
const FSYNCS: usize = 100;
/// Bytes of each of them.
const WRITE: usize = 4096;

/// Machine and versions.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) started_at: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gb: f64,
    pub(crate) kernel: String,
    /// Of the folder with everybody's data.
    pub(crate) filesystem: String,
    /// A write of 4 KB and its fdatasync.
    pub(crate) fsync_ms: Distribution,
    /// One-minute load before the first measure: what else the machine did.
    pub(crate) load_before: f64,
    pub(crate) node: String,
    pub(crate) nats: Option<String>,
    pub(crate) etcd: Option<String>,
    pub(crate) nginx: Option<String>,
    pub(crate) remark: Option<String>,
}

impl Machine {
    /// Looks at this machine.
    pub(crate) fn look(bench: &Bench, remark: Option<String>) -> Result<Self> {
        let Programs { node, nats, etcd, nginx, .. } = &bench.programs;
        let optional = |program: &Option<std::path::PathBuf>, option| {
            program.as_deref().map(|program| version(program, option)).transpose()
        };
        Ok(Self {
            started_at: now(),
            processor: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism()?.get(),
            memory_gb: (kilobytes(&field("/proc/meminfo", "MemTotal")) / (1024.0 * 1024.0)).round(),
            kernel: read("/proc/sys/kernel/osrelease"),
            filesystem: filesystem(&bench.work, &read("/proc/mounts")),
            fsync_ms: fsync(&bench.work)?,
            load_before: read("/proc/loadavg")
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or(0.0),
            node: version(node, "--version")?,
            nats: optional(nats, "--version")?,
            etcd: optional(etcd, "--version")?,
            nginx: optional(nginx, "-v")?,
            remark,
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "the report says when it was made")]
fn now() -> String {
    format!("{:.0}", jiff::Timestamp::now())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The first value of a field in a file of lines `name: value`.
fn field(path: &str, name: &str) -> String {
    let text = read(path);
    let value = text.lines().find_map(|line| line.split_once(':').filter(|(key, _)| key.trim() == name));
    value.map_or_else(String::new, |(_, value)| value.trim().to_owned())
}

fn kilobytes(text: &str) -> f64 {
    text.trim_end_matches("kB").trim().parse().unwrap_or(0.0)
}

/// Type of the mount with the longest path above a folder.
fn filesystem(folder: &Path, mounts: &str) -> String {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((Path::new(fields.next()?), fields.next()?))
    });
    let above = mounts.filter(|(at, _)| folder.starts_with(at));
    above.max_by_key(|(at, _)| at.as_os_str().len()).map_or_else(String::new, |(_, kind)| kind.to_owned())
}

fn fsync(folder: &Path) -> Result<Distribution> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut times = Vec::with_capacity(FSYNCS);
    for _ in 0..FSYNCS {
        let started = Instant::now();
        file.write_all(&[0xa5; WRITE])?;
        file.sync_data()?;
        times.push(millis(started.elapsed()));
    }
    Distribution::of(times).context("no write")
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The first line of what a program says about its version, on either stream.
fn version(program: &Path, option: &str) -> Result<String> {
    let run = Command::new(program).arg(option).output();
    let output = run.with_context(|| format!("run {}", program.display()))?;
    let said = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    Ok(String::from_utf8_lossy(said).lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n";
        assert_eq!(filesystem(Path::new("/tmp/x"), mounts), "tmpfs");
        assert_eq!(filesystem(Path::new("/home"), mounts), "ext4");
        assert_eq!(filesystem(Path::new("relative"), mounts), "");
    }
}
