//! What the API server refuses, and in which words.

use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{cluster::Cluster, look::Look as _, manifests, publishing::document, run::Done, space::Space};

const NETWORK: &str = "refusals.test";

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.space("refusals", "").await?;
    let mut wrong = Vec::new();
    for (base, changes) in [
        (manifests::peers("edge", NETWORK, 0), peers()),
        (manifests::embedded("n0", NETWORK), central()),
        (manifests::blueprint("invoice-v1", NETWORK, &document("invoice-v1")), blueprint()),
    ] {
        accepted(&space, &base).await?;
        for (pointer, value, expected) in changes {
            let object = changed(&base, pointer, value)?;
            wrong.extend(
                refused(
                    &space,
                    &["create", "--dry-run=server", "-f", "-"],
                    &object.to_string(),
                    pointer,
                    expected,
                )
                .await?,
            );
        }
    }
    wrong.extend(updates(&space).await?);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(Done::Passed)
}

async fn accepted(space: &Space, object: &Value) -> Result<()> {
    space
        .try_kubectl(&["create", "--dry-run=server", "-f", "-"], &object.to_string())
        .await?
        .out("the base")
        .map(drop)
}

/// Sets one field; what is on the way is made.
fn changed(base: &Value, pointer: &str, value: Value) -> Result<Value> {
    let mut object = base.clone();
    let mut at = &mut object;
    for part in pointer.split('/').skip(1) {
        if !at.is_object() {
            *at = json!({});
        }
        at = at.as_object_mut().context("an object")?.entry(part).or_insert(Value::Null);
    }
    *at = value;
    Ok(object)
}

/// A complaint when it is accepted, or refused in other words.
async fn refused(
    space: &Space,
    arguments: &[&str],
    input: &str,
    what: &str,
    expected: &str,
) -> Result<Option<String>> {
    let ended = space.try_kubectl(arguments, input).await?;
    Ok(if ended.ok {
        Some(format!("{what}: accepted, though {expected:?}"))
    } else if ended.err.contains(expected) {
        None
    } else {
        Some(format!("{what}: refused, but not with {expected:?}: {}", ended.err.trim()))
    })
}

type Change = (&'static str, Value, &'static str);

fn peers() -> Vec<Change> {
    let address = json!({"host": "n0.example", "port": 5000});
    vec![
        ("/metadata/name", json!("0edge"), "metadata.name must be at most 40"),
        ("/metadata/name", json!("e".repeat(41)), "metadata.name must be at most 40"),
        ("/spec/network", json!("Sorcha.dev"), "spec.network in body should match"),
        ("/spec/network", json!(""), "spec.network"),
        ("/spec/replicas", json!(-1), "greater than or equal to 0"),
        ("/spec/replicas", json!(1001), "less than or equal to 1000"),
        ("/spec/replicas", json!("three"), "must be of type integer"),
        ("/spec/centralNodes", json!([address, address]), "centralNodes names an address twice"),
        (
            "/spec/centralNodes",
            json!([address, {"host": "n0.example", "port": 5001}]),
            "centralNodes names an identity twice",
        ),
        (
            "/spec/centralNodes",
            json!([{"host": "a", "id": "n0"}, {"host": "b", "id": "n0"}]),
            "centralNodes names an identity twice",
        ),
        (
            "/spec/centralNodes",
            json!([{"host": format!("n0.{}.example", "x".repeat(60))}]),
            "a host of more than 64 characters: give it an id",
        ),
        (
            "/spec",
            json!({
                "network": NETWORK, "tls": {"mode": "Disabled"},
                "centralNodes": [{"host": "a", "caSecretRef": {"name": "a"}}],
            }),
            "caSecretRef, which has no use with tls.mode Disabled",
        ),
        ("/spec/centralNodes", json!([{"host": "a b"}]), "should match"),
        ("/spec/centralNodes", json!([{"port": 1}]), "host: Required value"),
        ("/spec/centralNodes", json!([{"host": "a", "port": 0}]), "greater than or equal to 1"),
        ("/spec/centralNodes", json!([{"host": "a", "priority": 65536}]), "less than or equal to 65535"),
        ("/spec/store", json!({}), "store needs exactly one of embedded and mongodb"),
        (
            "/spec/store/mongodb",
            json!({"uriSecretRef": {"name": "a", "key": "uri"}}),
            "store needs exactly one of embedded and mongodb",
        ),
        ("/spec/sync/interval", json!("59s"), "sync.interval must be 1m to 1h"),
        ("/spec/sync/interval", json!("61m"), "sync.interval must be 1m to 1h"),
        ("/spec/sync/interval", json!("5 minutes"), "should match"),
        ("/spec/sync/maxStaleness/after", json!("30s"), "sync.maxStaleness.after must be at least 1m"),
        ("/spec/sync/maxStaleness/policy", json!("Panic"), "Unsupported value"),
        ("/spec/heartbeat/interval", json!("9s"), "heartbeat.interval must be 10s to 2m"),
        ("/spec/heartbeat/interval", json!("121s"), "heartbeat.interval must be 10s to 2m"),
        ("/spec/heartbeat/timeout", json!("9s"), "heartbeat.timeout must be 10s to 2m"),
        ("/spec/heartbeat/maxMissed", json!(0), "greater than or equal to 1"),
        ("/spec/heartbeat/maxMissed", json!(11), "less than or equal to 10"),
        ("/spec/failback", json!("Always"), "Unsupported value"),
        ("/spec/forceResync", json!(""), "spec.forceResync"),
        ("/spec/deletionPolicy", json!("Recycle"), "Unsupported value"),
        ("/spec/telemetry/otlpEndpoint", json!("collector:4317"), "should match"),
        ("/spec/image", json!(""), "spec.image"),
        ("/spec/imagePullPolicy", json!("Sometimes"), "Unsupported value"),
        ("/spec/log/format", json!("xml"), "Unsupported value"),
        ("/spec/tls/mode", json!("Sometimes"), "Unsupported value"),
        ("/spec/tls/mode", json!("CertManager"), "tls.mode CertManager needs tls.issuerRef"),
        ("/spec/tls/issuerRef", json!({"name": "ours"}), "tls.issuerRef is for tls.mode CertManager only"),
        (
            "/spec/tls",
            json!({"mode": "CertManager", "issuerRef": {"name": "a", "kind": "Vault"}}),
            "Unsupported value",
        ),
        ("/spec/tls/mode", json!("Secret"), "tls.mode Secret needs tls.secretName"),
        ("/spec/tls/trust", json!([{}]), "needs exactly one of configMapRef and secretRef"),
        (
            "/spec/tls",
            json!({"mode": "Disabled", "trust": [{"secretRef": {"name": "a"}}]}),
            "tls.trust has no use with tls.mode Disabled",
        ),
        ("/spec/tls/trust", json!([{"secretRef": {"key": "ca.crt"}}]), "name: Required value"),
        ("/spec/tls/secret", json!("a"), "unknown field \"spec.tls.secret\""),
        ("/spec/replica", json!(3), "unknown field \"spec.replica\""),
        ("/spec/sync/intervall", json!("5m"), "unknown field \"spec.sync.intervall\""),
    ]
}

