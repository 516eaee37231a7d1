//! `register export`.

use std::{
    fs,
    io::{BufWriter, ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Args;

use super::summary::Summary;
use crate::{
    cli::{
        Outcome, OutputFormat,
        console::{Console, count_bar},
        store,
    },
    clock::Clock,
    config::Config,
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
    checks one.\n\
    \n\
    Examples:\n  \
    sorcha-node register export backup.sorcha --data-dir /var/lib/sorcha\n  \
    sorcha-node register export - --data-dir /var/lib/sorcha | gzip > backup.sorcha.gz"
)]
pub struct ExportArgs {
    /// File to write; it appears when it is whole. - is standard output
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
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
    let to_stdout = args.file == Path::new("-");
    if to_stdout && console.out_is_terminal {
        bail!("a bundle is not for the terminal; name a file, or redirect standard output");
    }
    if !to_stdout && !args.force && args.file.exists() {
        return Err(already_there(&args.file));
    }
    let loaded = store::open_existing(config).await?.load().await?;
    let view = exportable(loaded, args, console)?;
    let scope = if args.active_only { Scope::ActiveOnly } else { Scope::Whole };
    let header = Header::of(&view, scope, &config.node.id, clock.now())?;
    if to_stdout {
        write(&mut *console.out, &header, &view)?;
        Summary::of_export("standard output".to_owned(), &header, &view).write(args.output, console.err)?;
    } else {
        write_file(args, &header, &view)?;
        Summary::of_export(args.file.display().to_string(), &header, &view)
            .write(args.output, console.out)?;
    }
    Ok(Outcome::Done)
}

fn already_there(file: &Path) -> anyhow::Error {
    anyhow::anyhow!("{} is there already; name another file, or add --force to replace it", file.display())
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
fn write_file(args: &ExportArgs, header: &Header, view: &RegisterView) -> anyhow::Result<()> {
    let shown = args.file.display();
    let directory =
        args.file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".sorcha-export-");
    readable_by_default(&mut builder);
    let file = builder.tempfile_in(directory).with_context(|| format!("write {shown}"))?;
    write(BufWriter::new(file.as_file()), header, view).with_context(|| format!("write {shown}"))?;
    file.as_file().sync_all().with_context(|| format!("write {shown}"))?;
    let moved = if args.force { file.persist(&args.file) } else { file.persist_noclobber(&args.file) };
    match moved {
        Ok(_) => {}
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {
            return Err(already_there(&args.file));
        }
        Err(error) => return Err(error.error).with_context(|| format!("write {shown}")),
    }
    fs::File::open(directory)
        .and_then(|directory| directory.sync_all())
        .with_context(|| format!("write {shown}"))
}

/// Temporary files are private; a bundle is a file like any other.
#[cfg(unix)]
fn readable_by_default(builder: &mut tempfile::Builder<'_, '_>) {
    use std::os::unix::fs::PermissionsExt as _;
    builder.permissions(fs::Permissions::from_mode(0o666));
}

#[cfg(not(unix))]
fn readable_by_default(_: &mut tempfile::Builder<'_, '_>) {}

fn write(out: impl Write, header: &Header, view: &RegisterView) -> Result<(), WriteError> {
    let bar = count_bar(header.count, "exporting");
    let mut writer = Writer::new(out, header)?;
    for sealed in view.iter().filter(|sealed| header.scope.holds(sealed.entry().is_active)) {
        writer.entry(sealed)?;
        bar.inc(1);
    }
    writer.finish()?;
    bar.finish_and_clear();
    Ok(())
}
