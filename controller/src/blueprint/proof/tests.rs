//! Who gets a token: real TLS, over sockets.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::core::v1::{Secret, Service};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{
    central::network_named,
    fixtures::{Scene, central_with, put, settings},
    pki::{
        identity,
        issue::{self, Pair},
        x509::Names,
    },
    publication::{decide::Wanted, document::Document, register::Fault},
};

const TOKEN: &str = "0123456789abcdefghij";
const DAY: Duration = Duration::from_secs(86_400);

/// A server with a certificate; what it was sent. It answers as a central node that holds nothing, or redirects.
async fn server(pair: &Pair, elsewhere: Option<u16>) -> (u16, Arc<Mutex<String>>) {
    let chain = vec![pair.certificate.der.clone()];
    let key = PrivateKeyDer::from_pem_slice(pair.key.pem().as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.into_iter().map(CertificateDer::into_owned).collect(), key)
        .unwrap();
    let (acceptor, got) = (TlsAcceptor::from(Arc::new(config)), Arc::new(Mutex::new(String::new())));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, seen) = (listener.local_addr().unwrap().port(), Arc::clone(&got));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut bytes = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = stream.read(&mut bytes).await {
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                seen.lock().unwrap().push_str(&text);
                let answer = match elsewhere {
                    Some(port) => format!(
                        "HTTP/1.1 307 Temporary Redirect\r\nlocation: https://127.0.0.1:{port}/\r\ncontent-length: 0\r\n\r\n"
                    ),
                    None => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
                };
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    break;
                }
            }
        }
    });
    (port, got)
}

fn authority() -> Pair {
    issue::authority("sorcha.dev", DAY, Ctx::now().0).unwrap()
}

fn leaf(signer: &Pair, names: &Names) -> Pair {
    issue::leaf("n0", names, "sorcha.dev", signer, DAY, Ctx::now().0).unwrap()
}

fn names(uri: Option<&str>, host: &str) -> Names {
    let mut names = identity::central("sorcha.dev", "shop", "n0", &[host.to_owned()]);
    names.uris = uri.map(str::to_owned).into_iter().collect();
    names
}

const IDENTITY: &str = "spiffe://sorcha.dev/ns/shop/sorchacentralnode/n0";

/// A controller that reaches central node n0 at a port of this machine. `owner`: whose the Service is.
fn scene(port: u16, trusted: &Pair, tls: &Value, owner: &str) -> Scene {
    let mut settings = settings();
    settings.central_urls = vec![("n0".into(), format!("https://127.0.0.1:{port}").parse().unwrap())];
    let ca = trusted.certificate.pem();
    let users: Secret = serde_json::from_value(json!({"metadata": {"name": "mine"},
        "data": {"ca.crt": base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &ca)}}))
    .unwrap();
    let mut scene = Scene::with(settings, move |call| {
        if call.path.ends_with("/secrets/mine") {
            return Some((200, json!(users)));
        }
        let status = json!({"token": TOKEN, "expirationTimestamp": "2026-11-22T11:00:00Z"});
        let asked = call.path.ends_with("/serviceaccounts/sorcha-publisher/token");
        asked.then(|| (200, json!({"metadata": {}, "spec": call.body["spec"], "status": status})))
    });
    put(
        &mut scene.writers.central_nodes,
        central_with("n0", &json!({"store": {"embedded": {}}, "tls": tls})),
    );
    let service: Service = serde_json::from_value(json!({"metadata": {"name": "n0", "namespace": "shop",
        "ownerReferences": [{"apiVersion": "sorcha.dev/v1alpha1", "kind": "SorchaCentralNode", "name": "n0", "uid": owner,
            "controller": true}]}}))
    .unwrap();
    put(&mut scene.writers.services, service);
    for name in ["sorcha-ca.sorcha.dev", "n0-cert-manager-tls"] {
        let mut secret = Secret::default();
        secret.metadata.name = Some(name.into());
        secret.metadata.namespace = Some("shop".into());
        let data = [("ca.crt".to_owned(), k8s_openapi::ByteString(ca.clone().into_bytes()))];
        secret.data = Some(data.into());
        put(&mut scene.writers.secrets, secret);
    }
    scene
}

/// Publishes; what comes of it.
async fn publish(scene: &Scene) -> Fault {
    let network = network_named(&scene.ctx.caches, "shop", "sorcha.dev");
    let wanted =
        Wanted { id: "a-v1".into(), document: Document::parse("{}", "here"), pinned: None, active: true };
    match at(&scene.ctx, &network, "n0").await {
        Ok(at) => {
            scene.ctx.publisher.bring(&at, &wanted, None, async || Ok(()), &mut Vec::new()).await.unwrap_err()
        }
        Err(refusal) => Fault::Refused(refusal),
    }
}

