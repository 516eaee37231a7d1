//! What is written into Secrets is read back, and damage is found.

use std::sync::Arc;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::api::ObjectMeta;
use serde_json::json;

use super::{NETWORK, POLICY, at, authority, leaf};
use crate::{
    fixtures::{Scene, peer_with},
    pki::{
        authority::{Authority, Phase},
        issue,
        leaf::Leaf,
        secret::{self, authority_content, leaf_content, read_authority, read_leaf, wanted},
        x509,
    },
    reconcile::reconcile,
};

fn lay(content: secret::Content) -> Secret {
    wanted(None, ObjectMeta::default(), content)
}

fn with(mut secret: Secret, key: &str, value: &[u8]) -> Secret {
    secret.data.get_or_insert_default().insert(key.to_owned(), ByteString(value.to_vec()));
    secret
}

#[test]
fn an_authority_comes_back_from_its_secret_in_every_phase() {
    let first = Authority { outside_until: Some(at(77)), ..authority(at(0)) };
    let newest = issue::authority(NETWORK, POLICY.ca_lifetime, at(9)).expect("an authority");
    let both = first.distributing(newest.clone(), &["now".to_owned()].into());
    let replacing = Authority {
        phase: Phase::Replacing,
        previous_key: None,
        previous_until: Some(at(5)),
        ..both.clone()
    };
    let lost = Authority::after_loss(newest, first.trusted(), std::collections::BTreeSet::new());
    for authority in [first, both, replacing, lost] {
        let secret = lay(authority_content(&authority));
        assert_eq!(read_authority(&secret), Ok(authority.clone()));
        // A second write of the same changes nothing.
        assert_eq!(wanted(Some(&secret), ObjectMeta::default(), authority_content(&authority)), secret);
    }
}

#[test]
fn a_key_that_is_not_needed_any_more_leaves_the_secret() {
    let first = authority(at(0));
    let newest = issue::authority(NETWORK, POLICY.ca_lifetime, at(9)).expect("an authority");
    let both = first.distributing(newest, &std::collections::BTreeSet::new());
    let during = lay(authority_content(&both));
    let old = first.newest.key.pem().as_bytes();
    let holds = |secret: &Secret| secret.data.iter().flatten().any(|(_, value)| value.0 == old);
    assert!(holds(&during));
    let replacing = Authority { phase: Phase::Replacing, previous_key: None, ..both };
    assert!(!holds(&wanted(Some(&during), ObjectMeta::default(), authority_content(&replacing))));
}

#[test]
fn a_lost_annotation_forgets_no_old_authority() {
    let first = authority(at(0));
    let newest = issue::authority(NETWORK, POLICY.ca_lifetime, at(9)).expect("an authority");
    let both = first.distributing(newest, &std::collections::BTreeSet::new());
    for authority in [both.clone(), Authority { phase: Phase::Replacing, previous_key: None, ..both }] {
        let mut secret = lay(authority_content(&authority));
        secret.metadata.annotations = None;
        assert_eq!(read_authority(&secret).map(|read| read.phase), Ok(authority.phase));
    }
}

#[test]
fn a_damaged_authority_is_no_authority() {
    let first = authority(at(0));
    let good = lay(authority_content(&first));
    let other = authority(at(0)).newest.key;
    let leaf = leaf("edge", &first, at(0));
    for (key, value, expected) in [
        ("tls.key", b"nonsense".as_slice(), "tls.key: there is no private key"),
        ("tls.key", b"", "tls.key"),
        ("tls.key", other.pem().as_bytes(), "tls.key: the private key does not belong to the certificate"),
        ("tls.crt", b"", "tls.crt: there is no certificate"),
        (
            "tls.crt",
            b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
            "tls.crt: not a certificate",
        ),
        ("previous.crt", b"nonsense", "previous.crt: there is no certificate"),
    ] {
        let fault = read_authority(&with(good.clone(), key, value)).expect_err("damaged").to_string();
        assert!(fault.starts_with(expected), "{key}: {fault}");
        assert!(!fault.contains("PRIVATE"), "{fault}");
    }
    let mut not_one = with(good, "tls.crt", leaf.pair.certificate.pem().as_bytes());
    not_one = with(not_one, "tls.key", leaf.pair.key.pem().as_bytes());
    let fault = read_authority(&not_one).expect_err("a node's certificate").to_string();
    assert_eq!(fault, "tls.crt is no authority's");
}

