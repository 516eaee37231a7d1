//! `register adopt`.

use anyhow::{Context as _, anyhow};
use clap::Args;
use sorcha_config::Config;
use sorcha_register::names::Lineage;
use sorcha_store::{Checkpoint, Loaded};

use crate::cli::{Outcome, OutputFormat, console::Console, store};

/// Flags of `register adopt`.
#[derive(Debug, Args)]
#[command(
    after_help = "For a stopped peer that reported SplitBrain: its central node holds a register of another lineage \
    than its replica. The peer goes on serving the old replica until it has fetched the whole new register. To take the \
    decision back, name the lineage that the replica has already.\n\
    \n\
    `register verify` shows lineages: of the replica, and on the central node the one to adopt. The peer's log and \
    status name both too.\n\
    \n\
    Example:\n  \
    sorcha-node register adopt --lineage 6e1f…64 hex digits…c2 --data-dir /var/lib/sorcha"
)]
pub struct AdoptArgs {
    /// Lineage of the register to adopt, 64 hex digits
    #[arg(long, value_name = "HEX", value_parser = parse_lineage)]
    pub lineage: Lineage,
    /// Format of the output
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub output: OutputFormat,
}

fn parse_lineage(text: &str) -> Result<Lineage, String> {
    Lineage::from_hex(text)
        .ok_or_else(|| format!("a lineage has 64 hex digits, this has {} characters", text.chars().count()))
}

/// What to do about a store without a checkpoint.
fn not_a_replica(loaded: &Loaded, place: &str) -> anyhow::Error {
    if loaded.view.is_empty() && loaded.view.genesis().is_none() && loaded.findings.is_empty() {
        return anyhow!(
            "{place} is empty, and an empty replica takes the register of the first central node it meets: just start it"
        );
    }
    if let Some(finding) = loaded.findings.first() {
        return anyhow!(
            "{place} has no readable checkpoint ({finding}); start the peer once, so that it repairs its replica"
        );
    }
    anyhow!(
        "{place} was never a peer's replica: it has no checkpoint. On a central node, `register restore FILE --other-lineage` \
         puts another register in the place of this one"
    )
}

/// Notes the administrator's choice in the replica's checkpoint.
pub(super) async fn run(
    args: &AdoptArgs,
    config: &Config,
    console: &mut Console<'_>,
) -> anyhow::Result<Outcome> {
    let place = store::describe(config);
    let store = store::open_existing(config).await?;
    let loaded = store.load().await?;
    let Some(checkpoint) = loaded.checkpoint else {
        return Err(not_a_replica(&loaded, &place));
    };
    let present = loaded.view.lineage();
    let adopt = (present != Some(args.lineage)).then_some(args.lineage);
    store
        .apply(Vec::new(), Checkpoint { adopt, ..checkpoint })
        .await
        .context("record the lineage to adopt")?;
    store.flush().await.context("record the lineage to adopt")?;
    let old = present.map_or_else(|| "unknown".to_owned(), |lineage| lineage.to_string());
    let told = match (args.output, adopt) {
        (OutputFormat::Json, adopt) => {
            serde_json::json!({"register": place, "lineage": present, "adopt": adopt}).to_string()
        }
        (OutputFormat::Table, Some(new)) => format!(
            "{place} of lineage {old} will be replaced by lineage {new} at the next connection to a central node that holds \
             it; until then it is served as it is"
        ),
        (OutputFormat::Table, None) => {
            format!("{place} is of lineage {old} already; nothing is to be adopted")
        }
    };
    writeln!(console.out, "{told}")?;
    Ok(Outcome::Done)
}
