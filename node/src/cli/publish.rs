//! `publish`: sends blueprint documents to a central node.

mod wait;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use sorcha_api::{Instant, Publication, Published};
use sorcha_register::{
    entry::{check_metadata, check_published_by},
    names::BlueprintId,
};

use super::{
    Outcome, OutputFormat,
    api::{Api, ApiArgs},
    blueprint::{Blueprint, is_stdin, prepare},
    console::{Console, count_bar, printable},
    table,
};

/// A document of 16 MB over a slow line.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Up to this many files take too short for a progress bar.
const FEW_FILES: usize = 20;

/// Flags of `publish`.
#[derive(Debug, Args)]
#[command(
    after_help = "The answer means that the blueprint is stored durably; peers get it within moments. An id is \
    published once: the same document again is answered with the version it has, another document is refused.\n\
    In a pod, the token at /var/run/secrets/sorcha.dev/token is used where no --token-file is given.\n\
    \n\
    Examples:\n  \
    sorcha-node publish invoice-v1.json --token-file token --wait\n  \
    sorcha-node publish blueprints/*.json --metadata category=trade --published-by ci --output json\n  \
    generate | sorcha-node publish - --id generated-v1 --url http://n0.sorcha.dev:8080"
)]
pub struct PublishArgs {
    /// Files with one JSON-LD document each; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The node to talk to.
    #[command(flatten)]
    pub api: ApiArgs,
    /// Id to publish under [default: the document's `id` where it is a valid one, else the name of the file]
    #[arg(long, value_name = "ID")]
    pub id: Option<BlueprintId>,
    /// A pair of metadata to store with the blueprint, such as category=trade; repeat the flag for more
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub metadata: Vec<(String, String)>,
    /// Publisher that the entry names [default: the publisher that the token belongs to]
    #[arg(long, value_name = "NAME", value_parser = parse_publisher)]
    pub published_by: Option<String>,
    /// Wait until every peer connected to this central node has acknowledged what was published, or until this time is over [default: 2m]
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, default_missing_value = "2m", value_parser = humantime::parse_duration)]
    pub wait: Option<Duration>,
    /// Format of the output
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub output: OutputFormat,
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

fn parse_publisher(text: &str) -> Result<String, String> {
    check_published_by(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

impl PublishArgs {
    /// What no single flag shows.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.id.is_some() && self.files.len() > 1 {
            return Err(format!("--id names one blueprint, but there are {} files", self.files.len()));
        }
        if self.files.iter().filter(|file| is_stdin(file)).count() > 1 {
            return Err("standard input (-) can be read only once".to_owned());
        }
        let metadata = self.metadata();
        if metadata.len() < self.metadata.len() {
            return Err("--metadata gives the same key twice".to_owned());
        }
        check_metadata(&metadata).map_err(|error| error.to_string())
    }

    fn metadata(&self) -> BTreeMap<String, String> {
        self.metadata.iter().cloned().collect()
    }
}