fn central() -> Vec<Change> {
    let secret = json!({"name": "a", "key": "uri"});
    vec![
        ("/metadata/name", json!("n.0"), "metadata.name must be at most 40"),
        ("/spec/hostname", json!("n0.other.test"), "hostname must be one label under the network"),
        ("/spec/hostname", json!("a.b.refusals.test"), "hostname must be one label under the network"),
        ("/spec/hostname", json!("N0.refusals.test"), "should match"),
        ("/spec/priority", json!(-1), "greater than or equal to 0"),
        ("/spec/priority", json!(65536), "less than or equal to 65535"),
        ("/spec/store", Value::Null, "spec.store: Required value"),
        ("/spec/store", json!({}), "store needs exactly one of mongodb and embedded"),
        (
            "/spec/store/mongodb",
            json!({"uriSecretRef": secret}),
            "store needs exactly one of mongodb and embedded",
        ),
        (
            "/spec/store",
            json!({"mongodb": {}}),
            "store.mongodb needs exactly one of uriSecretRef and managed",
        ),
        (
            "/spec/store",
            json!({"mongodb": {"uriSecretRef": secret, "managed": {}}}),
            "store.mongodb needs exactly one of uriSecretRef and managed",
        ),
        ("/spec/store", json!({"mongodb": {"uriSecretRef": secret, "database": "a/b"}}), "should match"),
        ("/spec/store", json!({"mongodb": {"managed": {"authentication": "None"}}}), "Unsupported value"),
        ("/spec/service/type", json!("ExternalName"), "Unsupported value"),
        ("/spec/service/type", json!("NodePort"), "service.type NodePort needs service.advertise.host"),
        ("/spec/service/advertise/port", json!(0), "greater than or equal to 1"),
        ("/spec/limits/maxPeers", json!(0), "greater than or equal to 1"),
        ("/spec/limits/maxConcurrentFullSyncs", json!(1001), "less than or equal to 1000"),
        ("/spec/limits/pushWindow", json!(0), "greater than or equal to 1"),
        ("/spec/drain/spread", json!("15s"), "drain.spread must be shorter than drain.timeout"),
        ("/spec/drain", json!({"spread": "6m", "timeout": "10m"}), "drain.spread must be at most 5m"),
        ("/spec/drain/timeout", json!("11m"), "drain.timeout must be 1s to 10m"),
        ("/spec/drain", json!({"spread": "0s", "timeout": "500ms"}), "drain.timeout must be 1s to 10m"),
        (
            "/spec/backup",
            json!({"schedule": "17 3 * *", "claimName": "a"}),
            "backup.schedule must have five fields",
        ),
        ("/spec/heartbeat/interval", json!("1s"), "heartbeat.interval must be 10s to 2m"),
        ("/spec/publishers", json!({"tokensSecretRef": {"name": "a"}}), "key: Required value"),
        (
            "/spec/publishers/kubernetes",
            json!({"audience": "a"}),
            "unknown field \"spec.publishers.kubernetes.audience\"",
        ),
        ("/spec/tls", json!({"mode": "Secret"}), "tls.mode Secret needs tls.secretName"),
        ("/spec/tls/secretName", json!("mine"), "tls.secretName is for tls.mode Secret only"),
        ("/spec/tls", json!({"mode": "CertManager", "issuerRef": {}}), "name: Required value"),
        ("/spec/deletionPolicy", json!("Forget"), "Unsupported value"),
        ("/spec/hostName", json!("n0.refusals.test"), "unknown field \"spec.hostName\""),
    ]
}

