//! What a process uses, as /proc tells.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

/// Clock ticks a second in /proc: 100 on every Linux, whatever the kernel's own rate.
const TICKS: u64 = 100;
/// Fields of /proc/PID/stat after the command's name: user and system time.
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;

/// Memory and processor time of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Resident memory, bytes.
    pub(crate) resident: u64,
    /// The most since its start, or since it was last forgotten.
    pub(crate) peak: u64,
    /// User and system time since its start.
    pub(crate) cpu: Duration,
}

impl Usage {
    /// Of a process by its id.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).with_context(|| format!("read {path}"))
        };
        let status = read("status")?;
        let (resident, peak) = (bytes_of("VmRSS:", &status)?, bytes_of("VmHWM:", &status)?);
        Ok(Self { resident, peak, cpu: cpu(&read("stat")?)? })
    }

    /// Of this process.
    pub(crate) fn own() -> Result<Self> {
        Self::of(std::process::id())
    }

    /// Processor time since an earlier look, as a share of one processor.
    pub(crate) fn cpu_share(self, before: Self, elapsed: Duration) -> f64 {
        self.cpu_since(before).as_secs_f64() / elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Processor time since an earlier look.
    pub(crate) const fn cpu_since(self, before: Self) -> Duration {
        self.cpu.saturating_sub(before.cpu)
    }
}

/// A process's peak of memory counts from now on.
pub(crate) fn forget_peak(pid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/clear_refs");
    fs::write(&path, "5").with_context(|| format!("write {path}"))
}

/// Bytes in units of 1,048,576.
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

/// Processor time of the calling thread since its start.
pub(crate) fn of_this_thread() -> Result<Duration> {
    cpu(&fs::read_to_string("/proc/thread-self/stat").context("read /proc/thread-self/stat")?)
}

/// Microseconds of processor time by occurrence; 0 where nothing occurred.
pub(crate) fn micros_each(time: Duration, occurrences: usize) -> f64 {
    if occurrences == 0 { 0.0 } else { time.as_secs_f64() * 1e6 / occurrences as f64 }
}

fn bytes_of(field: &str, status: &str) -> Result<u64> {
    let line =
        status.lines().find_map(|line| line.strip_prefix(field)).with_context(|| format!("no {field}"))?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024)
}

fn cpu(stat: &str) -> Result<Duration> {
    // The name in parentheses may hold anything, spaces and parentheses too.
    let (_, rest) = stat.rsplit_once(')').context("no command in stat")?;
    let fields: Vec<_> = rest.split_whitespace().collect();
    let ticks = |index: usize| -> Result<u64> { Ok(fields.get(index).context("stat is short")?.parse()?) };
    let ticks = ticks(USER_TIME)? + ticks(SYSTEM_TIME)?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_time_are_found() {
        assert_eq!(bytes_of("VmRSS:", "VmPeak:\t 10 kB\nVmRSS:\t   2048 kB\n").unwrap(), 2 * 1024 * 1024);
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 99";
        assert_eq!(cpu(stat).unwrap(), Duration::from_secs(3));
        assert!(bytes_of("VmRSS:", "").is_err() && cpu("7 (a) S 1").is_err());
    }

    #[test]
    fn a_share_is_of_one_processor() {
        let (before, after) = (Usage::default(), Usage { cpu: Duration::from_secs(3), ..Usage::default() });
        assert!((after.cpu_share(before, Duration::from_secs(2)) - 1.5).abs() < 1e-9);
        assert!((micros_each(Duration::from_millis(3), 100) - 30.0).abs() < 1e-9);
        assert!(micros_each(Duration::from_secs(1), 0) < 1e-9);
    }

    #[test]
    fn a_thread_has_a_time_of_its_own() {
        assert!(of_this_thread().unwrap() <= Usage::own().unwrap().cpu + Duration::from_secs(1));
    }
}
