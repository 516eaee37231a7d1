//! A publisher: publishes, deprecates, takes back; asks again when it got no answer.

use std::{rc::Rc, time::Duration};

use rand::{RngExt as _, rngs::SmallRng};
use serde_json::{Value, json};
use sorcha_register::{
    canonical::Document,
    names::{BlueprintId, Version},
};

use super::http::{Answer, Fault, ask, request};
use crate::simulation::{
    history::{Change, History, What},
    net::{Host, Net},
};

/// A publisher gives an answer this long.
const LIMIT: Duration = Duration::from_secs(10);
/// Attempts at one change.
const ATTEMPTS: usize = 6;

/// A publisher.
pub(crate) struct Publisher {
    number: u8,
    net: Net,
    centrals: u8,
    history: History,
    rng: SmallRng,
    /// Blueprints that are published for certain, and whether they are active.
    own: Vec<(BlueprintId, bool)>,
    count: u32,
}

/// What one attempt led to.
enum Outcome {
    Done(Version),
    /// Nothing was stored, and asking again helps or not.
    Refused(String, bool),
    Unknown,
}

impl Publisher {
    /// A publisher who has published nothing.
    #[must_use]
    pub(crate) const fn new(number: u8, net: Net, centrals: u8, history: History, rng: SmallRng) -> Self {
        Self { number, net, centrals, history, rng, own: Vec::new(), count: 0 }
    }

    /// Publishes for ever, `mean` apart.
    pub(crate) async fn run(mut self, mean: Rc<std::cell::Cell<Duration>>) {
        loop {
            let wait = mean.get().mul_f64(2.0 * self.rng.random::<f64>());
            tokio::time::sleep(wait).await;
            if !self.own.is_empty() && self.rng.random::<f64>() < 0.15 {
                self.change_state().await;
            } else {
                self.publish().await;
            }
        }
    }

    async fn publish(&mut self) {
        self.count += 1;
        let name = format!("p{}-{}", self.number, self.count);
        let document = self.document(&name);
        let (Ok(id), Ok(canonical)) =
            (BlueprintId::new(&name), Document::canonicalize(document.to_string().as_bytes()))
        else {
            return;
        };
        let body = json!({"blueprintId": name, "blueprint": document}).to_string().into_bytes();
        let change = Change::Publish(canonical.checksum());
        if self.insist(&id, &change, "/api/system-register/publish", Some(body)).await {
            self.own.push((id, true));
        }
    }

    fn document(&mut self, name: &str) -> Value {
        let size = if self.rng.random::<f64>() < 0.05 { 40_000 } else { self.rng.random_range(0..1500) };
        let text: String = (0..size).map(|_| char::from(self.rng.random_range(b'a'..=b'z'))).collect();
        json!({"@context": "https://sorcha.dev/blueprints/v1", "id": name, "name": name, "description": text})
    }

    async fn change_state(&mut self) {
        let at = self.rng.random_range(0..self.own.len());
        let (id, active) = self.own[at].clone();
        let verb = if active { "deprecate" } else { "reactivate" };
        let path = format!("/api/system-register/blueprints/{id}/{verb}");
        if self.insist(&id, &Change::SetActive(!active), &path, None).await {
            self.own[at].1 = !active;
        } else {
            // What state it is in is not known; leave it alone.
            self.own.swap_remove(at);
        }
    }

    /// Asks until it is done, refused for good, or the patience is over. `true` when it is done.
    async fn insist(&mut self, id: &BlueprintId, change: &Change, path: &str, body: Option<Vec<u8>>) -> bool {
        self.history.record(What::Asked { id: id.clone(), change: change.clone() });
        let mut all_refused = None;
        for attempt in 0..ATTEMPTS {
            let central = Host::Central(self.rng.random_range(0..self.centrals));
            match self.attempt(central, path, body.clone()).await {
                Outcome::Done(version) => {
                    let (id, change) = (id.clone(), change.clone());
                    self.history.record(What::Acknowledged { id, change, version });
                    return true;
                }
                Outcome::Refused(answer, again) => {
                    all_refused = (attempt == 0 || all_refused.is_some()).then_some(answer);
                    if !again {
                        break;
                    }
                }
                Outcome::Unknown => all_refused = None,
            }
            let pause = Duration::from_secs_f64(self.rng.random_range(0.1..2.0));
            tokio::time::sleep(pause).await;
        }
        if let Some(answer) = all_refused {
            let (id, change) = (id.clone(), change.clone());
            self.history.record(What::Refused { id, change, answer });
        }
        false
    }

    async fn attempt(&self, central: Host, path: &str, body: Option<Vec<u8>>) -> Outcome {
        let from = Host::Publisher(self.number);
        match ask(&self.net, from, central, request("POST", path, body), LIMIT).await {
            Ok(Answer { status, body, .. }) if status.is_success() => {
                let told: Value = serde_json::from_slice(&body).unwrap_or_default();
                let version = told["version"].as_i64().and_then(|v| Version::new("version", v).ok());
                version.map_or(Outcome::Unknown, Outcome::Done)
            }
            // Unavailable leaves it open whether it was stored.
            Ok(Answer { status, .. }) if status.is_server_error() => Outcome::Unknown,
            Ok(Answer { status, body, .. }) => {
                Outcome::Refused(format!("{status} {}", String::from_utf8_lossy(&body)), false)
            }
            Err(Fault::Refused) => Outcome::Refused("connection refused".to_owned(), true),
            Err(Fault::Unknown(_)) => Outcome::Unknown,
        }
    }
}
