//! Who may publish, and from where.

use super::*;

fn assert_told(publishers: &Value, state: &State, status: bool, reason: &str, parts: &[&str]) {
    let node = central_with("n0", &json!({"store": {"embedded": {}}, "publishers": publishers}));
    let finding = crate::central::publishers::finding(&node, state);
    assert_eq!((finding.status, finding.reason), (status.into(), reason), "{publishers}");
    assert!(parts.iter().all(|part| finding.message.contains(part)), "{}", finding.message);
}

#[test]
fn who_may_publish_is_told_as_it_is() {
    let fault = State::Fault("the binding is not there".into());
    let tokens = json!({"tokensSecretRef": {"name": "db", "key": "tokens"}});
    let verb = ["publish on sorchacentralnodes.sorcha.dev/n0", "for publish.sorcha.dev/shop/sorcha.dev"];
    assert_told(&json!({}), &State::Given, true, "Kubernetes", &verb);
    assert_told(&tokens, &State::Given, true, "Kubernetes", &["Secret db are accepted too"]);
    assert_told(&json!({}), &fault, false, "RightsNotGiven", &["the binding is not there"]);
    assert_told(&tokens, &State::NotHere, true, "TokensOnly", &["Secret db", "scope Namespace"]);
    let remedy = ["nobody", "spec.publishers.tokensSecretRef"];
    assert_told(&json!({}), &State::NotHere, false, "NoClusterRights", &remedy);
}

#[test]
fn without_kubernetes_tokens_of_a_secret_are_all() {
    let off = json!({"kubernetes": {"enabled": false}});
    let tokens =
        json!({"tokensSecretRef": {"name": "db", "key": "tokens"}, "kubernetes": {"enabled": false}});
    assert_told(&tokens, &State::Given, true, "TokensOnly", &["db"]);
    assert_told(&off, &State::Given, false, "Nobody", &["nobody may publish"]);
}

#[test]
fn the_configuration_follows_publishers_and_rights() {
    let config = |publishers: &Value, may_review: bool| {
        let node = central_with("n0", &json!({"store": {"embedded": {}}, "publishers": publishers}));
        let map = desired::desired(&node, IMAGE, "IfNotPresent", may_review).config_map;
        map.data.expect("data").into_values().next().expect("a file")
    };
    let with_tokens = json!({"tokensSecretRef": {"name": "db", "key": "tokens"}});
    let both = config(&with_tokens, true);
    assert!(both.contains("token_file = \"/etc/sorcha/publishers/tokens\""), "{both}");
    assert!(both.contains("[http.kubernetes]\nenabled = true"), "{both}");
    assert!(!config(&with_tokens, false).contains("kubernetes"), "without the right it would only fail");
    assert!(!config(&json!({"kubernetes": {"enabled": false}}), true).contains("kubernetes"));
    assert!(
        config(&json!({}), true).contains("enabled = true")
            && !config(&json!({}), true).contains("token_file")
    );
}

#[test]
fn http_is_open_to_all_or_to_those_named_backups_and_the_controller() {
    let from = |spec: &Value| {
        let node = central_with("n0", spec);
        let mut policy = desired::desired(&node, IMAGE, "IfNotPresent", true).network_policy;
        crate::desired::admit_controller(&mut policy, "sorcha-system");
        let rules = policy.spec.expect("a spec").ingress.expect("rules");
        let http = json!(rules.into_iter().find(|rule| json!(rule.ports)[0]["port"] == "http"));
        assert_eq!(json!(http["ports"]).as_array().map(Vec::len), Some(2), "HTTPS, too");
        http["from"].clone()
    };
    assert_eq!(from(&json!({"store": {"embedded": {}}})), Value::Null);
    let apps = json!({"namespaceSelector": {"matchLabels": {"team": "shop"}}});
    let named = from(&json!({"store": {"embedded": {}}, "httpFrom": [apps]}));
    let component = |name: &str| json!({"app.kubernetes.io/component": name});
    let expected = json!([
        apps,
        {"podSelector": {"matchLabels": {"app.kubernetes.io/instance": "n0", "app.kubernetes.io/component": "backup"}}},
        {
            "podSelector": {"matchLabels": component("controller")},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "sorcha-system"}},
        },
    ]);
    assert_eq!(named, expected);
}