fn blueprint() -> Vec<Change> {
    let map = json!({"name": "docs", "key": "invoice.json"});
    vec![
        ("/metadata/name", json!("invoice.v1"), "metadata.name has a dot"),
        ("/spec/network", json!("Refusals.test"), "should match"),
        ("/spec/id", json!("invoice.v1"), "should match"),
        ("/spec/id", json!(""), "spec.id"),
        ("/spec/id", json!("i".repeat(256)), "spec.id"),
        ("/spec/document", Value::Null, "spec needs exactly one of document and configMapRef"),
        ("/spec/document", json!([1]), "must be of type object"),
        ("/spec/document", json!("{}"), "must be of type object"),
        ("/spec/configMapRef", map, "spec needs exactly one of document and configMapRef"),
        ("/spec/configMapRef", json!({"name": "docs"}), "key: Required value"),
        ("/spec/active", json!("yes"), "must be of type boolean"),
        ("/spec/deletionPolicy", json!("Delete"), "Unsupported value"),
        ("/spec/documents", json!({}), "unknown field \"spec.documents\""),
    ]
}

/// What can't be changed once it is there.
async fn updates(space: &Space) -> Result<Vec<String>> {
    let secret = json!({"name": "a", "key": "uri"});
    let mongodb = |database: &str| json!({"mongodb": {"uriSecretRef": secret, "database": database}});
    let peers = manifests::peers("edge", NETWORK, 0);
    let central = manifests::central_with("n0", NETWORK, 0, &mongodb("sorcha"));
    let inline = manifests::blueprint("inline", NETWORK, &document("inline"));
    let map = json!({"name": "docs", "key": "a.json"});
    let mut named = manifests::blueprint("named", NETWORK, &Value::Null);
    named["spec"] = json!({"network": NETWORK, "id": "a", "configMapRef": map});
    let managed = json!({"mongodb": {"managed": {"authentication": "Disabled"}}});
    let mut managed = manifests::central_with("n1", "managed.test", 0, &managed);
    managed["spec"]["suspend"] = json!(true);
    space.apply(&[peers.clone(), central.clone(), managed.clone(), inline.clone(), named.clone()]).await?;
    let changes: [(&Value, Change); 18] = [
        (
            &managed,
            (
                "/spec/store/mongodb/managed/authentication",
                json!("Password"),
                "store.mongodb.managed.authentication is immutable",
            ),
        ),
        (&peers, ("/spec/network", json!("other.test"), "network is immutable")),
        (&peers, ("/spec/store/embedded/storage/size", json!("2Gi"), "storage is immutable")),
        (
            &peers,
            ("/spec/store", json!({"mongodb": {"uriSecretRef": secret}}), "the kind of store is immutable"),
        ),
        (&central, ("/spec/network", json!("other.test"), "network is immutable")),
        (&central, ("/spec/store", mongodb("other"), "store.mongodb.database is immutable")),
        (&central, ("/spec/store", json!({"embedded": {}}), "the kind of store is immutable")),
        (&inline, ("/spec/network", json!("other.test"), "network is immutable")),
        (&inline, ("/spec/id", json!("other"), "id is immutable")),
        (&named, ("/spec/id", json!("other"), "id is immutable")),
        (&named, ("/spec/id", Value::Null, "id is immutable")),
        (&inline, ("/spec/document/name", json!("Other"), "document is immutable")),
        (&inline, ("/spec/document/more", json!(1), "document is immutable")),
        (&inline, ("/spec/document/participants/0/id", json!("thief"), "document is immutable")),
        (&inline, ("/spec/document/participants", json!([]), "document is immutable")),
        (&inline, ("/spec/document", Value::Null, "a document can't move between")),
        (&named, ("/spec/configMapRef/name", json!("other"), "configMapRef is immutable")),
        (&named, ("/spec/configMapRef/key", json!("b.json"), "configMapRef is immutable")),
    ];
    let mut wrong = Vec::new();
    for (base, (pointer, value, expected)) in changes {
        // A patch, unlike a replacement, does not name the version it was made from: the controller writes meanwhile.
        let patch = json!([{"op": "add", "path": pointer, "value": value}]).to_string();
        let arguments =
            ["patch", base.text("/kind"), base.name(), "--dry-run=server", "--type=json", "-p", &patch];
        wrong.extend(refused(space, &arguments, "", pointer, expected).await?);
    }
    Ok(wrong)
}
