//! `status`: how a running node is doing.

use std::{future::Future, pin::pin, time::Duration};

use clap::Args;
use serde_json::{Value, json};
use sorcha_register::clock::Clock;

use super::{
    Outcome, OutputFormat,
    api::{Api, ApiArgs, ApiError},
    console::Console,
    table,
};

/// A node that takes longer is as good as away.
const TIMEOUT: Duration = Duration::from_secs(3);
const REDRAW: Duration = Duration::from_secs(1);
const CLEAR_SCREEN: &str = "\x1b[H\x1b[2J";

/// What comes first, in this order; the rest follows as the node sends it.
const FIRST: [&str; 14] = [
    "nodeId",
    "peerId",
    "nodeType",
    "hostname",
    "status",
    "connectedCentralNode",
    "connectedCentralNodeId",
    "connectionEstablished",
    "lastHeartbeat",
    "lastSyncVersion",
    "connectedPeerCount",
    "version",
    "uptime",
    "sessionId",
];

/// Flags of `status`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sorcha-node status\n  \
    sorcha-node status --watch --url http://10.0.0.5:8080\n  \
    sorcha-node status --output json | jq .connection.status\n\
    \n\
    Exits with 1 when the node does not answer. A central node lists its peers only to callers with a token (--token-file).")]
pub struct StatusArgs {
    /// The node to talk to.
    #[command(flatten)]
    pub api: ApiArgs,
    /// Repeat once a second until Ctrl-C, also while the node does not answer
    #[arg(long)]
    pub watch: bool,
    /// Format of the output
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub output: OutputFormat,
}

/// Shows the status once, or until Ctrl-C.
///
/// # Errors
/// An unreadable token file, a closed standard output.
pub(crate) async fn run(
    args: &StatusArgs,
    clock: &dyn Clock,
    console: &mut Console<'_>,
) -> anyhow::Result<Outcome> {
    let api = Api::new(&args.api, TIMEOUT)?;
    if args.watch {
        return watch(&api, args.output, clock, console, tokio::signal::ctrl_c()).await;
    }
    let snapshot = Snapshot::of(&api).await;
    match args.output {
        OutputFormat::Json => writeln!(console.out, "{}", snapshot.json(&api, clock))?,
        OutputFormat::Table => {
            write!(console.out, "{}", snapshot.tables())?;
            for error in snapshot.errors() {
                console.remark(&format!("error: {error}"));
            }
        }
    }
    Ok(if snapshot.errors().next().is_none() { Outcome::Done } else { Outcome::Failed })
}

async fn watch<S>(
    api: &Api,
    output: OutputFormat,
    clock: &dyn Clock,
    console: &mut Console<'_>,
    stop: impl Future<Output = S>,
) -> anyhow::Result<Outcome> {
    let mut stop = pin!(stop);
    let mut away_since = None;
    loop {
        let snapshot = tokio::select! {
            snapshot = Snapshot::of(api) => snapshot,
            _ = &mut stop => return Ok(Outcome::Done),
        };
        let now = clock.monotonic();
        away_since = snapshot.errors().next().map(|_| away_since.unwrap_or(now));
        match output {
            OutputFormat::Json => writeln!(console.out, "{}", snapshot.json(api, clock))?,
            OutputFormat::Table => {
                let screen = if console.out_is_terminal { CLEAR_SCREEN } else { "" };
                writeln!(console.out, "{screen}{}  {}", api.url(), clock.now())?;
                write!(console.out, "{}", snapshot.tables())?;
                for error in snapshot.errors() {
                    let seconds = away_since.map_or(0, |since| now.since(since).as_secs());
                    writeln!(console.out, "{error}; trying again, for {seconds} s so far")?;
                }
                writeln!(console.out)?;
            }
        }
        console.out.flush()?;
        tokio::select! {
            () = tokio::time::sleep(REDRAW) => {}
            _ = &mut stop => return Ok(Outcome::Done),
        }
    }
}

