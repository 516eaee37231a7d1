//! What is said to the API server, and what the status says then.

mod others;

use std::{collections::BTreeSet, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use serde_json::{Value, json};
use sorcha_crds::SorchaPeer;

use super::{NETWORK, POLICY};
use crate::{
    context::Ctx,
    desired::controller_reference,
    fixtures::{Call, Scene, central, condition, peer, peer_with, put},
    names,
    pki::{
        authority::Authority,
        identity, issue,
        leaf::{Leaf, WantedLeaf},
        secret::{Content, authority_content, leaf_content, read_authority, read_leaf, wanted},
    },
    reconcile::reconcile,
};

fn authority() -> Authority {
    let pair = issue::authority(NETWORK, POLICY.ca_lifetime, Ctx::now().0).expect("an authority");
    Authority::first(pair, BTreeSet::new())
}

fn leaf(names: crate::pki::x509::Names, authority: &Authority) -> Leaf {
    let now = Ctx::now().0;
    let pair = issue::leaf("x", &names, NETWORK, &authority.newest, POLICY.lifetime, now).expect("a leaf");
    let wanted = WantedLeaf { names, token: None, further: Vec::new() };
    Leaf { pair, trust: wanted.trust(authority), token: None, written: Some(now) }
}

fn edge() -> crate::pki::x509::Names {
    identity::peers(NETWORK, "shop", "edge")
}

fn meta(name: &str, labels: std::collections::BTreeMap<String, String>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some("shop".to_owned()),
        labels: Some(labels),
        ..ObjectMeta::default()
    }
}

/// A Secret that the API server holds.
fn held(meta: ObjectMeta, content: Content) -> Secret {
    let mut secret = wanted(None, meta, content);
    secret.metadata.resource_version = Some("5".to_owned());
    secret
}

fn authority_secret(authority: &Authority) -> Secret {
    held(meta("sorcha-ca.sorcha.dev", names::authority_labels(NETWORK)), authority_content(authority))
}

fn leaf_secret(name: &str, leaf: &Leaf) -> Secret {
    let mut meta = meta(name, names::labels(names::Component::Peer, "edge", NETWORK));
    meta.owner_references = Some(vec![controller_reference(&peer("edge", 1))]);
    held(meta, leaf_content(leaf))
}

async fn told(scene: &Scene, peer: SorchaPeer) -> (Vec<Call>, Value) {
    let _outcome = reconcile(Arc::new(peer), Arc::clone(&scene.ctx)).await.is_ok();
    let calls = scene.take_calls();
    let status = calls.iter().rev().find(|call| call.path.ends_with("/status")).expect("a status");
    let status = status.body["status"].clone();
    (calls, status)
}

fn written<'a>(calls: &'a [Call], name: &str) -> Vec<&'a Call> {
    calls.iter().filter(|call| call.method != "GET" && call.body["metadata"]["name"] == name).collect()
}

#[tokio::test]
async fn a_peer_gets_a_certificate_before_its_pods() {
    let scene = Scene::new(|_| None);
    let (calls, _) = told(&scene, peer("edge", 1)).await;
    let at = |name: &str| {
        calls.iter().position(|call| call.method != "GET" && call.body["metadata"]["name"] == name)
    };
    let place = |kind: &str| calls.iter().position(|call| call.body["kind"] == kind);
    assert!(at("sorcha-ca.sorcha.dev") < at("edge-tls") && at("edge-tls") < place("StatefulSet"));
    let secret: Secret =
        serde_json::from_value(written(&calls, "edge-tls")[0].body.clone()).expect("a Secret");
    let made = read_leaf(&secret).expect("a certificate");
    assert_eq!(made.pair.certificate.names, edge());
    let set = &calls[place("StatefulSet").expect("a StatefulSet")].body;
    let volumes = set["spec"]["template"]["spec"]["volumes"].as_array().expect("volumes");
    let tls = volumes.iter().find(|volume| volume["name"] == "tls").expect("the volume");
    assert_eq!(tls["secret"], json!({"secretName": "edge-tls", "defaultMode": 0o440}));
    let owners = &written(&calls, "sorcha-ca.sorcha.dev")[0].body["metadata"]["ownerReferences"];
    assert!(owners.is_null(), "the cache does not show the peer yet, so that nobody is named: {owners}");
}

