//! One connection attempt: dial, ConnectToCentralNode, and what the answer means for the replica.

use std::{error::Error as _, sync::Arc, time::Duration};

use bytes::Bytes;
use sorcha_config::CentralNodeAddress;
use sorcha_proto::v1::{self, central_node_connection_client::CentralNodeConnectionClient};
use sorcha_register::{
    limits,
    lineage::Genesis,
    names::{Lineage, RegisterDigest, Version},
    succession::{self, Contradiction},
    view::RegisterView,
};
use sorcha_runtime::spans;
use tokio::sync::mpsc;
use tonic::Status;
use tracing::Instrument as _;

use super::{
    LiveSession, Rhythm, faults,
    pace::Received,
    refusal,
    told::{ANSWER_BYTES, told},
};
use crate::{
    PeerNode,
    dial::Dialled,
    failover::CentralId,
    machine::{
        event::{Event, Fault, Holdings, LineageMatch, SessionInfo},
        phase::SessionId,
    },
};

/// Bounds of a heartbeat interval or time-out that a central node may ask for.
const RHYTHM: std::ops::RangeInclusive<u64> = 1..=120;

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

/// The register of a central node that may not touch the replica.
fn refused(node: &PeerNode, address: &CentralNodeAddress, contradiction: &Contradiction) -> Refusal {
    refusal::tell(node, address.id(), contradiction);
    Refusal::new(Fault::Refused, contradiction.to_string())
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

/// What a central node's answer amounts to.
struct Accepted {
    info: SessionInfo,
    genesis: Option<Arc<Genesis>>,
    is_level: bool,
    rhythm: Rhythm,
}

fn accept(
    node: &PeerNode,
    address: &CentralNodeAddress,
    response: v1::ConnectionResponse,
) -> Result<Accepted, Refusal> {
    check_session_id(&response.session_id)?;
    let central_version =
        Version::new("current_system_register_version", response.current_system_register_version)
            .map_err(|error| Refusal::fatal(error.to_string()))?;
    let genesis = genesis_of(&response)?;
    if genesis.is_none() {
        let may_follow = succession::check_lineage(&node.replica.view(), None);
        may_follow.map_err(|contradiction| refused(node, address, &contradiction))?;
    }
    let digest = RegisterDigest::from_slice(&response.register_digest);
    let is_level = is_level(&node.replica.view(), genesis.as_deref(), central_version, digest);
    let (lineage, replica) = relation(node, address, &response, central_version, genesis.as_deref());
    let rhythm = Rhythm {
        interval: seconds(response.heartbeat_interval_seconds, node.config.heartbeat.interval),
        timeout: seconds(
            response.config.map_or(0, |config| config.heartbeat_timeout_seconds),
            node.config.heartbeat.timeout,
        ),
    };
    let info =
        SessionInfo { session: SessionId::new(response.session_id), central_version, lineage, replica };
    Ok(Accepted { info, genesis, is_level, rhythm })
}

fn check_session_id(id: &str) -> Result<(), Refusal> {
    let chars = id.chars().count();
    if chars == 0 {
        return Err(Refusal::fatal("the central node gave no session_id"));
    }
    if chars > limits::SESSION_ID_CHARS {
        let most = limits::SESSION_ID_CHARS;
        return Err(Refusal::fatal(format!(
            "the central node gave a session_id of {chars} characters; it may have {most}"
        )));
    }
    Ok(())
}

/// Whether a register is the one that is held, by its lineage, version and digest.
fn is_level(
    held: &RegisterView,
    genesis: Option<&Genesis>,
    version: Version,
    digest: Option<RegisterDigest>,
) -> bool {
    genesis.is_some_and(|genesis| held.lineage() == Some(genesis.lineage()))
        && held.head() == version
        && digest == Some(held.digest())
}

fn seconds(asked: i32, otherwise: Duration) -> Duration {
    match u64::try_from(asked) {
        Ok(asked) if asked > 0 => Duration::from_secs(asked.clamp(*RHYTHM.start(), *RHYTHM.end())),
        _ => otherwise,
    }
}

/// The genesis record that the central node states, verified; none from a node of the original contract.
fn genesis_of(response: &v1::ConnectionResponse) -> Result<Option<Arc<Genesis>>, Refusal> {
    if response.genesis.is_empty() && response.lineage.is_empty() {
        return Ok(None);
    }
    let genesis =
        Genesis::verify(response.genesis.clone()).map_err(|error| Refusal::fatal(error.to_string()))?;
    if Lineage::from_slice(&response.lineage) != Some(genesis.lineage()) {
        return Err(Refusal::fatal("the central node's lineage is not the hash of its genesis record"));
    }
    Ok(Some(Arc::new(genesis)))
}

/// How the central node's register relates to the replica held (ADR 26 and 41).
fn relation(
    node: &PeerNode,
    address: &CentralNodeAddress,
    response: &v1::ConnectionResponse,
    central_version: Version,
    genesis: Option<&Genesis>,
) -> (LineageMatch, Holdings) {
    let state = node.replica.state();
    let lineage = match (state.view.lineage(), genesis.map(Genesis::lineage)) {
        (_, Some(theirs)) if node.replica.adopting() == Some(theirs) => {
            return (LineageMatch::FirstVisit, Holdings::Diverged);
        }
        (Some(ours), Some(theirs)) if ours == theirs => LineageMatch::Same,
        (Some(_), Some(_)) => return (LineageMatch::Foreign, Holdings::Diverged),
        (_, None) => LineageMatch::Unknown,
        (None, Some(_)) => LineageMatch::FirstVisit,
    };
    if state.checkpoint.is_none() || state.view.head() == Version::ZERO {
        return (lineage, Holdings::Empty);
    }
    let digest = RegisterDigest::from_slice(&response.register_digest);
    let diverged = state.findings.is_empty()
        && state.view.head() == central_version
        && digest.is_some_and(|digest| digest != state.view.digest());
    // Entries of unknown origin under a lineage that was not known before are fetched anew.
    if diverged || lineage == LineageMatch::FirstVisit {
        return (lineage, Holdings::Diverged);
    }
    let known = |id: &String| !id.is_empty();
    let owner = state.checkpoint.as_ref().map(|checkpoint| checkpoint.central_node_id.clone()).filter(known);
    let owner = owner.or_else(|| Some(address.id().to_owned()));
    (lineage, Holdings::Held { checkpoint_of: owner.map(CentralId::new) })
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
