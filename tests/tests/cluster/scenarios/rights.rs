//! What a node's token is good for.

use std::rc::Rc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    eventually::{eventually, seconds},
    look::Look as _,
    manifests,
    process::{Ended, run as run_program},
    publishing::publish,
    run::Done,
    space::Space,
};

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.space("rights", "").await?;
    let network = "rights.test";
    let objects = [
        manifests::tokens(),
        manifests::embedded("n0", network),
        manifests::peers("edge", network, 2),
        manifests::peers("other", network, 0),
    ];
    space.apply(&objects).await?;
    space.until("scn/n0", 120, &[("Ready", "True")]).await?;
    space.until("sp/edge", 120, &[("Ready", "True"), ("Synced", "True")]).await?;
    let node = As::new(&space, "edge", Some("edge-0")).await?;
    let report = json!({"nodes": [{"name": "edge-0", "state": "Connecting", "message": "a test"}]});
    let written =
        node.patch(&status("SorchaPeer", "edge", &report), &["--subresource=status", "-o", "json"]).await?;
    let edge: Value = serde_json::from_str(&written.out("a node's own status")?)?;
    let own = edge.list("/status/nodes").iter().find(|report| report.text("/name") == "edge-0");
    ensure!(own.is_some_and(|report| report.text("/message") == "a test"), "it is not in the status: {edge}");
    own_part_only(&space, &node).await?;
    for (what, object) in [
        ("another peer's status", status("SorchaPeer", "other", &json!({"nodes": [{"name": "edge-0"}]}))),
        ("a central node's status", status("SorchaCentralNode", "n0", &json!({"version": 9}))),
    ] {
        node.forbidden_patch(what, &object, &["--subresource=status"]).await?;
    }
    let spec = json!({
        "apiVersion": "sorcha.dev/v1alpha1", "kind": "SorchaPeer", "metadata": {"name": "edge"}, "spec": {"replicas": 9},
    });
    node.forbidden_patch("its own spec", &spec, &[]).await?;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "edge"}, "data": {"sorcha.toml": ""}});
    node.forbidden_patch("its ConfigMap", &map, &[]).await?;
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "edge"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}],
    });
    node.forbidden_patch("its Role", &role, &[]).await?;
    for arguments in FORBIDDEN {
        node.forbidden(arguments).await?;
    }
    // Whose a token is, is for central nodes to ask.
    let review =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "x"}});
    let create = ["create", "--validate=false", "-f", "-", "-o", "json"];
    let ended = node.kubectl(&create, &review.to_string()).await?;
    ensure!(
        !ended.ok && ended.err.contains("cannot create resource \"tokenreviews\""),
        "a peer may review tokens: {ended:?}"
    );
    let central = As::new(&space, "n0", Some("n0-0")).await?;
    others_of_central(&space, &central).await?;
    eventually("the central node may", seconds(30), async || {
        central.kubectl(&create, &review.to_string()).await?.out("a review").map(drop)
    })
    .await?;
    for arguments in FORBIDDEN_TO_CENTRAL {
        central.forbidden(arguments).await?;
    }
    central
        .forbidden_patch(
            "a peer's status",
            &status("SorchaPeer", "edge", &json!({"nodes": []})),
            &["--subresource=status"],
        )
        .await?;
    Ok(Done::Passed)
}

/// A pod's token is good for that pod's report, and for nothing else of its resource's status.
async fn own_part_only(space: &Space, node: &As) -> Result<()> {
    let condition = json!({
        "type": "Ready", "status": "True", "reason": "Mine", "message": "", "lastTransitionTime": "2026-11-22T10:00:00Z",
    });
    for (what, part) in [
        ("another pod's report", json!({"nodes": [{"name": "edge-1", "state": "Isolated"}]})),
        ("a report of no pod", json!({"nodes": [{"name": "edge-77", "version": i64::MAX}]})),
        ("conditions", json!({"conditions": [condition]})),
        ("the selector", json!({"selector": "app=theirs"})),
        ("the certificate", json!({"certificate": {"issuer": "me"}})),
        ("the version of all", json!({"minVersion": i64::MAX})),
        ("replicas", json!({"replicas": 99})),
    ] {
        node.forbidden_patch(what, &status("SorchaPeer", "edge", &part), &["--subresource=status"]).await?;
    }
    // One of the resource's ServiceAccount that no pod has.
    let nobody = As::new(space, "edge", None).await?;
    let report = json!({"nodes": [{"name": "edge-0", "state": "Isolated"}]});
    nobody
        .forbidden_patch("a report", &status("SorchaPeer", "edge", &report), &["--subresource=status"])
        .await?;
    let edge = space.until("sp/edge", 60, &[("Ready", "True")]).await?;
    ensure!(edge.text("/status/selector").contains("app.kubernetes.io/instance=edge"), "{edge}");
    // A lie about itself is told as one.
    let lie =
        json!({"nodes": [{"name": "edge-0", "state": "HeartbeatMonitoring", "version": i64::MAX, "lag": 0}]});
    node.patch(&status("SorchaPeer", "edge", &lie), &["--subresource=status"]).await?.out("a lie")?;
    let edge = space.get(&["sp/edge"]).await?;
    ensure!(edge.number("/status/minVersion") < 1_000_000, "minVersion follows a lie: {edge}");
    eventually("the pod's own next report replaces it", seconds(180), async || {
        space.until("sp/edge", 5, &[("Synced", "True")]).await.map(drop)
    })
    .await
}

