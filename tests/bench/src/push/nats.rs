//! JetStream's subscribers: each with a connection and a durable consumer of its own, explicit acknowledgements.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, DeliverPolicy, push},
    stream::{self, StorageType},
};
use async_trait::async_trait;
use futures::StreamExt as _;
use tokio::task::JoinSet;

use super::{
    SUBJECT, System,
    keeper::{AT_ONCE, Duty, Keeper},
    publisher::{Payload, Target},
    reported,
    tally::Tally,
};
use crate::{
    documents,
    process::{
        Server,
        nats::{Nats, Sync},
    },
};

/// How long any call may take.
const PATIENCE: Duration = Duration::from_secs(60);
const STREAM: &str = "bench";

/// A server with one stream, and its subscribers.
pub(crate) struct Jetstream {
    server: Nats,
    duty: Duty,
    work: PathBuf,
    subscribers: JoinSet<()>,
}

impl Jetstream {
    /// Starts the server and makes the stream.
    pub(crate) async fn start(program: &Path, work: &Path, sync: Sync, duty: Duty) -> Result<Self> {
        let server = with_stream(program, work, sync).await?;
        Ok(Self { server, duty, work: work.to_owned(), subscribers: JoinSet::new() })
    }
}

/// A server with an empty stream for publications.
pub(crate) async fn with_stream(program: &Path, work: &Path, sync: Sync) -> Result<Nats> {
    let server = Nats::start(program, work, sync).await?;
    let context = context(&server.url()).await?;
    let stream = stream::Config {
        name: STREAM.to_owned(),
        subjects: vec![SUBJECT.to_owned()],
        storage: StorageType::File,
        ..stream::Config::default()
    };
    context.create_stream(stream).await.context("create the stream")?;
    Ok(server)
}

#[async_trait]
impl System for Jetstream {
    async fn subscribe(&mut self, count: usize, tally: &Arc<Tally>) -> Result<()> {
        for who in 0..count {
            let messages = consume(&self.server.url(), who).await?;
            let tally = Arc::clone(tally);
            match self.duty {
                Duty::Stock => self.subscribers.spawn(acknowledge(messages, who, tally)),
                Duty::Equal => {
                    let keeper = Keeper::create(&self.work, who)?;
                    self.subscribers.spawn(reported(who, keep(messages, keeper, who, tally)))
                }
            };
        }
        Ok(())
    }

    fn target(&self) -> Target {
        Target::Nats(self.server.url(), Payload::of(self.duty))
    }

    fn server(&self) -> &Server {
        self.server.server()
    }

    async fn stop(self: Box<Self>) -> Result<()> {
        drop(self.subscribers);
        self.server.kill().await
    }
}

/// Acknowledges whatever comes.
async fn acknowledge(mut messages: push::Messages, who: usize, tally: Arc<Tally>) {
    while let Some(Ok(message)) = messages.next().await {
        let acknowledged = message.ack().await.is_ok();
        if let Some(index) = documents::index_of_document(&message.payload).filter(|_| acknowledged) {
            tally.arrived(who, index);
        }
    }
}

/// Keeps what comes, and acknowledges it then. What is there already is kept together.
async fn keep(messages: push::Messages, mut keeper: Keeper, who: usize, tally: Arc<Tally>) -> Result<()> {
    let mut ready = messages.ready_chunks(AT_ONCE);
    while let Some(messages) = ready.next().await {
        let messages = messages.into_iter().collect::<Result<Vec<_>, _>>()?;
        keeper.keep(messages.iter().map(|message| &message.payload))?;
        for message in messages {
            message.ack().await.map_err(anyhow::Error::from_boxed)?;
            let index = documents::index_of_document(&message.payload);
            index.into_iter().for_each(|index| tally.arrived(who, index));
        }
    }
    Ok(())
}

/// A connection that waits for a server that is busy: the client's own time-out is 5 s.
pub(super) async fn context(url: &str) -> Result<jetstream::Context> {
    let client = async_nats::connect(url).await?;
    Ok(jetstream::ContextBuilder::new().timeout(PATIENCE).build(client))
}

async fn consume(url: &str, who: usize) -> Result<push::Messages> {
    let context = context(url).await?;
    let name = format!("subscriber-{who}");
    let consumer = push::Config {
        durable_name: Some(name.clone()),
        deliver_subject: context.client().new_inbox(),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ..push::Config::default()
    };
    let stream = context.get_stream(STREAM).await?;
    let consumer = stream.create_consumer(consumer).await.with_context(|| format!("create {name}"))?;
    Ok(consumer.messages().await?)
}
