//! The table that users see.

use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};

use crate::{
    cluster::Cluster,
    eventually::{eventually, seconds},
    look::Look as _,
    network::{self, CENTRAL, REPLICAS},
    run::Done,
};

pub(crate) async fn run(cluster: &Rc<Cluster>) -> Result<Done> {
    let space = cluster.network().await?;
    let table = eventually("kubectl get sorcha shows all", seconds(30), async || {
        let table = space.kubectl(&["get", "sorcha"]).await?;
        check(&table).map(|()| table)
    })
    .await?;
    for line in table.lines() {
        println!("      | {line}");
    }
    let wide = space.kubectl(&["get", "sp", "-o", "wide"]).await?;
    for column in ["FAILOVERS", "RTT", "DIGEST"] {
        ensure!(wide.contains(column), "kubectl get sp -o wide has no {column}: {wide}");
    }
    let edge = network::settle(space, REPLICAS).await?;
    let digest = edge.text("/status/digest");
    for name in CENTRAL {
        let node = space.get(&[&format!("scn/{name}")]).await?;
        ensure!(node.text("/status/digest") == digest, "the digest of {name} is not that of edge: {digest}");
        let endpoint = format!("{name}.{}.svc:5000", space.name);
        ensure!(node.text("/status/endpoint") == endpoint, "{name}: {}", node.text("/status/endpoint"));
    }
    Ok(Done::Passed)
}

/// Each column with what it must say.
fn check(table: &str) -> Result<()> {
    let peers = columns(table, "sorchapeer.sorcha.dev/edge")?;
    let cell = |row: &[(String, String)], column: &str| {
        let found = row.iter().find(|(name, _)| name == column).map(|(_, value)| value.clone());
        found.with_context(|| format!("there is no column {column}:\n{table}"))
    };
    for (column, expected) in [("READY", "5/5"), ("STATE", "HeartbeatMonitoring"), ("LAG", "0")] {
        let shown = cell(&peers, column)?;
        ensure!(shown == expected, "{column} of edge is {shown}, not {expected}:\n{table}");
    }
    // Peers that start before n0 serves are where they found a central node first.
    let central = cell(&peers, "CENTRAL")?;
    ensure!(central == "mixed" || CENTRAL.contains(&central.as_str()), "CENTRAL is {central}:\n{table}");
    let version = cell(&peers, "VERSION")?;
    for column in ["FRESH", "AGE"] {
        cell(&peers, column)?;
    }
    let mut connected = 0;
    for name in CENTRAL {
        let node = columns(table, &format!("sorchacentralnode.sorcha.dev/{name}"))?;
        ensure!(cell(&node, "READY")? == "True", "{name} is not ready:\n{table}");
        ensure!(cell(&node, "VERSION")? == version, "{name} is not at version {version}:\n{table}");
        connected += cell(&node, "PEERS")?.parse::<i32>()?;
    }
    ensure!(connected == REPLICAS, "{connected} peers are connected, not {REPLICAS}:\n{table}");
    Ok(())
}

/// The cells of a row under their headings; an empty cell would shift the others, and fails.
fn columns(table: &str, row: &str) -> Result<Vec<(String, String)>> {
    let lines: Vec<&str> = table.lines().collect();
    let at = lines.iter().position(|line| line.split_whitespace().next() == Some(row));
    let at = at.with_context(|| format!("no row {row}:\n{table}"))?;
    let heading = lines[..at].iter().rev().find(|line| line.starts_with("NAME")).context("no heading")?;
    let (names, cells): (Vec<_>, Vec<_>) =
        (heading.split_whitespace().collect(), lines[at].split_whitespace().collect());
    ensure!(names.len() == cells.len(), "{row} has empty cells:\n{table}");
    Ok(names.into_iter().zip(cells).map(|(name, cell)| (name.to_owned(), cell.to_owned())).collect())
}
