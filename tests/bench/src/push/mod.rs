//! From the call that publishes to the acknowledgement of each subscriber, side by side with JetStream and etcd.
//!
//! Publishers and subscribers are Rust clients in this process, servers are processes of their own; all times are by
//! one clock. Subscribers at equal duty do what our peers do before they acknowledge. Each run starts with an empty store, and the systems take turns within each repetition.

mod etcd;
mod keeper;
pub(crate) mod nats;
pub(crate) mod publisher;
mod sorcha;
pub(crate) mod tally;

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use serde::Serialize;

use self::{
    etcd::Watches,
    keeper::Duty,
    nats::Jetstream,
    publisher::{Pace, Plan, Published, Target},
    sorcha::Sorcha,
    tally::Tally,
};
use crate::{
    bench::{Bench, say},
    process::{
        Server,
        nats::Sync,
        usage::{Usage, megabytes, micros_each},
    },
    stats::Distribution,
};

/// Subject of the publications on NATS.
const SUBJECT: &str = "bench.register";
/// How long late deliveries are waited for.
const LATE: Duration = Duration::from_secs(60);
/// Publications that one run has room for.
const ROOM: usize = 200_000;

/// A system under comparison, running.
#[async_trait]
trait System: Send {
    /// Adds subscribers; all are receiving when it returns.
    async fn subscribe(&mut self, count: usize, tally: &Arc<Tally>) -> Result<()>;
    /// Where publications go.
    fn target(&self) -> Target;
    /// Its server.
    fn server(&self) -> &Server;
    /// Ends subscribers and server.
    async fn stop(self: Box<Self>) -> Result<()>;
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contestant {
    /// A central node and peers.
    Sorcha,
    /// JetStream as it comes: files are fsynced every two minutes.
    Nats,
    /// JetStream that fsyncs before it acknowledges a publication, as we do.
    NatsSyncAlways,
    /// The same, with subscribers that do what our peers do.
    NatsEqualDuty,
    /// etcd's watches.
    Etcd,
    /// The same, with subscribers that do what our peers do.
    EtcdEqualDuty,
}

impl Contestant {
    /// All, in the order of the report.
    pub(crate) const ALL: [Self; 6] = [
        Self::Sorcha,
        Self::NatsEqualDuty,
        Self::EtcdEqualDuty,
        Self::Nats,
        Self::NatsSyncAlways,
        Self::Etcd,
    ];

    /// Its name for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sorcha => "Sorcha",
            Self::Nats => "NATS JetStream",
            Self::NatsSyncAlways => "NATS JetStream, sync always",
            Self::NatsEqualDuty => "NATS JetStream, equal duty",
            Self::Etcd => "etcd watch",
            Self::EtcdEqualDuty => "etcd watch, equal duty",
        }
    }

    /// Whether servers and subscribers do what ours do: goals compare with these.
    pub(crate) const fn is_equal(self) -> bool {
        matches!(self, Self::NatsEqualDuty | Self::EtcdEqualDuty)
    }

    const fn duty(self) -> Duty {
        if self.is_equal() { Duty::Equal } else { Duty::Stock }
    }

    /// The running system, or none where its program is not built.
    async fn start(self, bench: &Bench, work: &Path) -> Result<Option<Box<dyn System>>> {
        let programs = &bench.programs;
        Ok(match self {
            Self::Sorcha => Some(Box::new(Sorcha::start(&programs.node, work).await?)),
            Self::Nats | Self::NatsSyncAlways | Self::NatsEqualDuty => {
                let Some(nats) = &programs.nats else { return Ok(None) };
                let sync = if self == Self::Nats { Sync::Default } else { Sync::Always };
                Some(Box::new(Jetstream::start(nats, work, sync, self.duty()).await?))
            }
            Self::Etcd | Self::EtcdEqualDuty => {
                let Some(etcd) = &programs.etcd else { return Ok(None) };
                Some(Box::new(Watches::start(etcd, work, self.duty()).await?))
            }
        })
    }
}

/// One load that all systems get.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// Its name in results.
    pub(crate) name: &'static str,
    pub(crate) subscribers: usize,
    pub(crate) plan: Plan,
    pub(crate) repetitions: usize,
}

