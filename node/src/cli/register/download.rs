//! `register export --url`: a bundle of a running node.

use std::io::{self, Write};

use anyhow::Context as _;
use reqwest::Url;
use sorcha_os::replace::Replacement;
use sorcha_register::bundle::Bundle;

use super::{
    beside::{self, Destination},
    export::ExportArgs,
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
    let place = Destination::of(args, console)?;
    let beside = match &place {
        Destination::File(file) => beside::begin(file)?,
        Destination::Output | Destination::Stream(_) => beside::begin_in(&std::env::temp_dir())?,
    };
    let (fetched, bundle) = fetch_verified(url, beside).await?;
    let copy = |out: &mut dyn Write| -> io::Result<()> {
        io::copy(&mut std::fs::File::open(fetched.path())?, out)?;
        out.flush()
    };
    let writing = || format!("write {}", place.name(args));
    match &place {
        Destination::Output => copy(&mut *console.out).with_context(writing)?,
        Destination::Stream(stream) => copy(&mut &*stream).with_context(writing)?,
        Destination::File(_) => beside::put(fetched, args.force)?,
    }
    Summary::of_bundle(place.name(args), &bundle).tell(&place, args.output, console)?;
    Ok(Outcome::Done)
}

/// Fetches a bundle beside its place and verifies it.
pub(super) async fn fetch_verified(
    url: &Url,
    mut beside: Replacement,
) -> anyhow::Result<(Replacement, Bundle)> {
    fetch(url, &mut beside).await?;
    let length = beside.length()?;
    let bundle = verified(beside.path(), length).with_context(|| format!("the bundle of {url}"))?;
    Ok((beside, bundle))
}

/// Writes the bundle of a running node as it comes; nothing of it is verified yet.
async fn fetch(url: &Url, mut out: impl Write) -> anyhow::Result<()> {
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
