//! Resources that are each valid but contradict each other: the older one is right; pure.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use kube::ResourceExt;
use sorcha_crds::SorchaCentralNode;

use super::{hostname, managed};
use crate::reconcile::short;

/// Why a resource that the schema accepts is refused. The text names the other resource and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// Resources of two kinds whose objects would have the same names.
    #[error(
        "{kind} {name} is older, and its objects have the names that those of this resource would have: give this resource \
         another name"
    )]
    Name {
        /// Kind of the older one.
        kind: String,
        /// Its name, which is this one's too.
        name: String,
    },
    /// Two central nodes of one name.
    #[error(
        "hostname {hostname} is that of {other}, which is older: give each central node of a network its own"
    )]
    Hostname {
        /// The name.
        hostname: String,
        /// The older one.
        other: String,
    },
    /// An embedded store beside other central nodes: two registers.
    #[error(
        "{other} is older and a central node of {network} too, and store.embedded holds a register of its own, which central \
         nodes can't share: use store.mongodb for both, or delete one"
    )]
    Embedded {
        /// The network.
        network: String,
        /// The older one.
        other: String,
    },
    /// Two servers asked for.
    #[error(
        "store.mongodb.managed differs from that of {other}, which is older: make them equal, they share one server"
    )]
    Managed {
        /// The older one.
        other: String,
    },
    /// Two databases.
    #[error(
        "store.mongodb.database is {mine:?} but that of {other}, which is older, is {theirs:?}: central nodes of a network \
         share one database"
    )]
    Database {
        /// In this spec.
        mine: String,
        /// In the older one.
        theirs: String,
        /// The older one.
        other: String,
    },
    /// Two registers, as the nodes report them.
    #[error(
        "its register has the lineage {mine}, but that of {other} has {theirs}: central nodes of a network share one \
         register, so it is not published to peers; name the same database in both, or see `sorcha-node register restore`"
    )]
    Lineage {
        /// Lineage that the node reports.
        mine: String,
        /// Lineage of the network's register.
        theirs: String,
        /// A central node that holds it.
        other: String,
    },
}

impl Contradiction {
    /// Reason of the condition.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Name { .. } => "NameTaken",
            _ => "Conflict",
        }
    }
}

/// Orders resources from the oldest to the newest; of two that were made in the same second, the uid decides, so that the
/// order is the same at every look.
#[must_use]
pub fn age<K: kube::Resource>(resource: &K) -> (Option<Timestamp>, String, String) {
    let created = resource.creation_timestamp().map(|time| time.0);
    (created, resource.uid().unwrap_or_default(), resource.name_any())
}

/// What stands between a central node and older ones of its network that don't contradict each other.
pub(super) fn find(
    network: &str,
    node: &SorchaCentralNode,
    older: &[Arc<SorchaCentralNode>],
) -> Option<Contradiction> {
    let mine = hostname(node);
    if let Some(other) = older.iter().find(|other| hostname(other) == mine) {
        return Some(Contradiction::Hostname { hostname: mine, other: other.name_any() });
    }
    let embedded = |node: &SorchaCentralNode| node.spec.store.embedded.is_some();
    if let Some(other) = older.iter().find(|other| embedded(node) || embedded(other)) {
        return Some(Contradiction::Embedded { network: network.to_owned(), other: other.name_any() });
    }
    if let Some(mine) = managed(node)
        && let Some(other) = older.iter().find(|other| managed(other).is_some_and(|theirs| theirs != mine))
    {
        return Some(Contradiction::Managed { other: other.name_any() });
    }
    let database = |node: &SorchaCentralNode| Some(node.spec.store.mongodb.as_ref()?.database.clone());
    let mine = database(node)?;
    older.iter().find_map(|other| {
        let theirs = database(other).filter(|theirs| *theirs != mine)?;
        Some(Contradiction::Database { mine: mine.clone(), theirs, other: other.name_any() })
    })
}

/// Whether a central node reports a register of another lineage than the network's: the one that most of its central nodes
/// report, so that one of them alone can't unpublish the others; where as many report another one, that of the oldest.
pub(super) fn of_lineage(
    node: &SorchaCentralNode,
    nodes: &[Arc<SorchaCentralNode>],
) -> Option<Contradiction> {
    let mine = lineage(node)?;
    let mut holders: BTreeMap<&str, Vec<&SorchaCentralNode>> = BTreeMap::new();
    for other in nodes {
        if let Some(lineage) = lineage(other) {
            holders.entry(lineage).or_default().push(other);
        }
    }
    let oldest = |held: &[&SorchaCentralNode]| held.iter().map(|node| age(*node)).min();
    let (theirs, held) = holders
        .into_iter()
        .max_by(|(_, a), (_, b)| a.len().cmp(&b.len()).then_with(|| oldest(b).cmp(&oldest(a))))?;
    if theirs == mine {
        return None;
    }
    let other = held.iter().min_by_key(|node| age(**node))?;
    Some(Contradiction::Lineage { mine: short(mine), theirs: short(theirs), other: other.name_any() })
}

