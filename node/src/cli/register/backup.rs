//! `register backup`: dated bundles of a running node in a folder, of which the newest are kept. Made for a scheduler, such as a CronJob.

use std::{
    fs::{self, DirEntry, File, TryLockError},
    io::{self, BufReader},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use clap::Args;
use reqwest::Url;
use sorcha_os::replace::IN_THE_MAKING;
use sorcha_register::{
    bundle::{Bundle, Header, Reader},
    clock::{Clock, Timestamp},
    names::{Lineage, Version},
};

use super::{beside, download::fetch_verified, summary::Summary};
use crate::cli::{Outcome, OutputFormat, api::parse_url, console::Console};

const PREFIX: &str = "register-";
const SUFFIX: &str = ".sorcha";
/// What a backup that was killed has left is not needed any more after this time.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);
/// Clocks that differ by less are taken for right.
const SKEW: Duration = Duration::from_secs(300);

/// Flags of `register backup`.
#[derive(Debug, Args)]
#[command(
    after_help = "The bundle is verified before it counts, and before an older one is removed. Files are named after \
    lineage, time and version.\n\
    \n\
    The new bundle always stays. Of the others the lowest versions are removed first, and of one version the oldest. The \
    time in a bundle is that of its maker's clock: a bundle that is dated later than now is reported, and removed before \
    others of its version. Unsigned bundles do not displace signed ones: N signed ones stay beside them. Bundles of another \
    lineage and all other files neither count nor are removed. Files that are named like bundles and can't be read are \
    reported.\n\
    \n\
    Example:\n  \
    sorcha-node register backup /backups --url http://n0:8080 --keep 14"
)]
pub struct BackupArgs {
    /// The folder
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// HTTP address of the node
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", value_parser = parse_url)]
    pub url: Url,
    /// Bundles that are kept, the new one included
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    pub keep: u16,
    /// Format of the summary
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub output: OutputFormat,
}

/// Fetches a bundle into the folder, and removes those of its register that are too many.
pub(super) async fn run(
    args: &BackupArgs,
    clock: &dyn Clock,
    console: &mut Console<'_>,
) -> anyhow::Result<Outcome> {
    let folder = &args.folder;
    remove_abandoned(folder, clock.now()).with_context(|| format!("look into {}", folder.display()))?;
    let (fetched, bundle) = fetch_verified(&args.url, beside::begin_in(folder)?).await?;
    let place = free_place(folder, &bundle.header);
    beside::put(fetched.at(&place), false)?;
    remove_too_many(args, &place, &bundle, clock.now(), console);
    Summary::of_bundle(place.display().to_string(), &bundle).write(args.output, console.out)?;
    Ok(Outcome::Done)
}

fn prefix_of(lineage: Lineage) -> String {
    format!("{PREFIX}{}-", lineage.short())
}

/// An instant as names hold it; they sort by time.
fn stamp(at: Timestamp) -> String {
    at.to_string().chars().filter(char::is_ascii_alphanumeric).collect()
}

/// A name that no other bundle has: a clock may show the same instant twice.
fn free_place(folder: &Path, header: &Header) -> PathBuf {
    let name =
        format!("{}{}-v{}", prefix_of(header.genesis.lineage()), stamp(header.created_at), header.head);
    let first = folder.join(format!("{name}{SUFFIX}"));
    let others = (2..1000).map(|number| folder.join(format!("{name}-{number}{SUFFIX}")));
    let mut places = std::iter::once(first.clone()).chain(others);
    places.find(|place| fs::symlink_metadata(place).is_err()).unwrap_or(first)
}

/// A bundle in the folder, of the register that is saved.
#[derive(Clone, Debug)]
struct SavedBundle {
    path: PathBuf,
    version: Version,
    /// As its maker's clock showed.
    made: Timestamp,
    is_signed: bool,
    /// It was made by this run.
    is_new: bool,
}

impl SavedBundle {
    /// It, or its name, says that it was made later than now.
    fn is_from_the_future(&self, now: Timestamp) -> bool {
        let latest = now.plus(SKEW);
        let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let stamped = name.split('-').nth(2).filter(|stamped| stamped.ends_with('Z'));
        self.made > latest || stamped.is_some_and(|stamped| *stamped > *stamp(latest))
    }
}

