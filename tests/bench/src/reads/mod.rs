//! Reads a second of one node's HTTP API: documents by id, in their raw form, beside nginx that serves the same bytes
//! from files under the same paths.

pub(crate) mod client;

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use serde::Serialize;

use self::client::{Reader, Wanted};
use crate::{
    bench::{Bench, say},
    closed_loop::{self, Rate},
    documents::{self, Documents},
    process::{
        central::{Central, Place},
        nginx::Nginx,
    },
};

/// Sizes of documents, and how many of each there are.
const SIZES: [(usize, usize); 2] = [(documents::BYTES, 64), (1024 * 1024, 8)];

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reading {
    /// A central node's HTTP API.
    Sorcha,
    /// nginx with files.
    Nginx,
}

/// What readers ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ReadCase {
    /// Of each document.
    pub(crate) bytes: usize,
    pub(crate) connections: usize,
    /// The readers name the validators that they have: 304, without a body.
    pub(crate) not_modified: bool,
}

/// What one server did in one case once.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ReadRate {
    pub(crate) system: Reading,
    #[serde(flatten)]
    pub(crate) case: ReadCase,
    pub(crate) repetition: usize,
    #[serde(flatten)]
    pub(crate) rate: Rate,
}

impl Reading {
    /// Both, in the order of the report.
    pub(crate) const ALL: [Self; 2] = [Self::Sorcha, Self::Nginx];

    /// Its name for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sorcha => "Sorcha",
            Self::Nginx => "nginx",
        }
    }
}

/// A server of all documents.
struct Shelf {
    system: Reading,
    port: u16,
    pids: Vec<u32>,
    wanted: Vec<Wanted>,
}

/// Measures the node, and nginx where it is there; they take turns.
pub(crate) async fn measure(bench: &Bench) -> Result<Vec<ReadRate>> {
    let work = bench.folder()?;
    let files = work.path().join("files");
    let central = Place::new(&bench.programs.node, work.path(), 0)?.start().await?;
    put(&central, &files).await?;
    let nginx = match &bench.programs.nginx {
        Some(program) => Some(Nginx::start(program, work.path(), &files).await?),
        None => None,
    };
    let (port, pids) = (central.place().http_port(), vec![central.server().pid()]);
    let mut shelves = vec![Shelf::open(Reading::Sorcha, port, pids, &files).await?];
    if let Some(nginx) = &nginx {
        shelves.push(Shelf::open(Reading::Nginx, nginx.port(), nginx.pids(), &files).await?);
    }
    let rates = compare(bench, &shelves).await?;
    if let Some(nginx) = nginx {
        nginx.stop().await?;
    }
    central.kill().await?;
    Ok(rates)
}

async fn compare(bench: &Bench, shelves: &[Shelf]) -> Result<Vec<ReadRate>> {
    let mut rates = Vec::new();
    for case in cases(&bench.scale.reads.connections) {
        for repetition in 0..bench.scale.reads.repetitions {
            for shelf in shelves {
                let workers = shelf.readers(case).await?;
                let rate = closed_loop::run(workers, bench.scale.reads.stretch, &shelf.pids).await?;
                say(&format!(
                    "reads {:<56} {:<6} {:>6.0}/s, p50 {:>7.2} p99 {:>7.2} ms, server {:>6.1} µs",
                    case.name(),
                    shelf.system.name(),
                    rate.per_second,
                    rate.p50_ms,
                    rate.p99_ms,
                    rate.server_us
                ));
                rates.push(ReadRate { system: shelf.system, case, repetition, rate });
            }
        }
    }
    Ok(rates)
}

fn cases(connections: &[usize]) -> Vec<ReadCase> {
    let kinds = SIZES.into_iter().flat_map(|(bytes, _)| [(bytes, false), (bytes, true)]);
    let of = |(bytes, not_modified)| {
        connections.iter().map(move |connections| ReadCase { bytes, connections: *connections, not_modified })
    };
    kinds.flat_map(of).collect()
}

impl ReadCase {
    /// Its name for people.
    pub(crate) fn name(self) -> String {
        let size = documents::size_name(self.bytes);
        let answer = if self.not_modified { "If-None-Match, 304" } else { "200" };
        let plural = if self.connections == 1 { "" } else { "s" };
        format!("{size} documents, {answer}, {} connection{plural}", self.connections)
    }
}

/// The numbers of the documents of each size.
fn numbered() -> impl Iterator<Item = (usize, usize)> {
    SIZES.into_iter().flat_map(|(bytes, count)| std::iter::repeat_n(bytes, count)).enumerate()
}

fn path(index: usize) -> String {
    client::path(&documents::id(index))
}

fn file(files: &Path, index: usize) -> std::path::PathBuf {
    files.join(path(index).trim_start_matches('/'))
}

/// Publishes all documents, and writes them to files.
async fn put(central: &Central, files: &Path) -> Result<()> {
    let (documents, client) = (Documents::new(), central.place().publications().connect().await?);
    for (index, bytes) in numbered() {
        let (document, file) = (documents.sized(index, bytes), file(files, index));
        fs::create_dir_all(file.parent().unwrap_or(files))?;
        fs::write(file, &document)?;
        client.publish(index, document).await?;
    }
    Ok(())
}

impl Shelf {
    /// Checks that a server serves all documents, byte for byte, and learns their validators.
    async fn open(system: Reading, port: u16, pids: Vec<u32>, files: &Path) -> Result<Self> {
        let mut reader = Reader::connect(port, Arc::new([]), 0).await?;
        let mut wanted = Vec::new();
        for (index, length) in numbered() {
            let path = path(index);
            let served = reader.fetch(&path).await.with_context(|| format!("read from {}", system.name()));
            let (bytes, tag) = served?;
            let same = bytes == fs::read(file(files, index))?;
            anyhow::ensure!(same, "{} serves something else under {path}", system.name());
            wanted.push(Wanted { path, tag: Some(tag), length });
        }
        Ok(Self { system, port, pids, wanted })
    }

    /// Readers that begin at different documents.
    async fn readers(&self, case: ReadCase) -> Result<Vec<Reader>> {
        let of_size = self.wanted.iter().filter(|wanted| wanted.length == case.bytes).cloned();
        let wanted: Arc<[Wanted]> = of_size
            .map(|wanted| Wanted { tag: wanted.tag.filter(|_| case.not_modified), ..wanted })
            .collect();
        let mut readers = Vec::with_capacity(case.connections);
        for number in 0..case.connections {
            readers.push(Reader::connect(self.port, Arc::clone(&wanted), number).await?);
        }
        Ok(readers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_is_read_by_each_number_of_connections_with_and_without_a_body() {
        let names: Vec<_> = cases(&[1, 16]).into_iter().map(ReadCase::name).collect();
        assert_eq!(names.len(), 8);
        assert_eq!(names[0], "2 KB documents, 200, 1 connection");
        assert_eq!(names[7], "1 MB documents, If-None-Match, 304, 16 connections");
        assert_eq!(numbered().filter(|(_, bytes)| *bytes == 1024 * 1024).count(), 8);
    }
}
