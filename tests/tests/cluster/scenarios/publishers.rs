//! Who may publish: ServiceAccounts as RBAC lets them, beside the tokens of a Secret.

use std::rc::Rc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::install::helm_install;
use crate::{
    cluster::{Cluster, release},
    eventually::{eventually, seconds},
    look::Look as _,
    manifests,
    process::Ended,
    publishing::{NODE, document},
    run::Done,
    space::Space,
};

const NETWORK: &str = "publishers.test";

/// Made by the chart; its list of subjects is the controller's.
fn binding() -> String {
    format!("clusterrolebinding/{}-node-reviews", release())
}

const UNAUTHORIZED: &str = "A valid token is needed";
const FORBIDDEN: &str = "The caller may not publish here";

/// Callers with a token of theirs: ServiceAccount, audience.
fn audiences(space: &Space) -> [(&'static str, &'static str, String); 7] {
    let own = || audience(space);
    [
        ("allowed", "allowed", own()),
        ("stranger", "stranger", own()),
        ("doomed", "doomed", own()),
        ("other-network", "allowed", format!("publish.sorcha.dev/{}/other.test", space.name)),
        ("other-namespace", "allowed", format!("publish.sorcha.dev/elsewhere/{NETWORK}")),
        ("bare-network", "allowed", NETWORK.to_owned()),
        // As a pod has it without asking.
        ("api-server", "allowed", String::new()),
    ]
}

/// What tokens for the network's central nodes are made for.
fn audience(space: &Space) -> String {
    format!("publish.sorcha.dev/{}/{NETWORK}", space.name)
}

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.space("publishers", "").await?;
    let mut objects = vec![manifests::tokens(), manifests::embedded("n0", NETWORK)];
    objects.extend(["allowed", "stranger", "doomed"].map(account));
    objects.extend(grant("n0", &["allowed", "doomed"]));
    objects.extend(grant("n9", &["stranger"]));
    space.apply(&objects).await?;
    let tokens = tokens(&space).await?;
    space.apply(&[callers(&tokens), pod(&space)]).await?;
    let node = space.until("scn/n0", 120, &[("Ready", "True"), ("PublishersConfigured", "True")]).await?;
    let told = node.expect_reason("PublishersConfigured", "True", "Kubernetes")?.message.to_owned();
    ensure!(told.contains(NETWORK), "{told}");
    space.kubectl(&["wait", "pod/caller", "--for=condition=Ready", "--timeout=60s"]).await?;
    until_listed(&space, true).await?;
    // The proxy of the cluster's machine may be a moment behind the node's readiness.
    eventually("a token of the Secret is taken", seconds(30), async || {
        taken(&space, Some("/tokens/static"), "static-v1", "tester").await
    })
    .await?;
    answers(&space).await?;
    granted_later(&space).await?;
    audited(&space, &tokens).await?;
    let subjects =
        async || Ok::<_, anyhow::Error>(cluster.json(&["get", &binding()]).await?["subjects"].clone());
    helm_install(cluster, &[]).await?;
    ensure!(subjects().await?.to_string().contains(&space.name), "an upgrade took n0's right");
    space.kubectl(&["delete", "scn", "n0"]).await?;
    until_listed(&space, false).await?;
    Ok(Done::Passed)
}

async fn answers(space: &Space) -> Result<()> {
    refused(space, "stranger", "stranger-v1", &[FORBIDDEN, "verb publish", "n0", "namespace", "stranger"])
        .await?;
    taken(
        space,
        Some("/tokens/allowed"),
        "allowed-v1",
        &format!("system:serviceaccount:{}:allowed", space.name),
    )
    .await?;
    let remedy = format!("kubectl create token NAME --audience {}", audience(space));
    for caller in ["other-network", "other-namespace", "bare-network", "api-server"] {
        refused(space, caller, "audience-v1", &[UNAUTHORIZED, &remedy]).await?;
    }
    space.kubectl(&["delete", "serviceaccount", "doomed"]).await?;
    refused(space, "doomed", "doomed-v1", &[UNAUTHORIZED]).await?;
    // The command finds the pod's own token.
    taken(space, None, "projected-v1", &format!("system:serviceaccount:{}:allowed", space.name)).await
}

/// A right that is given later is seen once the refusal is forgotten.
async fn granted_later(space: &Space) -> Result<()> {
    space.apply(&grant("n0", &["allowed", "stranger"])).await?;
    let publisher = format!("system:serviceaccount:{}:stranger", space.name);
    eventually("a new RoleBinding counts", seconds(20), async || {
        taken(space, Some("/tokens/stranger"), "granted-v1", &publisher).await
    })
    .await
}

