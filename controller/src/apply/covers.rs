//! Whether an object holds what is desired, however it is spelled; pure.
//!
//! The API server keeps quantities in a form of its own, leaves out what is empty, fills in defaults and may order lists as
//! it likes. None of that is a difference.

use serde_json::Value;

use super::quantity;
use crate::cache::Cached;

/// Maps whose values are quantities.
const QUANTITY_MAPS: [&str; 2] = ["limits", "requests"];
/// Fields that are quantities.
const QUANTITIES: [&str; 3] = ["sizeLimit", "divisor", "size"];

/// What else the lists of an object may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lists {
    /// Whatever the server or others added.
    Open,
    /// Nothing: who may do what, and who may connect, is as the spec says. These lists are atomic, so that applying
    /// removes what was added.
    Closed,
}

impl Lists {
    pub(super) fn of<K: Cached>() -> Self {
        match &*K::kind(&()) {
            "Role" | "RoleBinding" | "NetworkPolicy" => Self::Closed,
            _ => Self::Open,
        }
    }
}

/// Whether everything desired is held. What the server or others added does not count, but in closed lists; the order of
/// lists does not count either.
pub(super) fn covers(held: &Value, desired: &Value, lists: Lists) -> bool {
    covers_normal(&normal(held), &normal(desired), lists)
}

/// Whether an object holds everything desired, whatever else it holds.
#[must_use]
pub(crate) fn covers_open(held: &Value, desired: &Value) -> bool {
    covers(held, desired, Lists::Open)
}

fn covers_normal(held: &Value, desired: &Value, lists: Lists) -> bool {
    match (held, desired) {
        (Value::Object(held), Value::Object(desired)) => desired.iter().all(|(key, desired)| {
            // Owner references and the like are anybody's to add.
            let lists = if key == "metadata" { Lists::Open } else { lists };
            held.get(key).map_or_else(|| is_empty(desired), |held| covers_normal(held, desired, lists))
        }),
        (Value::Array(held), Value::Array(desired)) => {
            (lists == Lists::Open || held.len() == desired.len())
                && desired.iter().all(|desired| held.iter().any(|held| covers_normal(held, desired, lists)))
        }
        _ => held == desired,
    }
}

/// An object with its quantities in one spelling.
fn normal(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let inner = map.iter().map(|(key, inner)| {
                let normal = match inner {
                    Value::Object(values) if QUANTITY_MAPS.contains(&key.as_str()) => {
                        values.iter().map(|(name, value)| (name.clone(), normal_quantity(value))).collect()
                    }
                    Value::String(_) | Value::Number(_) if QUANTITIES.contains(&key.as_str()) => {
                        normal_quantity(inner)
                    }
                    _ => normal(inner),
                };
                (key.clone(), normal)
            });
            inner.collect()
        }
        Value::Array(list) => list.iter().map(normal).collect(),
        other => other.clone(),
    }
}

fn normal_quantity(value: &Value) -> Value {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        other => return other.clone(),
    };
    quantity::thousandths(&text).map_or_else(|| value.clone(), |value| format!("{value}m").into())
}

/// Values that the server does not keep: it leaves out what is empty, and what is the zero of its type.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(is_empty),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_server_adds_is_no_drift() {
        let desired = json!({"spec": {"ports": [{"port": 1}], "selector": {"a": "b"}, "list": []}});
        let held = json!({"spec": {"ports": [{"port": 1, "protocol": "TCP"}], "selector": {"a": "b"}, "clusterIP": "x"}});
        assert!(covers(&held, &desired, Lists::Open));
    }

    #[test]
    fn what_others_add_to_a_closed_list_is_drift() {
        let desired = json!({"metadata": {"ownerReferences": [1]}, "rules": [{"verbs": ["patch"]}]});
        let held = |rules: Value| json!({"metadata": {"ownerReferences": [1, 2]}, "rules": rules});
        assert!(covers(&held(json!([{"verbs": ["patch"]}])), &desired, Lists::Closed));
        for rules in [json!([{"verbs": ["patch"]}, {"verbs": ["get"]}]), json!([{"verbs": ["patch", "get"]}])]
        {
            assert!(!covers(&held(rules.clone()), &desired, Lists::Closed), "{rules}");
            assert!(covers(&held(rules), &desired, Lists::Open));
        }
    }

    #[test]
    fn a_changed_or_missing_value_is_drift() {
        let desired = json!({"spec": {"replicas": 3, "ports": [{"port": 1}, {"port": 2}]}});
        for held in [
            json!({"spec": {"replicas": 2, "ports": [{"port": 1}, {"port": 2}]}}),
            json!({"spec": {"ports": [{"port": 1}, {"port": 2}]}}),
            json!({"spec": {"replicas": 3, "ports": [{"port": 1}]}}),
            json!({}),
        ] {
            assert!(!covers(&held, &desired, Lists::Open), "{held}");
        }
    }

    #[test]
    fn quantities_are_compared_as_quantities_and_other_texts_as_texts() {
        let resources = |cpu: &str, memory: &str| json!({"spec": {"containers": [{"resources": {"limits": {"cpu": cpu}, "requests": {"memory": memory}}}]}});
        assert!(covers(&resources("1", "1Gi"), &resources("1000m", "1024Mi"), Lists::Open));
        assert!(!covers(&resources("1", "1Gi"), &resources("1001m", "1024Mi"), Lists::Open));
        let size = |limit: &str| json!({"volumes": [{"emptyDir": {"sizeLimit": limit}}]});
        assert!(covers(&size("1Gi"), &size("1073741824"), Lists::Open));
        for path in ["annotations", "labels", "data"] {
            let held = |value: &str| json!({path: {"limits": value, "cpu": value}});
            assert!(!covers(&held("1"), &held("1000m"), Lists::Open), "{path}");
        }
    }

    #[test]
    fn what_the_server_leaves_out_is_no_drift() {
        let desired = json!({"affinity": {"podAffinity": {"required": []}}, "tolerations": [{"key": "a", "value": "", "operator": ""}],
            "hostNetwork": false, "minReady": 0, "className": null});
        assert!(covers(&json!({"tolerations": [{"key": "a"}]}), &desired, Lists::Open));
        // A zero that stands against something else is one.
        assert!(!covers(&json!({"replicas": 3}), &json!({"replicas": 0}), Lists::Open));
        assert!(!covers(&json!({"paused": true}), &json!({"paused": false}), Lists::Open));
    }

    fn shuffled(value: &Value) -> Value {
        match value {
            Value::Array(list) => list.iter().rev().map(shuffled).collect(),
            Value::Object(map) => {
                map.iter().rev().map(|(key, value)| (key.clone(), shuffled(value))).collect()
            }
            other => other.clone(),
        }
    }

    /// As an API server keeps it: without what is empty, with defaults, in another order.
    fn kept(value: &Value) -> Value {
        match value {
            Value::Array(list) => list.iter().map(kept).collect(),
            Value::Object(map) => {
                let held = map.iter().filter(|(_, value)| !is_empty(value));
                let defaults = [("aDefault".to_owned(), json!("filled in"))];
                held.map(|(key, value)| (key.clone(), kept(value))).chain(defaults).collect()
            }
            other => other.clone(),
        }
    }

    fn objects() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z0-9.]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{1,6}|limits|requests", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_object_is_covered_by_what_the_server_makes_of_it(object in objects()) {
            let object = json!({"spec": object});
            prop_assert!(covers(&object, &object, Lists::Closed));
            prop_assert!(covers(&shuffled(&object), &object, Lists::Open));
            prop_assert!(covers(&kept(&object), &object, Lists::Open), "{}", kept(&object));
        }
    }
}
