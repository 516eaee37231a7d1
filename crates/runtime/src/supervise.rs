//! Tasks that a node can't do without. One that panics or ends is logged, counted, told in the node's health and started
//! again, after a pause that grows while it keeps dying.

use std::{
    any::Any,
    collections::BTreeMap,
    convert::Infallible,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt as _;
use tokio::time::{sleep, timeout};

use crate::{env::Env, metrics::Metrics};

/// First and longest pause before a task that died runs again.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A task that has run for this long since it died is well again.
const SETTLED: Duration = Duration::from_secs(60);

/// Which of a node's tasks have died and are not well again; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tasks(Arc<Mutex<BTreeMap<&'static str, Death>>>);

#[derive(Clone, Debug)]
struct Death {
    why: String,
    times: u32,
}

impl Tasks {
    /// What is wrong with a task, where one has died.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let dead = self.dead();
        let (name, Death { why, times }) = dead.first_key_value()?;
        Some(format!("the task {name} died {times} times and is started again: {why}"))
    }

    fn dead(&self) -> MutexGuard<'_, BTreeMap<&'static str, Death>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches over one task.
#[derive(Debug)]
pub struct Supervisor {
    name: &'static str,
    tasks: Tasks,
    metrics: Metrics,
    deaths: u32,
}

impl Supervisor {
    /// For a task of a name, which stands in logs, metrics and health.
    #[must_use]
    pub fn new(name: &'static str, env: &Env) -> Self {
        Self { name, tasks: env.tasks.clone(), metrics: env.metrics.clone(), deaths: 0 }
    }

    /// Runs the task, which is not meant to end; returns how it did.
    pub async fn watch(&mut self, task: impl Future<Output = ()>) -> String {
        let why = self.run(task).await.map_or_else(|why| why, |()| "it ended".to_owned());
        self.died(&why);
        why
    }

    /// Runs the task, which may come to an end of its own; `None` when it panicked.
    pub async fn until_done<T>(&mut self, task: impl Future<Output = T>) -> Option<T> {
        let outcome = self.run(task).await;
        outcome.inspect_err(|why| self.died(why)).ok()
    }

    async fn run<T>(&mut self, task: impl Future<Output = T>) -> Result<T, String> {
        let mut task = pin!(caught(task));
        if let Ok(outcome) = timeout(SETTLED, &mut task).await {
            return outcome;
        }
        self.settled();
        task.await
    }

    fn died(&mut self, why: &str) {
        self.deaths = self.deaths.saturating_add(1);
        self.metrics.task_died(self.name);
        tracing::error!(
            task = self.name,
            why,
            times = self.deaths,
            restart_in_ms = self.pause_length().as_millis(),
            "task died"
        );
        self.tasks.dead().insert(self.name, Death { why: why.to_owned(), times: self.deaths });
    }

    /// Waits until the task may run again.
    pub async fn pause(&self) {
        sleep(self.pause_length()).await;
    }

    fn pause_length(&self) -> Duration {
        PAUSE.saturating_mul(1 << self.deaths.saturating_sub(1).min(6)).min(LONGEST_PAUSE)
    }

    fn settled(&mut self) {
        if std::mem::take(&mut self.deaths) > 0 {
            self.tasks.dead().remove(self.name);
            tracing::info!(task = self.name, "task is well again");
        }
    }
}

/// A task that is given up is nobody's trouble any more.
impl Drop for Supervisor {
    fn drop(&mut self) {
        self.tasks.dead().remove(self.name);
    }
}

/// Runs a task again and again, for ever.
pub async fn forever<F: Future>(name: &'static str, env: &Env, mut task: impl FnMut() -> F) -> Infallible {
    let mut supervisor = Supervisor::new(name, env);
    loop {
        supervisor.watch(task().map(drop)).await;
        supervisor.pause().await;
    }
}

/// Runs work to its end; a panic in it is an error in words.
///
/// # Errors
/// What the panic said.
pub async fn caught<T>(work: impl Future<Output = T>) -> Result<T, String> {
    // What the work shared is guarded by locks that a panic leaves usable, or is dropped with it.
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| format!("it panicked: {}", said(&*panic)))
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn env() -> Env {
        Env::system(Metrics::disabled())
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_or_ends_is_told_about_and_runs_again() {
        let (env, runs) = (env(), Cell::new(0));
        let task = || async {
            runs.set(runs.get() + 1);
            match runs.get() {
                1 => panic!("number {}", 1),
                2 => {}
                _ => std::future::pending().await,
            }
        };
        let running = forever("test", &env, task);
        let mut running = pin!(running);
        let after = async |duration, running: &mut std::pin::Pin<&mut _>| {
            assert!(timeout(duration, running).await.is_err(), "it never ends");
            (runs.get(), env.tasks.trouble().unwrap_or_default())
        };
        let (times, trouble) = after(Duration::from_millis(500), &mut running).await;
        assert!(times == 1 && trouble.contains("it panicked: number 1"), "{times}, {trouble}");
        let (times, trouble) = after(PAUSE, &mut running).await;
        assert!(times == 2 && trouble.contains("died 2 times") && trouble.contains("it ended"), "{trouble}");
        assert_eq!(after(2 * PAUSE, &mut running).await.0, 3, "after a longer pause");
        assert_eq!(after(SETTLED + PAUSE, &mut running).await, (3, String::new()), "well again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_keeps_dying_does_not_keep_a_processor_busy() {
        let (env, runs) = (env(), Cell::new(0));
        let task = || async { runs.set(runs.get() + 1) };
        assert!(timeout(Duration::from_secs(600), forever("test", &env, task)).await.is_err());
        assert!((10..20).contains(&runs.get()), "{} times in ten minutes", runs.get());
        assert_eq!(env.tasks.trouble(), None, "given up");
    }
}
