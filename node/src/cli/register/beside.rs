//! Where a bundle goes.

use std::{
    fs::File,
    io::IsTerminal as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use sorcha_os::replace::{Existing, Mode, ReplaceError, Replacement, Target};

use super::export::ExportArgs;
use crate::cli::console::Console;

/// A place that a bundle can be written to.
pub(super) enum Destination {
    /// Standard output.
    Output,
    /// A device or a pipe, opened.
    Stream(File),
    /// A file, which appears when it is whole.
    File(PathBuf),
}

impl Destination {
    /// The place that is asked for; refused before anything else is done for it when nothing can be written there.
    pub(super) fn of(args: &ExportArgs, console: &Console<'_>) -> anyhow::Result<Self> {
        const NO_TERMINAL: &str =
            "a bundle is not for the terminal; name a file, or redirect standard output";
        match Target::of(&args.file)? {
            Target::StandardOutput if console.out_is_terminal => bail!(NO_TERMINAL),
            Target::StandardOutput => Ok(Self::Output),
            Target::Stream(path) => {
                let shown = || format!("open {}", path.display());
                let stream = File::options().append(true).open(&path).with_context(shown)?;
                if stream.is_terminal() {
                    bail!(NO_TERMINAL);
                }
                Ok(Self::Stream(stream))
            }
            Target::File(place) if !args.force && place.exists() => Err(already_there(&args.file)),
            Target::File(_) => Ok(Self::File(args.file.clone())),
        }
    }

    /// For the summary.
    pub(super) fn name(&self, args: &ExportArgs) -> String {
        match self {
            Self::Output => "standard output".to_owned(),
            Self::Stream(_) | Self::File(_) => args.file.display().to_string(),
        }
    }
}

/// Begins a bundle that is to be at `place`.
pub(super) fn begin(place: &Path) -> anyhow::Result<Replacement> {
    Ok(Replacement::begin(place, Mode::Usual)?)
}

/// Begins one whose place in a folder is named later, or which is only read.
pub(super) fn begin_in(folder: &Path) -> anyhow::Result<Replacement> {
    Ok(Replacement::in_folder(folder, Mode::Usual)?)
}

/// Puts it there; one that is there already is replaced only when that was asked for.
pub(super) fn put(bundle: Replacement, force: bool) -> anyhow::Result<()> {
    match bundle.put(if force { Existing::Goes } else { Existing::Stays }) {
        Err(ReplaceError::AlreadyThere(place)) => Err(already_there(&place)),
        put => Ok(put?),
    }
}

fn already_there(file: &Path) -> anyhow::Error {
    anyhow::anyhow!("{} is there already; name another file, or add --force to replace it", file.display())
}
