use std::{
    fs,
    sync::{Arc, Mutex},
};

use clap::Parser;
use serde_json::Value;
use sorcha_os::faults::{Fault, Step};

use super::*;
use crate::{
    fixtures::Scene,
    pki::{issue::Pair, x509},
};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: IdentityArgs,
}

fn parse(line: &str) -> Result<IdentityArgs, String> {
    let words = std::iter::once("identity").chain(line.split(' '));
    Cli::try_parse_from(words).map(|cli| cli.args).map_err(|error| error.to_string())
}

fn now() -> Timestamp {
    "2026-11-25T10:00:00Z".parse().expect("a time")
}

fn authority() -> Pair {
    issue::authority("sorcha.dev", Duration::from_secs(365 * 86_400), now()).expect("an authority")
}

/// An API server that has the authority's Secret, or none; the first write meets a conflict.
fn cluster(authority: Option<&Pair>) -> (Client, Arc<Mutex<Vec<Value>>>) {
    let secret = authority.map(|pair| {
        let authority = Authority::first(pair.clone(), std::collections::BTreeSet::new());
        let meta = ObjectMeta { name: Some("sorcha-ca.sorcha.dev".into()), ..ObjectMeta::default() };
        json!(secret::wanted(None, meta, secret::authority_content(&authority)))
    });
    let written = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&written);
    let scene = Scene::new(move |call| {
        if !call.path.ends_with("/namespaces/shop/secrets/sorcha-ca.sorcha.dev") {
            return None;
        }
        if call.method == "GET" {
            return secret.clone().map(|secret| (200, secret));
        }
        let mut seen = seen.lock().expect("calls");
        seen.push(call.body.clone());
        let conflict =
            json!({"kind": "Status", "apiVersion": "v1", "code": 409, "reason": "Conflict", "message": "x"});
        (seen.len() == 1).then_some((409, conflict))
    });
    (scene.ctx.client.clone(), written)
}

#[tokio::test]
async fn a_peer_outside_gets_files_that_the_network_accepts() {
    let signer = authority();
    let (client, written) = cluster(Some(&signer));
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("new");
    let args =
        parse(&format!("peer Edge_7 --namespace shop --days 10 --out {}", out.display())).expect("flags");
    run(client.clone(), args.clone(), now()).await.expect("issued");
    let file = |name: &str| fs::read(out.join(name)).expect("a file");
    let chain = x509::read(&file("tls.crt")).expect("a certificate");
    assert_eq!(chain[0].names.uris, ["spiffe://sorcha.dev/ns/shop/peer/Edge_7".to_owned()].into());
    assert_eq!(x509::check_chain(&chain, std::slice::from_ref(&signer.certificate), now()), Ok(()));
    assert_eq!(x509::check_key(&chain, &file("tls.key")), Ok(()));
    assert_eq!(x509::read(&file("ca.crt")), Ok(vec![signer.certificate]));
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(out.join("tls.key")).expect("a file"));
    assert_eq!(mode & 0o777, 0o600, "the key is its owner's");
    let last = written.lock().expect("calls").last().cloned().expect("a write");
    assert_eq!(last["metadata"]["annotations"]["sorcha.dev/outside-until"], "2026-12-05T10:00:00Z");
    let again = run(client, args, now()).await.expect_err("not written over").to_string();
    assert!(again.contains("is there already"), "{again}");
}

#[test]
fn a_central_node_outside_is_printed_as_a_secret() {
    let authority = Authority::first(authority(), std::collections::BTreeSet::new());
    let args = parse("central n9 --dns n9.sorcha.dev --dns 192.0.2.9 -o yaml").expect("flags");
    let names = args.node.names("shop").expect("names");
    let leaf = sign(&authority, args.node.issue(), &names, now()).expect("signed");
    let text = manifest("N_9", &leaf).expect("a manifest");
    assert!(text.contains("name: n-9-tls") && text.contains("type: kubernetes.io/tls"), "{text}");
    let certificate = &leaf.pair.certificate;
    assert!(certificate.names.dns.contains("n9.sorcha.dev") && certificate.names.ips.len() == 1);
    assert!(certificate.names.uris.contains("spiffe://sorcha.dev/ns/shop/sorchacentralnode/n9"));
}

#[tokio::test]
async fn what_is_missing_is_told() {
    let (client, _) = cluster(None);
    let args = parse("peer edge --namespace shop -o yaml").expect("flags");
    let error = format!("{:#}", run(client, args, now()).await.expect_err("no authority"));
    assert!(error.contains("namespace shop has no Secret sorcha-ca.sorcha.dev"), "{error}");
}

#[test]
fn bad_flags_are_refused() {
    let long = "e".repeat(65);
    for (line, expected) in [
        ("peer a/b -o yaml", "1 to 64 of"),
        (&format!("peer {long} -o yaml"), "1 to 64 of"),
        ("peer edge -o yaml --days 0", "1..=3650"),
        ("peer edge", "--out"),
        ("peer edge --out a -o yaml", "cannot be used with"),
        ("central n9 -o yaml --dns a..b", "neither a host name nor an IP address"),
        ("router n9 -o yaml", "unrecognized subcommand"),
    ] {
        let error = parse(line).expect_err(line);
        assert!(error.contains(expected), "{line}: {error}");
    }
    let names = |line: &str| parse(line).expect("flags").node.names("shop").expect_err(line).to_string();
    assert!(names("peer edge --dns a -o yaml").contains("--dns is for central nodes"));
    assert!(names("central n9 -o yaml").contains("--dns is missing"));
    assert!(names("central N_9 -o yaml --dns a").contains("a name that is no DNS label"));
    assert!(names("peer edge -o yaml --network A").contains("a network that is no DNS name"));
}

#[test]
fn whatever_step_fails_no_half_of_an_identity_is_left_by_a_full_disk() {
    let authority = Authority::first(authority(), std::collections::BTreeSet::new());
    let args = parse("peer edge -o yaml").expect("flags");
    let names = args.node.names("shop").expect("names");
    let leaf = sign(&authority, args.node.issue(), &names, now()).expect("signed");
    for (step, number) in Step::ALL.into_iter().flat_map(|step| (0..4).map(move |number| (step, number))) {
        let folder = tempfile::tempdir().expect("a folder");
        let written = Fault::at(step, number, || write(folder.path(), &leaf));
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .expect("a folder")
            .map(|e| e.expect("an entry").file_name())
            .collect();
        names.sort();
        let is_before_all_names = !matches!(step, Step::Sync | Step::Move | Step::SyncFolder);
        if written.is_err() && is_before_all_names {
            assert!(names.is_empty(), "{step:?} {number}: {names:?}");
        } else if written.is_ok() {
            assert_eq!(names, ["ca.crt", "tls.crt", "tls.key"]);
        }
        for name in names {
            let name = name.into_string().expect("text");
            let whole = secret::leaf_content(&leaf).data[&name].clone();
            assert_eq!(fs::read(folder.path().join(&name)).expect("a file"), whole, "{step:?} {number}");
        }
    }
}
