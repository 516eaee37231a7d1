//! `register import` and `register restore`: a bundle becomes the stored register.

use std::{
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use clap::Args;
use sorcha_config::Config;
use sorcha_register::{
    bundle::{self, Bundle},
    clock::{Clock, Timestamp},
    limits,
};
use sorcha_store::{Checkpoint, Loaded, Store};

use super::summary::Summary;
use crate::cli::{
    Outcome, OutputFormat,
    console::{Answer, Console, byte_bar, spinner},
    store::{self, Present},
};

/// Flags of `register import`.
#[derive(Debug, Args)]
#[command(
    after_help = "The whole bundle is checked before anything is stored. A peer that was filled this way fetches \
    only what is newer when it connects.\n\
    \n\
    A central node with an imported file goes on at the bundle's head version. It gives versions a second time if anything \
    was published after the bundle was made; use `register restore` in that case. In MongoDB, import makes a peer's \
    replica, which central nodes refuse; use `register restore` to make a register there.\n\
    \n\
    Example:\n  \
    sorcha-node register import backup.sorcha --data-dir /var/lib/sorcha"
)]
pub struct ImportArgs {
    /// The bundle; - is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Refuse a bundle that the register's creator has not signed
    #[arg(long)]
    pub require_signature: bool,
    /// Format of the summary
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub output: OutputFormat,
}

/// Flags of `register restore`.
#[derive(Debug, Args)]
#[command(
    after_help = "The whole bundle is checked before anything is replaced, and what is there is kept if storing \
    fails. On a central node, whatever was published after the bundle was written is lost. Peers that hold it report so: \
    they keep and serve it, and refuse what contradicts it. The next publication takes a version 1,000,000,000 above the \
    bundle's head, so that no version is given twice.\n\
    \n\
    Examples:\n  \
    sorcha-node register restore backup.sorcha --data-dir /var/lib/sorcha\n  \
    sorcha-node register restore backup.sorcha --mongodb-uri-file uri --yes"
)]
pub struct RestoreArgs {
    /// The bundle; - is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Replace what is stored without asking
    #[arg(long)]
    pub yes: bool,
    /// Refuse a bundle that the register's creator has not signed
    #[arg(long)]
    pub require_signature: bool,
    /// Accept a bundle of another lineage, which is another register
    #[arg(long)]
    pub other_lineage: bool,
    /// Restore a peer's replica, which keeps the bundle's head version [default: only where a replica is stored]
    #[arg(long)]
    pub replica: bool,
    /// Format of the summary
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub output: OutputFormat,
}

/// Reads and verifies a whole bundle, which must be signed where that is asked for.
pub(super) fn read_bundle(file: &Path, require_signature: bool) -> anyhow::Result<Bundle> {
    let bundle = read_any(file)?;
    if require_signature && !bundle.is_signed {
        bail!(
            "{} is not signed (--require-signature): only a node that has the key of the register's creator, \
             {}, signs what it exports",
            file.display(),
            bundle.header.genesis.record().created_by
        );
    }
    Ok(bundle)
}

fn read_any(file: &Path) -> anyhow::Result<Bundle> {
    let shown = file.display();
    if file == Path::new("-") {
        return bundle::read(BufReader::new(io::stdin().lock())).context("standard input");
    }
    let length = file.metadata().with_context(|| format!("open {shown}"))?.len();
    verified(file, length).with_context(|| shown.to_string())
}

/// Reads and verifies a file of this length.
pub(super) fn verified(file: &Path, length: u64) -> anyhow::Result<Bundle> {
    let bar = byte_bar(length, "checking the bundle");
    let bundle = bundle::read(BufReader::new(bar.wrap_read(File::open(file)?)))?;
    bar.finish_and_clear();
    Ok(bundle)
}

/// Fills an empty store.
pub(super) async fn import(
    args: &ImportArgs,
    config: &Config,
    clock: &dyn Clock,
    console: &mut Console<'_>,
) -> anyhow::Result<Outcome> {
    let bundle = read_bundle(&args.file, args.require_signature)?;
    let store = store::open(config).await?;
    let loaded = store.load().await?;
    if !is_empty(&loaded) {
        bail!(
            "{} holds a register already ({}); `register restore` replaces it",
            store::describe(config),
            in_short(&loaded)
        );
    }
    put_replica(&*store, &bundle, clock.now()).await?;
    tell(&*store, config, args.output, console).await
}

fn is_empty(loaded: &Loaded) -> bool {
    let Loaded { view, checkpoint, findings } = loaded;
    view.is_empty() && view.genesis().is_none() && checkpoint.is_none() && findings.is_empty()
}

fn in_short(Loaded { view, findings, .. }: &Loaded) -> String {
    let lineage = view
        .lineage()
        .map_or_else(|| "unknown lineage".to_owned(), |lineage| format!("lineage {}", lineage.short()));
    let damage = if findings.is_empty() { String::new() } else { format!(", findings: {}", findings.len()) };
    format!("entries: {}, head version {}, {lineage}{damage}", view.len(), view.head())
}

