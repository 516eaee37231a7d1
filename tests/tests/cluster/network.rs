//! The network that several scenarios use one after the other: three central nodes on one MongoDB server, peers `edge`.

use std::{rc::Rc, time::Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::{
    cluster::Cluster,
    eventually::{eventually, seconds},
    look::{Look as _, is_ready},
    manifests,
    space::Space,
};

/// Under this name its namespace is known.
pub(crate) const SHARED: &str = "shared";
/// Name of the network.
pub(crate) const NETWORK: &str = "sorcha.dev";
/// Its central nodes.
pub(crate) const CENTRAL: [&str; 3] = ["n0", "n1", "n2"];
/// Replicas of `edge` at the start.
pub(crate) const REPLICAS: i32 = 5;

/// Everything by one `kubectl apply`; waits until all is ready and prints how long that took.
pub(crate) async fn create(cluster: &Rc<Cluster>) -> Result<Space> {
    let space = cluster.space(SHARED, "").await?;
    let settings = &cluster.settings;
    let mut objects = vec![manifests::tokens(), manifests::publisher(settings)];
    for (priority, name) in (0..).zip(CENTRAL) {
        objects.push(manifests::central(settings, name, NETWORK, priority));
    }
    objects.push(manifests::peers("edge", NETWORK, REPLICAS));
    let started = Instant::now();
    space.apply(&objects).await?;
    for name in CENTRAL {
        space.until(&format!("scn/{name}"), 180, &[("Ready", "True")]).await?;
    }
    let expected = [("Ready", "True"), ("Connected", "True"), ("Synced", "True"), ("Isolated", "False")];
    space.until("sp/edge", 120, &expected).await?;
    let took = started.elapsed().as_secs_f64();
    println!("      network: ready {took:.1} s after kubectl apply; {}", pod_times(&space).await?);
    space.kubectl(&["wait", "pod/publisher", "--for=condition=Ready", "--timeout=60s"]).await?;
    Ok(space)
}

/// When the slowest pods were there: what of the time is scheduling and starting, and what is the nodes' own.
async fn pod_times(space: &Space) -> Result<String> {
    let pods = space.get(&["pods", "-l", "app.kubernetes.io/managed-by=sorcha-controller"]).await?;
    let first = pods.list("/items").iter().map(|pod| pod.text("/metadata/creationTimestamp")).min();
    let last = |value: fn(&Value) -> &str| pods.list("/items").iter().map(value).max().unwrap_or_default();
    let created = last(|pod| pod.text("/metadata/creationTimestamp"));
    let started = last(|pod| pod.text("/status/containerStatuses/0/state/running/startedAt"));
    let ready = last(|pod| {
        let conditions = pod.list("/status/conditions").iter();
        conditions
            .filter(|c| c.text("/type") == "Ready")
            .map(|c| c.text("/lastTransitionTime"))
            .max()
            .unwrap_or_default()
    });
    let from = clock(first.unwrap_or_default());
    Ok(format!(
        "from the first pod's creation: all created after {} s, all containers started after {} s, all ready after {} s",
        clock(created) - from,
        clock(started) - from,
        clock(ready) - from
    ))
}

/// Second of the day of an instant as Kubernetes writes it.
fn clock(instant: &str) -> i64 {
    let time = instant.split('T').nth(1).unwrap_or_default();
    time.trim_end_matches('Z')
        .split(':')
        .fold(0, |sum, part| sum * 60 + part.parse::<i64>().unwrap_or_default())
}

/// The network as its scenarios expect it at their start: all central nodes ready, `edge` with so many replicas.
pub(crate) async fn settle(space: &Space, replicas: i32) -> Result<Value> {
    for name in CENTRAL {
        space.until(&format!("scn/{name}"), 120, &[("Ready", "True")]).await?;
    }
    let edge = space.get(&["sp/edge"]).await?;
    if edge.number("/spec/replicas") != i64::from(replicas) {
        space.kubectl(&["scale", "sp/edge", &format!("--replicas={replicas}")]).await?;
    }
    space.until("sp/edge", 120, &[("Ready", "True"), ("Connected", "True"), ("Synced", "True")]).await
}

/// Names of the pods of `edge`.
pub(crate) fn edge_pods(replicas: i32) -> Vec<String> {
    (0..replicas).map(|ordinal| format!("edge-{ordinal}")).collect()
}

/// Pods of a component that are not ready now, those that are missing included.
pub(crate) async fn not_ready(space: &Space, component: &str, expected: usize) -> Result<usize> {
    let selector = format!("app.kubernetes.io/component={component}");
    let pods = space.get(&["pods", "-l", &selector]).await?;
    let ready = pods.list("/items").iter().filter(|pod| is_ready(pod)).count();
    Ok(expected.saturating_sub(ready))
}

/// Waits until peers are connected to central nodes, and none to the one named.
pub(crate) async fn until_moved(space: &Space, from: &str, within: u64) -> Result<Value> {
    eventually(&format!("all peers have left {from}"), seconds(within), async || {
        let edge = space.get(&["sp/edge"]).await?;
        let wanted = usize::try_from(edge.number("/spec/replicas"))?;
        let nodes = edge.list("/status/nodes");
        ensure!(nodes.len() == wanted, "{} of {wanted} peers report", nodes.len());
        for node in nodes {
            let (state, central) = (node.text("/state"), node.text("/centralNode"));
            let connected = state == "HeartbeatMonitoring" || state == "Connected";
            ensure!(connected && central != from, "{} is {state} at {central}", node.text("/name"));
        }
        Ok(edge)
    })
    .await
}
