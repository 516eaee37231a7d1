//! Publishers that never stop: they publish, publish again, deprecate and reactivate, and remember what they were told.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde_json::{Value, json};
use sorcha_register::canonical::Document;
use sorcha_tests::history::{Answer, History};
use tokio::task::JoinSet;

use crate::api::{Api, publication};

/// What all publishers of a scenario were told.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<History>>);

impl Told {
    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Running publishers.
pub(crate) struct Publishers {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Publishers {
    /// Starts some; each asks any of the central nodes.
    pub(crate) fn start(count: u64, ports: &[u16], told: &Told, api: &Api, random: &mut SmallRng) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let seed: u64 = random.random();
            let publisher = Publisher {
                name: format!("p{:08x}", seed >> 32),
                random: SmallRng::seed_from_u64(seed),
                ports: ports.to_vec(),
                told: told.clone(),
                api: api.clone(),
                own: Vec::new(),
            };
            tasks.spawn(publisher.run(Arc::clone(&stop)));
        }
        Self { stop, tasks }
    }

    /// Lets each have its last answer.
    pub(crate) async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
    }
}

/// What a publisher knows of a blueprint of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Active,
    Inactive,
    /// Its publication was left open: it may be asked for again, which changes nothing if it happened.
    MayBePublished,
    /// A change of its state was left open: it may still happen, so nothing more is asked.
    LeftAlone,
}

struct Blueprint {
    id: String,
    document: Value,
    checksum: String,
    known: Known,
}

struct Publisher {
    name: String,
    random: SmallRng,
    ports: Vec<u16>,
    told: Told,
    api: Api,
    own: Vec<Blueprint>,
}

impl Publisher {
    async fn run(mut self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            match self.random.random_range(0..100) {
                0..75 => self.publish_new().await,
                75..85 => self.publish_again().await,
                _ => self.change_state().await,
            }
            tokio::time::sleep(Duration::from_millis(self.random.random_range(2..25))).await;
        }
    }

    fn port(&mut self) -> u16 {
        self.ports[self.random.random_range(0..self.ports.len())]
    }

    async fn publish_new(&mut self) {
        let id = format!("{}-{}", self.name, self.own.len());
        let text = "x".repeat(self.random.random_range(0..2000));
        let document = json!({
            "@context": "https://sorcha.dev/blueprints/v1", "id": id, "name": "Blueprint", "n": self.random.random::<u32>(), "text": text
        });
        let Ok(canonical) = Document::canonicalize(document.to_string().as_bytes()) else { return };
        let checksum = canonical.checksum().to_string();
        self.own.push(Blueprint { id, document, checksum, known: Known::MayBePublished });
        self.publish(self.own.len() - 1).await;
    }

    async fn publish_again(&mut self) {
        let can = |known| matches!(known, Known::Active | Known::MayBePublished);
        if let Some(at) = self.any(can) {
            self.publish(at).await;
        }
    }

    async fn publish(&mut self, at: usize) {
        let port = self.port();
        let blueprint = &self.own[at];
        let body = publication(&blueprint.id, &blueprint.document);
        let answer = self.api.change(port, "/api/system-register/publish", Some(&body), true).await;
        if matches!(answer, Answer::Acknowledged(_)) {
            self.own[at].known = Known::Active;
        }
        self.note(at, answer);
    }

    async fn change_state(&mut self) {
        let Some(at) = self.any(|known| matches!(known, Known::Active | Known::Inactive)) else { return };
        let wants = self.own[at].known == Known::Inactive;
        let verb = if wants { "reactivate" } else { "deprecate" };
        let path = format!("/api/system-register/blueprints/{}/{verb}", self.own[at].id);
        let port = self.port();
        let answer = self.api.change(port, &path, None, wants).await;
        match answer {
            Answer::Acknowledged(state) => {
                self.own[at].known = if state.is_active { Known::Active } else { Known::Inactive };
            }
            Answer::Unknown { .. } => self.own[at].known = Known::LeftAlone,
            Answer::Refused => {}
        }
        self.note(at, answer);
    }

    fn any(&mut self, can: impl Fn(Known) -> bool) -> Option<usize> {
        let at = self.random.random_range(0..self.own.len().max(1));
        self.own.get(at).filter(|blueprint| can(blueprint.known)).map(|_| at)
    }

    fn note(&self, at: usize, answer: Answer) {
        let Blueprint { id, checksum, .. } = &self.own[at];
        self.told.history().note(id, checksum, answer);
    }
}
