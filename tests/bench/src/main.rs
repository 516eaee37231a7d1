//! Benchmarks of the nodes, side by side with NATS JetStream, etcd and nginx: `sorcha-bench --help`.

mod bare;
mod bench;
mod cli;
mod closed_loop;
mod documents;
mod failover;
mod idle;
mod machine;
mod memory;
mod plot;
mod process;
mod publish;
mod push;
mod reads;
mod reconnect;
mod register;
mod report;
mod scale;
mod staleness;
mod startup;
mod stats;
mod swarm;
mod sync;

use std::{path::PathBuf, time::Instant};

use anyhow::{Context as _, Result};
use clap::Parser as _;

use self::{
    bench::{Bench, Programs, say},
    cli::{Cli, Measure},
    machine::Machine,
    report::Report,
    scale::Scale,
};

/// That of sorcha-node: peers run in this process.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Threads for stores that wait for a disk: a thousand peers share them, where each would have its own machine.
const BLOCKING_THREADS: usize = 32;

fn main() -> Result<()> {
    let cli = Cli::parse();
    // Peers that lose their central node on purpose would say so a thousand times.
    tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::OFF).init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        tokio::select! {
            done = run(&cli) => done,
            // Dropping what runs kills the servers.
            interrupted = tokio::signal::ctrl_c() => Err(interrupted.map_or_else(Into::into, |()| anyhow::anyhow!("interrupted"))),
        }
    })
}

async fn run(cli: &Cli) -> Result<()> {
    if let (Some(data), Some(port)) = (&cli.bare_server, cli.bare_port) {
        return bare::serve(data, port).await;
    }
    let bench = prepare(cli)?;
    let report = measure(cli, &bench).await?;
    println!("{}", report.tables());
    if let Some(file) = &cli.json {
        std::fs::write(file, report.json()?).with_context(|| format!("write {}", file.display()))?;
    }
    if let Some(folder) = cli.folder() {
        report.publish(&folder)?;
        say(&format!("written to {}", folder.display()));
    }
    Ok(())
}

fn prepare(cli: &Cli) -> Result<Bench> {
    let beside = || Ok::<_, std::io::Error>(std::env::current_exe()?.with_file_name("sorcha-node"));
    let node = cli.node.clone().map_or_else(beside, Ok)?;
    let found =
        |program: PathBuf| program.canonicalize().with_context(|| format!("find {}", program.display()));
    let work = cli.work.clone().unwrap_or_else(std::env::temp_dir);
    std::fs::create_dir_all(&work)?;
    Ok(Bench {
        programs: Programs {
            node: found(node)?,
            nats: cli.nats.clone().map(found).transpose()?,
            etcd: cli.etcd.clone().map(found).transpose()?,
            nginx: cli.nginx.clone().map(found).transpose()?,
            mongo: cli.mongo.clone().map(found).transpose()?,
        },
        work: work.canonicalize()?,
        scale: if cli.quick { Scale::quick() } else { Scale::full() },
    })
}

async fn measure(cli: &Cli, bench: &Bench) -> Result<Report> {
    let started = Instant::now();
    let mut report = Report::empty(Machine::look(bench, cli.remark.clone())?, cli.quick);
    measure_work(cli, bench, &mut report).await?;
    measure_peers(cli, bench, &mut report).await?;
    report.minutes = started.elapsed().as_secs_f64() / 60.0;
    Ok(report)
}

/// How fast everything is while all is well.
async fn measure_work(cli: &Cli, bench: &Bench, report: &mut Report) -> Result<()> {
    if cli.wants(Measure::Sync) {
        report.full_sync = Some(sync::measure(bench).await.context("full sync")?);
    }
    if cli.wants(Measure::StartUp) {
        report.start_up = startup::measure(bench).await.context("start-up")?;
    }
    if cli.wants(Measure::Push) {
        report.push = push::measure(bench).await.context("push")?;
    }
    if cli.wants(Measure::Publish) {
        report.publish = publish::measure(bench).await.context("publish")?;
    }
    if cli.wants(Measure::Reads) {
        report.reads = reads::measure(bench).await.context("reads")?;
    }
    Ok(())
}

/// What peers cost, and what becomes of them when central nodes end.
async fn measure_peers(cli: &Cli, bench: &Bench, report: &mut Report) -> Result<()> {
    if cli.wants(Measure::Idle) {
        report.idle = Some(idle::measure(bench).await.context("idle peers")?);
    }
    if cli.wants(Measure::Memory) {
        report.memory = memory::measure(bench).await.context("memory")?;
    }
    if cli.wants(Measure::Reconnect) {
        report.reconnect = reconnect::measure(bench).await.context("reconnect")?;
    }
    if cli.wants(Measure::Failover) {
        report.failover = failover::measure(bench).await.context("failover")?;
    }
    if cli.wants(Measure::Staleness) {
        report.staleness = Some(staleness::measure(bench).await.context("staleness")?);
    }
    Ok(())
}