/// What became of one file.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    blueprint_id: Option<String>,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    published_at: Option<Instant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Publishes each file; a file that fails does not keep the others from being published.
///
/// # Errors
/// What concerns all files: an unreadable token file; and, once all are published, a full or closed standard output.
pub(crate) async fn run(args: &PublishArgs, console: &mut Console<'_>) -> anyhow::Result<Outcome> {
    let api = Api::new(&args.api.writing(), TIMEOUT)?;
    let bar = count_bar(args.files.len() as u64, "publishing");
    if args.files.len() <= FEW_FILES {
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    let (mut rows, mut told) = (Vec::new(), Ok(()));
    for file in &args.files {
        let row = publish(file, args, &api, console).await;
        // Whatever becomes of standard output: all files are published.
        if args.output == OutputFormat::Json && told.is_ok() {
            told = bar.suspend(|| writeln!(console.out, "{}", serde_json::to_string(&row)?));
        }
        rows.push(row);
        bar.inc(1);
    }
    bar.finish_and_clear();
    if args.output == OutputFormat::Table {
        told = show(&rows, console);
    }
    let told = told.and_then(|()| console.out.flush());
    let failed = rows.iter().filter(|row| row.error.is_some());
    if told.is_err() {
        failed.clone().for_each(|row| console.remark(&row.complaint()));
    }
    let failed = failed.count() > 0;
    told.context("tell on standard output what was published")?;
    let held = wait_for_peers(&rows, args, &api, console).await?;
    Ok(if failed || !held { Outcome::Failed } else { Outcome::Done })
}

impl Row {
    fn complaint(&self) -> String {
        format!("error: {}: {}", printable(&self.file), self.error.as_deref().unwrap_or_default())
    }
}

/// Whether the connected peers hold everything that was published, where that is asked for.
async fn wait_for_peers(
    rows: &[Row],
    args: &PublishArgs,
    api: &Api,
    console: &mut Console<'_>,
) -> anyhow::Result<bool> {
    let newest = rows.iter().filter_map(|row| row.version).max();
    let (Some(limit), Some(version)) = (args.wait, newest) else { return Ok(true) };
    let told = wait::until_held(api, version, limit).await;
    match (&told, args.output) {
        (Err(why), _) => console.remark(&format!("error: {}", printable(why))),
        (Ok(0), OutputFormat::Table) => writeln!(console.out, "no peer is connected to this central node")?,
        (Ok(peers), OutputFormat::Table) => {
            let peers = if *peers == 1 {
                "the one connected peer holds"
            } else {
                &format!("all {peers} connected peers hold")
            };
            writeln!(console.out, "{peers} version {version}")?;
        }
        (Ok(_), OutputFormat::Json) => {}
    }
    Ok(told.is_ok())
}

/// One file is told in a sentence, several in a table.
fn show(rows: &[Row], console: &mut Console<'_>) -> io::Result<()> {
    if let [row] = rows {
        let id = row.blueprint_id.as_deref().unwrap_or("nothing");
        let version = row.version.unwrap_or_default();
        match row.result {
            FAILED => console.remark(&row.complaint()),
            UNCHANGED => writeln!(console.out, "{id} is already published, at version {version}")?,
            _ => writeln!(console.out, "published {id} at version {version}")?,
        }
        return Ok(());
    }
    let cells = rows.iter().map(|row| {
        let id = row.blueprint_id.clone().unwrap_or_else(|| row.file.clone());
        let version = row.version.map_or_else(|| "-".to_owned(), |version| version.to_string());
        let result = row
            .error
            .as_ref()
            .map_or_else(|| row.result.to_owned(), |error| format!("{}: {error}", row.result));
        [id, version, result]
    });
    writeln!(console.out, "{}", table::columns(["ID", "VERSION", "RESULT"], cells))
}

const PUBLISHED: &str = "published";
const UNCHANGED: &str = "unchanged";
const FAILED: &str = "failed";

async fn publish(file: &Path, args: &PublishArgs, api: &Api, console: &mut Console<'_>) -> Row {
    let mut row = Row { file: file.display().to_string(), ..Row::default() };
    if let Err(error) = publish_as(&mut row, file, args, api, console).await {
        row.result = FAILED;
        row.error = Some(super::console::error_text(&error));
    }
    row
}

async fn publish_as(
    row: &mut Row,
    file: &Path,
    args: &PublishArgs,
    api: &Api,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    let blueprint = prepare(file, args.id.as_ref())?;
    row.blueprint_id = Some(blueprint.id.to_string());
    if !blueprint.has_context {
        let remark = format!(
            "warning: {}: the document has no @context, so nothing says what its terms mean",
            printable(&row.file)
        );
        console.remark(&remark);
    }
    let (is_new, published) = send(&blueprint, args, api).await?;
    row.result = if is_new { PUBLISHED } else { UNCHANGED };
    row.version = Some(published.version);
    row.transaction_id = Some(published.transaction_id);
    row.published_at = Some(published.published_at);
    Ok(())
}

async fn send(blueprint: &Blueprint, args: &PublishArgs, api: &Api) -> anyhow::Result<(bool, Published)> {
    let publication = Publication {
        blueprint_id: blueprint.id.as_str(),
        blueprint: serde_json::from_slice(blueprint.document.bytes())?,
        metadata: args.metadata(),
        published_by: args.published_by.as_deref(),
    };
    Ok(api.publish(&publication).await?)
}

#[cfg(test)]
mod tests;
