//! Looks at all nodes all the time: no version goes back, and central nodes at the same version have the same digest.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Result, bail};
use tokio::task::JoinSet;

use crate::{
    api::{Api, Stated},
    node::Role,
};

/// Time between two looks at a node.
const PAUSE: Duration = Duration::from_millis(40);

/// What was seen of one node.
#[derive(Default)]
struct Seen {
    is_central: bool,
    life: u32,
    /// Its version may not be lower: what it showed before, in this life or in an earlier one.
    floor: i64,
    looks: usize,
}

#[derive(Default)]
struct Sights {
    nodes: BTreeMap<String, Seen>,
    digests: BTreeMap<(Option<String>, i64), String>,
    wrong: Vec<String>,
}

/// The observer; it looks until it is dropped.
pub(crate) struct Observer {
    sights: Arc<Mutex<Sights>>,
    tasks: JoinSet<()>,
}

fn lock(sights: &Mutex<Sights>) -> MutexGuard<'_, Sights> {
    sights.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Observer {
    pub(crate) fn new() -> Self {
        Self { sights: Arc::default(), tasks: JoinSet::new() }
    }

    /// Looks at a node from now on.
    pub(crate) fn watch(&mut self, api: Api, name: String, port: u16, role: Role) {
        let sights = Arc::clone(&self.sights);
        lock(&sights).nodes.entry(name.clone()).or_default().is_central = role == Role::Central;
        self.tasks.spawn(async move {
            loop {
                let life = lock(&sights).nodes.entry(name.clone()).or_default().life;
                if let Ok(stated) = api.register(port).await {
                    lock(&sights).see(&name, life, stated);
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
    }

    /// A node begins another life after a kill; what it must hold, if that is known better than by looks. What it showed
    /// it had written: a kill does not undo that.
    pub(crate) fn reborn(&self, name: &str, must_hold: Option<i64>) {
        let mut sights = lock(&self.sights);
        let seen = sights.nodes.entry(name.to_owned()).or_default();
        seen.life += 1;
        seen.floor = must_hold.unwrap_or(seen.floor);
    }

    /// What must not be so, and was.
    pub(crate) fn check(&self) -> Result<usize> {
        let sights = lock(&self.sights);
        match sights.wrong.first() {
            Some(first) => bail!("{first} (and {} more)", sights.wrong.len() - 1),
            None => Ok(sights.nodes.values().map(|seen| seen.looks).sum()),
        }
    }
}

impl Sights {
    fn see(&mut self, name: &str, life: u32, stated: Stated) {
        let Some(seen) = self.nodes.get_mut(name) else { return };
        // An answer of the life before says nothing about this one.
        if seen.life != life {
            return;
        }
        seen.looks += 1;
        let Stated { version, digest, lineage, .. } = stated;
        if version < seen.floor {
            self.wrong.push(format!("{name} went back from version {} to {version}", seen.floor));
        }
        seen.floor = seen.floor.max(version);
        // A peer on its way to the head may skip what was superseded: then it is equal only when it is there.
        if !seen.is_central {
            return;
        }
        let known = self.digests.entry((lineage, version)).or_insert_with(|| digest.clone());
        if *known != digest {
            self.wrong.push(format!("{name} has another digest at version {version} than others"));
        }
    }
}