/// A key whose line breaks were lost, as `.env` files do it, is one line of a text that is no PEM then.
#[tokio::test]
async fn nothing_of_a_secret_gets_into_a_message_when_its_line_breaks_were_lost() {
    let key = leaf("edge", &authority(at(0)), at(0)).pair.key.pem().to_owned();
    let begin = "-----BEGIN PRIVATE KEY-----";
    for flat in [
        key.replace('\n', "\\n"),
        key.replace('\n', ""),
        key.replace('\n', " "),
        key.replacen('\n', "", 1),
        key.replace("-----END", "-----EN"),
        format!("{key}{begin}{}", "MIIE".repeat(2_000)),
        format!("{begin}\n{}*\n-----END PRIVATE KEY-----\n", &key[28..60]),
        key.replace("PRIVATE KEY", "CERTIFICATE"),
    ] {
        let secret = flat.clone();
        let scene = Scene::new(move |call| {
            let data = json!({"k": ByteString(secret.clone().into_bytes())});
            (call.method == "GET" && call.path.ends_with("/secrets/any"))
                .then(|| (200, json!({"metadata": {"name": "any", "namespace": "shop"}, "data": data})))
        });
        let edge =
            peer_with("edge", &json!({"tls": {"trust": [{"secretRef": {"name": "any", "key": "k"}}]}}));
        let error = reconcile(Arc::new(edge), Arc::clone(&scene.ctx)).await.expect_err("no authority");
        let calls = scene.take_calls();
        assert!(calls.iter().any(|call| call.path.ends_with("/status")));
        let mut told = error.to_string();
        for result in [x509::read(flat.as_bytes()).err(), Leaf::read(flat.as_bytes(), b"", b"").err()] {
            told.extend(result.map(|fault| fault.to_string()));
        }
        told.extend(calls.iter().map(|call| call.body.to_string()));
        let body = flat.strip_prefix(begin).unwrap_or(&flat);
        for part in body.as_bytes().windows(8).filter(|part| !part.contains(&b'-')) {
            let decimals: Vec<String> = part.iter().map(u8::to_string).collect();
            assert!(!told.contains(&*String::from_utf8_lossy(part)), "{told}");
            assert!(!told.contains(&decimals.join(", ")), "{told}");
        }
    }
}

#[test]
fn a_certificate_comes_back_from_its_secret() {
    let made = Leaf { token: Some("now".to_owned()), ..leaf("edge", &authority(at(0)), at(0)) };
    let secret = lay(leaf_content(&made));
    assert_eq!(read_leaf(&secret), Ok(made));
    for (key, value) in [("tls.crt", b"".as_slice()), ("tls.key", b"nonsense"), ("tls.crt", b"nonsense")] {
        assert!(read_leaf(&with(secret.clone(), key, value)).is_err(), "{key}");
    }
}

#[test]
fn what_others_wrote_on_a_secret_stays() {
    let made = leaf("edge", &authority(at(0)), at(0));
    let mut held = lay(leaf_content(&made));
    held.metadata.labels.get_or_insert_default().insert("theirs".to_owned(), "kept".to_owned());
    held = with(held, "extra", b"gone");
    let again = wanted(Some(&held), ObjectMeta::default(), leaf_content(&made));
    assert_eq!(again.metadata.labels, held.metadata.labels);
    assert!(!again.data.unwrap_or_default().contains_key("extra"), "the data are ours alone");
}
