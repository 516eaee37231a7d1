//! What a node needs from its surroundings, injected so that a whole network runs under simulation (ADR 32).

use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use sorcha_register::clock::Clock;

use crate::{
    clock::SystemClock,
    metrics::Metrics,
    supervise::{self, Tasks},
    tls::{Tls, TlsError},
};

/// Clock, randomness, metrics and identity of one node.
#[derive(Clone)]
pub struct Env {
    /// Both kinds of time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for jitter and handles.
    pub random: Random,
    /// Where measurements go.
    pub metrics: Metrics,
    /// Its part in mutual TLS; none where gRPC is plain text.
    pub tls: Option<Arc<Tls>>,
    /// How its long-running tasks are.
    pub tasks: Tasks,
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Env")
    }
}

impl Env {
    /// The machine's clock and randomness.
    #[must_use]
    pub fn system(metrics: Metrics) -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            random: Random::from_os(),
            metrics,
            tls: None,
            tasks: Tasks::default(),
        }
    }

    /// The same with the TLS files that a configuration names.
    ///
    /// # Errors
    /// [`TlsError`] when they can't be used.
    pub fn secured(self, config: &sorcha_config::Tls) -> Result<Self, TlsError> {
        let tls = Tls::load(config, Arc::clone(&self.clock), self.metrics.clone())?;
        Ok(Self { tls, ..self })
    }

    /// Follows the TLS files, for ever.
    pub async fn watch_files(&self) -> Infallible {
        match &self.tls {
            Some(tls) => supervise::forever("tls-files", self, || tls.watch()).await,
            None => std::future::pending().await,
        }
    }
}

/// A shared random number generator; seeded in tests.
#[derive(Clone, Debug)]
pub struct Random(Arc<Mutex<SmallRng>>);

impl Random {
    /// Seeded by the operating system.
    #[must_use]
    pub(crate) fn from_os() -> Self {
        Self(Arc::new(Mutex::new(rand::make_rng())))
    }

    /// The same numbers for the same seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(SmallRng::seed_from_u64(seed))))
    }

    /// A number in `[0, 1)`.
    #[must_use]
    pub fn unit(&self) -> f64 {
        self.with(|rng| rng.random())
    }

    /// 128 random bits, for handles that nobody guesses twice.
    #[must_use]
    pub fn bits(&self) -> u128 {
        self.with(|rng| rng.random())
    }

    fn with<T>(&self, draw: impl FnOnce(&mut SmallRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
