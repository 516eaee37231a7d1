//! From the API server into one cache.

use std::{collections::HashSet, hash::Hash};

use kube::{
    Client, Resource as _, ResourceExt as _,
    runtime::{
        reflector::{ObjectRef, store::Writer},
        watcher,
    },
};
use sorcha_crds::{
    SorchaBlueprint,
    conditions::{MESSAGE_CHARS, PUBLISHED, READY},
    text::{NAME, cut},
};
use tokio::time::{Duration, Instant};

use super::{
    Cached, Caches, Watched,
    budget::{Kept, NAMESPACE_BYTES},
};
use crate::{
    blueprint::FINALIZER,
    feed::{
        self, Event, Source,
        call::CallFault,
        object::{Cut, Seen, Unreadable},
    },
    metrics::Metrics,
};

/// Objects of one page of a list.
const PAGE: u32 = 100;
/// The same of blueprints, which may have 1.5 MB each: the API server makes a page as a whole.
const BLUEPRINTS: u32 = 20;
/// A watch that keeps failing is logged no more often.
const LOGGED: Duration = Duration::from_secs(60);

/// What all kinds have in common.
pub(super) struct Tap<'a> {
    pub(super) client: &'a Client,
    pub(super) namespace: Option<&'a str>,
    pub(super) caches: &'a Caches,
    pub(super) metrics: &'a Metrics,
}

impl Tap<'_> {
    /// Fills one cache, for ever; tells each object that came, changed or went.
    pub(super) async fn follow<K: Cached>(
        &self,
        selector: Option<&str>,
        writer: Writer<K>,
        strip: fn(&mut K),
        mut touched: impl FnMut(&K),
    ) where
        K::DynamicType: Hash + Eq,
    {
        let (page, cut) = if K::kind(&()) == SorchaBlueprint::kind(&()) {
            (BLUEPRINTS, Cut::Document)
        } else if K::group(&()) == sorcha_crds::GROUP {
            (PAGE, Cut::Resource)
        } else {
            (PAGE, Cut::Records)
        };
        let selector = selector.map(str::to_owned);
        let source =
            Source { path: K::url_path(&(), self.namespace), selector, page, cut, metadata_only: false };
        let health = Health { kind: K::kind(&()).into_owned(), logged: None, failures: 0 };
        let (listed, kept) = (HashSet::new(), Kept::default());
        let mut filler = Filler { tap: self, writer, strip, listed, kept, health };
        feed::follow(self.client, &source, |event| {
            if let Some(object) = filler.take(event) {
                touched(&object);
            }
        })
        .await;
    }
}

struct Filler<'a, K: Watched>
where
    K::DynamicType: Hash + Eq,
{
    tap: &'a Tap<'a>,
    writer: Writer<K>,
    strip: fn(&mut K),
    /// Those of the list that is under way that can't be read.
    listed: HashSet<(String, String)>,
    /// What of the namespaces' room this kind takes.
    kept: Kept,
    health: Health,
}

