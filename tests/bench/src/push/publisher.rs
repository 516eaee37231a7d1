//! The publishing side: one client per system, on a thread and a runtime of its own, so that its pace does not depend
//! on how busy the subscribers are.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::{
    SUBJECT,
    etcd::pb::{PutRequest, kv_client::KvClient},
    keeper::Duty,
    tally::Tally,
};
use crate::{
    bench::say,
    documents::{self, Documents},
    process::usage,
};

/// How long deliveries may stand still before a run is given up.
const STALL: Duration = Duration::from_secs(30);

/// Publications that may wait for the server's answer at once: half of the connections that a central node admits.
const UNANSWERED: usize = 512;

/// Where publications go.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// URL of a central node's publishing endpoint.
    Sorcha(String),
    /// URL of a NATS server.
    Nats(String, Payload),
    /// URL of an etcd server.
    Etcd(String, Payload),
}

/// What is published to the other systems. Our own central nodes add a checksum themselves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Payload {
    /// The document.
    Document,
    /// The document and its SHA-256.
    WithChecksum,
}

/// A connection of a publisher.
pub(crate) enum Client {
    /// To a central node's HTTP API.
    Sorcha { client: reqwest::Client, url: String },
    /// To a NATS server with a stream.
    Nats(async_nats::jetstream::Context, Payload),
    /// To an etcd server.
    Etcd(KvClient<Channel>, Payload),
}

/// When publications are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// At this many a second, whether earlier ones have arrived or not.
    PerSecond(f64),
    /// As soon as fewer than this many are not with every subscriber yet.
    Window(usize),
}

/// A pace and how long it is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) pace: Pace,
    /// Publications of this first time are not counted.
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

/// What was published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published {
    pub(crate) count: usize,
    /// Publications that the server did not acknowledge.
    pub(crate) failed: usize,
    /// End of the warm-up and end of publishing, by the tally's clock.
    pub(crate) counted_from: Duration,
    pub(crate) ended: Duration,
    /// Processor time of the publisher's thread.
    pub(crate) cpu: Duration,
}

/// Publishes as planned; every publication has been acknowledged when this returns.
pub(crate) async fn publish(target: Target, plan: Plan, tally: Arc<Tally>) -> Result<Published> {
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(run(target, plan, tally))
    };
    tokio::task::spawn_blocking(work).await.context("the publisher failed")?
}

async fn run(target: Target, plan: Plan, tally: Arc<Tally>) -> Result<Published> {
    let publisher =
        Arc::new(Publisher { client: target.connect().await?, documents: Documents::new(), tally });
    let before = usage::of_this_thread()?;
    let published = match plan.pace {
        Pace::PerSecond(rate) => publisher.at_rate(plan, rate).await,
        Pace::Window(window) => publisher.within(plan, window).await,
    }?;
    Ok(Published { cpu: usage::of_this_thread()?.saturating_sub(before), ..published })
}

struct Publisher {
    client: Client,
    documents: Documents,
    tally: Arc<Tally>,
}

impl Publisher {
    async fn at_rate(self: &Arc<Self>, plan: Plan, rate: f64) -> Result<Published> {
        let count = ((plan.warm_up + plan.duration).as_secs_f64() * rate) as usize;
        let (start, counted_from) = (Instant::now(), self.tally.now() + plan.warm_up);
        let mut publications = JoinSet::new();
        for index in 0..count {
            tokio::time::sleep_until((start + Duration::from_secs_f64(index as f64 / rate)).into()).await;
            publications.spawn(Arc::clone(self).send(index));
        }
        self.finish(publications, Vec::new(), count, counted_from).await
    }

    async fn within(self: &Arc<Self>, plan: Plan, window: usize) -> Result<Published> {
        let (start, counted_from) = (self.tally.now(), self.tally.now() + plan.warm_up);
        let end = start + plan.warm_up + plan.duration;
        let mut publications = JoinSet::new();
        let (mut failures, mut count) = (Vec::new(), 0);
        while self.tally.now() < end && count < self.tally.capacity() {
            let delivered = (count + 1).saturating_sub(window) * self.tally.subscribers();
            if !self.tally.until_delivered(delivered, STALL).await {
                anyhow::bail!("deliveries stand still at {}", self.tally.delivered());
            }
            // What every subscriber has may not be answered yet.
            while publications.len() >= UNANSWERED {
                failures.extend(publications.join_next().await.transpose()?.and_then(Result::err));
            }
            publications.spawn(Arc::clone(self).send(count));
            count += 1;
        }
        self.finish(publications, failures, count, counted_from).await
    }

    async fn finish(
        &self,
        publications: JoinSet<Result<()>>,
        mut failures: Vec<anyhow::Error>,
        count: usize,
        counted_from: Duration,
    ) -> Result<Published> {
        let ended = self.tally.now();
        failures.extend(publications.join_all().await.into_iter().filter_map(Result::err));
        if let Some(first) = failures.first() {
            say(&format!("{} of {count} publications failed, such as: {first:#}", failures.len()));
        }
        anyhow::ensure!(failures.len() < count, "every publication failed");
        Ok(Published { count, failed: failures.len(), counted_from, ended, cpu: Duration::ZERO })
    }

    async fn send(self: Arc<Self>, index: usize) -> Result<()> {
        let document = self.documents.document(index);
        self.tally.sending(index);
        self.client.publish(index, document).await
    }
}

impl Target {
    /// A connection of its own.
    pub(crate) async fn connect(&self) -> Result<Client> {
        Ok(match self {
            Self::Sorcha(url) => Client::Sorcha { client: sorcha_api::client::plain()?, url: url.clone() },
            Self::Nats(url, payload) => Client::Nats(super::nats::context(url).await?, *payload),
            Self::Etcd(url, payload) => Client::Etcd(KvClient::connect(url.clone()).await?, *payload),
        })
    }
}

impl Payload {
    /// What subscribers need for their duty.
    pub(super) const fn of(duty: Duty) -> Self {
        match duty {
            Duty::Stock => Self::Document,
            Duty::Equal => Self::WithChecksum,
        }
    }

    fn carry(self, document: String) -> Bytes {
        match self {
            Self::Document => document.into(),
            Self::WithChecksum => documents::with_checksum(document).into(),
        }
    }
}

impl Client {
    /// Returns once the server has acknowledged that it is stored.
    pub(crate) async fn publish(&self, index: usize, document: String) -> Result<()> {
        match self {
            Self::Sorcha { client, url } => {
                let body = format!(r#"{{"blueprintId":"{}","blueprint":{document}}}"#, documents::id(index));
                let request = client.post(url).header("content-type", "application/json").body(body);
                request.send().await?.error_for_status().context("publish")?;
            }
            Self::Nats(stream, payload) => {
                stream.publish(SUBJECT, payload.carry(document)).await?.await?;
            }
            Self::Etcd(client, payload) => {
                let put = PutRequest { key: documents::id(index).into(), value: payload.carry(document) };
                client.clone().put(put).await?;
            }
        }
        Ok(())
    }
}
