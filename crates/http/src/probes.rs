//! Probes on a port of their own: a thread and a runtime that share nothing with the rest of the node but its state, which they
//! read without waiting.

use std::{
    convert::Infallible,
    io,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, extract::State, middleware::from_fn, routing::get};
use sorcha_probes::{Limits, Server};
use sorcha_register::clock::{Clock, Monotonic};
use tokio::sync::watch;

use super::{
    Stage,
    health::{self, Probe},
    problem::{self, Kind, Problem},
};

/// Between two signs of life of the node's runtime.
const BEAT: Duration = Duration::from_secs(1);
/// A runtime that gives no sign for this long hangs; load alone does not do that, since what takes long runs elsewhere.
const HANGS: Duration = Duration::from_secs(60);

/// Signs of life of the node's runtime, for those who watch it from outside.
#[derive(Clone)]
pub struct Pulse {
    clock: Arc<dyn Clock>,
    last: Arc<AtomicU64>,
}

impl Pulse {
    /// Of a runtime that is alive now.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let pulse = Self { clock, last: Arc::default() };
        pulse.beat();
        pulse
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.monotonic().since(Monotonic::default()).as_millis()).unwrap_or(u64::MAX)
    }

    fn beat(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    /// Beats for ever, on the runtime that is watched.
    pub async fn beats(self) -> Infallible {
        loop {
            tokio::time::sleep(BEAT).await;
            self.beat();
        }
    }

    /// How long the runtime has given no sign, if that is too long.
    fn hangs(&self) -> Option<Duration> {
        let silent = self.now().saturating_sub(self.last.load(Ordering::Relaxed));
        Some(Duration::from_millis(silent)).filter(|silent| *silent >= HANGS)
    }
}

#[derive(Clone)]
struct Watched {
    stage: watch::Receiver<Stage>,
    pulse: Pulse,
}

/// Answers `/livez` and `/readyz` until the server is dropped.
///
/// # Errors
/// [`io::Error`] when the listener is not usable.
pub fn start(listener: TcpListener, stage: watch::Receiver<Stage>, pulse: Pulse) -> io::Result<Server> {
    tracing::info!(address = %listener.local_addr()?, "probes listening");
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(Watched { stage, pulse })
        .layer(from_fn(problem::finish));
    sorcha_probes::start(listener, router, Limits::default())
}

async fn livez(State(watched): State<Watched>) -> Result<Json<Probe>, Problem> {
    match watched.pulse.hangs() {
        None => Ok(health::livez().await),
        Some(silent) => {
            let detail = format!("the node has done nothing for {} s", silent.as_secs());
            Err(Problem::new(Kind::NOT_READY, detail))
        }
    }
}

async fn readyz(State(watched): State<Watched>) -> Result<Json<Probe>, Problem> {
    let stage = watched.stage.borrow().clone();
    let readiness = match &stage {
        Stage::Started(node) => node.readiness(),
        Stage::Opening { .. } | Stage::Failed { .. } => Err(stage.waits_for().unwrap_or_default()),
    };
    health::readiness_answer(readiness)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sorcha_register::clock::Timestamp;
    use sorcha_runtime::clock::VirtualClock;

    #[tokio::test(start_paused = true)]
    async fn a_runtime_that_hangs_is_not_alive() {
        let clock = Arc::new(VirtualClock::new(Timestamp::from_millis(0), 0));
        let pulse = Pulse::new(clock);
        tokio::time::advance(HANGS - Duration::from_millis(1)).await;
        assert_eq!(pulse.hangs(), None);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(pulse.hangs(), Some(HANGS));
        let beating = tokio::spawn(pulse.clone().beats());
        tokio::time::sleep(2 * BEAT).await;
        assert_eq!(pulse.hangs(), None);
        beating.abort();
    }
}
