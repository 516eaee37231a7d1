//! What reconciles share.

use std::{
    any::Any,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::{
    api::core::v1::{ObjectReference, Secret},
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use kube::{
    Api, Client, ResourceExt as _,
    runtime::events::{Event, Recorder, Reporter},
};

use crate::{
    apply::{self, Applier},
    cache::{Cached, Caches},
    config::Settings,
    failures::Failures,
    leader::fence::Fence,
    memo::{Data, Memo, ObjectKey},
    metrics::Metrics,
    names::MANAGER,
    peer::Places,
    publication::{
        publisher::Publisher,
        token::{Account, Tokens},
    },
    reconcile,
    reviews::Reviews,
};

/// What is only remembered so that Events tell more is kept for sixty times as long, unless it is looked at again.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Shared by all reconciles of one process.
pub struct Ctx {
    /// Settings.
    pub settings: Arc<Settings>,
    /// The API server.
    pub client: Client,
    /// What is known of the cluster.
    pub caches: Caches,
    /// The writer of owned objects.
    pub applier: Applier,
    /// Measurements.
    pub metrics: Metrics,
    /// The way to the registers.
    pub publisher: Publisher,
    /// Whether central nodes may ask the API server about tokens.
    pub reviews: Reviews,
    /// Secrets and ConfigMaps of others, as they were seen.
    pub foreign: Memo<ObjectKey, Arc<Data>>,
    /// cert-manager's Certificates by namespace and name, as they were seen.
    pub certificates: Memo<(String, String), Arc<serde_json::Value>>,
    /// Resources that can't be reconciled.
    pub failures: Failures,
    /// Where the peers of a resource were seen last, by its uid.
    pub(crate) places: Memo<String, Arc<Places>>,
    /// Faults of a resource's start that were not told yet, by its uid.
    pub(crate) held_back: Memo<String, Arc<Vec<Condition>>>,
    /// Resources as their status was last written, by uid.
    written: Memo<String, Arc<dyn Any + Send + Sync>>,
    recorder: Recorder,
    turns: Mutex<Turns>,
}

/// Who changes its pod, by namespace and network.
pub type Turns = HashMap<(String, String), Option<TurnHolder>>;

/// The central node of a network that changes its pod now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnHolder {
    /// Its resource.
    pub name: String,
    /// The change has been applied.
    pub applied: bool,
}

impl std::fmt::Debug for Ctx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ctx")
    }
}

impl Ctx {
    /// A context over caches that others fill. Behind the fence nothing is written once it is closed.
    #[must_use]
    pub fn new(
        client: Client,
        settings: Settings,
        caches: Caches,
        metrics: Metrics,
        instance: String,
        fence: Fence,
    ) -> Self {
        let reporter = Reporter { controller: MANAGER.to_owned(), instance: Some(instance) };
        Self {
            applier: Applier::new(client.clone(), caches.clone(), metrics.clone()),
            publisher: publisher(&client, &settings, &metrics, fence),
            recorder: Recorder::new(client.clone(), reporter),
            turns: Mutex::default(),
            reviews: Reviews::new(settings.node_reviews_binding.as_deref()),
            foreign: Memo::new(settings.certificates.foreign_refresh),
            certificates: Memo::new(settings.certificates.foreign_refresh),
            failures: Failures::default(),
            places: Memo::new(REMEMBERED),
            held_back: Memo::new(REMEMBERED),
            written: Memo::new(apply::CACHE_LAG),
            settings: Arc::new(settings),
            client,
            caches,
            metrics,
        }
    }

    /// Notes a resource whose status was just written, until the cache shows it.
    pub(crate) fn remember<S: Cached>(&self, written: S) {
        self.written.put(written_key(&written), Arc::new(written));
    }

    /// The resource as the cache shows it, or as it was written a moment ago, if the cache is behind: a transition is told
    /// once.
    pub(crate) fn newest<S: Cached>(&self, seen: Arc<S>) -> Arc<S> {
        let key = written_key(&*seen);
        let Some(written) = self.written.fresh(&key).and_then(|object| object.downcast::<S>().ok()) else {
            return seen;
        };
        if apply::version(&*seen) < apply::version(&*written) {
            return written;
        }
        self.written.forget(&key);
        seen
    }

    /// Now, in whole seconds, as conditions carry it.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where a reconcile takes its time")]
    pub fn now() -> Time {
        Time(
            k8s_openapi::jiff::Timestamp::from_second(k8s_openapi::jiff::Timestamp::now().as_second())
                .unwrap_or_default(),
        )
    }

    /// When resources of a namespace are looked at again if nothing happens: sooner while caches do not show what was applied.
    pub(crate) fn usual(&self, namespace: &str) -> Duration {
        if self.applier.is_waiting(namespace) { apply::CACHE_LAG } else { self.settings.resync }
    }

    /// A Secret by name, as it is now. Those of others are not watched: the controller reads those that it is told of.
    ///
    /// # Errors
    /// When the API server does not answer, or not to us.
    pub(crate) async fn secret(&self, namespace: &str, name: &str) -> kube::Result<Option<Secret>> {
        self.metrics.called("get", "secrets");
        Api::namespaced(self.client.clone(), namespace).get_opt(name).await
    }

    /// Sends an Event; one that can't be sent is logged and lost.
    pub(crate) async fn send<K: kube::Resource<DynamicType = ()>>(&self, about: &K, event: &Event) {
        self.send_about(&about.object_ref(&()), event).await;
    }

    /// The same about an object that is known by name only.
    pub(crate) async fn send_about(&self, about: &ObjectReference, event: &Event) {
        self.metrics.called("create", "events");
        self.metrics.sent_event(&event.reason);
        if let Err(error) = self.recorder.publish(event, about).await {
            tracing::warn!(error = reconcile::logged(&error), reason = event.reason, "event not sent");
        }
    }

    /// Which central node of a network changes its pod now, by namespace and network. Forgotten at a restart: the state
    /// of the pods then tells the same.
    pub(crate) fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn publisher(client: &Client, settings: &Settings, metrics: &Metrics, fence: Fence) -> Publisher {
    let namespace = settings.publisher_service_account_namespace.clone();
    let account = namespace.zip(settings.publisher_service_account.clone());
    let account = account.map(|(namespace, name)| Account { namespace, name });
    let tokens = Tokens::new(client.clone(), account, metrics.clone());
    Publisher::new(tokens, settings.publish_timeout, settings.central_urls.clone(), fence)
}

fn written_key<S: Cached>(object: &S) -> String {
    object.uid().unwrap_or_default()
}
