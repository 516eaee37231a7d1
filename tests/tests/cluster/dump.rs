//! What helps to understand a failure, printed beside it.

use crate::{
    cluster::{CONTROLLER, Cluster, system},
    look::{Look as _, is_ready},
    space::Space,
};

async fn show(cluster: &Cluster, title: &str, arguments: &[&str]) {
    println!("--- {title}");
    match cluster.try_kubectl(arguments, "").await {
        Ok(ended) => println!("{}{}", ended.out, ended.err),
        Err(error) => println!("{error:#}"),
    }
}

/// Everything about a namespace.
pub(crate) async fn space(space: &Space) {
    let (cluster, name) = (&*space.cluster, space.name.as_str());
    show(cluster, &format!("resources in {name}"), &["-n", name, "get", "sorcha", "-o", "yaml"]).await;
    show(cluster, "pods", &["-n", name, "get", "pods,statefulsets,pvc", "-o", "wide"]).await;
    show(cluster, "events", &["-n", name, "events"]).await;
    let Ok(pods) = space.get(&["pods"]).await else { return };
    for pod in pods.list("/items").iter().filter(|pod| !is_ready(pod)).take(3) {
        for which in ["--previous=false", "--previous=true"] {
            let title = format!("log of {} {which}", pod.name());
            show(cluster, &title, &["-n", name, "logs", pod.name(), "--tail=30", which]).await;
        }
    }
}

/// The controllers.
pub(crate) async fn controller(cluster: &Cluster) {
    show(cluster, "controllers", &["-n", system(), "get", "pods,lease", "-o", "wide"]).await;
    let log = ["-n", system(), "logs", "-l", CONTROLLER, "--prefix", "--tail=40"];
    show(cluster, "controllers' logs", &log).await;
}
