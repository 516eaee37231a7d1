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
    run::Done,
    space::Space,
};

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.space("rights", "").await?;
    let network = "rights.test";
    let objects = [
        manifests::tokens(),
        manifests::embedded("n0", network),
        manifests::peers("edge", network, 0),
        manifests::peers("other", network, 0),
    ];
    space.apply(&objects).await?;
    eventually("the roles are there", seconds(30), async || {
        space.kubectl(&["get", "rolebinding", "edge", "n0"]).await.map(drop)
    })
    .await?;
    let node = As::new(&space, "edge").await?;
    let report = json!({"nodes": [{"name": "edge-0", "state": "Connecting"}]});
    let written =
        node.patch(&status("SorchaPeer", "edge", &report), &["--subresource=status", "-o", "json"]).await?;
    let edge: Value = serde_json::from_str(&written.out("a node's own status")?)?;
    ensure!(edge.text("/status/nodes/0/state") == "Connecting", "the report is not in the status: {edge}");
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
    let central = As::new(&space, "n0").await?;
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
    async fn new(space: &Space, account: &str) -> Result<Self> {
        let token = space.kubectl(&["create", "token", account]).await?;
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