/// What a node said at one moment.
struct Snapshot {
    node: Result<Value, ApiError>,
    /// `connection` and `centralNodes` of a peer, `peers` of a central node.
    details: Vec<(&'static str, Result<Value, ApiError>)>,
}

impl Snapshot {
    async fn of(api: &Api) -> Self {
        let node = api.get(&["api", "node", "info"]).await;
        let details = match &node {
            Ok(node) if is_central(node) => vec![("peers", api.get(&["api", "peers", "connected"]).await)],
            // Why a central node is not connected to stands with it.
            Ok(_) => vec![
                ("connection", api.get(&["api", "connection", "status"]).await),
                ("centralNodes", api.get(&["api", "central-nodes"]).await),
            ],
            Err(_) => Vec::new(),
        };
        Self { node, details }
    }

    fn errors(&self) -> impl Iterator<Item = &ApiError> {
        let details = self.details.iter().filter_map(|(_, detail)| detail.as_ref().err());
        self.node.as_ref().err().into_iter().chain(details)
    }

    fn json(&self, api: &Api, clock: &dyn Clock) -> Value {
        let mut line = json!({
            "url": api.url(),
            "at": clock.now().to_string(),
            "reachable": !self.node.as_ref().is_err_and(ApiError::is_away),
        });
        if let Ok(node) = &self.node {
            line["node"] = node.clone();
        }
        for (name, detail) in &self.details {
            if let Ok(detail) = detail {
                line[*name] = detail.clone();
            }
        }
        if let Some(error) = self.errors().next() {
            line["error"] = error.to_string().into();
        }
        line
    }

    /// The fields of both answers in one table, then a table for each list in them.
    fn tables(&self) -> String {
        let mut found = Shown::default();
        let all =
            [("", &self.node)].into_iter().chain(self.details.iter().map(|(name, detail)| (*name, detail)));
        for (name, part) in all.filter_map(|(name, part)| Some((name, part.as_ref().ok()?))) {
            // A list needs a name; fields have theirs.
            found.take(if part.is_array() { name } else { "" }, part);
        }
        found.text()
    }
}

fn is_central(node: &Value) -> bool {
    node["isCentralNode"] == true || node["nodeType"] == "Central"
}

/// Fields and lists of whatever the node sends: a newer one may send more than this program knows.
#[derive(Default)]
struct Shown {
    fields: Vec<(String, String)>,
    lists: Vec<(String, Vec<Value>)>,
}

impl Shown {
    fn take(&mut self, name: &str, value: &Value) {
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                    self.take(&name, value);
                }
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                self.lists.push((name.to_owned(), items.clone()));
            }
            _ if self.fields.iter().any(|(known, _)| known == name) => {}
            _ => self.fields.push((name.to_owned(), cell(value))),
        }
    }

    fn text(mut self) -> String {
        if self.fields.is_empty() && self.lists.is_empty() {
            return String::new();
        }
        let place = |name: &str| FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len());
        self.fields.sort_by_key(|(name, _)| place(name));
        let fields = self.fields.into_iter().map(|(name, value)| (words(&name), value));
        let mut text = table::fields(fields) + "\n";
        for (name, items) in &self.lists {
            text += &format!("\n{}\n{}\n", words(name), list(items));
        }
        text
    }
}

/// A table of objects; its columns are what any of them has.
fn list(items: &[Value]) -> String {
    let mut names: Vec<&String> = Vec::new();
    for name in items.iter().filter_map(Value::as_object).flat_map(|object| object.keys()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let header: Vec<_> = names.iter().map(|name| words(name).to_uppercase()).collect();
    let rows = items
        .iter()
        .map(|item| names.iter().map(|name| item.get(name).map_or_else(String::new, cell)).collect());
    table::list(&header, rows)
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// `lastSyncVersion` as people write it.
fn words(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        match c {
            '.' => words.push(' '),
            _ if c.is_ascii_uppercase() => words.extend([' ', c.to_ascii_lowercase()]),
            _ => words.push(c),
        }
    }
    words
}

#[cfg(test)]
mod tests;
