//! `register export --url`: a bundle of a running node.

use std::{
    io::{self, BufReader, Read as _, Write},
    path::Path,
};

use anyhow::{Context as _, bail};
use reqwest::Url;

use super::{
    beside::Beside,
    export::{ExportArgs, refuse_to_replace},
    import::verified,
    summary::Summary,
};
use crate::cli::{
    Outcome,
    api::Api,
    console::{Console, byte_spinner},
};

/// Fetches a bundle, verifies all of it, and puts it in its place: a file with the name asked for is a sound bundle.
pub(super) async fn run(args: &ExportArgs, url: &Url, console: &mut Console<'_>) -> anyhow::Result<Outcome> {
    let to_stdout = args.file == Path::new("-");
    if to_stdout && console.out_is_terminal {
        bail!("a bundle is not for the terminal; name a file, or redirect standard output");
    }
    if !to_stdout {
        refuse_to_replace(args)?;
    }
    let beside =
        if to_stdout { Beside::of(&std::env::temp_dir().join("bundle"))? } else { Beside::of(&args.file)? };
    fetch(url, beside.as_file()).await?;
    let length = beside.as_file().metadata()?.len();
    let bundle = verified(beside.path(), length).with_context(|| format!("the bundle of {url}"))?;
    if to_stdout {
        let mut file = BufReader::new(std::fs::File::open(beside.path())?);
        io::copy(&mut file.by_ref(), &mut *console.out)?;
        Summary::of_bundle("standard output".to_owned(), &bundle).write(args.output, console.err)?;
    } else {
        beside.put_there(args.force)?;
        Summary::of_bundle(args.file.display().to_string(), &bundle).write(args.output, console.out)?;
    }
    Ok(Outcome::Done)
}

/// Writes the bundle of a running node as it comes; nothing of it is verified yet.
pub(super) async fn fetch(url: &Url, mut out: impl Write) -> anyhow::Result<()> {
    let api = Api::for_transfers(url)?;
    let mut response = api.stream(&["api", "system-register", "bundle"]).await?;
    let bar = byte_spinner("fetching the bundle");
    while let Some(chunk) = response.chunk().await.with_context(|| format!("{url} stopped answering"))? {
        out.write_all(&chunk).context("write the bundle")?;
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    Ok(())
}