#[tokio::test]
async fn an_authority_is_owned_by_those_who_share_it() {
    let mut scene = Scene::new(|_| None);
    put(&mut scene.writers.central_nodes, central("n0", 0));
    for ordinal in 0..9 {
        put(&mut scene.writers.peers, peer(&format!("p{ordinal}"), 1));
    }
    let (calls, _) = told(&scene, peer("p0", 1)).await;
    let owners = &written(&calls, "sorcha-ca.sorcha.dev")[0].body["metadata"]["ownerReferences"];
    let owners: Vec<&str> =
        owners.as_array().expect("owners").iter().filter_map(|o| o["name"].as_str()).collect();
    assert_eq!(
        owners,
        ["n0", "p0", "p1", "p2", "p3", "p4", "p5", "p6"],
        "central nodes first, and not thousands"
    );
}

#[tokio::test]
async fn whoever_comes_second_uses_the_authority_of_the_first() {
    let scene = Scene::new(|_| None);
    let (first, _) = told(&scene, peer("edge", 1)).await;
    let (second, _) = told(&scene, peer("other", 1)).await;
    let bundle = |calls: &[Call]| {
        let map = calls
            .iter()
            .find(|call| call.method == "PATCH" && call.body["metadata"]["name"] == "sorcha-ca.sorcha.dev");
        map.map(|call| call.body["data"]["ca.crt"].clone())
    };
    assert!(bundle(&first).is_some());
    let tls: Secret =
        serde_json::from_value(written(&second, "other-tls")[0].body.clone()).expect("a Secret");
    let trust = read_leaf(&tls).expect("a certificate").trust;
    assert_eq!(Some(json!(trust)), bundle(&first));
}

#[tokio::test]
async fn an_authority_that_cannot_be_read_is_never_written_over() {
    let mut scene = Scene::new(|_| None);
    let mut secret = authority_secret(&authority());
    secret
        .data
        .as_mut()
        .expect("data")
        .insert("tls.key".into(), k8s_openapi::ByteString(b"nonsense".to_vec()));
    put(&mut scene.writers.secrets, secret);
    let (calls, status) = told(&scene, peer("edge", 1)).await;
    assert!(written(&calls, "sorcha-ca.sorcha.dev").is_empty());
    for type_ in ["CertificateValid", "Ready"] {
        let told = condition(&status, type_);
        assert_eq!(
            (told["status"].as_str(), told["reason"].as_str()),
            (Some("False"), Some("AuthorityUnreadable"))
        );
        assert!(told["message"].as_str().is_some_and(|text| text.contains("restore it, or")), "{told}");
    }
    assert!(!calls.iter().any(|call| call.path.contains("statefulsets")), "no pod that must hang");
}

#[tokio::test]
async fn a_damaged_certificate_is_made_anew_and_told() {
    let mut scene = Scene::new(|_| None);
    let authority = authority();
    put(&mut scene.writers.secrets, authority_secret(&authority));
    let mut secret = leaf_secret("edge-tls", &leaf(edge(), &authority));
    secret.data.as_mut().expect("data").insert("tls.crt".into(), k8s_openapi::ByteString(b"x".to_vec()));
    put(&mut scene.writers.secrets, secret);
    let (calls, _) = told(&scene, peer("edge", 1)).await;
    let repaired = written(&calls, "edge-tls")[0];
    assert_eq!(
        (repaired.method.as_str(), repaired.body["metadata"]["resourceVersion"].as_str()),
        ("PUT", Some("5"))
    );
    let event = calls.iter().find(|call| call.body["reason"] == "CertificateRenewed").expect("an Event");
    assert!(event.body["note"].as_str().is_some_and(|note| note.contains("could not be used")), "{event:?}");
    assert!(
        !calls.iter().any(|call| call.body.to_string().contains("PRIVATE KEY")),
        "keys travel in base64 only"
    );
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_left_alone() {
    let theirs =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "edge-tls", "namespace": "shop"}});
    let scene = Scene::new(move |call| {
        let exists = json!({"kind": "Status", "apiVersion": "v1", "code": 409, "reason": "AlreadyExists", "message": "x"});
        match call.method.as_str() {
            "POST" if call.body["metadata"]["name"] == "edge-tls" => Some((409, exists)),
            "GET" if call.path.ends_with("/secrets/edge-tls") => Some((200, theirs.clone())),
            _ => None,
        }
    });
    let (calls, status) = told(&scene, peer("edge", 1)).await;
    assert!(!calls.iter().any(|call| call.method == "PUT" && call.path.contains("edge-tls")));
    assert_eq!(condition(&status, "Ready")["reason"], "NameTaken");
}

