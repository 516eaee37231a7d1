//! Publications a second: publishers that each wait for the acknowledgement of one document before they send the next,
//! through HTTP of central nodes, and beside it through etcd's and JetStream's own clients. Everything acknowledged is
//! fsynced, but for what the test server of MongoDB's protocol stores.

pub(crate) mod systems;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result};
use serde::Serialize;

use self::systems::{Publishing, Running};
use crate::{
    bench::{Bench, say},
    closed_loop::{self, Rate, Worker},
    documents::Documents,
    push::publisher::Client,
};

/// What one system did with one number of publishers once.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct PublishRate {
    pub(crate) system: Publishing,
    pub(crate) publishers: usize,
    pub(crate) repetition: usize,
    #[serde(flatten)]
    pub(crate) rate: Rate,
}

/// Measures all systems that are there; they take turns within each repetition.
pub(crate) async fn measure(bench: &Bench) -> Result<Vec<PublishRate>> {
    let mut rates = Vec::new();
    for repetition in 0..bench.scale.publish.repetitions {
        for system in Publishing::ALL {
            let ran = one_store(bench, system, repetition).await;
            rates.extend(ran.with_context(|| format!("publications to {}", system.name()))?);
        }
    }
    Ok(rates)
}

/// All numbers of publishers, the least first, with one store that is empty at the beginning.
async fn one_store(bench: &Bench, system: Publishing, repetition: usize) -> Result<Vec<PublishRate>> {
    let work = bench.folder()?;
    let Some(running) = system.start(bench, work.path()).await? else { return Ok(Vec::new()) };
    let (documents, next) = (Arc::new(Documents::new()), Arc::default());
    let mut rates = Vec::new();
    for publishers in bench.scale.publish.publishers.iter().copied() {
        let workers = connect(&running, publishers, &documents, &next).await?;
        let rate = closed_loop::run(workers, bench.scale.publish.stretch, &running.pids()).await?;
        say(&format!(
            "publish {publishers:>3} publishers, {:<48} {:>6.0}/s, p50 {:>7.2} p99 {:>7.2} ms, server {:>6.1} µs",
            system.name(),
            rate.per_second,
            rate.p50_ms,
            rate.p99_ms,
            rate.server_us
        ));
        rates.push(PublishRate { system, publishers, repetition, rate });
    }
    running.stop().await?;
    Ok(rates)
}

/// Publishers, spread evenly over the servers.
async fn connect(
    running: &Running,
    publishers: usize,
    documents: &Arc<Documents>,
    next: &Arc<AtomicUsize>,
) -> Result<Vec<Publisher>> {
    let mut connected = Vec::with_capacity(publishers);
    for target in running.targets.iter().cycle().take(publishers) {
        let (documents, next) = (Arc::clone(documents), Arc::clone(next));
        connected.push(Publisher { client: target.connect().await?, documents, next });
    }
    Ok(connected)
}

struct Publisher {
    client: Client,
    documents: Arc<Documents>,
    /// Number of the next document of all publishers.
    next: Arc<AtomicUsize>,
}

impl Worker for Publisher {
    async fn once(&mut self) -> Result<()> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        self.client.publish(index, self.documents.document(index)).await
    }
}
