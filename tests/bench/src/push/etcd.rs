//! etcd's subscribers: each with a connection and a watch of its own. A watch has no acknowledgements.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tokio::task::JoinSet;
use tonic::Streaming;

use self::pb::{
    WatchCreateRequest, WatchRequest, WatchResponse, watch_client::WatchClient,
    watch_request::RequestUnion::CreateRequest,
};
use super::{
    System,
    keeper::{Duty, Keeper},
    publisher::{Payload, Target},
    reported,
    tally::Tally,
};
use crate::{
    documents,
    process::{Server, etcd::Etcd},
};

/// The generated part of etcd's API.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub(super) mod pb {
    tonic::include_proto!("etcdserverpb");
}

/// As key and end of a range: every key.
const ALL_KEYS: Bytes = Bytes::from_static(b"\0");

/// A server and its watchers.
pub(crate) struct Watches {
    server: Etcd,
    duty: Duty,
    work: PathBuf,
    watchers: JoinSet<()>,
}

impl Watches {
    /// Starts the server.
    pub(crate) async fn start(program: &Path, work: &Path, duty: Duty) -> Result<Self> {
        let server = Etcd::start(program, work).await?;
        Ok(Self { server, duty, work: work.to_owned(), watchers: JoinSet::new() })
    }
}

#[async_trait]
impl System for Watches {
    async fn subscribe(&mut self, count: usize, tally: &Arc<Tally>) -> Result<()> {
        for who in 0..count {
            let watch = watch(self.server.url()).await?;
            let keeper = match self.duty {
                Duty::Stock => None,
                Duty::Equal => Some(Keeper::create(&self.work, who)?),
            };
            self.watchers.spawn(reported(who, receive(watch, keeper, who, Arc::clone(tally))));
        }
        Ok(())
    }

    fn target(&self) -> Target {
        Target::Etcd(self.server.url(), Payload::of(self.duty))
    }

    fn server(&self) -> &Server {
        self.server.server()
    }

    async fn stop(self: Box<Self>) -> Result<()> {
        drop(self.watchers);
        self.server.kill().await
    }
}

/// Receives what comes; with a keeper, it keeps the events of each response before they count.
async fn receive(
    mut watch: Streaming<WatchResponse>,
    mut keeper: Option<Keeper>,
    who: usize,
    tally: Arc<Tally>,
) -> Result<()> {
    while let Some(response) = watch.message().await? {
        let values = || response.events.iter().filter_map(|event| Some(&event.kv.as_ref()?.value));
        if let Some(keeper) = &mut keeper {
            keeper.keep(values())?;
        }
        let numbers = values().filter_map(|value| documents::index_of_document(value));
        numbers.for_each(|index| tally.arrived(who, index));
    }
    Ok(())
}

/// A watch of every key, on a connection of its own; the server has confirmed it.
async fn watch(url: String) -> Result<Streaming<WatchResponse>> {
    let create = WatchCreateRequest { key: ALL_KEYS, range_end: ALL_KEYS };
    // The stream of requests stays open: its end would be the end of the watch.
    let requests =
        stream::iter([WatchRequest { request_union: Some(CreateRequest(create)) }]).chain(stream::pending());
    let mut responses = WatchClient::connect(url).await?.watch(requests).await?.into_inner();
    let created = responses.message().await?.context("the watch ended")?;
    anyhow::ensure!(created.created && !created.canceled, "the watch was refused");
    Ok(responses)
}