/// Replaces what is there.
pub(super) async fn restore(
    args: &RestoreArgs,
    config: &Config,
    clock: &dyn Clock,
    console: &mut Console<'_>,
) -> anyhow::Result<Outcome> {
    let bundle = read_bundle(&args.file, args.require_signature)?;
    let place = store::describe(config);
    let mut is_replica = args.replica || store::is_replica_file(config)?;
    let store = match store::look(config).await? {
        Present::Nothing => store::open(config).await?,
        Present::Unreadable(why) => {
            let consequence = format!("{place} is not readable ({why}); it will be set aside.");
            if !confirmed(args, &consequence, console)? {
                return Ok(Outcome::Failed);
            }
            store::open_for_replacement(config, clock.now()).await?
        }
        Present::Store(store) => {
            let loaded = store.load().await?;
            is_replica |= loaded.checkpoint.as_ref().is_some_and(Checkpoint::is_synced);
            if !is_empty(&loaded) {
                let consequence = replacing(&loaded, &bundle, args, &place)?;
                if !confirmed(args, &consequence, console)? {
                    return Ok(Outcome::Failed);
                }
            }
            store
        }
    };
    if is_replica {
        put_replica(&*store, &bundle, clock.now()).await?;
    } else {
        put_register(&*store, &bundle, console).await?;
    }
    tell(&*store, config, args.output, console).await
}

/// What a restore would do, or why it must not.
fn replacing(loaded: &Loaded, bundle: &Bundle, args: &RestoreArgs, place: &str) -> anyhow::Result<String> {
    let (present, new) = (loaded.view.lineage(), bundle.header.genesis.lineage());
    let same = match present {
        Some(present) if present != new && !args.other_lineage => bail!(
            "the bundle is of another register: its lineage is {}, the stored one's is {}; add --other-lineage if that is \
             what you want",
            new.short(),
            present.short()
        ),
        Some(present) if present != new => "a register of another lineage",
        Some(_) => "a bundle of the same lineage",
        None => "a bundle; whether it is of the same lineage can't be told",
    };
    let (old, head) = (loaded.view.head(), bundle.header.head);
    let lost = if present == Some(new) && head < old {
        format!(" Versions after {head}, up to {old}, will be lost.")
    } else {
        String::new()
    };
    Ok(format!(
        "{place} ({}) will be replaced by {same} (entries: {}, head version {head}), exported {} by {}.{lost}",
        in_short(loaded),
        bundle.entries.len(),
        bundle.header.created_at,
        bundle.header.created_by
    ))
}

fn confirmed(args: &RestoreArgs, consequence: &str, console: &mut Console<'_>) -> anyhow::Result<bool> {
    if args.yes {
        return Ok(true);
    }
    match console.ask(consequence)? {
        Answer::Yes => Ok(true),
        Answer::No => {
            console.remark("nothing was changed");
            Ok(false)
        }
        Answer::Nobody => bail!("{consequence} Add --yes to go on; there is no terminal to ask on"),
    }
}

/// A central node's register goes on above all versions that may have been given after the bundle was written.
async fn put_register(
    store: &dyn Store,
    Bundle { header, entries, .. }: &Bundle,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    let head = header.head.plus(limits::RESTORE_GAP);
    let progress = spinner("storing the register");
    let entries = entries.iter().map(Arc::clone).collect();
    store.restore(header.genesis.clone(), entries, head).await?;
    store.flush().await?;
    progress.finish_and_clear();
    console.remark(&format!(
        "the next publication takes a version above {head}: those in between may have been given after the bundle was \
         written"
    ));
    Ok(())
}

/// The position is the bundle's head, and the next pull is due at once.
async fn put_replica(
    store: &dyn Store,
    Bundle { header, entries, .. }: &Bundle,
    now: Timestamp,
) -> anyhow::Result<()> {
    let checkpoint =
        Checkpoint { last_sync_time: header.created_at, next_sync_due: now, ..Checkpoint::at(header.head) };
    let progress = spinner("storing the register");
    let entries = entries.iter().map(Arc::clone).collect();
    store.replace(Some(header.genesis.clone()), entries, Some(checkpoint)).await?;
    store.flush().await?;
    progress.finish_and_clear();
    Ok(())
}

/// Shows what is stored now.
async fn tell(
    store: &dyn Store,
    config: &Config,
    output: OutputFormat,
    console: &mut Console<'_>,
) -> anyhow::Result<Outcome> {
    let loaded = store.load().await?;
    Summary::of_store(store::describe(config), &loaded).write(output, console.out)?;
    Ok(if loaded.findings.is_empty() { Outcome::Done } else { Outcome::Failed })
}
