//! How old replicas are while publications go on, with one peer that is slow and one that comes and goes.
//!
//! A replica is as stale as the oldest publication that it lacks, counted from just before the publishing call; one that
//! lacks nothing is not stale.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use serde::Serialize;
use sorcha_config::CentralNodeAddress;
use sorcha_store::Store;

use crate::{
    bench::{Bench, say},
    process::central::Place,
    push::{
        publisher::{self, Pace, Plan},
        tally::Tally,
    },
    stats::Distribution,
    swarm::{Peer, Swarm, recording::Recording},
};

/// Publications a second.
const RATE: f64 = 20.0;
/// How long the slow peer's disk takes for each batch.
const SLOW: Duration = Duration::from_millis(250);
/// How long the flapping peer is there, and away.
const THERE: Duration = Duration::from_secs(3);
const AWAY: Duration = Duration::from_secs(1);
/// Time between two looks at all replicas: in no simple ratio to the time between publications.
const LOOK: Duration = Duration::from_micros(7919);
/// Looks between two points of the plot.
const PER_POINT: usize = 25;
/// How long the last deliveries are waited for.
const LATE: Duration = Duration::from_secs(10);

/// Staleness over peers and time, milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Staleness {
    pub(crate) peers: usize,
    pub(crate) publications_per_second: f64,
    pub(crate) seconds: f64,
    /// Of all peers but the two odd ones.
    pub(crate) healthy_ms: Distribution,
    pub(crate) slow_ms: Distribution,
    pub(crate) flapping_ms: Distribution,
    /// Each: seconds, then the worst of the healthy peers, the slow one and the flapping one, milliseconds.
    pub(crate) over_time: Vec<[f64; 4]>,
}

/// Measures one network.
pub(crate) async fn measure(bench: &Bench) -> Result<Staleness> {
    let scale = bench.scale.staleness;
    let work = bench.folder()?;
    let central = Place::new(&bench.programs.node, work.path(), 0)?.start().await?;
    let centrals = [central.place().address(0)];
    let plan =
        Plan { pace: Pace::PerSecond(RATE), warm_up: Duration::from_secs(2), duration: scale.duration };
    let publications = ((plan.warm_up + plan.duration).as_secs_f64() * RATE) as usize + 1;
    let tally = Arc::new(Tally::new(scale.peers, publications));
    let (slow, flapping) = (scale.peers - 2, scale.peers - 1);
    let store = |who: usize, store: Arc<dyn Store>| {
        let delay = if who == slow { SLOW } else { Duration::ZERO };
        Recording::over_slow(store, who, Arc::clone(&tally), delay)
    };
    let mut swarm = Swarm::default();
    swarm.grow(work.path(), flapping, &centrals, |_| (), store).await?;
    swarm.until_subscribed().await?;
    let target = central.place().publications();
    let published = tokio::select! {
        published = publisher::publish(target, plan, Arc::clone(&tally)) => published?,
        failed = flap(work.path(), &centrals, flapping, &tally) => return Err(failed?),
    };
    anyhow::ensure!(published.failed == 0, "{} publications failed", published.failed);
    tally.until_delivered(published.count * (scale.peers - 1), LATE).await;
    central.kill().await?;
    let result = evaluate(&tally, published.counted_from, published.ended)?;
    say(&format!(
        "staleness at {RATE}/s: p50 {:.1} p99 {:.1} max {:.1} ms; slow p99 {:.0} ms, flapping p99 {:.0} ms",
        result.healthy_ms.p50,
        result.healthy_ms.p99,
        result.healthy_ms.max,
        result.slow_ms.p99,
        result.flapping_ms.p99
    ));
    Ok(result)
}

/// A peer that is killed and started again for ever; returns only what goes wrong.
async fn flap(
    work: &Path,
    centrals: &[CentralNodeAddress],
    who: usize,
    tally: &Arc<Tally>,
) -> Result<anyhow::Error> {
    loop {
        let store = |store| Recording::over(store, who, Arc::clone(tally));
        let peer = match Peer::start(work, "flapping", centrals, |_| (), store).await {
            Ok(peer) => peer,
            Err(error) => return Ok(error.context("the flapping peer")),
        };
        tokio::time::sleep(THERE).await;
        drop(peer);
        tokio::time::sleep(AWAY).await;
    }
}

fn evaluate(tally: &Tally, from: Duration, to: Duration) -> Result<Staleness> {
    let looks = (to.saturating_sub(from).as_nanos() / LOOK.as_nanos()) as usize;
    let instants: Vec<Duration> =
        (0..looks).map(|look| from + LOOK * u32::try_from(look).unwrap_or(u32::MAX)).collect();
    let ages: Vec<Vec<f64>> = (0..tally.subscribers()).map(|who| ages(tally, who, &instants)).collect();
    let (odd, healthy) = (ages.len() - 2, &ages[..ages.len() - 2]);
    let worst = |within: &[f64]| within.iter().copied().fold(0.0, f64::max);
    let point = |start: usize| {
        let range = start..(start + PER_POINT).min(looks);
        let healthy = healthy.iter().map(|ages| worst(&ages[range.clone()])).fold(0.0, f64::max);
        let seconds = (start as f64) * LOOK.as_secs_f64();
        [seconds, healthy, worst(&ages[odd][range.clone()]), worst(&ages[odd + 1][range])]
    };
    Ok(Staleness {
        peers: tally.subscribers(),
        publications_per_second: RATE,
        seconds: to.saturating_sub(from).as_secs_f64(),
        healthy_ms: Distribution::of(healthy.concat()).context("no healthy peer")?,
        slow_ms: Distribution::of(ages[odd].clone()).context("no slow peer")?,
        flapping_ms: Distribution::of(ages[odd + 1].clone()).context("no flapping peer")?,
        over_time: (0..looks).step_by(PER_POINT).map(point).collect(),
    })
}

/// A replica's age at each instant, milliseconds.
fn ages(tally: &Tally, who: usize, instants: &[Duration]) -> Vec<f64> {
    let mut arrived = vec![Duration::MAX; tally.capacity()];
    for arrival in tally.arrivals_of(who) {
        arrived[arrival.index] = arrival.at;
    }
    let mut oldest = 0;
    let mut age = |now: Duration| {
        while arrived.get(oldest).is_some_and(|at| *at <= now) {
            oldest += 1;
        }
        let lacks = tally.sent_at(oldest).filter(|sent| *sent <= now);
        lacks.map_or(0.0, |sent| (now - sent).as_secs_f64() * 1000.0)
    };
    instants.iter().map(|now| age(*now)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_as_old_as_the_oldest_publication_that_it_lacks() {
        let tally = Tally::new(1, 3);
        for index in 0..2 {
            tally.sending(index);
        }
        let sent = [0, 1].map(|index| tally.sent_at(index).unwrap());
        let at = |millis: u64| sent[0] + Duration::from_millis(millis);
        assert_eq!(ages(&tally, 0, &[Duration::ZERO]), [0.0]);
        let lacking_all = ages(&tally, 0, &[at(5), at(9)]);
        assert!((lacking_all[0] - 5.0).abs() < 1e-6 && (lacking_all[1] - 9.0).abs() < 1e-6);
        tally.arrived(0, 0);
        let later = tally.now() + Duration::from_secs(1);
        let lacking_the_second = (later - sent[1]).as_secs_f64() * 1000.0;
        assert!((ages(&tally, 0, &[later])[0] - lacking_the_second).abs() < 1e-6);
        tally.arrived(0, 1);
        assert_eq!(ages(&tally, 0, &[later]), [0.0]);
    }
}
