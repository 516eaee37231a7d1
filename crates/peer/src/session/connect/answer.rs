//! What a central node's answer to a connect means for the replica.

use std::{sync::Arc, time::Duration};

use sorcha_config::CentralNodeAddress;
use sorcha_proto::v1;
use sorcha_register::{
    limits,
    lineage::Genesis,
    names::{Lineage, RegisterDigest, Version},
    succession::{self, Contradiction},
    view::RegisterView,
};

use super::Refusal;
use crate::{
    PeerNode,
    failover::CentralId,
    machine::{
        event::{Fault, Holdings, LineageMatch, SessionInfo},
        phase::SessionId,
    },
    session::{Rhythm, refusal},
};

/// Bounds of a heartbeat interval or time-out that a central node may ask for.
const RHYTHM: std::ops::RangeInclusive<u64> = 1..=120;

/// The register of a central node that may not touch the replica.
fn refused(node: &PeerNode, address: &CentralNodeAddress, contradiction: &Contradiction) -> Refusal {
    refusal::tell(node, address.id(), contradiction);
    Refusal::new(Fault::Refused, contradiction.to_string())
}

/// What a central node's answer amounts to.
pub(super) struct Accepted {
    pub(super) info: SessionInfo,
    pub(super) genesis: Option<Arc<Genesis>>,
    pub(super) is_level: bool,
    pub(super) rhythm: Rhythm,
}

pub(super) fn accept(
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
    // Entries of unknown origin under a lineage that was not known before are fetched again.
    if diverged || lineage == LineageMatch::FirstVisit {
        return (lineage, Holdings::Diverged);
    }
    let known = |id: &String| !id.is_empty();
    let owner = state.checkpoint.as_ref().map(|checkpoint| checkpoint.central_node_id.clone()).filter(known);
    let owner = owner.or_else(|| Some(address.id().to_owned()));
    (lineage, Holdings::Held { checkpoint_of: owner.map(CentralId::new) })
}
