//! Our subscribers: whole peers, each with a replica on disk.

use std::{path::Path, sync::Arc};

use anyhow::Result;
use async_trait::async_trait;

use super::{System, publisher::Target, tally::Tally};
use crate::{
    process::{
        Server,
        central::{Central, Place},
    },
    swarm::{Swarm, recording::Recording},
};

/// A central node and its peers.
pub(crate) struct Sorcha {
    central: Central,
    peers: Swarm,
    work: std::path::PathBuf,
}

impl Sorcha {
    /// Starts the central node, with a register of its own.
    pub(crate) async fn start(program: &Path, work: &Path) -> Result<Self> {
        let central = Place::new(program, work, 0)?.start().await?;
        Ok(Self { central, peers: Swarm::default(), work: work.to_owned() })
    }
}

#[async_trait]
impl System for Sorcha {
    async fn subscribe(&mut self, count: usize, tally: &Arc<Tally>) -> Result<()> {
        let central = [self.central.place().address(0)];
        let recorded = |who, store| Recording::over(store, who, Arc::clone(tally));
        self.peers.grow(&self.work, count, &central, |_| (), recorded).await?;
        self.peers.until_subscribed().await
    }

    fn target(&self) -> Target {
        self.central.place().publications()
    }

    fn server(&self) -> &Server {
        self.central.server()
    }

    async fn stop(self: Box<Self>) -> Result<()> {
        drop(self.peers);
        self.central.kill().await?;
        Ok(())
    }
}
