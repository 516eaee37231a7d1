//! Everything that one run measured, and what becomes of it.

mod goals;
mod memory;
mod rates;
mod readme;
mod side_by_side;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    failover::Failover, idle::Idle, machine::Machine, memory::Held, plot, publish::PublishRate, push::Run,
    reads::ReadRate, reconnect::Reconnect, staleness::Staleness, startup::StartUp, sync::FullSync,
};

pub(crate) use side_by_side::Compared;

/// The results of one run; what was not asked for is absent.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// Small numbers, which mean nothing.
    pub(crate) quick: bool,
    pub(crate) minutes: f64,
    pub(crate) full_sync: Option<FullSync>,
    pub(crate) start_up: Vec<StartUp>,
    pub(crate) push: Vec<Run>,
    pub(crate) publish: Vec<PublishRate>,
    pub(crate) reads: Vec<ReadRate>,
    pub(crate) idle: Option<Idle>,
    pub(crate) memory: Vec<Held>,
    pub(crate) reconnect: Vec<Reconnect>,
    pub(crate) failover: Vec<Failover>,
    pub(crate) staleness: Option<Staleness>,
}

impl Report {
    /// One without any measure.
    pub(crate) const fn empty(machine: Machine, quick: bool) -> Self {
        Self {
            machine,
            quick,
            minutes: 0.0,
            full_sync: None,
            start_up: Vec::new(),
            push: Vec::new(),
            publish: Vec::new(),
            reads: Vec::new(),
            idle: None,
            memory: Vec::new(),
            reconnect: Vec::new(),
            failover: Vec::new(),
            staleness: None,
        }
    }

    /// Everything that was measured, as JSON.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string(self)? + "\n")
    }

    /// The tables, in Markdown.
    pub(crate) fn tables(&self) -> String {
        let compared = side_by_side::compare(&self.push);
        let about = readme::about(self);
        let goals = goals::table(self, &compared);
        let rivals = side_by_side::table(&compared);
        let published = rates::table("Publications", &rates::published(&self.publish));
        let read = rates::table("Reads", &rates::read(&self.reads));
        let memory = memory::table(&self.memory);
        let parts = [about, goals, rivals, published, read, memory];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// Writes results.json, the plots, and the tables into README.md.
    pub(crate) fn publish(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("results.json"), self.json()?)?;
        plot::all(self, &side_by_side::compare(&self.push), folder)?;
        let file = folder.join("README.md");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let text = readme::with_results(&text, &self.tables());
        fs::write(&file, text).with_context(|| format!("write {}", file.display()))
    }
}
