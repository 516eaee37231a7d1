//! Memory that the process may use, and the part of it that a replica may take: a central node decides what it sends, but not
//! how much of this process's memory that takes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sorcha_config::Config;

/// A replica may take this part of the process's memory, if no setting says otherwise: a full sync holds the old and the new one,
/// and the rest is for what reads and writes them.
const PART: u64 = 3;

/// Sets the memory that the replica may take, if it is not set.
pub(crate) fn prepare(config: &mut Config) {
    let (None, Some(available)) = (config.sync.max_memory, available()) else { return };
    let most = available / PART;
    tracing::info!(
        available_bytes = available,
        most_bytes = most,
        "the replica may take {most} bytes, a third of the memory that this process may use (sync.max_memory)"
    );
    config.sync.max_memory = Some(most);
}

/// Memory that this process may use, bytes: what its control groups allow, or what the machine has; none where the system does
/// not say.
fn available() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    limits_of(&groups, Path::new("/sys/fs/cgroup")).into_iter().chain(machine).min()
}

/// The limits that control groups set, of both versions, up to the root of what this process sees of them.
fn limits_of(groups: &str, root: &Path) -> Vec<u64> {
    let files = groups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let folder = |under: PathBuf| under.join(path.trim_start_matches('/'));
        match controllers {
            "" => Some((root.to_owned(), folder(root.to_owned()), "memory.max")),
            "memory" => Some((root.join("memory"), folder(root.join("memory")), "memory.limit_in_bytes")),
            _ => None,
        }
    });
    let limit = |(top, folder, file): (PathBuf, PathBuf, &str)| -> Vec<u64> {
        let within = |folder: &&Path| folder.starts_with(&top);
        let folders = folder.ancestors().take_while(within);
        folders.filter_map(|folder| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()).collect()
    };
    files.flat_map(limit).collect()
}

/// `MemTotal` of `/proc/meminfo`, bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_limit_of_the_control_groups_of_either_version_counts() {
        let root = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let file = root.path().join(path);
            fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            fs::write(file, text).expect("written");
        };
        write("memory.max", "max\n");
        write("pods/memory.max", "2000\n");
        write("pods/one/memory.max", "3000\n");
        write("memory/docker/memory.limit_in_bytes", "1000\n");
        let lowest = |groups: &str| limits_of(groups, root.path()).into_iter().min();
        assert_eq!(lowest("0::/pods/one\n"), Some(2000), "a group is within the one above it");
        assert_eq!(lowest("0::/\n"), None, "`max` is no limit");
        assert_eq!(lowest("12:cpu:/docker\n5:memory:/docker\n"), Some(1000), "version 1");
        assert_eq!(lowest("0::/elsewhere\nnonsense\n"), None);
    }

    #[test]
    fn the_machines_memory_is_read_in_bytes() {
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       16384 kB\n"), Some(16_384 * 1024));
        assert_eq!(total("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn what_is_set_stands_and_what_is_not_is_a_part_of_what_there_is() {
        let mut config = Config::default();
        config.sync.max_memory = Some(1 << 30);
        prepare(&mut config);
        assert_eq!(config.sync.max_memory, Some(1 << 30));
        let mut config = Config::default();
        prepare(&mut config);
        assert_eq!(config.sync.max_memory, available().map(|available| available / PART));
    }
}
