//! Reads an honest central node's register over gRPC, as a peer does.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use sorcha_proto::{
    EncodedEntry,
    raw::system_register_sync_client::SystemRegisterSyncClient,
    v1::{self, central_node_connection_client::CentralNodeConnectionClient},
};
use sorcha_register::{entry::SealedEntry, lineage::Genesis, names::Version, view::RegisterView};
use tonic::{Streaming, transport::Channel};

const READER: &str = "reader";

/// Whole, with its lineage; or as a peer of the original contract holds it, which has the active entries and no lineage.
pub(super) async fn read(grpc: u16, is_whole: bool) -> Result<RegisterView> {
    let channel = Channel::from_shared(format!("http://127.0.0.1:{grpc}"))?.connect().await?;
    let mut connections = CentralNodeConnectionClient::new(channel.clone());
    let request = v1::ConnectRequest { peer_id: READER.to_owned(), ..v1::ConnectRequest::default() };
    let session = connections.connect_to_central_node(request).await?.into_inner();
    let request = v1::SyncRequest {
        peer_id: READER.to_owned(),
        session_id: session.session_id.clone(),
        full_sync: !is_whole,
        ..v1::SyncRequest::default()
    };
    let mut client = SystemRegisterSyncClient::new(channel);
    let stream =
        if is_whole { client.incremental_sync(request).await? } else { client.full_sync(request).await? };
    let entries = received(stream.into_inner()).await?;
    let leave = v1::DisconnectRequest {
        peer_id: READER.to_owned(),
        session_id: session.session_id,
        ..v1::DisconnectRequest::default()
    };
    connections.disconnect_from_central_node(leave).await?;
    let genesis = is_whole.then(|| Genesis::verify(session.genesis)).transpose()?.map(Arc::new);
    let head = Version::new("version", session.current_system_register_version)?;
    Ok(RegisterView::with_entries(genesis, entries, head))
}

async fn received(mut stream: Streaming<EncodedEntry>) -> Result<Vec<Arc<SealedEntry>>> {
    let mut entries = Vec::new();
    while let Some(EncodedEntry(bytes)) = stream.message().await? {
        entries.push(SealedEntry::decode(bytes).context("an entry")?);
    }
    Ok(entries)
}
