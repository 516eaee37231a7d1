//! Certificates that others make.

use super::*;

fn encoded(leaf: &Leaf) -> Value {
    let data = leaf_content(leaf).data;
    let data: serde_json::Map<String, Value> =
        data.into_iter().map(|(key, value)| (key, json!(BASE64_STANDARD.encode(value)))).collect();
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}, "data": data})
}

async fn with_secret(secret: Option<Value>, trust: &Value) -> (Vec<Call>, Value) {
    let further = authority().bundle();
    let scene = Scene::new(move |call| match call.path.rsplit('/').next() {
        Some("mine") => secret.clone().map(|secret| (200, secret)),
        Some("further") => Some((200, json!({"metadata": {"name": "further"}, "data": {"ca.crt": further}}))),
        _ => None,
    });
    let spec = json!({"tls": {"mode": "Secret", "secretName": "mine", "trust": trust}});
    told(&scene, peer_with("edge", &spec)).await
}

#[tokio::test]
async fn a_users_secret_must_be_there_and_fit() {
    let authority = authority();
    let good = leaf(edge(), &authority);
    let stranger = leaf(identity::peers(NETWORK, "shop", "other"), &authority);
    let alone = Leaf { trust: String::new(), ..good.clone() };
    for (secret, reason, expected) in [
        (None, "SecretNotFound", "Secret mine has no key tls.crt"),
        (
            Some(encoded(&stranger)),
            "CertificateUnusable",
            "has no URI name spiffe://sorcha.dev/ns/shop/sorchapeer/edge",
        ),
        (Some(encoded(&alone)), "CertificateUnusable", "ca.crt has no certificate"),
    ] {
        let (calls, status) = with_secret(secret, &json!([])).await;
        let told = condition(&status, "Ready");
        assert_eq!(told["reason"], reason);
        assert!(told["message"].as_str().is_some_and(|text| text.contains(expected)), "{told}");
        assert!(!calls.iter().any(|call| call.path.contains("statefulsets")));
    }
    let (calls, status) = with_secret(Some(encoded(&good)), &json!([])).await;
    assert_eq!(condition(&status, "CertificateValid")["reason"], "Issued", "{status}");
    assert!(calls.iter().any(|call| call.path.contains("statefulsets")));
    assert!(written(&calls, "sorcha-ca.sorcha.dev").is_empty(), "no authority of ours");
}

#[tokio::test]
async fn further_authorities_are_laid_beside_a_users_secret() {
    let good = leaf(edge(), &authority());
    let trust = json!([{"configMapRef": {"name": "further"}}]);
    let (calls, _) = with_secret(Some(encoded(&good)), &trust).await;
    let bundle = written(&calls, "edge-trust")[0].body["data"]["ca.crt"].clone();
    assert_eq!(bundle.as_str().expect("text").matches("BEGIN CERTIFICATE").count(), 2);
    let set = calls
        .iter()
        .find(|call| call.path.contains("statefulsets") && call.method == "PATCH")
        .expect("a set");
    let volumes = set.body["spec"]["template"]["spec"]["volumes"].as_array().expect("volumes");
    let sources =
        &volumes.iter().find(|volume| volume["name"] == "tls").expect("tls")["projected"]["sources"];
    assert_eq!(
        (&sources[0]["secret"]["name"], &sources[1]["configMap"]["name"]),
        (&json!("mine"), &json!("edge-trust"))
    );
    let missing = json!([{"secretRef": {"name": "nowhere", "key": "ca.crt"}}]);
    let (_, status) = with_secret(Some(encoded(&good)), &missing).await;
    assert_eq!(condition(&status, "Ready")["reason"], "TrustNotFound");
}

fn cert_manager_peer() -> SorchaPeer {
    peer_with("edge", &json!({"tls": {"mode": "CertManager", "issuerRef": {"name": "ours"}}}))
}

#[tokio::test]
async fn cert_manager_is_asked_and_its_words_are_passed_on() {
    let not_served = json!({"kind": "Status", "apiVersion": "v1", "code": 404, "reason": "NotFound", "message": "the server could not find the requested resource", "details": {}});
    let scene =
        Scene::new(move |call| call.path.contains("/cert-manager.io/").then(|| (404, not_served.clone())));
    let (_, status) = told(&scene, cert_manager_peer()).await;
    assert_eq!(condition(&status, "CertificateValid")["reason"], "CertManagerMissing");

    let scene = Scene::new(|call| {
        let absent = json!({"kind": "Status", "apiVersion": "v1", "code": 404, "reason": "NotFound", "details": {"name": "edge"}});
        let mut asked = call.body.clone();
        asked["status"] =
            json!({"conditions": [{"type": "Ready", "status": "False", "message": "issuer ours not found"}]});
        let ours = call.path.contains("/cert-manager.io/");
        ours.then(|| if call.method == "GET" { (404, absent) } else { (200, asked) })
    });
    let (calls, status) = told(&scene, cert_manager_peer()).await;
    let asked = &written(&calls, "edge")[0].body["spec"];
    assert_eq!(asked["secretName"], "edge-cert-manager-tls");
    assert_eq!(asked["issuerRef"], json!({"name": "ours", "kind": "Issuer", "group": "cert-manager.io"}));
    assert_eq!(asked["uris"], json!(["spiffe://sorcha.dev/ns/shop/sorchapeer/edge"]));
    assert_eq!((&asked["duration"], &asked["renewBefore"]), (&json!("720h0m0s"), &json!("240h0m0s")));
    let told_ = condition(&status, "Ready");
    assert_eq!(told_["reason"], "WaitingForCertificate");
    assert!(told_["message"].as_str().is_some_and(|text| text.contains("issuer ours not found")), "{told_}");
}

#[tokio::test]
async fn what_cert_manager_issued_is_mounted() {
    let mut scene = Scene::new(|call| {
        let owner = controller_reference(&peer("edge", 1));
        let asked = json!({"metadata": {"name": "edge", "ownerReferences": [owner]}, "spec": {}});
        (call.method == "GET" && call.path.contains("/cert-manager.io/")).then_some((200, asked))
    });
    put(&mut scene.writers.secrets, leaf_secret("edge-cert-manager-tls", &leaf(edge(), &authority())));
    let (calls, status) = told(&scene, cert_manager_peer()).await;
    assert_eq!(condition(&status, "CertificateValid")["reason"], "Issued");
    let set = calls
        .iter()
        .find(|call| call.path.contains("statefulsets") && call.method == "PATCH")
        .expect("a set");
    assert!(set.body.to_string().contains("edge-cert-manager-tls"));
    assert!(written(&calls, "sorcha-ca.sorcha.dev").is_empty(), "no authority of ours");
}
