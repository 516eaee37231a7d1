//! Whether the central nodes of a network serve one register.

use kube::ResourceExt as _;
use sorcha_crds::{
    SorchaCentralNode,
    central_node::CentralNodeReport,
    conditions::{CONVERGED, Finding, LINEAGES_DIFFER},
};

use super::{
    observe::{Observed, network},
    status::is_live,
};
use crate::{context::Ctx, reconcile::short};

/// `Converged=False` while another running central node serves a register of another lineage than this one.
pub(super) fn finding(
    ctx: &Ctx,
    node: &SorchaCentralNode,
    report: Option<&CentralNodeReport>,
) -> Option<Finding> {
    let ours = report?.lineage.as_deref()?;
    network(&ctx.caches, node).nodes.iter().find_map(|other| {
        let report = other.status.as_ref()?.node.as_ref()?;
        let live = Some(report).filter(|report| is_live(other, report, &Observed::of(ctx, other)))?;
        let theirs = live.lineage.as_deref()?;
        let message = format!(
            "{} serves lineage {}, {} serves lineage {}: peers are in step with one of them only. Find out which register is \
             right, and give the other node its database",
            node.name_any(), short(ours), other.name_any(), short(theirs)
        );
        (theirs != ours).then(|| Finding::new(CONVERGED, false, LINEAGES_DIFFER, message))
    })
}
