//! The published addresses follow the Services.

use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    eventually::{eventually, seconds},
    look::Look as _,
    manifests,
    run::Done,
    space::Space,
};

const NETWORK: &str = "service.test";

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.space("service", "").await?;
    let mut node = manifests::embedded("n0", NETWORK);
    node["spec"]["service"] = json!({"type": "LoadBalancer", "annotations": {"example.test/pool": "a"}});
    space.apply(&[manifests::tokens(), node]).await?;
    eventually("the Service is there with its annotation", seconds(30), async || {
        let annotations = space.get(&["service/n0"]).await?["metadata"]["annotations"].clone();
        ensure!(annotations["example.test/pool"] == "a", "{annotations}");
        Ok(())
    })
    .await?;
    published(&space, None).await?;
    for ingress in [json!({"ip": "192.0.2.7"}), json!({"hostname": "lb.example.test"})] {
        let address = ingress.as_object().and_then(|object| object.values().next()).and_then(Value::as_str);
        let address = address.context("an address")?.to_owned();
        let status = json!({"status": {"loadBalancer": {"ingress": [ingress]}}}).to_string();
        space
            .kubectl(&["patch", "service", "n0", "--subresource=status", "--type=merge", "-p", &status])
            .await?;
        published(&space, Some((&address, 5000))).await?;
    }
    let node_port =
        json!({"spec": {"service": {"type": "NodePort", "advertise": {"host": "machines.example.test"}}}});
    space.patch("scn/n0", &node_port).await?;
    let port = eventually("the Service has a port of the machines", seconds(15), async || {
        let service = space.get(&["service/n0"]).await?;
        let port = service.list("/spec/ports").iter().find(|port| port.text("/name") == "grpc");
        port.map(|port| port.number("/nodePort")).filter(|port| *port > 0).context("no nodePort")
    })
    .await?;
    published(&space, Some(("machines.example.test", port))).await?;
    space.patch("scn/n0", &json!({"spec": {"service": {"advertise": {"port": 15000}}}})).await?;
    published(&space, Some(("machines.example.test", 15000))).await?;
    Ok(Done::Passed)
}

/// Status and ConfigMap tell the same.
async fn published(space: &Space, expected: Option<(&str, i64)>) -> Result<()> {
    eventually(&format!("the published address is {expected:?}"), seconds(20), async || {
        let node = space.get(&["scn/n0"]).await?;
        let endpoint = node.text("/status/endpoint");
        let wanted = expected.map_or(String::new(), |(host, port)| format!("{host}:{port}"));
        ensure!(endpoint == wanted, "status.endpoint is {endpoint:?}");
        let map = space.get(&[&format!("configmap/sorcha-central-nodes.{NETWORK}")]).await?;
        let external: Value = serde_json::from_str(map.text("/data/central-nodes-external.json"))?;
        let internal: Value = serde_json::from_str(map.text("/data/central-nodes.json"))?;
        let host = format!("n0.{}.svc", space.name);
        ensure!(internal.text("/central_nodes/0/host") == host, "{internal}");
        let listed = external.list("/central_nodes");
        match expected {
            None => ensure!(listed.is_empty(), "{external}"),
            Some((host, port)) => {
                let told = external.text("/central_nodes/0/host") == host;
                ensure!(told && external.number("/central_nodes/0/port") == port, "{external}");
            }
        }
        Ok(())
    })
    .await
}
