//! One connection attempt: dial, ConnectToCentralNode, and what the answer means for the replica.

mod answer;

use std::{error::Error as _, sync::Arc, time::Duration};

use bytes::Bytes;
use sorcha_config::CentralNodeAddress;
use sorcha_proto::v1::{self, central_node_connection_client::CentralNodeConnectionClient};
use sorcha_register::limits;
use sorcha_runtime::spans;
use tokio::sync::mpsc;
use tonic::Status;
use tracing::Instrument as _;

use self::answer::{Accepted, accept};
use super::{
    LiveSession, faults,
    pace::Received,
    told::{ANSWER_BYTES, told},
};
use crate::{
    PeerNode,
    dial::Dialled,
    machine::event::{Event, Fault, SessionInfo},
};

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    pub(crate) fault: Fault,
    pub(crate) message: String,
    pub(crate) retry_after: Option<Duration>,
    /// The central node serves another lineage (ADR 26).
    pub(crate) split_brain: bool,
}

impl Refusal {
    fn new(fault: Fault, message: impl Into<String>) -> Self {
        Self { fault, message: told(&message.into()), retry_after: None, split_brain: false }
    }

    pub(crate) fn passing(message: impl Into<String>) -> Self {
        Self::new(Fault::Passing, message)
    }

    fn fatal(message: impl Into<String>) -> Self {
        Self::new(Fault::Fatal, message)
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self {
            fault: faults::fault(status.code()),
            message: told(&format!("{:?}: {}", status.code(), status.message())),
            retry_after: faults::retry_after(&status),
            split_brain: status.metadata().contains_key(sorcha_proto::metadata::LINEAGE),
        }
    }
}

/// Connects within `connect.timeout` (protocol section 6.2).
pub(crate) async fn connect(
    node: &Arc<PeerNode>,
    address: &CentralNodeAddress,
    epoch: u64,
    events: mpsc::Sender<Event>,
) -> Result<(LiveSession, SessionInfo), Refusal> {
    let attempt = async {
        let dialled = dial(node, address).await?;
        let response = call(node, &dialled).await?;
        accept(node, address, response).map(|accepted| (dialled, accepted))
    };
    let timeout = node.config.connect.timeout;
    let (span, started) = (spans::connect(address.id(), address.priority), node.env.clock.monotonic());
    let outcome = tokio::time::timeout(timeout, attempt)
        .instrument(span.clone())
        .await
        .unwrap_or_else(|_| Err(Refusal::passing(format!("no answer within {} s", timeout.as_secs()))));
    spans::finish(&span, node.env.clock.monotonic().since(started), &outcome);
    let (Dialled { channel, life }, Accepted { info, genesis, is_level, rhythm }) = outcome?;
    let session = LiveSession {
        node: Arc::clone(node),
        epoch,
        central: address.id().to_owned(),
        id: info.session.as_str().to_owned(),
        channel,
        life,
        genesis,
        is_level,
        rhythm,
        events,
        received: Received::default(),
    };
    Ok((session, info))
}

async fn dial(node: &PeerNode, address: &CentralNodeAddress) -> Result<Dialled, Refusal> {
    let timeout = node.config.connect.dial_timeout;
    match tokio::time::timeout(timeout, node.dialer.dial(address, &node.config)).await {
        Ok(Ok(dialled)) => Ok(dialled),
        Ok(Err(error)) => Err(Refusal::passing(chain(&error))),
        Err(_elapsed) => Err(Refusal::passing(format!("no connection within {} s", timeout.as_secs()))),
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

async fn call(node: &PeerNode, dialled: &Dialled) -> Result<v1::ConnectionResponse, Refusal> {
    let state = node.replica.state();
    // A replica that is to be replaced by another lineage says so by naming that one.
    let lineage = node.replica.adopting().or(state.view.lineage());
    let request = v1::ConnectRequest {
        peer_id: node.id.to_string(),
        peer_info: Some(v1::PeerInfo {
            address: String::new(),
            port: 0,
            node_type: "Peer".to_owned(),
            supported_protocols: vec!["v1".to_owned()],
            capabilities: Some(v1::PeerCapabilities {
                supports_push_notifications: node.config.sync.push,
                supports_incremental_sync: true,
                max_blueprint_size: i32::try_from(limits::DOCUMENT_BYTES).unwrap_or(i32::MAX),
                is_nat_restricted: true,
            }),
        }),
        last_known_version: state.view.head().get(),
        connection_time: node.env.clock.now().as_millis(),
        lineage: lineage.map(|lineage| Bytes::copy_from_slice(lineage.as_bytes())).unwrap_or_default(),
    };
    let mut client =
        CentralNodeConnectionClient::new(dialled.channel.clone()).max_decoding_message_size(ANSWER_BYTES);
    let answer = client.connect_to_central_node(request).await;
    let response = answer.map_err(|status| refusal(status, dialled))?.into_inner();
    if response.success { Ok(response) } else { Err(Refusal::passing(response.message)) }
}

/// What a refused call means. A status that was made on this side of a connection that broke has a cause, which tells why;
/// its code tells nothing.
fn refusal(status: Status, dialled: &Dialled) -> Refusal {
    let broken = status.source().map(|cause| dialled.fault().map_or_else(|| chain(cause), str::to_owned));
    let refusal = Refusal::from(status);
    Refusal { message: broken.map_or(refusal.message, |broken| told(&broken)), ..refusal }
}

/// Whether a central node would take this peer: reachable, and healthy by its own word.
pub(crate) async fn probe(node: &PeerNode, address: &CentralNodeAddress) -> bool {
    let Ok(dialled) = dial(node, address).await else { return false };
    let request = v1::StatusRequest { peer_id: node.id.to_string(), include_peer_list: false };
    let mut client =
        CentralNodeConnectionClient::new(dialled.channel).max_decoding_message_size(ANSWER_BYTES);
    let answer =
        tokio::time::timeout(node.config.connect.timeout, client.get_central_node_status(request)).await;
    matches!(answer, Ok(Ok(status)) if matches!(status.get_ref().health(), v1::NodeHealth::Healthy | v1::NodeHealth::Degraded))
}
