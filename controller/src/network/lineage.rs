//! Whose register is the network's: that of the oldest central node that runs and reports one; pure.
//!
//! What it was once is recorded with the network's endpoints and stays as long as one of its central nodes reports it, also
//! while that one restarts: peers hold that register, and neither newer central nodes nor an old one that changes its mind
//! put another one in its place.

use std::sync::Arc;

use kube::ResourceExt as _;
use sorcha_crds::SorchaCentralNode;

use super::contradiction::{Contradiction, age};
use crate::reconcile::short;

/// A network's register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lineage {
    /// Its lineage.
    pub lineage: String,
    /// The oldest central node that reports it.
    pub holder: String,
}

/// What a central node reported last.
pub(super) fn reported(node: &SorchaCentralNode) -> Option<&str> {
    node.status.as_ref()?.node.as_ref()?.lineage.as_deref()
}

/// The lineage of a network. `recorded`: what it was; `lives`: whether a central node's report is of a process that runs.
pub(super) fn of(
    nodes: &[Arc<SorchaCentralNode>],
    recorded: Option<&str>,
    lives: impl Fn(&SorchaCentralNode) -> bool,
) -> Option<Lineage> {
    let mut holders: Vec<_> = nodes.iter().filter_map(|node| Some((node, reported(node)?))).collect();
    holders.sort_by_cached_key(|(node, _)| age(&***node));
    let known = holders.iter().find(|(_, lineage)| Some(*lineage) == recorded);
    let (node, lineage) = known.or_else(|| holders.iter().find(|(node, _)| lives(node)))?;
    Some(Lineage { lineage: (*lineage).to_owned(), holder: node.name_any() })
}

impl Lineage {
    /// Whether a central node reports a register of another one.
    pub(super) fn against(&self, node: &SorchaCentralNode) -> Option<Contradiction> {
        let mine = reported(node).filter(|mine| *mine != self.lineage)?;
        let (theirs, other) = (short(&self.lineage), self.holder.clone());
        Some(Contradiction::Lineage { mine: short(mine), theirs, other })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{fixtures::central, network::Network};

    fn reports(name: &str, second: i64, lineage: Option<&str>) -> Arc<SorchaCentralNode> {
        let mut node = central(name, 0);
        let status = json!({"node": {"name": format!("{name}-0"), "lineage": lineage}});
        node.status = serde_json::from_value(status).expect("a status");
        let created = jiff::Timestamp::from_second(1_790_000_000 + second).expect("a time");
        node.metadata.creation_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(created));
        Arc::new(node)
    }

    fn network(
        nodes: &[&Arc<SorchaCentralNode>],
        recorded: Option<&str>,
        dead: &[&str],
    ) -> (Network, Vec<String>) {
        let nodes = nodes.iter().map(|node| Arc::clone(node)).collect();
        let lives = |node: &SorchaCentralNode| !dead.contains(&&*node.name_any());
        let network = Network::new("sorcha.dev", "shop", nodes).with_lineage(recorded, lives);
        let names = network.internal().into_iter().map(|endpoint| endpoint.id).collect();
        (network, names)
    }

    #[test]
    fn the_oldest_is_right_however_many_newer_ones_say_otherwise() {
        let old = reports("n9", 1, Some("aaaa"));
        let (n0, n1) = (reports("n0", 2, Some("bbbb")), reports("n1", 3, Some("bbbb")));
        let silent = reports("n2", 4, None);
        for order in [[&old, &n0, &n1, &silent], [&silent, &n1, &n0, &old]] {
            let (network, names) = network(&order, None, &[]);
            assert_eq!(names, ["n2", "n9"]);
            let told = network.check_lineage(&n0).expect_err("another lineage").to_string();
            assert!(told.contains("aaaa") && told.contains("bbbb") && told.contains("n9"), "{told}");
            assert!(network.check_lineage(&n1).is_err());
            assert_eq!((network.check_lineage(&old), network.check_lineage(&silent)), (Ok(()), Ok(())));
        }
    }

    #[test]
    fn a_report_of_a_process_that_is_gone_decides_nothing() {
        let (dead, n0) = (reports("n9", 1, Some("bbbb")), reports("n0", 2, Some("aaaa")));
        let (network, names) = network(&[&dead, &n0], None, &["n9"]);
        assert_eq!(names, ["n0"]);
        assert!(network.check_lineage(&dead).is_err());
    }

    #[test]
    fn what_the_network_was_stays_while_one_that_reports_it_restarts_or_another_changes_its_mind() {
        let (n0, n1) = (reports("n0", 1, Some("aaaa")), reports("n1", 2, Some("bbbb")));
        let (_, names) = network(&[&n0, &n1], Some("aaaa"), &["n0"]);
        assert_eq!(names, ["n0"], "while n0 restarts");
        let changed = reports("n0", 1, Some("cccc"));
        let (network_then, names) = network(&[&changed, &n1], Some("bbbb"), &[]);
        assert_eq!(names, ["n1"], "the oldest one took another register");
        assert!(network_then.check_lineage(&changed).is_err());
        let (_, names) = network(&[&changed], Some("aaaa"), &[]);
        assert_eq!(names, ["n0"], "all took another one: so has the network");
    }
}