impl<K: Cached> Filler<'_, K>
where
    K::DynamicType: Hash + Eq,
{
    /// Takes what has happened; an object to look at again.
    fn take(&mut self, event: Event<K>) -> Option<K> {
        match event {
            Event::Begin => {
                self.listed.clear();
                self.kept.begin();
                self.writer.apply_watcher_event(&watcher::Event::Init);
            }
            Event::Listed(Seen::Readable(object)) => {
                return match self.admit(object) {
                    Seen::Readable(object) => self.put(object, watcher::Event::InitApply),
                    unreadable @ Seen::Unreadable(_) => self.take(Event::Listed(unreadable)),
                };
            }
            Event::Listed(Seen::Unreadable(object)) => {
                self.listed.insert((object.namespace.clone(), object.name.clone()));
                self.unreadable(*object);
            }
            Event::Complete => {
                self.kept.complete(&self.tap.caches.budget);
                self.tap.caches.unreadables.keep(&self.health.kind, &self.listed);
                self.writer.apply_watcher_event(&watcher::Event::InitDone);
                self.health.well(self.tap.metrics);
            }
            Event::Changed(seen) => return self.changed(seen),
            Event::Deleted(seen) => return self.deleted(seen),
            Event::Following => self.health.well(self.tap.metrics),
            Event::Nameless => {
                let kind = &self.health.kind;
                tracing::warn!(kind, "an object without a name that can be read is passed over");
            }
            Event::Failed(fault) => self.health.failed(&fault, self.tap.metrics),
        }
        None
    }

    /// Strips an object. One for which its namespace has no room left is as good as one that can't be read.
    fn admit(&mut self, mut object: K) -> Seen<K> {
        object.meta_mut().managed_fields = None;
        (self.strip)(&mut object);
        let key = (object.namespace().unwrap_or_default(), object.name_any());
        if self.kept.take(&self.tap.caches.budget, key, &object) {
            return Seen::Readable(object);
        }
        let status = serde_json::to_value(&object).unwrap_or_default();
        let conditions = status.pointer("/status/conditions").cloned().unwrap_or_default();
        let meta = object.meta();
        Seen::Unreadable(Box::new(Unreadable {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: object.name_any(),
            uid: meta.uid.clone().unwrap_or_default(),
            version: meta.resource_version.clone().unwrap_or_default(),
            generation: meta.generation,
            deleted: meta.deletion_timestamp.clone(),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            conditions: serde_json::from_value(conditions).unwrap_or_default(),
            problem: format!(
                "the objects of this namespace are longer than {NAMESPACE_BYTES} bytes together: delete some, then change this one"
            ),
        }))
    }

    fn changed(&mut self, seen: Seen<K>) -> Option<K> {
        let seen = match seen {
            Seen::Readable(object) => self.admit(object),
            unreadable @ Seen::Unreadable(_) => unreadable,
        };
        match seen {
            Seen::Readable(object) => {
                self.readable(&object);
                self.put(object, watcher::Event::Apply)
            }
            // What it was is not what it is.
            Seen::Unreadable(object) => {
                let (namespace, name) = (object.namespace.clone(), object.name.clone());
                self.unreadable(*object);
                self.remove(&namespace, &name)
            }
        }
    }

    fn deleted(&mut self, seen: Seen<K>) -> Option<K> {
        match seen {
            Seen::Readable(object) => {
                self.readable(&object);
                self.release(&object.namespace().unwrap_or_default(), &object.name_any());
                self.put(object, watcher::Event::Delete)
            }
            Seen::Unreadable(object) => {
                self.tap.caches.unreadables.remove(&self.health.kind, &object.namespace, &object.name);
                self.remove(&object.namespace, &object.name)
            }
        }
    }

    fn put(&mut self, object: K, event: fn(K) -> watcher::Event<K>) -> Option<K> {
        self.writer.apply_watcher_event(&event(object.clone()));
        Some(object)
    }

    fn release(&mut self, namespace: &str, name: &str) {
        self.kept.release(&self.tap.caches.budget, &(namespace.to_owned(), name.to_owned()));
    }

    fn remove(&mut self, namespace: &str, name: &str) -> Option<K> {
        self.release(namespace, name);
        let held = K::store(self.tap.caches).get(&ObjectRef::new(name).within(namespace))?;
        self.writer.apply_watcher_event(&watcher::Event::Delete((*held).clone()));
        Some((*held).clone())
    }

    fn readable(&self, object: &K) {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        self.tap.caches.unreadables.remove(&self.health.kind, &namespace, &name);
    }

    /// Of its finalizers and conditions only ours are kept.
    fn unreadable(&self, mut object: Unreadable) {
        object.finalizers.retain(|name| name == FINALIZER);
        object.conditions.retain(|condition| [READY, PUBLISHED].contains(&condition.type_.as_str()));
        for condition in &mut object.conditions {
            condition.message = cut(&condition.message, MESSAGE_CHARS);
            condition.reason = cut(&condition.reason, NAME);
        }
        self.tap.caches.unreadables.put(&self.health.kind, object);
    }
}

/// Whether a kind can be followed, for the log and the measurements.
struct Health {
    kind: String,
    logged: Option<Instant>,
    failures: u64,
}

impl Health {
    fn failed(&mut self, fault: &CallFault, metrics: &Metrics) {
        self.failures += 1;
        metrics.watches(&self.kind, false);
        if self.logged.is_none_or(|at| at.elapsed() >= LOGGED) {
            self.logged = Some(Instant::now());
            tracing::warn!(kind = self.kind, %fault, failures = self.failures, "watch failed; trying again");
        }
    }

    fn well(&mut self, metrics: &Metrics) {
        metrics.watches(&self.kind, true);
        if std::mem::take(&mut self.failures) > 0 {
            self.logged = None;
            tracing::info!(kind = self.kind, "watching again");
        }
    }
}

#[cfg(test)]
mod tests;