/// Removes what is too many. Whatever can't be looked at or removed is told, and costs neither a bundle nor the run.
fn remove_too_many(
    args: &BackupArgs,
    new: &Path,
    bundle: &Bundle,
    now: Timestamp,
    console: &mut Console<'_>,
) {
    let found = match look_into(&args.folder, bundle.header.genesis.lineage(), new, console) {
        Ok(found) => found,
        Err(error) => {
            let folder = args.folder.display();
            return console.remark(&format!("warning: nothing is removed: look into {folder}: {error}"));
        }
    };
    for odd in found.iter().filter(|bundle| bundle.is_from_the_future(now)) {
        let (path, made) = (odd.path.display(), odd.made);
        console.remark(&format!(
            "warning: {path} (made at {made}) is dated later than now, {now}: the clock of its maker or of this machine is wrong"
        ));
    }
    for old in too_many(found, args.keep.into(), now) {
        let path = old.path.display();
        match fs::remove_file(&old.path) {
            Ok(()) => console.remark(&format!("removed {path}: {} newer ones are kept", args.keep)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => console
                .remark(&format!("warning: {path} is more than --keep allows and can't be removed: {error}")),
        }
    }
}

/// What of a register's bundles is too many. What was just made stays; the others rank by version, then by time, where one
/// from the future has none. Only signed ones take the place of signed ones.
fn too_many(mut found: Vec<SavedBundle>, keep: usize, now: Timestamp) -> Vec<SavedBundle> {
    found.sort_by_cached_key(|bundle| {
        let is_dated = !bundle.is_from_the_future(now);
        std::cmp::Reverse((bundle.is_new, bundle.version, is_dated, bundle.made, bundle.path.clone()))
    });
    let (mut kept, mut kept_signed) = (0, 0);
    found.retain(|bundle| {
        let better = if bundle.is_signed { kept_signed } else { kept };
        let goes = better >= keep && !bundle.is_new;
        if !goes {
            (kept, kept_signed) = (kept + 1, kept_signed + usize::from(bundle.is_signed));
        }
        goes
    });
    found
}

/// The bundles of a register in a folder.
fn look_into(
    folder: &Path,
    lineage: Lineage,
    new: &Path,
    console: &mut Console<'_>,
) -> io::Result<Vec<SavedBundle>> {
    let prefix = prefix_of(lineage);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = |entry: &DirEntry| entry.file_name().into_string().unwrap_or_default();
        match entry {
            Ok(entry) if name(&entry).starts_with(&prefix) && name(&entry).ends_with(SUFFIX) => {
                match read_header(&entry.path()) {
                    Ok((header, _)) if header.genesis.lineage() != lineage => {}
                    Ok((header, is_signed)) => found.push(SavedBundle {
                        is_new: entry.path() == new,
                        path: entry.path(),
                        version: header.head,
                        made: header.created_at,
                        is_signed,
                    }),
                    Err(error) => console.remark(&format!(
                        "warning: {} is left alone and does not count: {error:#}",
                        entry.path().display()
                    )),
                }
            }
            Ok(_) => {}
            Err(error) => console.remark(&format!("warning: look into {}: {error}", folder.display())),
        }
    }
    Ok(found)
}

/// What a bundle says of itself, and whether it says that it is signed.
fn read_header(path: &Path) -> anyhow::Result<(Header, bool)> {
    anyhow::ensure!(fs::symlink_metadata(path)?.is_file(), "it is no regular file");
    let reader = Reader::new(BufReader::new(File::open(path)?))?;
    Ok((reader.header().clone(), reader.states_signature()))
}

/// Removes what killed runs have left. What another process is still making is locked.
fn remove_abandoned(folder: &Path, now: Timestamp) -> io::Result<()> {
    let now = Duration::from_millis(now.as_millis().max(0).unsigned_abs());
    for entry in fs::read_dir(folder)? {
        // One that is gone or can't be looked at is not this run's matter.
        let Ok(entry) = entry else { continue };
        if !entry.file_name().to_str().is_some_and(|name| name.starts_with(IN_THE_MAKING)) {
            continue;
        }
        let written = entry.metadata().and_then(|metadata| metadata.modified());
        let written = written.ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        let is_old = written.is_some_and(|written| now.saturating_sub(written) > ABANDONED);
        if is_old && !is_being_made(&entry.path()) {
            drop(fs::remove_file(entry.path()));
        }
    }
    Ok(())
}

fn is_being_made(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests;
