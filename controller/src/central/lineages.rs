//! Whether the central nodes of a network serve one register.

use kube::ResourceExt as _;
use sorcha_crds::{
    SorchaCentralNode,
    central_node::CentralNodeReport,
    conditions::{CONVERGED, Finding, LINEAGES_DIFFER},
};

use super::{
    observe::{Observed, network},
    status::live_report,
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
        let theirs = live_report(other, &Observed::of(ctx, other))?.lineage.clone()?;
        let message = format!(
            "{} serves lineage {}, {} serves lineage {}: peers are in step with one of them only. Find out which register is \
             right, and give the other node its database",
            node.name_any(), short(ours), other.name_any(), short(&theirs)
        );
        (theirs != ours).then(|| Finding::new(CONVERGED, false, LINEAGES_DIFFER, message))
    })
}
