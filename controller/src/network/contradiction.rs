//! Resources that are each valid but contradict each other: the older one is right; pure.

use std::collections::HashMap;

use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;
use sorcha_crds::{SorchaCentralNode, central_node::ManagedMongoDb};

use super::{hostname, managed};
use crate::apply::covers_open;

/// Central nodes that one network may have in a namespace: each is compared with the others at every look.
const NODES: usize = 64;

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
    /// Too many central nodes.
    #[error(
        "network {network} has {NODES} older central nodes in this namespace, which is the limit: delete one"
    )]
    TooMany {
        /// The network.
        network: String,
    },
    /// Two registers, as the nodes report them.
    #[error(
        "its register has the lineage {mine}, but that of the network is {theirs}, as {other} reports: central nodes of a network \
         share one register, so peers are not told of this one; name the same database in both, or see `sorcha-node register restore`"
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

/// Checks that no older resource of the other kind has the name: their objects would have the same names.
///
/// # Errors
/// [`Contradiction::Name`].
pub(crate) fn check_name<K, O>(subject: &K, namesake: Option<&O>) -> Result<(), Contradiction>
where
    K: kube::Resource<DynamicType = ()>,
    O: kube::Resource<DynamicType = ()>,
{
    match namesake.filter(|other| other.meta().deletion_timestamp.is_none() && age(*other) <= age(subject)) {
        Some(_) => Err(Contradiction::Name { kind: O::kind(&()).into_owned(), name: subject.name_any() }),
        None => Ok(()),
    }
}

/// Orders resources from the oldest to the newest; of two that were made in the same second, the uid decides, so that the
/// order is the same at every look.
#[must_use]
pub(crate) fn age<K: kube::Resource>(resource: &K) -> (Option<Timestamp>, String, String) {
    let created = resource.creation_timestamp().map(|time| time.0);
    (created, resource.uid().unwrap_or_default(), resource.name_any())
}

/// Central nodes of a network that don't contradict each other, from the oldest on, as far as the next one is compared with
/// them. All of them are alike in what must be alike, so that one stands for all.
#[derive(Default)]
pub(super) struct Older<'a> {
    count: usize,
    oldest: Option<&'a SorchaCentralNode>,
    hostnames: HashMap<String, &'a SorchaCentralNode>,
    managed: Option<(&'a SorchaCentralNode, &'a ManagedMongoDb)>,
    database: Option<(&'a SorchaCentralNode, &'a str)>,
}

fn database(node: &SorchaCentralNode) -> Option<&str> {
    node.spec.store.mongodb.as_ref().map(|mongodb| mongodb.database.as_str())
}

impl<'a> Older<'a> {
    /// What stands between these and a younger one.
    pub(super) fn against(&self, network: &str, node: &SorchaCentralNode) -> Option<Contradiction> {
        let mine = hostname(node);
        if let Some(other) = self.hostnames.get(&mine) {
            return Some(Contradiction::Hostname { hostname: mine, other: other.name_any() });
        }
        let embedded = |node: &SorchaCentralNode| node.spec.store.embedded.is_some();
        if let Some(other) = self.oldest.filter(|other| embedded(node) || embedded(other)) {
            return Some(Contradiction::Embedded { network: network.to_owned(), other: other.name_any() });
        }
        if let (Some(mine), Some((other, theirs))) = (managed(node), self.managed)
            && !is_same(mine, theirs)
        {
            return Some(Contradiction::Managed { other: other.name_any() });
        }
        if let (Some(mine), Some((other, theirs))) = (database(node), self.database)
            && mine != theirs
        {
            let (mine, theirs) = (mine.to_owned(), theirs.to_owned());
            return Some(Contradiction::Database { mine, theirs, other: other.name_any() });
        }
        (self.count >= NODES).then(|| Contradiction::TooMany { network: network.to_owned() })
    }

    /// One that does not contradict them.
    pub(super) fn add(&mut self, node: &'a SorchaCentralNode) {
        self.count += 1;
        self.oldest.get_or_insert(node);
        self.hostnames.insert(hostname(node), node);
        self.managed = self.managed.or_else(|| Some((node, managed(node)?)));
        self.database = self.database.or_else(|| Some((node, database(node)?)));
    }
}

/// Whether two specs ask for the same server, however they write its quantities.
fn is_same(a: &ManagedMongoDb, b: &ManagedMongoDb) -> bool {
    let (a, b) = (json!(a), json!(b));
    covers_open(&a, &b) && covers_open(&b, &a)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

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
    fn quantities_are_equal_however_they_are_written() {
        let managed = |size: &str, cpu: &str| {
            let limits = json!({"cpu": cpu, "memory": "1Gi"});
            json!({"store": {"mongodb": {"managed": {"storage": {"size": size}, "resources": {"limits": limits}}}}})
        };
        let older = aged(central_with("n0", &managed("1Gi", "1")), 1);
        for (size, cpu, well) in
            [("1024Mi", "1000m", true), ("1073741824", "1.0", true), ("2Gi", "1", false), ("1Gi", "2", false)]
        {
            let newer = aged(central_with("n1", &managed(size, cpu)), 2);
            assert_eq!(network(&[&older, &newer]).check(&newer).is_ok(), well, "{size} {cpu}");
        }
    }

    /// Thousands of resources of a network cost no more than to look at each, and the oldest ones go on.
    #[test]
    fn a_network_has_only_so_many() {
        let named = |number: usize| {
            let secret = json!({"name": format!("db-{number}"), "key": "uri"});
            let node =
                central_with(&format!("n{number}"), &json!({"store": {"mongodb": {"uriSecretRef": secret}}}));
            aged(node, i64::try_from(number).expect("small"))
        };
        let all: Vec<_> = (0..3_000).map(named).collect();
        let started = std::time::Instant::now();
        let network = Network::new("sorcha.dev", "shop", all.clone());
        assert_eq!(network.nodes.len(), NODES);
        assert!(all[..NODES].iter().all(|node| network.check(node).is_ok()));
        let refused = network.check(&all[NODES]).expect_err("too many");
        assert_eq!(
            (refused.reason(), refused),
            ("Conflict", Contradiction::TooMany { network: "sorcha.dev".into() })
        );
        let took = started.elapsed();
        assert!(took < std::time::Duration::from_secs(2), "{took:?}");
    }
}
