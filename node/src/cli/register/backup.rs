//! `register backup`: dated bundles of a running node in a folder, of which the newest are kept. Made for a scheduler, such as a CronJob.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use clap::Args;
use reqwest::Url;

use super::{
    beside::{self, Beside},
    download::fetch,
    import::verified,
    summary::Summary,
};
use crate::{
    cli::{Outcome, OutputFormat, api::parse_url, console::Console},
    clock::Clock,
    register::{bundle::Header, names::Lineage},
};

const PREFIX: &str = "register-";
const SUFFIX: &str = ".sorcha";
/// What an export that was killed has left is not needed any more after this time.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// Flags of `register backup`.
#[derive(Debug, Args)]
#[command(
    after_help = "The bundle is verified before it counts, and before an older one is removed. Files are named after \
    lineage, time and version; bundles of another lineage, and all other files, are left alone.\n\
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
    /// Form of the summary
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub output: OutputFormat,
}

/// Fetches a bundle into the folder, and removes the oldest of its register that are too many.
pub(super) async fn run(
    args: &BackupArgs,
    clock: &dyn Clock,
    console: &mut Console<'_>,
) -> anyhow::Result<Outcome> {
    let folder = &args.folder;
    remove_abandoned(folder, clock).with_context(|| format!("look into {}", folder.display()))?;
    let beside = Beside::of(&folder.join(PREFIX))?;
    fetch(&args.url, beside.as_file()).await?;
    let length = beside.as_file().metadata()?.len();
    let bundle = verified(beside.path(), length).with_context(|| format!("the bundle of {}", args.url))?;
    let place = folder.join(name_of(&bundle.header));
    // The same instant and version is the same bundle.
    beside.at(&place).put_there(true)?;
    for old in too_many(folder, bundle.header.genesis.lineage(), args.keep.into())? {
        fs::remove_file(&old).with_context(|| format!("remove {}", old.display()))?;
        console.remark(&format!("removed {}: {} newer ones are kept", old.display(), args.keep))?;
    }
    Summary::of_bundle(place.display().to_string(), &bundle).write(args.output, console.out)?;
    Ok(Outcome::Done)
}

fn prefix_of(lineage: Lineage) -> String {
    format!("{PREFIX}{}-", lineage.short())
}

/// Names of one register's bundles sort by time.
fn name_of(header: &Header) -> String {
    let time: String = header.created_at.to_string().chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{}{time}-v{}{SUFFIX}", prefix_of(header.genesis.lineage()), header.head)
}

/// The oldest bundles of a register beyond those that are kept.
fn too_many(folder: &Path, lineage: Lineage, keep: usize) -> anyhow::Result<Vec<PathBuf>> {
    let prefix = prefix_of(lineage);
    let is_ours = |name: &str| name.starts_with(&prefix) && name.ends_with(SUFFIX);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("look into {}", folder.display()))? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_ours) {
            found.push(entry.path());
        }
    }
    found.sort();
    found.truncate(found.len().saturating_sub(keep));
    Ok(found)
}

fn remove_abandoned(folder: &Path, clock: &dyn Clock) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_one = entry.file_name().to_str().is_some_and(|name| name.starts_with(beside::PREFIX));
        let written =
            entry.metadata()?.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = Duration::from_millis(clock.now().as_millis().max(0).unsigned_abs());
        let age = now.saturating_sub(written);
        if is_one && age > ABANDONED {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::lineage::tests::genesis;

    #[test]
    fn the_oldest_of_the_same_register_go_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, other) = (genesis(1).lineage(), genesis(2).lineage());
        let name = |lineage: Lineage, day: u32| {
            format!("{}202611{day:02}T030000000Z-v{day}.sorcha", prefix_of(lineage))
        };
        for day in 1..=5 {
            fs::write(folder.path().join(name(ours, day)), "").unwrap();
            fs::write(folder.path().join(name(other, day)), "").unwrap();
        }
        fs::write(folder.path().join("register-of-mine.sorcha"), "").unwrap();
        let gone = too_many(folder.path(), ours, 3).unwrap();
        assert_eq!(gone, [1, 2].map(|day| folder.path().join(name(ours, day))));
        assert!(too_many(folder.path(), ours, 5).unwrap().is_empty());
    }
}
