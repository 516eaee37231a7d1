//! A namespace, and what scenarios do in one.

use std::rc::Rc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    eventually::{eventually, seconds},
    look::Look as _,
    proxy::Answer,
};

#[derive(Clone)]
pub(crate) struct Space {
    pub(crate) cluster: Rc<Cluster>,
    pub(crate) name: String,
}

impl Space {
    pub(crate) const fn new(cluster: Rc<Cluster>, name: String) -> Self {
        Self { cluster, name }
    }

    pub(crate) async fn create(&self) -> Result<()> {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": self.name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        });
        self.apply(&[namespace]).await?;
        eventually("the namespace has its default ServiceAccount", seconds(30), async || {
            self.kubectl(&["get", "serviceaccount", "default"]).await.map(drop)
        })
        .await
    }

    pub(crate) async fn delete(&self) -> Result<()> {
        self.cluster.kubectl(&["delete", "namespace", &self.name, "--wait=false"]).await.map(drop)
    }

    fn within<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [&["-n", self.name.as_str()], arguments].concat()
    }

    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.kubectl(&self.within(arguments)).await
    }

    pub(crate) async fn try_kubectl(&self, arguments: &[&str], input: &str) -> Result<crate::process::Ended> {
        self.cluster.try_kubectl(&self.within(arguments), input).await
    }

    /// One object, or a list.
    pub(crate) async fn get(&self, arguments: &[&str]) -> Result<Value> {
        self.cluster.json(&self.within(&[&["get"], arguments].concat())).await
    }

    pub(crate) async fn exists(&self, arguments: &[&str]) -> Result<bool> {
        let out = self.kubectl(&[&["get", "--ignore-not-found", "-o", "name"], arguments].concat()).await?;
        Ok(!out.trim().is_empty())
    }

    /// `kubectl apply` of several objects at once.
    pub(crate) async fn apply(&self, objects: &[Value]) -> Result<()> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        let ended = self.try_kubectl(&["apply", "-f", "-"], &list).await?;
        ended.out("kubectl apply").map(drop)
    }

    pub(crate) async fn patch(&self, what: &str, patch: &Value) -> Result<()> {
        let (kind, name) = what.split_once('/').unwrap_or((what, ""));
        self.kubectl(&["patch", kind, name, "--type=merge", "-p", &patch.to_string()]).await.map(drop)
    }

    /// Waits until every condition named is as expected, for the spec as it is now.
    pub(crate) async fn until(&self, what: &str, within: u64, expected: &[(&str, &str)]) -> Result<Value> {
        let text: Vec<String> = expected.iter().map(|(type_, status)| format!("{type_}={status}")).collect();
        eventually(&format!("{what} is {}", text.join(", ")), seconds(within), async || {
            let object = self.get(&[what]).await?;
            for (type_, status) in expected {
                object.expect(type_, status)?;
            }
            Ok(object)
        })
        .await
    }

    pub(crate) async fn until_reason(
        &self,
        what: &str,
        within: u64,
        type_: &str,
        reason: &str,
    ) -> Result<Value> {
        eventually(&format!("{what} has {type_} with reason {reason}"), seconds(within), async || {
            let object = self.get(&[what]).await?;
            let condition = object.condition(type_);
            ensure!(condition.is_some_and(|c| c.reason == reason), "{what} has {type_} {condition:?}");
            Ok(object)
        })
        .await
    }

    pub(crate) async fn until_gone(&self, within: u64, arguments: &[&str]) -> Result<()> {
        eventually(&format!("{} is gone", arguments.join(" ")), seconds(within), async || {
            let left =
                self.kubectl(&[&["get", "--ignore-not-found", "-o", "name"], arguments].concat()).await?;
            ensure!(left.trim().is_empty(), "left: {}", left.trim().replace('\n', ", "));
            Ok(())
        })
        .await
    }

    /// HTTP to the pods behind a Service, through the API server.
    pub(crate) async fn service(
        &self,
        service: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Answer> {
        let path = format!("/api/v1/namespaces/{}/services/{service}:http/proxy{path}", self.name);
        self.cluster.proxy.get(&path, headers).await
    }

    /// HTTP to one pod, through the API server.
    pub(crate) async fn pod(&self, pod: &str, path: &str) -> Result<Value> {
        let path = format!("/api/v1/namespaces/{}/pods/{pod}:8080/proxy{path}", self.name);
        self.cluster.proxy.get(&path, &[]).await?.json()
    }

    /// What a pod shows as its metrics, in Prometheus text.
    pub(crate) async fn metrics(&self, pod: &str) -> Result<String> {
        self.cluster.metrics(&self.name, pod).await
    }

    /// Events about an object, newest last: reason, and how often.
    pub(crate) async fn events(&self, kind: &str, name: &str) -> Result<Vec<(String, i64, String)>> {
        let selector = format!("involvedObject.kind={kind},involvedObject.name={name}");
        let events = self.get(&["events", "--field-selector", &selector]).await?;
        Ok(events
            .list("/items")
            .iter()
            .map(|event| {
                let times = event.number("/count").max(event.number("/series/count")).max(1);
                (event.text("/reason").to_owned(), times, event.text("/message").to_owned())
            })
            .collect())
    }

    /// How many Events of a reason an object has.
    pub(crate) async fn count(&self, kind: &str, name: &str, reason: &str) -> Result<i64> {
        Ok(self.events(kind, name).await?.iter().filter(|event| event.0 == reason).map(|event| event.1).sum())
    }
}