fn lineage(node: &SorchaCentralNode) -> Option<&str> {
    node.status.as_ref()?.node.as_ref()?.lineage.as_deref()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::Network, *};
    use crate::fixtures::{central, central_with};

    fn aged(mut node: SorchaCentralNode, second: i64) -> Arc<SorchaCentralNode> {
        let created = Timestamp::from_second(1_790_000_000 + second).expect("a time");
        node.metadata.creation_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(created));
        Arc::new(node)
    }

    fn network(nodes: &[&Arc<SorchaCentralNode>]) -> Network {
        Network::new("sorcha.dev", "shop", nodes.iter().map(|node| Arc::clone(node)).collect())
    }

    fn names(network: &Network) -> Vec<String> {
        network.internal().into_iter().map(|endpoint| endpoint.id).collect()
    }

    #[test]
    fn of_two_that_contradict_each_other_the_older_one_is_right() {
        let embedded = json!({"store": {"embedded": {}}});
        let named = json!({"hostname": "n5.sorcha.dev", "store": {"mongodb": {"uriSecretRef": {"name": "db", "key": "uri"}}}});
        let managed = |image: &str| json!({"store": {"mongodb": {"managed": {"image": image}}}});
        let database = json!({"store": {"mongodb": {"uriSecretRef": {"name": "db", "key": "uri"}, "database": "other"}}});
        for (older, newer) in [
            (central_with("n5", &embedded), central_with("n0", &embedded)),
            (central("n5", 9), central_with("n0", &embedded)),
            (central("n5", 9), central_with("n0", &named)),
            (central_with("n5", &managed("a")), central_with("n0", &managed("b"))),
            (central("n5", 9), central_with("n0", &database)),
        ] {
            let (older, newer) = (aged(older, 1), aged(newer, 2));
            for order in [[&older, &newer], [&newer, &older]] {
                let network = network(&order);
                assert_eq!(network.check(&older), Ok(()));
                let refused = network.check(&newer).expect_err("a contradiction");
                assert!(refused.to_string().contains("n5") && refused.reason() == "Conflict", "{refused}");
                assert_eq!(names(&network), ["n5"]);
            }
        }
    }

    #[test]
    fn what_contradicts_only_a_refused_one_is_taken() {
        let database = json!({"store": {"mongodb": {"uriSecretRef": {"name": "db", "key": "uri"}, "database": "other"}}});
        let (n0, n1, n2) =
            (aged(central("n0", 0), 1), aged(central_with("n1", &database), 2), aged(central("n2", 0), 3));
        let network = network(&[&n2, &n1, &n0]);
        assert!(network.check(&n1).is_err());
        assert_eq!((network.check(&n2), names(&network)), (Ok(()), vec!["n0".to_owned(), "n2".to_owned()]));
    }

    #[test]
    fn resources_of_one_second_have_an_order_too() {
        let embedded = json!({"store": {"embedded": {}}});
        let (a, b) = (aged(central_with("n0", &embedded), 1), aged(central_with("n1", &embedded), 1));
        for order in [[&a, &b], [&b, &a]] {
            assert_eq!(names(&network(&order)), ["n0"]);
        }
        let (a, b) = (central_with("n0", &embedded), central_with("n1", &embedded));
        assert_eq!(names(&network(&[&Arc::new(b), &Arc::new(a)])), ["n0"], "without a time");
    }

    #[test]
    fn a_register_of_another_lineage_is_not_published() {
        let reports = |name: &str, second: i64, lineage: Value| {
            let mut node = central(name, 0);
            let status = json!({"node": {"name": format!("{name}-0"), "lineage": lineage}});
            node.status = serde_json::from_value(status).expect("a status");
            aged(node, second)
        };
        let (old, new) = (reports("n9", 1, json!("aaaa")), reports("n0", 2, json!("bbbb")));
        let two = network(&[&new, &old]);
        assert_eq!(names(&two), ["n9"]);
        let told = two.check_lineage(&new).expect_err("another lineage").to_string();
        assert!(told.contains("aaaa") && told.contains("bbbb") && told.contains("n9"), "{told}");
        assert_eq!(two.check_lineage(&old), Ok(()));
        // One that lies does not unpublish the others, however old it is.
        let (n1, n2) = (reports("n1", 3, json!("bbbb")), reports("n2", 4, Value::Null));
        assert_eq!(names(&network(&[&new, &old, &n1, &n2])), ["n0", "n1", "n2"]);
    }
}