async fn audited(space: &Space, tokens: &[(String, String)]) -> Result<()> {
    let log = space.kubectl(&["logs", "n0-0"]).await?;
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let about = |id: &str, result: &str| {
        let line =
            lines.iter().rfind(|line| line.text("/target") == "audit" && line.text("/blueprint_id") == id);
        line.is_some_and(|line| line.text("/result") == result && line.text("/remote").contains(':'))
    };
    ensure!(about("allowed-v1", "done") && about("static-v1", "done"), "no line in the audit log: {log}");
    let refusals =
        lines.iter().filter(|line| line.text("/target") == "audit" && line.text("/result") == "unauthorized");
    ensure!(refusals.count() >= 3, "refusals are not in the audit log: {log}");
    let metrics = space.service("n0", "/metrics", &[]).await?.body;
    let counted = |result: &str| {
        let labels = [r#"http_writes_total{action="publish""#.to_owned(), format!(r#"result="{result}""#)];
        metrics.lines().any(|line| labels.iter().all(|label| line.contains(label)))
    };
    ensure!(["done", "unauthorized", "forbidden"].into_iter().all(counted), "not counted: {metrics}");
    ensure!(!tokens.iter().any(|(_, token)| log.contains(token.as_str())), "a token is in the log");
    Ok(())
}

async fn until_listed(space: &Space, listed: bool) -> Result<()> {
    eventually("the list of who may ask about tokens follows", seconds(30), async || {
        let binding = space.cluster.json(&["get", &binding()]).await?;
        let is_ours =
            |subject: &Value| subject.text("/namespace") == space.name && subject.text("/name") == "n0";
        ensure!(binding.list("/subjects").iter().any(is_ours) == listed, "{binding}");
        Ok(())
    })
    .await
}

async fn publish(space: &Space, token: Option<&str>, id: &str) -> Result<Ended> {
    let url = format!("http://n0.{}.svc:8080", space.name);
    let mut arguments = vec!["exec", "-i", "caller", "--", NODE, "publish", "-", "--id", id, "--url", &url];
    arguments.extend(token.iter().flat_map(|file| ["--token-file", *file]));
    space.try_kubectl(&arguments, &document(id).to_string()).await
}

async fn taken(space: &Space, token: Option<&str>, id: &str, publisher: &str) -> Result<()> {
    let ended = publish(space, token, id).await?;
    ensure!(ended.ok, "{id} by {token:?}: {ended:?}");
    let entry = space.pod("n0-0", &format!("/api/system-register/blueprints/{id}")).await?;
    ensure!(entry.text("/publishedBy") == publisher, "{id}: {entry}");
    Ok(())
}

async fn refused(space: &Space, caller: &str, id: &str, parts: &[&str]) -> Result<()> {
    let ended = publish(space, Some(&format!("/tokens/{caller}")), id).await?;
    let missing: Vec<_> = parts.iter().filter(|part| !ended.err.contains(**part)).collect();
    ensure!(!ended.ok && missing.is_empty(), "{id} by {caller}, without {missing:?}: {ended:?}");
    Ok(())
}

fn account(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
}

/// The right to publish on one central node.
fn grant(central: &str, accounts: &[&str]) -> [Value; 2] {
    let api = "rbac.authorization.k8s.io";
    let name = format!("publish-{central}");
    let subjects: Vec<_> =
        accounts.iter().map(|name| json!({"kind": "ServiceAccount", "name": name})).collect();
    [
        json!({
            "apiVersion": format!("{api}/v1"), "kind": "Role", "metadata": {"name": name},
            "rules": [{
                "apiGroups": ["sorcha.dev"], "resources": ["sorchacentralnodes"], "resourceNames": [central],
                "verbs": ["publish"],
            }],
        }),
        json!({
            "apiVersion": format!("{api}/v1"), "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": api, "kind": "Role", "name": name}, "subjects": subjects,
        }),
    ]
}

async fn tokens(space: &Space) -> Result<Vec<(String, String)>> {
    let mut tokens = vec![("static".to_owned(), manifests::TOKEN.to_owned())];
    for (caller, account, audience) in audiences(space) {
        let mut arguments = vec!["create", "token", account];
        arguments.extend((!audience.is_empty()).then_some(["--audience", &audience]).into_iter().flatten());
        tokens.push((caller.to_owned(), space.kubectl(&arguments).await?.trim().to_owned()));
    }
    Ok(tokens)
}

fn callers(tokens: &[(String, String)]) -> Value {
    let data: serde_json::Map<_, _> =
        tokens.iter().map(|(caller, token)| (caller.clone(), json!(token))).collect();
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "callers"}, "stringData": data})
}

/// A pod with the callers' tokens, and one of its own.
fn pod(space: &Space) -> Value {
    let mut pod = manifests::publisher(&space.cluster.settings);
    pod["metadata"]["name"] = json!("caller");
    pod["spec"]["serviceAccountName"] = json!("allowed");
    pod["spec"]["containers"][0]["env"] = json!([]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([
        {"name": "callers", "mountPath": "/tokens"}, {"name": "own", "mountPath": "/var/run/secrets/sorcha.dev"},
    ]);
    let own = json!({
        "serviceAccountToken": {"audience": audience(space), "expirationSeconds": 600, "path": "token"},
    });
    pod["spec"]["volumes"] = json!([
        {"name": "callers", "secret": {"secretName": "callers"}}, {"name": "own", "projected": {"sources": [own]}},
    ]);
    pod
}
