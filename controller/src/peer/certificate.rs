//! How the certificate of peers stands: theirs, and whether the central nodes that are published for them fit.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use sorcha_crds::SorchaPeer;

use super::observe::{self, Observed};
use crate::{
    context::Ctx,
    network::Network,
    pki::{
        finding::{self, Found, Use},
        holder::Holder,
    },
    reconcile::{Error, Progress},
    workload::is_running,
};

/// A function of caches, reports and now.
pub(super) fn found(
    peer: &SorchaPeer,
    observed: &Observed,
    ctx: &Ctx,
    result: &Result<Progress, Error>,
    now: &Time,
) -> Found {
    let reports = peer.status.iter().flat_map(|status| &status.nodes);
    let running = reports.filter(|report| observed.pods.get(&report.name).is_some_and(|pod| is_running(pod)));
    let uses: Vec<Use<'_>> =
        running.map(|report| (report.name.as_str(), report.certificate_not_after.as_ref())).collect();
    // Those that are listed are anywhere: nothing is known of their certificates.
    let listed = !peer.spec.central_nodes.is_empty();
    let nodes = if listed { Vec::new() } else { observe::central_nodes(&ctx.caches, peer) };
    let network = Network::new(&peer.spec.network, &peer.namespace().unwrap_or_default(), nodes);
    finding::found(ctx, &Holder::peer(peer), &network, &uses, result, now.0)
}
