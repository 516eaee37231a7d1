//! A process's memory and open files, looked at all the time.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tokio_util::task::AbortOnDropHandle;

const PAUSE: Duration = Duration::from_millis(20);

/// The gauge; it looks until it is dropped.
pub(in crate::scenarios) struct Gauge {
    process: PathBuf,
    memory_before: u64,
    files_before: usize,
    peaks: Arc<(AtomicU64, AtomicUsize)>,
    _looking: AbortOnDropHandle<()>,
}

impl Gauge {
    pub(in crate::scenarios) fn of(id: u32) -> Result<Self> {
        let process = PathBuf::from(format!("/proc/{id}"));
        let (memory_before, files_before) = (memory_kb(&process)?, files(&process)?);
        let peaks = Arc::new((AtomicU64::new(memory_before), AtomicUsize::new(files_before)));
        let looking = tokio::spawn({
            let (process, peaks) = (process.clone(), Arc::clone(&peaks));
            async move {
                while let (Ok(memory), Ok(files)) = (memory_kb(&process), files(&process)) {
                    peaks.0.fetch_max(memory, Ordering::Relaxed);
                    peaks.1.fetch_max(files, Ordering::Relaxed);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
        Ok(Self { process, memory_before, files_before, peaks, _looking: AbortOnDropHandle::new(looking) })
    }

    pub(in crate::scenarios) fn files(&self) -> Result<usize> {
        files(&self.process)
    }

    pub(in crate::scenarios) const fn files_before(&self) -> usize {
        self.files_before
    }

    /// Fails when there were more files, or more megabytes over those before, at any time.
    pub(in crate::scenarios) fn check(&self, most_files: usize, most_mb: u64) -> Result<String> {
        let (memory, files) = (self.peaks.0.load(Ordering::Relaxed), self.peaks.1.load(Ordering::Relaxed));
        let (before, peak) = (self.memory_before / 1024, memory / 1024);
        ensure!(peak <= before + most_mb, "the node took {peak} MB of memory; it had {before} MB before");
        ensure!(files <= most_files, "the node had {files} files open");
        Ok(format!("at most {peak} MB ({before} MB before) and {files} files"))
    }
}

fn memory_kb(process: &std::path::Path) -> Result<u64> {
    let status = std::fs::read_to_string(process.join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn files(process: &std::path::Path) -> Result<usize> {
    Ok(std::fs::read_dir(process.join("fd"))?.count())
}
