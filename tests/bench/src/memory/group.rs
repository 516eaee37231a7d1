//! A memory limit as Kubernetes sets it: a control group around the process.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Result;

/// Where the kernel shows control groups, version 1 and version 2, and the limit's file in each.
const ROOTS: [(&str, &str); 2] =
    [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];

/// A control group of this process's own; removed when it is dropped, if nothing is in it any more.
pub(super) struct Group(Option<PathBuf>);

/// A program that starts within a control group.
pub(super) struct HeldProgram {
    program: PathBuf,
    group: Group,
}

impl Group {
    /// Without the right to make one there is none, and the results say so.
    pub(super) fn make(name: &str, limit: u64) -> Self {
        let folder = format!("sorcha-bench-{}-{name}", std::process::id());
        let made = ROOTS.into_iter().find_map(|(root, file)| {
            let folder = Path::new(root).join(&folder);
            fs::create_dir(&folder).ok()?;
            match fs::write(folder.join(file), limit.to_string()) {
                Ok(()) => Some(folder),
                Err(_) => {
                    drop(Self(Some(folder)));
                    None
                }
            }
        });
        Self(made)
    }

    /// A script in a folder that runs a program within this group, under the same process id.
    pub(super) fn hold(self, program: &Path, folder: &Path) -> Result<HeldProgram> {
        let Some(group) = &self.0 else {
            return Ok(HeldProgram { program: program.to_owned(), group: self });
        };
        let name = group.file_name().unwrap_or_default();
        let script = folder.join(name).with_extension("sh");
        let (procs, program) = (group.join("cgroup.procs"), program.display());
        fs::write(
            &script,
            format!("#!/bin/sh\necho $$ >'{}' && exec '{program}' \"$@\"\n", procs.display()),
        )?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        Ok(HeldProgram { program: script, group: self })
    }
}

impl HeldProgram {
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    pub(super) const fn is_limited(&self) -> bool {
        self.group.0.is_some()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel keeps one with a process in it; an empty one that stays behind harms nothing.
        if let Some(folder) = &self.0 {
            drop(fs::remove_dir(folder));
        }
    }
}
