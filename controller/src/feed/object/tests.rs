use serde_json::{Value, json};
use sorcha_crds::{SorchaBlueprint, SorchaCentralNode, SorchaPeer};

use super::*;

const MARKER: &str = "MARKER";

fn nested(levels: usize) -> String {
    format!("{}\"{MARKER}\"{}", "{\"f:a\":".repeat(levels), "}".repeat(levels))
}

fn text(kind: &str, managed: &str, spec: &str) -> String {
    format!(
        r#"{{"apiVersion": "sorcha.dev/v1alpha1", "kind": "{kind}", "metadata": {{"name": "a", "namespace": "shop",
        "uid": "u", "generation": 3, "resourceVersion": "7", "managedFields": [{{"manager": "m", "fieldsV1": {managed}}}],
        "labels": {{"x": "y"}}}}, "spec": {spec}, "status": {{"conditions": []}}}}"#
    )
}

#[test]
fn documents_and_field_managers_records_are_nested_as_deep_as_they_like() {
    for levels in [1, 100, 127, 128, 130, 1_000, 9_999] {
        let spec = format!(r#"{{"id": "a", "document": {}, "active": false}}"#, nested(levels));
        let text = text("SorchaBlueprint", &nested(levels), &spec);
        let Ok(Seen::Readable(object)) = read::<SorchaBlueprint>(text.as_bytes(), Cut::Document) else {
            panic!("{levels} levels");
        };
        assert_eq!(object.spec.document, Some(json!({})), "{levels}");
        assert_eq!(object.metadata.managed_fields, Some(Vec::new()));
        assert!(!object.spec.active, "what comes after the document is read");
        let text = self::text("SorchaPeer", &nested(levels), "{\"replicas\": 2}");
        let read = read::<SorchaPeer>(text.as_bytes(), Cut::Records);
        assert!(matches!(read, Ok(Seen::Readable(peer)) if peer.spec.replicas == 2), "{levels}");
    }
}

#[test]
fn what_is_not_of_its_kind_is_known_by_name_and_place() {
    let deep = format!(r#"{{"store": {}}}"#, nested(1_000));
    for (spec, told) in [
        (r#"{"store": "MARKER"}"#, "spec.store has a field"),
        (r#"{"store": {"embedded": {"storage": {"size": ["MARKER"]}}}}"#, "spec.store.embedded has a field"),
        (r#"{"store": {"embedded": {}}, "MARKER": 1}"#, "has a field"),
        (r#"{"store": {"embedded": {}}, "priority": "MARKER"}"#, "spec.priority has a field"),
        (r#"{"store": {"embedded": {}}, "tls": {"mode": "MARKER"}}"#, "spec.tls.mode has a field"),
        (r#"{"store": {"embedded": {}}, "pod": {"labels": {"MARKER": 1}}}"#, "spec.pod.labels has a field"),
        (&deep, "spec.store has a field"),
        ("[]", "spec has a field"),
        ("\"MARKER\"", "spec has a field"),
    ] {
        let text = text("SorchaCentralNode", "{}", spec);
        let Ok(Seen::Unreadable(object)) = read::<SorchaCentralNode>(text.as_bytes(), Cut::Records) else {
            panic!("{spec}");
        };
        assert_eq!((object.name.as_str(), object.uid.as_str(), object.version.as_str()), ("a", "u", "7"));
        assert_eq!(object.generation, Some(3));
        assert!(object.problem.contains(told), "{spec}: {}", object.problem);
        assert!(!object.problem.contains(MARKER), "{spec}: {}", object.problem);
    }
}

#[test]
fn metadata_of_odd_forms_still_tells_which_object_it_is() {
    for metadata in [
        json!({"name": "a", "labels": [1]}),
        json!({"name": "a", "generation": "three", "finalizers": "x"}),
        json!({"name": "a", "deletionTimestamp": "yesterday"}),
        json!({"name": "a", "uid": 7, "resourceVersion": 7}),
    ] {
        let text = json!({"metadata": metadata, "data": {}}).to_string();
        let read = read::<k8s_openapi::api::core::v1::ConfigMap>(text.as_bytes(), Cut::Records);
        assert!(matches!(read, Ok(Seen::Unreadable(object)) if object.name == "a"), "{text}");
    }
    for text in ["", "[]", "{}", r#"{"metadata": {}}"#, r#"{"metadata": {"name": 1}}"#, r#"{"metadata": []}"#]
    {
        assert_eq!(read::<Value>(text.as_bytes(), Cut::Records), Err(Nameless), "{text}");
    }
}

#[test]
fn what_is_too_long_to_be_kept_is_not() {
    let long = "x".repeat(SPEC_BYTES + 1);
    let spec = format!(r#"{{"store": {{"embedded": {{}}}}, "hostname": "{long}"}}"#);
    let read = read::<SorchaCentralNode>(text("SorchaCentralNode", "{}", &spec).as_bytes(), Cut::Resource);
    assert!(matches!(read, Ok(Seen::Unreadable(object)) if object.problem.contains("longer than 65536")));
    let document = format!(r#"{{"document": {{"a": "{long}"}}}}"#);
    let read =
        self::read::<SorchaBlueprint>(text("SorchaBlueprint", "{}", &document).as_bytes(), Cut::Document);
    assert!(matches!(read, Ok(Seen::Readable(_))), "documents are not counted");
    for (length, well) in [(WHOLE_BYTES / 2, true), (WHOLE_BYTES, false)] {
        let map = json!({"metadata": {"name": "a", "managedFields": [{"fieldsV1": {"x": "y".repeat(WHOLE_BYTES)}}]},
            "data": {"a": "x".repeat(length)}});
        let read =
            self::read::<k8s_openapi::api::core::v1::ConfigMap>(map.to_string().as_bytes(), Cut::Records);
        assert_eq!(matches!(read, Ok(Seen::Readable(_))), well, "{length}");
    }
}

#[test]
fn a_field_that_is_null_is_one_that_is_not_there() {
    let text = r#"{"metadata": {"name": "a", "labels": null, "managedFields": null}, "data": null}"#;
    let read = read::<k8s_openapi::api::core::v1::ConfigMap>(text.as_bytes(), Cut::Records);
    assert!(matches!(read, Ok(Seen::Readable(map)) if map.data.is_none()));
}
