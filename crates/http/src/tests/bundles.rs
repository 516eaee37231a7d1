//! The register in one file, from a running node.

use ed25519_dalek::SigningKey;
use sorcha_register::bundle;
use sorcha_store::{Store as _, contract::draft};

use super::*;

const BUNDLE: &str = "/api/system-register/bundle";

/// The genesis of the tests' registers is signed by this one.
fn creator() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

#[tokio::test]
async fn a_central_node_with_the_creators_key_signs_what_it_exports() {
    let store = store();
    store.init_genesis(genesis(1)).await.unwrap();
    // More than a piece.
    for number in 0..8 {
        let text = format!(r#"{{"id":"{number}","text":"{}"}}"#, "x".repeat(100_000));
        store.publish(draft(&number.to_string(), &text)).await.unwrap();
    }
    let (router, node) = central_over(Arc::new(store), Vec::new(), |_| ()).await;
    let plain = get(&router, BUNDLE).await;
    assert!(!bundle::read(&plain.body[..]).unwrap().is_signed);
    node.sign_with(creator());
    let reply = get(&router, BUNDLE).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("content-disposition"), "attachment; filename=\"register-8.sorcha\"");
    let found = bundle::read(&reply.body[..]).unwrap();
    assert!(found.is_signed);
    assert_eq!((found.header.digest, found.entries.len()), (node.log.view().digest(), 8));
    assert_eq!(found.header.created_by, "n0.sorcha.dev");
}

#[tokio::test]
async fn a_peers_bundle_is_whole_and_not_signed() {
    let (router, node) = peer(|_| ()).await;
    let found = bundle::read(&get(&router, BUNDLE).await.body[..]).unwrap();
    assert_eq!(
        (found.header.digest, found.entries.len(), found.is_signed),
        (node.replica.view().digest(), 3, false)
    );
}

#[tokio::test]
async fn there_is_none_of_a_damaged_register_or_of_no_register() {
    let finding = Finding::whole(sorcha_register::integrity::Fault::Damaged("the index".to_owned()));
    let (router, _) = central_over(Arc::new(store()), vec![finding], |_| ()).await;
    let reply = get(&router, BUNDLE).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    let (router, _) = empty_peer(|_| ()).await;
    assert_eq!(get(&router, BUNDLE).await.status, StatusCode::NOT_FOUND);
}