#[tokio::test]
async fn a_request_for_a_new_authority_makes_one_beside_the_old() {
    let mut scene = Scene::new(|_| None);
    let authority = authority();
    put(&mut scene.writers.secrets, authority_secret(&authority));
    put(&mut scene.writers.secrets, leaf_secret("edge-tls", &leaf(edge(), &authority)));
    let mut asks = peer("edge", 1);
    asks.metadata.annotations = Some([("sorcha.dev/rotate-ca".to_owned(), "today".to_owned())].into());
    put(&mut scene.writers.peers, asks.clone());
    let (calls, _) = told(&scene, asks).await;
    let secret: Secret =
        serde_json::from_value(written(&calls, "sorcha-ca.sorcha.dev")[0].body.clone()).expect("a Secret");
    let after = read_authority(&secret).expect("an authority");
    assert_eq!((after.trusted().len(), after.signer(Ctx::now().0)), (2, authority.newest));
    assert_eq!(after.done, ["today".to_owned()].into());
    let tls: Secret = serde_json::from_value(written(&calls, "edge-tls")[0].body.clone()).expect("a Secret");
    assert_eq!(read_leaf(&tls).map(|leaf| leaf.trust), Ok(after.bundle()));
    assert!(calls.iter().any(|call| call.body["reason"] == "AuthorityChanged"));
}

#[tokio::test]
async fn without_tls_there_is_no_secret_and_the_status_says_so() {
    let scene = Scene::new(|_| None);
    let (calls, status) = told(&scene, peer_with("edge", &json!({"tls": {"mode": "Disabled"}}))).await;
    assert!(!calls.iter().any(|call| call.path.contains("secrets")));
    let config = written(&calls, "edge")
        .into_iter()
        .find(|call| call.body["kind"] == "ConfigMap")
        .expect("a ConfigMap");
    assert!(!config.body["data"]["sorcha.toml"].as_str().expect("text").contains("[tls]"));
    let told = condition(&status, "CertificateValid");
    assert_eq!((told["status"].as_str(), told["reason"].as_str()), (Some("False"), Some("PlainText")));
}

#[tokio::test]
async fn peers_and_central_nodes_that_refuse_each_other_are_told() {
    let mut scene = Scene::new(|_| None);
    put(&mut scene.writers.central_nodes, central("n0", 0));
    let (_, status) = told(&scene, peer_with("edge", &json!({"tls": {"mode": "Disabled"}}))).await;
    let told_ = condition(&status, "CertificateValid");
    assert_eq!(told_["reason"], "NotTrusted");
    assert!(told_["message"].as_str().is_some_and(|text| text.contains("n0 uses TLS")), "{told_}");

    let (mine, theirs) = (authority(), authority());
    let hosts = identity::cluster_hosts("n0", "shop");
    let stranger = leaf(identity::central(NETWORK, "shop", "n0", &hosts), &theirs);
    put(&mut scene.writers.secrets, authority_secret(&mine));
    put(&mut scene.writers.secrets, leaf_secret("n0-tls", &stranger));
    put(&mut scene.writers.secrets, leaf_secret("edge-tls", &leaf(edge(), &mine)));
    let (_, status) = told(&scene, peer("edge", 1)).await;
    let told_ = condition(&status, "CertificateValid");
    assert!(told_["message"].as_str().is_some_and(|text| text.contains("n0 is not trusted")), "{told_}");
}