fn managed() -> Value {
    json!({"mode": "Managed"})
}

#[tokio::test]
async fn the_token_goes_to_a_central_node_that_proves_who_it_is() {
    let authority = authority();
    let cert_manager = json!({"mode": "CertManager", "issuerRef": {"name": "ca"}});
    for (tls, identity) in [
        (managed(), Some(IDENTITY)),
        (managed(), None),
        (cert_manager, Some(IDENTITY)),
        (json!({"mode": "Secret", "secretName": "mine"}), Some(IDENTITY)),
    ] {
        let (port, got) = server(&leaf(&authority, &names(identity, "n0.shop.svc")), None).await;
        let scene = scene(port, &authority, &tls, "uid-n0");
        let fault = publish(&scene).await;
        assert!(!matches!(fault, Fault::Refused(Refusal::Unproven { .. })), "{tls}: {fault:?}");
        let got = got.lock().unwrap().clone();
        assert!(got.contains(&format!("Bearer {TOKEN}")), "{tls}: {got}");
        let asked = scene.take_calls();
        let asked = asked.iter().find(|call| call.path.ends_with("/token")).expect("asked for a token");
        assert_eq!(asked.body["spec"]["audiences"], json!(["publish.sorcha.dev/shop/sorcha.dev"]));
    }
}

#[tokio::test]
async fn a_server_that_does_not_prove_it_is_told_nothing() {
    let (ours, theirs) = (authority(), authority());
    for (signer, identity, host) in [
        (&theirs, Some(IDENTITY), "n0.shop.svc"),
        (&ours, Some(IDENTITY), "n1.shop.svc"),
        (&ours, Some(IDENTITY), "127.0.0.1"),
        (&ours, Some("spiffe://sorcha.dev/ns/shop/sorchacentralnode/n1"), "n0.shop.svc"),
        (&ours, Some("spiffe://sorcha.dev/ns/other/sorchacentralnode/n0"), "n0.shop.svc"),
        (&ours, Some("spiffe://sorcha.dev/ns/shop/sorchapeer/n0"), "n0.shop.svc"),
        (&ours, Some("spiffe:/nowhere"), "n0.shop.svc"),
        (&ours, Some("SPIFFE://sorcha.dev/ns/shop/sorchacentralnode/n0"), "n0.shop.svc"),
    ] {
        let (port, got) = server(&leaf(signer, &names(identity, host)), None).await;
        let scene = scene(port, &ours, &managed(), "uid-n0");
        let fault = publish(&scene).await;
        assert!(matches!(fault, Fault::Refused(Refusal::Unproven { .. })), "{identity:?} {host}: {fault:?}");
        assert_eq!(*got.lock().unwrap(), "", "{identity:?} {host}: not a byte");
    }
}

#[tokio::test]
async fn no_token_is_made_where_nobody_can_prove_anything() {
    let authority = authority();
    let (port, got) = server(&leaf(&authority, &names(Some(IDENTITY), "n0.shop.svc")), None).await;
    for (tls, owner, remedy) in [
        (json!({"mode": "Disabled"}), "uid-n0", "choose Managed"),
        (managed(), "uid-other", "Service n0 is not its own"),
        (json!({"mode": "Secret", "secretName": "other"}), "uid-n0", "Secret other"),
    ] {
        let scene = scene(port, &authority, &tls, owner);
        let Fault::Refused(refusal) = publish(&scene).await else { panic!("refused") };
        assert_eq!(refusal.reason(), "CentralNodeUnproven");
        assert!(refusal.to_string().contains(remedy), "{refusal}");
        assert!(scene.take_calls().iter().all(|call| !call.path.ends_with("/token")), "{tls}");
    }
    assert_eq!(*got.lock().unwrap(), "");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let authority = authority();
    let pair = leaf(&authority, &names(Some(IDENTITY), "n0.shop.svc"));
    let (target, got) = server(&pair, None).await;
    let (port, _) = server(&pair, Some(target)).await;
    let fault = publish(&scene(port, &authority, &managed(), "uid-n0")).await;
    assert!(matches!(&fault, Fault::Passing(why) if why.contains("307")), "{fault:?}");
    assert_eq!(*got.lock().unwrap(), "");
}
