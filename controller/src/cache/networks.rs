//! Networks in which something has changed that concerns several resources: these are looked at again once, however much has
//! changed and however often.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kube::ResourceExt as _;
use tokio::{sync::Notify, time::sleep};

use super::{Caches, Triggers};
use crate::names::Component;

/// Changes that come at once lead to one look.
const GATHER: Duration = Duration::from_millis(200);

/// Whom a change concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Concerned {
    /// The central nodes, and the blueprints that wait for one or spread.
    CentralNodes,
    /// These, and the peers.
    All,
}

/// Networks in which something has changed, by namespace and name.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    changed: Mutex<HashMap<(String, String), Concerned>>,
    news: Notify,
}

impl Networks {
    pub(super) fn changed(&self, namespace: &str, network: &str, concerned: Concerned) {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let all = changed.entry((namespace.to_owned(), network.to_owned())).or_insert(concerned);
        *all = concerned.max(*all);
        self.news.notify_one();
    }

    fn take(&self) -> HashMap<(String, String), Concerned> {
        std::mem::take(&mut *self.changed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Triggers {
    /// Looks at networks again that have changed, for ever.
    pub(super) async fn follow_networks(&self, caches: &Caches) {
        loop {
            self.networks.news.notified().await;
            sleep(GATHER).await;
            self.touch_networks(caches);
        }
    }

    pub(super) fn touch_networks(&self, caches: &Caches) {
        let changed = self.networks.take();
        if changed.is_empty() {
            return;
        }
        let concerned = |namespace: Option<String>, network: &str| {
            changed.get(&(namespace.unwrap_or_default(), network.to_owned())).copied()
        };
        for node in caches.central_nodes.state() {
            if concerned(node.namespace(), &node.spec.network).is_some() {
                self.touch(Component::CentralNode, &node.namespace().unwrap_or_default(), &node.name_any());
            }
        }
        for peer in caches.peers.state() {
            if concerned(peer.namespace(), &peer.spec.network) == Some(Concerned::All) {
                self.touch(Component::Peer, &peer.namespace().unwrap_or_default(), &peer.name_any());
            }
        }
        self.touch_blueprints(caches, |namespace, network| concerned(Some(namespace), network).is_some());
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        cache::caches,
        fixtures::{central, peer, put},
    };

    #[test]
    fn a_thousand_changes_of_a_network_are_one_look_at_each_of_its_resources() {
        let (caches, mut writers) = caches();
        let (central_requests, mut centrals) = mpsc::unbounded_channel();
        let (peer_requests, mut peers) = mpsc::unbounded_channel();
        let triggers = Triggers {
            central: central_requests,
            peer: peer_requests,
            blueprint: mpsc::unbounded_channel().0,
            nodes: Default::default(),
            networks: Default::default(),
        };
        for number in 0..100 {
            put(&mut writers.central_nodes, central(&format!("n{number}"), 0));
        }
        put(&mut writers.peers, peer("edge", 1));
        let mut other = central("other", 0);
        other.spec.network = "other.test".into();
        put(&mut writers.central_nodes, other);
        for _ in 0..1_000 {
            triggers.networks.changed("shop", "sorcha.dev", Concerned::CentralNodes);
        }
        triggers.touch_networks(&caches);
        let count =
            |touched: &mut mpsc::UnboundedReceiver<_>| std::iter::from_fn(|| touched.try_recv().ok()).count();
        assert_eq!(count(&mut centrals), 100);
        assert!(peers.try_recv().is_err());
        triggers.networks.changed("shop", "sorcha.dev", Concerned::All);
        triggers.networks.changed("shop", "sorcha.dev", Concerned::CentralNodes);
        triggers.touch_networks(&caches);
        assert_eq!((count(&mut centrals), peers.try_recv().is_ok()), (100, true));
        triggers.touch_networks(&caches);
        assert_eq!(count(&mut centrals), 0);
    }
}
