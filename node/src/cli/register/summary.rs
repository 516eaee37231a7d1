//! A register in a few lines, for people and for programs.

use std::io::{self, Write};

use serde::Serialize;
use sorcha_register::{
    bundle::{Bundle, Header, Scope},
    integrity::Finding,
    names::{Lineage, RegisterDigest, Version},
    view::RegisterView,
};
use sorcha_store::{Checkpoint, Loaded};

use super::beside::Destination;
use crate::cli::{OutputFormat, console::Console, table};

/// What there is to say about a register.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    /// Where it is.
    register: String,
    head: Version,
    entries: usize,
    active: usize,
    lineage: Option<Lineage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    digest: RegisterDigest,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Position>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<Origin>,
    findings: Vec<Finding>,
}

/// A replica's checkpoint.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Position {
    version: Version,
    last_sync_time: String,
    next_sync_due: String,
    central_node_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    adopt: Option<Lineage>,
}

impl From<&Checkpoint> for Position {
    fn from(checkpoint: &Checkpoint) -> Self {
        Self {
            version: checkpoint.version,
            last_sync_time: checkpoint.last_sync_time.to_string(),
            next_sync_due: checkpoint.next_sync_due.to_string(),
            central_node_id: checkpoint.central_node_id.clone(),
            adopt: checkpoint.adopt,
        }
    }
}

/// Where a bundle comes from.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Origin {
    scope: &'static str,
    exported_at: String,
    exported_by: String,
    /// By the key of the register's creator.
    signed: bool,
}

impl Summary {
    fn of(register: String, view: &RegisterView) -> Self {
        let genesis = view.genesis().map(|genesis| genesis.record());
        Self {
            register,
            head: view.head(),
            entries: view.len(),
            active: view.active(),
            lineage: view.lineage(),
            created_by: genesis.map(|record| record.created_by.clone()),
            created_at: genesis.map(|record| record.created_at.to_string()),
            digest: view.digest(),
            checkpoint: None,
            bundle: None,
            findings: Vec::new(),
        }
    }

    /// Of a store's content.
    pub(super) fn of_store(place: String, loaded: &Loaded) -> Self {
        let checkpoint = loaded.checkpoint.as_ref().map(Position::from);
        Self { checkpoint, findings: loaded.findings.clone(), ..Self::of(place, &loaded.view) }
    }

    /// Of a bundle that was read.
    pub(super) fn of_bundle(place: String, Bundle { header, entries, is_signed }: &Bundle) -> Self {
        let active = entries.iter().filter(|sealed| sealed.entry().is_active).count();
        Self { active, ..Self::of_header(place, header, *is_signed) }
    }

    /// Of a bundle that was written.
    pub(super) fn of_export(place: String, header: &Header, view: &RegisterView, signed: bool) -> Self {
        Self { active: view.active(), ..Self::of_header(place, header, signed) }
    }

    fn of_header(place: String, header: &Header, signed: bool) -> Self {
        let record = header.genesis.record();
        let scope = match header.scope {
            Scope::Whole => "whole",
            Scope::ActiveOnly => "activeOnly",
        };
        let origin = Origin {
            scope,
            exported_at: header.created_at.to_string(),
            exported_by: header.created_by.clone(),
            signed,
        };
        Self {
            register: place,
            head: header.head,
            entries: usize::try_from(header.count).unwrap_or(usize::MAX),
            active: 0,
            lineage: Some(header.genesis.lineage()),
            created_by: Some(record.created_by.clone()),
            created_at: Some(record.created_at.to_string()),
            digest: header.digest,
            checkpoint: None,
            bundle: Some(origin),
            findings: Vec::new(),
        }
    }

    /// Writes it to standard output, or to standard error where standard output is the bundle's.
    pub(super) fn tell(
        &self,
        place: &Destination,
        output: OutputFormat,
        console: &mut Console<'_>,
    ) -> io::Result<()> {
        match place {
            Destination::Output => {
                console.out.flush()?;
                // A remark: the bundle is what counts.
                drop(self.write(output, console.err));
                Ok(())
            }
            Destination::Stream(_) | Destination::File(_) => self.write(output, console.out),
        }
    }

    /// Writes it.
    pub(super) fn write(&self, output: OutputFormat, out: &mut dyn Write) -> io::Result<()> {
        match output {
            OutputFormat::Json => writeln!(out, "{}", serde_json::to_string(self)?),
            OutputFormat::Table => {
                writeln!(out, "{}", table::fields(self.fields()))?;
                if self.findings.is_empty() {
                    return Ok(());
                }
                writeln!(
                    out,
                    "\n{}",
                    table::columns(["VERSION", "BLUEPRINT", "FINDING"], self.findings.iter().map(row))
                )
            }
        }
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let dash = || "-".to_owned();
        let mut fields = vec![
            ("register", self.register.clone()),
            ("head version", self.head.to_string()),
            ("entries", self.entries.to_string()),
            ("active", self.active.to_string()),
            ("lineage", self.lineage.map_or_else(|| "not known".to_owned(), |lineage| lineage.to_string())),
        ];
        if let (Some(by), Some(at)) = (&self.created_by, &self.created_at) {
            fields.push(("created", format!("{at} by {by}")));
        }
        fields.push(("digest", self.digest.to_string()));
        match (&self.checkpoint, &self.bundle) {
            (_, Some(origin)) => {
                fields.push((
                    "exported",
                    format!("{} by {} ({})", origin.exported_at, origin.exported_by, origin.scope),
                ));
                let signature = if origin.signed { "by the register's creator" } else { "none" };
                fields.push(("signature", signature.to_owned()));
            }
            (Some(position), None) => fields.extend(position.fields()),
            (None, None) => fields.push(("checkpoint", dash())),
        }
        let findings =
            if self.findings.is_empty() { "none".to_owned() } else { self.findings.len().to_string() };
        fields.push(("findings", findings));
        fields
    }
}

impl Position {
    fn fields(&self) -> Vec<(&'static str, String)> {
        let from = if self.central_node_id.is_empty() {
            "no central node yet".to_owned()
        } else {
            format!("from {}", self.central_node_id)
        };
        let mut fields =
            vec![("checkpoint", format!("version {} at {}, {from}", self.version, self.last_sync_time))];
        if let Some(lineage) = self.adopt {
            fields.push(("to adopt", lineage.to_string()));
        }
        fields
    }
}

fn row(finding: &Finding) -> [String; 3] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let whole = Finding::whole(finding.fault.clone());
    [
        or_dash(finding.version.map(|version| version.to_string())),
        or_dash(finding.blueprint_id.as_ref().map(ToString::to_string)),
        whole.to_string(),
    ]
}
