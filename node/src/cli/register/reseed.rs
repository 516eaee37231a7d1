//! `register reseed`.

use anyhow::bail;
use clap::Args;
use sorcha_central::bootstrap;
use sorcha_config::Config;
use sorcha_host::keys;
use sorcha_register::clock::Clock;

use super::summary::Summary;
use crate::cli::{Outcome, OutputFormat, console::Console, store};

const CONSEQUENCE: &str = "Everything published is removed and a new register begins at version 1, with a new lineage. \
    Every peer of the old one keeps its replica, reports SplitBrain, and takes nothing from here until an administrator \
    runs `register adopt` on it.";

/// Flags of `register reseed`.
#[derive(Debug, Args)]
#[command(after_help = format!("{CONSEQUENCE}\n\
    Where there is a bundle, `register restore` loses less. `register export --good-entries-only` saves what is sound first.\n\
    The new genesis is signed with the key in the data directory and names the node's id (--config, or SORCHA_NODE__ID).\n\
    \n\
    Example:\n  \
    sorcha-node register reseed --data-dir /var/lib/sorcha --yes"))]
pub struct ReseedArgs {
    /// Replace the register; without this flag nothing is changed
    #[arg(long)]
    pub yes: bool,
    /// Format of the summary
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub output: OutputFormat,
}

/// Puts a new register in the place of whatever is there.
pub(super) async fn run(
    args: &ReseedArgs,
    config: &Config,
    clock: &dyn Clock,
    console: &mut Console<'_>,
) -> anyhow::Result<Outcome> {
    let place = store::describe(config);
    if !args.yes {
        bail!("{place} would be replaced. {CONSEQUENCE} Add --yes to go on");
    }
    let now = clock.now();
    let store = store::open_for_replacement(config, now).await?;
    let key = keys::load_or_create(&config.store.data_dir)?;
    let (genesis, seed) = bootstrap::new_register(&config.node.id, &key, now)?;
    store.replace(Some(genesis), vec![seed], None).await?;
    store.flush().await?;
    Summary::of_store(place, &store.load().await?).write(args.output, console.out)?;
    console.remark("peers of the old register report SplitBrain until `register adopt` is run on them");
    Ok(Outcome::Done)
}
