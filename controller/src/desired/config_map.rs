//! ConfigMaps: settings of a node, endpoints of a network.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use serde::Serialize;

use super::{meta::Owner, node_config::FORCE_RESYNC_KEY};
use crate::{names, network::Endpoint};

/// Settings of a node, and the request for a resync, which running pods read again when it changes.
#[must_use]
pub(crate) fn node_config_map(owner: &Owner, config: String, force_resync: Option<String>) -> ConfigMap {
    let mut data = BTreeMap::from([("sorcha.toml".to_owned(), config)]);
    data.extend(force_resync.map(|token| (FORCE_RESYNC_KEY.to_owned(), token)));
    ConfigMap { metadata: owner.meta(&owner.name), data: Some(data), ..ConfigMap::default() }
}

#[derive(Serialize)]
struct File<'a> {
    central_nodes: &'a [Endpoint],
}

/// Annotation of a network's endpoints: lineage of the register that they lead to.
pub(crate) const LINEAGE_ANNOTATION: &str = "sorcha.dev/lineage";

/// Endpoints of a network: for peers in the cluster, which mount the first file, and for peers elsewhere.
#[must_use]
pub(crate) fn network_config_map(
    owner: &Owner,
    internal: &[Endpoint],
    external: &[Endpoint],
    lineage: Option<&str>,
) -> ConfigMap {
    let file = |central_nodes| serde_json::to_string_pretty(&File { central_nodes }).unwrap_or_default();
    let data = BTreeMap::from([
        ("central-nodes.json".to_owned(), file(internal)),
        ("central-nodes-external.json".to_owned(), file(external)),
    ]);
    let mut metadata = owner.meta(names::network_config_map(&owner.network));
    let lineage = lineage.map(|lineage| (LINEAGE_ANNOTATION.to_owned(), lineage.to_owned()));
    metadata.annotations = lineage.map(|annotation| [annotation].into());
    ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
}
