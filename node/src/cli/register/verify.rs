//! `register verify`.

use std::path::PathBuf;

use clap::Args;
use sorcha_config::Config;
use sorcha_register::{
    integrity::{Fault, Finding},
    view::RegisterView,
};
use sorcha_store::Loaded;

use super::{import::read_bundle, summary::Summary};
use crate::cli::{
    Outcome, OutputFormat,
    console::{Console, spinner},
    store::{self, Present},
};

/// Flags of `register verify`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sorcha-node register verify --data-dir /var/lib/sorcha\n  \
    sorcha-node register verify --bundle backup.sorcha --output json\n\
    \n\
    Remedies for findings: a running peer fetches damaged entries again by itself. A central node refuses publications \
    until `register restore` or `register reseed` is run.")]
pub struct VerifyArgs {
    /// Check this bundle instead of the stored register; - is standard input
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
    /// Refuse a bundle that the register's creator has not signed
    #[arg(long, requires = "bundle")]
    pub require_signature: bool,
    /// Format of the output
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub output: OutputFormat,
}

/// Checks, and shows what was found.
pub(super) async fn run(
    args: &VerifyArgs,
    config: &Config,
    console: &mut Console<'_>,
) -> anyhow::Result<Outcome> {
    if let Some(file) = &args.bundle {
        let bundle = read_bundle(file, args.require_signature)?;
        Summary::of_bundle(file.display().to_string(), &bundle).write(args.output, console.out)?;
        return Ok(Outcome::Done);
    }
    let progress = spinner("checking the register");
    let loaded = load(config).await?;
    progress.finish_and_clear();
    Summary::of_store(store::describe(config), &loaded).write(args.output, console.out)?;
    Ok(if loaded.findings.is_empty() { Outcome::Done } else { Outcome::Failed })
}

/// A file that is no journal any more is a finding too.
async fn load(config: &Config) -> anyhow::Result<Loaded> {
    match store::look(config).await? {
        Present::Store(store) => Ok(store.load().await?),
        Present::Unreadable(why) => {
            let findings = vec![Finding::whole(Fault::Store(why))];
            Ok(Loaded { view: RegisterView::new(None), checkpoint: None, findings })
        }
        // This gives the error that says how to name the right place.
        Present::Nothing => Ok(store::open_existing(config).await?.load().await?),
    }
}
