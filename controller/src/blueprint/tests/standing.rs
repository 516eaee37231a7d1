use std::sync::Arc;

use serde_json::{Value, json};
use sorcha_crds::{SorchaBlueprintStatus, SorchaCentralNode, conditions::ConditionStatus};

use super::{
    super::{
        spread::{Spread, converged, spread},
        status::{Standing, difference, status},
    },
    world::World,
};
use crate::{
    fixtures::{blueprint, central},
    publication::{Entry, Outcome},
    reconcile::Difference,
};

fn node(ready: bool, status: &Value) -> Arc<SorchaCentralNode> {
    let mut node = central("n0", 0);
    let mut status = status.clone();
    status["conditions"] = json!([{
        "type": "Ready", "status": if ready { "True" } else { "False" }, "reason": "Serving", "message": "",
        "lastTransitionTime": "2026-11-22T10:00:00Z",
    }]);
    node.status = serde_json::from_value(status).unwrap();
    Arc::new(node)
}

fn report(version: i64, connected: i64, up_to_date: i64, converged: Option<i64>) -> Value {
    let mut status = json!({"version": version, "peers": {"connected": connected, "upToDate": up_to_date}});
    if let Some(converged) = converged {
        status["convergedVersion"] = json!(converged);
    }
    status
}

#[test]
fn peers_count_when_they_are_known_to_hold_it() {
    for (case, reports, expected) in [
        ("no report", vec![], (0, 0)),
        ("one that has not heard of it", vec![report(6, 3, 3, Some(6))], (0, 3)),
        ("its newest version", vec![report(7, 3, 2, Some(6))], (2, 3)),
        ("all of them", vec![report(7, 3, 3, Some(7))], (3, 3)),
        ("a newer one spreads", vec![report(9, 3, 0, Some(8))], (3, 3)),
        ("a newer one spreads, this one was never seen everywhere", vec![report(9, 3, 1, Some(6))], (1, 3)),
        ("two nodes", vec![report(7, 3, 3, Some(7)), report(6, 2, 2, Some(6))], (3, 5)),
        ("nobody connected to one", vec![report(7, 3, 3, Some(7)), report(6, 0, 0, None)], (3, 3)),
    ] {
        let nodes: Vec<_> = reports.iter().map(|report| node(true, report)).collect();
        let found = spread(7, &nodes);
        assert_eq!((found.up_to_date, found.total), expected, "{case}");
    }
}

#[test]
fn converged_is_said_of_peers_only() {
    let finding = |up_to_date, total, served| {
        let finding = converged(7, Spread { up_to_date, total, served });
        (finding.status, finding.reason)
    };
    assert_eq!(finding(3, 3, true), (ConditionStatus::True, "Converged"));
    assert_eq!(finding(2, 3, true), (ConditionStatus::False, "Replicating"));
    assert_eq!(finding(0, 0, true), (ConditionStatus::Unknown, "NoPeers"));
    assert_eq!(finding(0, 0, false), (ConditionStatus::Unknown, "NoCentralNode"));
}

fn in_register(version: i64) -> Standing {
    let entry = Entry {
        version,
        checksum: "sha256:00".into(),
        is_active: true,
        published_at: serde_json::from_value(json!("2026-11-22T10:00:00.123Z")).unwrap(),
        published_by: Some("alice".into()),
    };
    Standing::Looked(Outcome::InRegister { entry, central: "n0".into() })
}

fn of(standing: &Standing, report: &Value) -> SorchaBlueprintStatus {
    let now = serde_json::from_value(json!("2026-11-22T10:05:00Z")).unwrap();
    status(&blueprint("a-v1", &json!({"document": {}})), standing, &[node(true, report)], &now)
}

#[test]
fn a_whole_status() {
    let report = report(7, 3, 2, Some(6));
    insta::assert_yaml_snapshot!(json!({
        "published": of(&in_register(7), &report),
        "waiting": of(&Standing::Looked(Outcome::Waiting("n0: no answer in time".into())), &report),
        "leaving": of(&Standing::Leaving {
            why: "n0: no answer in time".into(),
            until: serde_json::from_value(json!("2026-11-22T10:10:00Z")).unwrap(),
        }, &report),
    }));
}

#[test]
fn a_status_survives_the_api_server() {
    let status = of(&in_register(7), &report(7, 3, 3, Some(7)));
    let back: SorchaBlueprintStatus = serde_json::from_value(json!(status)).unwrap();
    assert_eq!(difference(&status, &back), Difference::None);
}

#[test]
fn counts_alone_are_a_small_difference() {
    let seen = |up_to_date| of(&in_register(7), &report(7, 3, up_to_date, Some(6)));
    assert_eq!(difference(&seen(1), &seen(2)), Difference::Counts);
    assert_eq!(difference(&seen(2), &seen(3)), Difference::Real, "Converged turns true");
    assert_eq!(difference(&seen(2), &of(&in_register(8), &report(7, 3, 2, Some(6)))), Difference::Real);
}

#[tokio::test]
async fn counts_are_written_now_and_then() {
    let mut world = World::new(1).await;
    world.apply(&json!({"document": {"a": 1}}));
    world.pass().await.unwrap();
    let version = world.status().version.unwrap();
    assert_eq!(world.condition("Converged").0, "Unknown NoPeers");
    world.report(0, true, &report(version, 9, 1, None));
    world.pass().await.unwrap();
    assert_eq!(
        (world.status().peers.as_deref(), world.condition("Converged").0.as_str()),
        (Some("1/9"), "False Replicating")
    );
    for (up_to_date, shown) in [(2, "2/9"), (3, "2/9")] {
        world.report(0, true, &report(version, 9, up_to_date, None));
        world.pass().await.unwrap();
        assert_eq!(world.status().peers.as_deref(), Some(shown));
    }
    // What kubectl wait waits for is written at once.
    world.report(0, true, &report(version, 9, 9, Some(version)));
    world.pass().await.unwrap();
    assert_eq!(
        (world.status().peers.as_deref(), world.condition("Converged").0.as_str()),
        (Some("9/9"), "True Converged")
    );
    assert_eq!((world.status().peers_up_to_date, world.status().peers_total), (Some(9), Some(9)));
}
