//! `register export`.

use std::{
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Args;
use ed25519_dalek::SigningKey;
use reqwest::Url;

use super::{
    beside::{Beside, already_there},
    download,
    summary::Summary,
};
use crate::{
    cli::{
        Outcome, OutputFormat,
        api::parse_url,
        console::{Console, count_bar},
        store,
    },
    clock::Clock,
    config::Config,
    keys,
    register::{
        bundle::{Header, Scope, WriteError, Writer},
        names::Version,
        view::RegisterView,
    },
    store::Loaded,
};

/// Flags of `register export`.
#[derive(Debug, Args)]
#[command(
    after_help = "A bundle holds the genesis, the entries and a hash over everything; `register verify --bundle` \
    checks one. It is signed where the node has the key of the register's creator.\n\
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
    /// Get it from a running node instead of a stopped one's store
    #[arg(long, value_name = "URL", value_parser = parse_url, conflicts_with_all = ["active_only", "good_entries_only"])]
    pub url: Option<Url>,
    /// Leave deprecated blueprints out
    #[arg(long)]
    pub active_only: bool,
    /// Save what is sound of a damaged register, without what is not
    #[arg(long)]
    pub good_entries_only: bool,
    /// Replace the file if it is there
    #[arg(long)]
    pub force: bool,
    /// Form of the summary
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
    let to_stdout = args.file == Path::new("-");
    if to_stdout && console.out_is_terminal {
        bail!("a bundle is not for the terminal; name a file, or redirect standard output");
    }
    if !to_stdout {
        refuse_to_replace(args)?;
    }
    let loaded = store::open_existing(config).await?.load().await?;
    let view = exportable(loaded, args, console)?;
    let scope = if args.active_only { Scope::ActiveOnly } else { Scope::Whole };
    let header = Header::of(&view, scope, &config.node.id, clock.now())?;
    let key = keys::load_if_there(&config.store.data_dir)?;
    let signed = key.as_ref().is_some_and(|key| header.genesis.is_signed_by(&key.verifying_key()));
    if to_stdout {
        write(&mut *console.out, &header, &view, key.as_ref())?;
        Summary::of_export("standard output".to_owned(), &header, &view, signed)
            .write(args.output, console.err)?;
    } else {
        write_file(args, &header, &view, key.as_ref())?;
        Summary::of_export(args.file.display().to_string(), &header, &view, signed)
            .write(args.output, console.out)?;
    }
    Ok(Outcome::Done)
}

/// Before anything else is done for it.
pub(super) fn refuse_to_replace(args: &ExportArgs) -> anyhow::Result<()> {
    if !args.force && args.file.exists() {
        return Err(already_there(&args.file));
    }
    Ok(())
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
        console.remark(&format!("warning: left out: {finding}"))?;
    }
    // The versions of lost entries stay taken, so that a restored register never gives one out again.
    let lost = findings.iter().filter_map(|finding| finding.version).max().unwrap_or(Version::ZERO);
    view.apply(Vec::new(), lost);
    Ok(view)
}

/// Writes beside the place and moves the whole bundle there.
fn write_file(
    args: &ExportArgs,
    header: &Header,
    view: &RegisterView,
    key: Option<&SigningKey>,
) -> anyhow::Result<()> {
    let file = Beside::of(&args.file)?;
    write(BufWriter::new(file.as_file()), header, view, key)
        .with_context(|| format!("write {}", args.file.display()))?;
    file.put_there(args.force)
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
