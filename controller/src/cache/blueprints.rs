//! Which blueprints are looked at again when a central node reports.

use kube::{ResourceExt as _, runtime::reflector::ObjectRef};
use sorcha_crds::{
    SorchaBlueprint,
    conditions::{CONVERGED, READY, is_true},
};

use super::{Caches, Triggers};

impl Triggers {
    /// The blueprints of networks that wait for a central node, or spread. Settled ones are left alone: central nodes
    /// report often, and there may be many blueprints.
    pub(super) fn touch_blueprints(&self, caches: &Caches, concerned: impl Fn(String, &str) -> bool) {
        for blueprint in caches.blueprints.state() {
            if !is_settled(&blueprint)
                && concerned(blueprint.namespace().unwrap_or_default(), &blueprint.spec.network)
            {
                self.touch_blueprint(&blueprint);
            }
        }
    }

    pub(crate) fn touch_blueprint(&self, blueprint: &SorchaBlueprint) {
        // A receiver that is gone means that the controller is stopping.
        let _stopping = self.blueprint.send(ObjectRef::from_obj(blueprint)).is_err();
    }
}

/// Whether nothing is left to be done about a blueprint, and nothing to be told of its spreading.
fn is_settled(blueprint: &SorchaBlueprint) -> bool {
    blueprint.metadata.deletion_timestamp.is_none()
        && blueprint.status.as_ref().is_some_and(|status| {
            status.observed_generation == blueprint.metadata.generation
                && is_true(&status.conditions, READY)
                && is_true(&status.conditions, CONVERGED)
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sorcha_crds::conditions::{Finding, merge};
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        cache::caches,
        fixtures::{blueprint, central, put},
    };

    fn stands(name: &str, ready: bool, converged: bool) -> SorchaBlueprint {
        let mut blueprint = blueprint(name, &json!({"document": {}}));
        let now = serde_json::from_value("2026-11-22T10:00:00Z".into()).unwrap();
        let findings = vec![Finding::new(READY, ready, "A", ""), Finding::new(CONVERGED, converged, "A", "")];
        let status = blueprint.status.get_or_insert_default();
        status.conditions = merge(&[], findings, Some(1), &now);
        status.observed_generation = Some(1);
        blueprint
    }

    #[test]
    fn a_report_wakes_what_waits_and_nothing_else() {
        let (caches, mut writers) = caches();
        let (central_requests, peer_requests) = (mpsc::unbounded_channel().0, mpsc::unbounded_channel().0);
        let (blueprint_requests, mut touched) = mpsc::unbounded_channel();
        let triggers = Triggers {
            central: central_requests,
            peer: peer_requests,
            blueprint: blueprint_requests,
            nodes: Default::default(),
            networks: Default::default(),
        };
        let mut other_network = stands("other-network", false, false);
        other_network.spec.network = "other.test".into();
        let mut elsewhere = stands("elsewhere", false, false);
        elsewhere.metadata.namespace = Some("elsewhere".into());
        let mut changed = stands("changed", true, true);
        changed.metadata.generation = Some(2);
        let mut deleted = stands("deleted", true, true);
        deleted.metadata.deletion_timestamp = serde_json::from_value("2026-11-22T10:00:00Z".into()).unwrap();
        let new = blueprint("new", &json!({"document": {}}));
        for blueprint in [
            stands("settled", true, true),
            stands("waits", false, true),
            stands("spreads", true, false),
            other_network,
            elsewhere,
            changed,
            deleted,
            new,
        ] {
            put(&mut writers.blueprints, blueprint);
        }
        triggers.touch_network(&central("n0", 0));
        triggers.touch_networks(&caches);
        let mut names: Vec<String> = std::iter::from_fn(|| touched.try_recv().ok()).map(|o| o.name).collect();
        names.sort();
        assert_eq!(names, ["changed", "deleted", "new", "spreads", "waits"]);
    }
}