/// What one system did under one load once.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) case: String,
    pub(crate) system: Contestant,
    pub(crate) repetition: usize,
    pub(crate) subscribers: usize,
    pub(crate) publications: usize,
    /// Publications that were not acknowledged.
    pub(crate) failed: usize,
    pub(crate) deliveries: usize,
    /// Deliveries that never came.
    pub(crate) missing: usize,
    /// Deliveries a second after the warm-up, while publications went on.
    pub(crate) deliveries_per_second: f64,
    /// From just before the publishing call to the subscriber's acknowledgement.
    pub(crate) latency_ms: Distribution,
    /// Processors kept busy by the server, and by publishers and subscribers together.
    pub(crate) server_cpu: f64,
    pub(crate) client_cpu: f64,
    /// Processor time by delivery, microseconds: of the server, and of all subscribers without the publisher.
    pub(crate) server_us: f64,
    pub(crate) subscriber_us: f64,
    pub(crate) server_resident_mb: f64,
}

/// Runs all cases on all systems that are there.
pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for case in &bench.scale.push {
        for repetition in 0..case.repetitions {
            for system in Contestant::ALL {
                let ran = run_once(bench, *case, system, repetition).await;
                runs.extend(ran.with_context(|| format!("{} under {}", system.name(), case.name))?);
            }
        }
    }
    Ok(runs)
}

async fn run_once(
    bench: &Bench,
    case: Case,
    contestant: Contestant,
    repetition: usize,
) -> Result<Option<Run>> {
    let work = bench.folder()?;
    let Some(mut system) = contestant.start(bench, work.path()).await? else { return Ok(None) };
    let room = match case.plan.pace {
        Pace::PerSecond(rate) => ((case.plan.warm_up + case.plan.duration).as_secs_f64() * rate) as usize + 1,
        Pace::Window(_) => ROOM,
    };
    let tally = Arc::new(Tally::new(case.subscribers, room));
    system.subscribe(case.subscribers, &tally).await?;
    let before = (Usage::of(system.server().pid())?, Usage::own()?, tally.now());
    let published = publisher::publish(system.target(), case.plan, Arc::clone(&tally)).await?;
    let after = (Usage::of(system.server().pid())?, Usage::own()?, tally.now());
    let delivered = tally.delivered();
    tally.until_delivered((published.count - published.failed) * case.subscribers, LATE).await;
    system.stop().await?;
    let mut run = evaluate(&tally, published).with_context(|| "nothing was delivered")?;
    (run.case, run.system, run.repetition) = (case.name.to_owned(), contestant, repetition);
    let elapsed = after.2.saturating_sub(before.2);
    (run.server_cpu, run.client_cpu) =
        (after.0.cpu_share(before.0, elapsed), after.1.cpu_share(before.1, elapsed));
    let subscribers = after.1.cpu_since(before.1).saturating_sub(published.cpu);
    (run.server_us, run.subscriber_us) =
        (micros_each(after.0.cpu_since(before.0), delivered), micros_each(subscribers, delivered));
    run.server_resident_mb = megabytes(after.0.resident);
    tell(&run);
    Ok(Some(run))
}

fn tell(run: &Run) {
    say(&format!(
        "push {:<12} {:<28} p50 {:>8.2} p99 {:>8.2} max {:>8.2} ms, {:>7.0} deliveries/s, µs {:.1} + {:.1}",
        run.case,
        run.system.name(),
        run.latency_ms.p50,
        run.latency_ms.p99,
        run.latency_ms.max,
        run.deliveries_per_second,
        run.server_us,
        run.subscriber_us
    ));
}

/// Tells of a subscriber that fails before it is stopped: what it lacks is missing from the results.
async fn reported(who: usize, receiving: impl Future<Output = Result<()>>) {
    if let Err(error) = receiving.await {
        say(&format!("subscriber {who}: {error:#}"));
    }
}

fn evaluate(tally: &Tally, published: Published) -> Option<Run> {
    let (from, to) = (published.counted_from, published.ended);
    let deliveries: usize = (0..tally.subscribers()).map(|who| tally.arrivals_of(who).len()).sum();
    let seconds = to.saturating_sub(from).as_secs_f64();
    Some(Run {
        case: String::new(),
        system: Contestant::Sorcha,
        repetition: 0,
        subscribers: tally.subscribers(),
        publications: published.count,
        failed: published.failed,
        deliveries,
        missing: ((published.count - published.failed) * tally.subscribers()).saturating_sub(deliveries),
        deliveries_per_second: (tally.delivered_between(from, to) as f64 / seconds).round(),
        latency_ms: Distribution::of(tally.latencies(from))?,
        server_cpu: 0.0,
        client_cpu: 0.0,
        server_us: 0.0,
        subscriber_us: 0.0,
        server_resident_mb: 0.0,
    })
}
