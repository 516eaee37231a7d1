//! What documents are published to: central nodes on either store, etcd, JetStream.

use std::{fs, path::Path};

use anyhow::Result;
use serde::Serialize;

use crate::{
    bench::Bench,
    process::{Server, central::Place, etcd::Etcd, mongo::Mongo, nats::Sync},
    push::{
        nats,
        publisher::{Payload, Target},
    },
};

/// Central nodes that share a store.
const SHARING: u16 = 3;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Publishing {
    /// One central node with its register in a file.
    Embedded,
    /// One central node on the test server of MongoDB's protocol.
    OneOnMongo,
    /// Three central nodes that share it.
    ThreeOnMongo,
    /// etcd's put.
    Etcd,
    /// JetStream's publish, fsynced before it is acknowledged.
    NatsSyncAlways,
}

/// A system that takes publications.
pub(super) struct Running {
    /// One for each server that takes them.
    pub(super) targets: Vec<Target>,
    /// All processes, the database too; in the order in which they are killed.
    servers: Vec<Server>,
}

impl Publishing {
    /// All, in the order of the report.
    pub(crate) const ALL: [Self; 5] =
        [Self::Embedded, Self::OneOnMongo, Self::ThreeOnMongo, Self::Etcd, Self::NatsSyncAlways];

    /// Its name for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Embedded => "Sorcha, 1 central node, embedded",
            Self::OneOnMongo => "Sorcha, 1 central node, MongoDB test server",
            Self::ThreeOnMongo => "Sorcha, 3 central nodes, MongoDB test server",
            Self::Etcd => "etcd put",
            Self::NatsSyncAlways => "NATS JetStream, sync always",
        }
    }

    /// The running system with an empty store, or none where a program of it is not there.
    pub(super) async fn start(self, bench: &Bench, work: &Path) -> Result<Option<Running>> {
        let programs = &bench.programs;
        Ok(match self {
            Self::Embedded => Some(embedded(&programs.node, work).await?),
            Self::OneOnMongo | Self::ThreeOnMongo => {
                let Some(mongo) = &programs.mongo else { return Ok(None) };
                let count = if self == Self::ThreeOnMongo { SHARING } else { 1 };
                Some(on_mongo(&programs.node, mongo, work, count).await?)
            }
            Self::Etcd => {
                let Some(program) = &programs.etcd else { return Ok(None) };
                let etcd = Etcd::start(program, work).await?;
                let target = Target::Etcd(etcd.url(), Payload::Document);
                Some(Running { targets: vec![target], servers: vec![etcd.into_server()] })
            }
            Self::NatsSyncAlways => {
                let Some(program) = &programs.nats else { return Ok(None) };
                let nats = nats::with_stream(program, work, Sync::Always).await?;
                let target = Target::Nats(nats.url(), Payload::Document);
                Some(Running { targets: vec![target], servers: vec![nats.into_server()] })
            }
        })
    }
}

async fn embedded(node: &Path, work: &Path) -> Result<Running> {
    let central = Place::new(node, work, 0)?.start().await?;
    Ok(Running { targets: vec![central.place().publications()], servers: vec![central.into_server()] })
}

async fn on_mongo(node: &Path, mongo: &Path, work: &Path, count: u16) -> Result<Running> {
    let mongo = Mongo::start(mongo, work).await?;
    let uri = work.join("mongodb-uri");
    fs::write(&uri, mongo.uri())?;
    let (mut targets, mut servers) = (Vec::new(), Vec::new());
    for number in 0..count {
        let central = Place::new(node, work, number)?.on_mongodb(&uri).start().await?;
        targets.push(central.place().publications());
        servers.push(central.into_server());
    }
    servers.push(mongo.into_server());
    Ok(Running { targets, servers })
}

impl Running {
    /// The ids of its processes.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.servers.iter().map(Server::pid).collect()
    }

    /// Kills all of it.
    pub(super) async fn stop(self) -> Result<()> {
        for server in self.servers {
            server.kill().await?;
        }
        Ok(())
    }
}
