//! `register export`.

use std::{
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Args;
use ed25519_dalek::SigningKey;
use reqwest::Url;
use sorcha_config::Config;
use sorcha_host::keys;
use sorcha_register::{
    bundle::{Header, Scope, WriteError, Writer},
    clock::Clock,
    names::Version,
    view::RegisterView,
};
use sorcha_store::Loaded;

use super::{
    beside::{self, Destination},
    download,
    summary::Summary,
};
use crate::cli::{
    Outcome, OutputFormat,
    api::parse_url,
    console::{Console, count_bar},
    store,
};

/// Flags of `register export`.
#[derive(Debug, Args)]
#[command(
    after_help = "A bundle holds the genesis, the entries and a hash over everything; `register verify --bundle` \
    checks one. It is signed where the node has the key of the register's creator. Only regular files are replaced, \
    with their mode; a link stays, and the file behind it is replaced. A device or a pipe is written to as it is.\n\
    \n\
    Examples:\n  \
    sorcha-node register export backup.sorcha --data-dir /var/lib/sorcha\n  \
    sorcha-node register export - --data-dir /var/lib/sorcha | gzip > backup.sorcha.gz\n  \
    sorcha-node register export backup.sorcha --url http://n0:8080"
)]
pub struct ExportArgs {
    /// File to write; it appears when it is whole. - is standard output
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Fetch the register from a running node, not from a stopped node's store
    #[arg(long, value_name = "URL", value_parser = parse_url, conflicts_with_all = ["active_only", "good_entries_only"])]
    pub url: Option<Url>,
    /// Leave deprecated blueprints out
    #[arg(long)]
    pub active_only: bool,
    /// Save the sound entries of a damaged register, and leave the damaged ones out
    #[arg(long)]
    pub good_entries_only: bool,
    /// Replace the file if it is there
    #[arg(long)]
    pub force: bool,
    /// Format of the summary
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub output: OutputFormat,
}

/// Writes a bundle of the stored register.
pub(super) async fn run(
    args: &ExportArgs,
    config: &Config,
    clock: &dyn Clock,
    console: &mut Console<'_>,
) -> anyhow::Result<Outcome> {
    if let Some(url) = &args.url {
        return download::run(args, url, console).await;
    }
    let place = Destination::of(args, console)?;
    let loaded = store::open_existing(config).await?.load().await?;
    let view = exportable(loaded, args, console)?;
    let scope = if args.active_only { Scope::ActiveOnly } else { Scope::Whole };
    let header = Header::of(&view, scope, &config.node.id, clock.now())?;
    let key = keys::load_if_there(&config.store.data_dir)?;
    let signed = key.as_ref().is_some_and(|key| header.genesis.is_signed_by(&key.verifying_key()));
    let summary = Summary::of_export(place.name(args), &header, &view, signed);
    let writing = || format!("write {}", place.name(args));
    match &place {
        Destination::Output => {
            write(&mut *console.out, &header, &view, key.as_ref()).with_context(writing)?
        }
        Destination::Stream(stream) => {
            write(BufWriter::new(stream), &header, &view, key.as_ref()).with_context(writing)?;
        }
        Destination::File(file) => write_file(file, args.force, &header, &view, key.as_ref())?,
    }
    summary.tell(&place, args.output, console)?;
    Ok(Outcome::Done)
}

/// The register to save: a sound one, or what is sound of it when that was asked for.
fn exportable(loaded: Loaded, args: &ExportArgs, console: &mut Console<'_>) -> anyhow::Result<RegisterView> {
    let Loaded { mut view, findings, .. } = loaded;
    let Some(first) = findings.first() else {
        return Ok(view);
    };
    if !args.good_entries_only {
        bail!(
            "the register is not sound (findings: {}), the first: {first}; see `register verify`, and add --good-entries-only to save \
             what is sound",
            findings.len()
        );
    }
    for finding in &findings {
        console.remark(&format!("warning: left out: {finding}"));
    }
    // The versions of lost entries stay taken, so that a restored register never gives one out again.
    let lost = findings.iter().filter_map(|finding| finding.version).max().unwrap_or(Version::ZERO);
    view.apply(Vec::new(), lost);
    Ok(view)
}

/// Writes beside the place and moves the whole bundle there.
pub(super) fn write_file(
    place: &Path,
    force: bool,
    header: &Header,
    view: &RegisterView,
    key: Option<&SigningKey>,
) -> anyhow::Result<()> {
    let mut bundle = beside::begin(place)?;
    write(BufWriter::new(&mut bundle), header, view, key)
        .with_context(|| format!("write {}", place.display()))?;
    beside::put(bundle, force)
}

fn write(
    out: impl Write,
    header: &Header,
    view: &RegisterView,
    key: Option<&SigningKey>,
) -> Result<(), WriteError> {
    let bar = count_bar(header.count, "exporting");
    let mut writer = Writer::new(out, header, key)?;
    for sealed in view.iter().filter(|sealed| header.scope.holds(sealed.entry().is_active)) {
        writer.entry(sealed)?;
        bar.inc(1);
    }
    writer.finish()?;
    bar.finish_and_clear();
    Ok(())
}
