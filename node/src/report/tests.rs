//! The reporter beside a node that changes, with a transport that remembers, fails or hangs, under virtual time.

mod central;
mod certificate;
mod contents;
mod peer;

use std::sync::{Arc, Mutex};

use sorcha_register::clock::Timestamp;
use sorcha_runtime::{clock::VirtualClock, env::Random, metrics::Metrics};
use tokio::time::Instant;

use super::*;

/// The instant at which each test begins.
const START: Timestamp = Timestamp::from_millis(1_763_800_200_400);

/// What the API server does.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mood {
    Takes,
    Fails(ReportError),
    Hangs,
    Panics,
}

/// Remembers every attempt.
#[derive(Clone)]
struct Fake {
    mood: Arc<Mutex<Mood>>,
    attempts: Arc<Mutex<Vec<(Instant, Report)>>>,
    written: Arc<Mutex<Vec<Report>>>,
}

impl Fake {
    fn new() -> Self {
        Self { mood: Arc::new(Mutex::new(Mood::Takes)), attempts: Arc::default(), written: Arc::default() }
    }

    fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn attempts(&self) -> usize {
        self.attempts.lock().unwrap().len()
    }

    fn last(&self) -> Option<Report> {
        self.written.lock().unwrap().last().cloned()
    }
}

#[async_trait]
impl Transport for Fake {
    async fn apply(&self, report: &Report) -> Result<(), ReportError> {
        self.attempts.lock().unwrap().push((Instant::now(), report.clone()));
        let mood = self.mood.lock().unwrap().clone();
        match mood {
            Mood::Takes => {
                self.written.lock().unwrap().push(report.clone());
                Ok(())
            }
            Mood::Fails(error) => Err(error),
            Mood::Hangs => std::future::pending().await,
            Mood::Panics => panic!("a fault of the client"),
        }
    }
}

fn env() -> Env {
    Env {
        clock: Arc::new(VirtualClock::new(START, 0)),
        random: Random::seeded(1),
        metrics: Metrics::disabled(),
        tls: None,
        tasks: sorcha_runtime::supervise::Tasks::default(),
    }
}

fn config(id: &str) -> Config {
    Config::default().with_identity(id)
}

/// Lets the reporter work for some virtual time.
async fn after(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}
