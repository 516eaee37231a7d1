//! How many resources have a certificate that will do: a measurement over the caches, made when somebody asks.

use kube::ResourceExt as _;
use prometheus::{
    IntGaugeVec, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use sorcha_crds::{SorchaCentralNode, SorchaPeer, conditions::CERTIFICATE_VALID};

use crate::{cache::Caches, reconcile::Pipeline};

/// Counts resources by kind, namespace and reason of their condition `CertificateValid`.
///
/// # Errors
/// When it is done twice.
pub(crate) fn measure(registry: &Registry, caches: Caches) -> prometheus::Result<()> {
    let options = Opts::new(
        "sorcha_controller_certificates",
        "Resources by kind, namespace and reason of their condition CertificateValid",
    );
    let count = IntGaugeVec::new(options, &["kind", "resource_namespace", "reason"])?;
    registry.register(Box::new(CertificateCount { caches, count }))
}

struct CertificateCount {
    caches: Caches,
    count: IntGaugeVec,
}

impl CertificateCount {
    fn add<P: Pipeline>(&self, namespace: Option<String>, status: Option<&P::Status>) {
        let conditions = status.map(P::conditions).unwrap_or_default();
        let condition = conditions.iter().find(|condition| condition.type_ == CERTIFICATE_VALID);
        let reason = condition.map_or("Unknown", |condition| condition.reason.as_str());
        let labels = [&*P::kind(&()), &namespace.unwrap_or_default(), reason];
        self.count.with_label_values(&labels).inc();
    }
}

impl Collector for CertificateCount {
    fn desc(&self) -> Vec<&Desc> {
        self.count.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.count.reset();
        for node in self.caches.central_nodes.state() {
            self.add::<SorchaCentralNode>(node.namespace(), node.status.as_ref());
        }
        for peer in self.caches.peers.state() {
            self.add::<SorchaPeer>(peer.namespace(), peer.status.as_ref());
        }
        self.count.collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::{Scene, peer, put};

    #[tokio::test]
    async fn resources_are_counted_by_the_reason_of_their_condition() {
        let mut scene = Scene::new(|_| None);
        for (name, reason) in [("a", "Issued"), ("b", "Issued"), ("c", "Expired")] {
            let mut peer = peer(name, 1);
            let condition = json!({
                "type": "CertificateValid", "status": "True", "reason": reason, "message": "",
                "lastTransitionTime": "2026-11-25T10:00:00Z",
            });
            peer.status = serde_json::from_value(json!({"conditions": [condition]})).expect("a status");
            put(&mut scene.writers.peers, peer);
        }
        let registry = Registry::new();
        measure(&registry, scene.ctx.caches.clone()).expect("registered");
        let counts = || {
            let families = registry.gather();
            let metrics = families[0].get_metric().iter();
            metrics.map(|metric| metric.get_gauge().get_value()).collect::<Vec<f64>>()
        };
        assert_eq!(counts(), [1.0, 2.0], "Expired, Issued");
        assert_eq!(counts(), [1.0, 2.0], "at each look");
    }
}