/// The same of a central node: a version that no register has does not stick.
async fn others_of_central(space: &Space, central: &As) -> Result<()> {
    for (what, part) in [
        ("convergedVersion", json!({"convergedVersion": i64::MAX})),
        ("another pod's report", json!({"node": {"name": "n1-0", "state": "Healthy"}})),
        ("the endpoint", json!({"endpoint": "me:5000"})),
    ] {
        let object = status("SorchaCentralNode", "n0", &part);
        central.forbidden_patch(what, &object, &["--subresource=status"]).await?;
    }
    let lie = json!({"node": {
        "name": "n0-0", "state": "Healthy", "version": i64::MAX, "peers": {"connected": 2, "upToDate": 2}, "storeReachable": true,
    }});
    central.patch(&status("SorchaCentralNode", "n0", &lie), &["--subresource=status"]).await?.out("a lie")?;
    let version = publish(space, "n0-0", "n0", "after-a-lie-v1").await?;
    eventually("convergedVersion is that of the register", seconds(180), async || {
        let node = space.get(&["scn/n0"]).await?;
        let reached = node.number("/status/convergedVersion");
        ensure!(reached == version, "it is {reached}, the register is at {version}");
        Ok(())
    })
    .await
}

/// Reading and changing anything else; own resource and cluster-wide ones too.
const FORBIDDEN: [&[&str]; 14] = [
    &["get", "sp", "edge"],
    &["get", "sp"],
    &["get", "scn", "n0"],
    &["get", "secrets"],
    &["get", "secret", "sorcha-publishers"],
    &["get", "pods"],
    &["get", "configmaps"],
    &["get", "configmap", "edge"],
    &["get", "namespaces"],
    &["delete", "sp", "edge"],
    &["delete", "pod", "edge-0"],
    &["create", "token", "n0"],
    &["scale", "sp/edge", "--replicas=3"],
    &["create", "configmap", "mine", "--from-literal=a=b"],
];

/// What the right to review tokens does not bring along.
const FORBIDDEN_TO_CENTRAL: [&[&str]; 4] = [
    &["get", "secret", "sorcha-publishers"],
    &["create", "token", "n0"],
    &["get", "clusterrolebinding"],
    &["create", "clusterrolebinding", "mine", "--clusterrole=cluster-admin", "--user=me"],
];

fn status(kind: &str, name: &str, status: &Value) -> Value {
    json!({"apiVersion": "sorcha.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "status": status})
}

/// kubectl with nothing but a ServiceAccount's token.
struct As {
    account: String,
    kubeconfig: tempfile::NamedTempFile,
    namespace: String,
}

impl As {
    /// With a token that was made for a pod, as the kubelet makes them, or for none.
    async fn new(space: &Space, account: &str, pod: Option<&str>) -> Result<Self> {
        let mut arguments = vec!["create", "token", account];
        if let Some(pod) = pod {
            arguments.extend(["--bound-object-kind=Pod", "--bound-object-name", pod]);
        }
        let token = space.kubectl(&arguments).await?;
        let mut config = space.cluster.json(&["config", "view", "--minify", "--raw"]).await?;
        let user = config.text("/users/0/name").to_owned();
        config["users"] = json!([{"name": user, "user": {"token": token.trim()}}]);
        let kubeconfig = tempfile::NamedTempFile::new()?;
        std::fs::write(kubeconfig.path(), config.to_string())?;
        Ok(Self { account: account.to_owned(), kubeconfig, namespace: space.name.clone() })
    }

    async fn kubectl(&self, arguments: &[&str], input: &str) -> Result<Ended> {
        let file = self.kubeconfig.path().display().to_string();
        let mut all = vec!["--kubeconfig", file.as_str(), "-n", self.namespace.as_str()];
        all.extend(arguments);
        run_program("kubectl", &all, input).await
    }

    async fn patch(&self, object: &Value, more: &[&str]) -> Result<Ended> {
        let manager = format!("--field-manager=sorcha-node.{}-0", self.account);
        let mut arguments = vec![
            "apply",
            "--server-side",
            "--force-conflicts",
            "--validate=false",
            manager.as_str(),
            "-f",
            "-",
        ];
        arguments.extend(more);
        self.kubectl(&arguments, &object.to_string()).await
    }

    async fn forbidden_patch(&self, what: &str, object: &Value, more: &[&str]) -> Result<()> {
        let ended = self.patch(object, more).await?;
        ensure!(!ended.ok && ended.err.contains("orbidden"), "{} may change {what}: {ended:?}", self.account);
        Ok(())
    }

    async fn forbidden(&self, arguments: &[&str]) -> Result<()> {
        let ended = self.kubectl(arguments, "").await?;
        let what = arguments.join(" ");
        ensure!(!ended.ok && ended.err.contains("orbidden"), "{} may {what}: {ended:?}", self.account);
        Ok(())
    }
}
