//! Whether the central nodes of a network serve one register.

use kube::ResourceExt as _;
use sorcha_crds::{
    SorchaCentralNode,
    central_node::CentralNodeReport,
    conditions::{CONVERGED, Finding, LINEAGES_DIFFER},
};

use super::observe::CentralWorld;

/// `Converged=False` while this one, or another running central node, serves a register of another lineage than the network's.
/// Both say what `Ready` of the one that is not published says.
pub(super) fn finding(
    world: &CentralWorld,
    node: &SorchaCentralNode,
    report: Option<&CentralNodeReport>,
) -> Option<Finding> {
    report?.lineage.as_ref()?;
    let differs = |node: &SorchaCentralNode| {
        let contradiction = world.network.check_lineage(node).err()?;
        Some(format!("{}: {contradiction}", node.name_any()))
    };
    let others = || world.network.nodes.iter().filter(|other| world.live.contains(&other.name_any()));
    let message = differs(node).or_else(|| others().find_map(|other| differs(other)))?;
    Some(Finding::new(CONVERGED, false, LINEAGES_DIFFER, message))
}
