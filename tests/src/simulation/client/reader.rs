//! An application on a peer's machine: it reads from the replica, and now and then asks the peer for something.

use std::{rc::Rc, time::Duration};

use rand::{RngExt as _, rngs::SmallRng};
use serde_json::Value;
use sorcha_register::names::{BlueprintId, Checksum, Version};

use super::http::{Answer as Response, Fault, ask, request};
use crate::simulation::{
    history::{Answer, History, What},
    net::Net,
    peer::PeerHost,
};

/// Reads are local: an answer takes milliseconds, or it is none.
const LIMIT: Duration = Duration::from_secs(2);

/// A reader.
pub(crate) struct Reader {
    /// The machine that it runs on.
    pub peer: Rc<PeerHost>,
    /// The network, of which it uses the machine's loopback.
    pub net: Net,
    /// Publishers, whose blueprints it asks for.
    pub publishers: u8,
    /// Where answers are noted.
    pub history: History,
    /// Its draws.
    pub rng: SmallRng,
}

impl Reader {
    /// Reads for ever.
    pub(crate) async fn run(mut self) {
        loop {
            tokio::time::sleep(Duration::from_secs_f64(self.rng.random_range(1.0..5.0))).await;
            if self.peer.node().is_none() {
                continue;
            }
            if self.rng.random::<f64>() < 0.01 {
                self.disturb().await;
            } else {
                self.read().await;
            }
        }
    }

    async fn read(&mut self) {
        let id = format!("p{}-{}", self.rng.random_range(0..self.publishers), self.rng.random_range(1..60));
        let (path, id) = match BlueprintId::new(&id) {
            Ok(id) if self.rng.random() => (format!("/api/system-register/blueprints/{id}"), Some(id)),
            _ => ("/api/system-register".to_owned(), None),
        };
        let host = self.peer.host();
        let before = self.peer.node();
        let answer = match ask(&self.net, host, host, request("GET", &path, None), LIMIT).await {
            Ok(response) => understand(&response, id),
            Err(fault) => Answer::Failed(why(&fault)),
        };
        // A process that ended meanwhile owes no answer.
        let same = match (before, self.peer.node()) {
            (Some(before), Some(after)) => std::sync::Arc::ptr_eq(&before, &after),
            _ => false,
        };
        if same {
            self.history.record(What::Read { peer: self.peer.number, answer });
        }
    }

    /// What administrators do: reconnect, sync now.
    async fn disturb(&mut self) {
        let path = if self.rng.random() { "/api/connection/reconnect" } else { "/api/sync/trigger" };
        let host = self.peer.host();
        self.history.record(What::Disturbed(self.peer.number));
        let answer = ask(&self.net, host, host, request("POST", path, Some(b"{}".to_vec())), LIMIT).await;
        // A sync may take longer than the reader waits.
        drop(answer);
    }
}

fn why(fault: &Fault) -> String {
    match fault {
        Fault::Refused => "connection refused".to_owned(),
        Fault::Unknown(why) => why.clone(),
    }
}

fn understand(response: &Response, id: Option<BlueprintId>) -> Answer {
    let Some(version) = response.version.and_then(|version| Version::new("version", version).ok()) else {
        return Answer::Failed(format!("{} without a version", response.status));
    };
    match (response.status.as_u16(), id) {
        (200, None) => Answer::Found { version, blueprint: None },
        (200, Some(id)) => {
            let told: Value = serde_json::from_slice(&response.body).unwrap_or_default();
            let checksum = told["checksum"].as_str().and_then(Checksum::parse);
            match (checksum, told["isActive"].as_bool()) {
                (Some(checksum), Some(active)) => {
                    Answer::Found { version, blueprint: Some((id, checksum, active)) }
                }
                _ => Answer::Failed(format!("not understood: {told}")),
            }
        }
        (404, Some(id)) => Answer::Unknown(id, version),
        (status, _) => Answer::Failed(format!("HTTP {status}: {}", String::from_utf8_lossy(&response.body))),
    }
}
