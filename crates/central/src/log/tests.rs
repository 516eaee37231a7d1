use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use sorcha_register::{
    entry::{Entry, SealedEntry},
    lineage::Genesis,
    testing::entry,
};
use sorcha_store::{Checkpoint, Draft, Loaded, Publication, StateChange};

use super::*;

/// A store that answers or not, and in which nothing ever changes.
#[derive(Default)]
struct Quiet {
    away: AtomicBool,
    hangs: AtomicBool,
    reads: AtomicUsize,
}

#[async_trait]
impl Store for Quiet {
    fn kind(&self) -> &'static str {
        "quiet"
    }

    async fn load(&self) -> Result<Loaded, StoreError> {
        unreachable!()
    }

    async fn init_genesis(&self, _: Genesis) -> Result<Genesis, StoreError> {
        unreachable!()
    }

    async fn publish(&self, _: Draft) -> Result<Publication, StoreError> {
        unreachable!()
    }

    async fn set_active(&self, _: StateChange) -> Result<Publication, StoreError> {
        unreachable!()
    }

    async fn read_after(&self, _: Version, _: usize) -> Result<Vec<Arc<SealedEntry>>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.away.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("no primary".into()));
        }
        Ok(Vec::new())
    }

    async fn changed(&self, _: Version) {
        std::future::pending().await
    }

    async fn apply(&self, _: Vec<Arc<SealedEntry>>, _: Checkpoint) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn replace(
        &self,
        _: Option<Genesis>,
        _: Vec<Arc<SealedEntry>>,
        _: Option<Checkpoint>,
    ) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_back_shows_though_nothing_is_new() {
    let store = Arc::new(Quiet::default());
    let log = Arc::new(RegisterLog::new(Arc::clone(&store) as Arc<dyn Store>, RegisterView::new(None)));
    let (tailed, mut outage) = (Arc::clone(&log), log.subscribe_outage());
    let tail = tokio::spawn(async move { tailed.tail().await });
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(log.is_reachable());

    store.away.store(true, Ordering::Relaxed);
    // As a publication notes it.
    log.note_reachable(Err(&StoreError::Unavailable("no primary".into())));
    outage.changed().await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(log.outage().as_deref(), Some("no primary"));

    store.away.store(false, Ordering::Relaxed);
    tokio::time::sleep(RETRY + Duration::from_millis(100)).await;
    assert_eq!(log.outage(), None);
    outage.changed().await.unwrap();
    assert!(!outage.has_changed().unwrap(), "only the changes are told");
    tail.abort();
}

#[tokio::test(start_paused = true)]
async fn a_look_for_more_is_never_long() {
    let store = Arc::new(Quiet::default());
    let log = RegisterLog::new(Arc::clone(&store) as Arc<dyn Store>, RegisterView::new(None));
    let version = Version::FIRST;
    assert!(log.look_for(version).await, "the store answers: there is no more");

    store.hangs.store(true, Ordering::Relaxed);
    let started = tokio::time::Instant::now();
    let looks = futures::future::join_all((0..1000).map(|_| log.look_for(version))).await;
    assert!(looks.iter().all(|told| !told));
    assert!(started.elapsed() <= LOOK, "a thousand peers wait side by side");

    store.hangs.store(false, Ordering::Relaxed);
    log.note_reachable(Err(&StoreError::Unavailable("no primary".into())));
    let started = tokio::time::Instant::now();
    assert!(!log.look_for(version).await);
    assert_eq!(started.elapsed(), Duration::ZERO, "a store that is known to be away is not asked");
}

/// Callers that claim versions beyond the head, each again as soon as it is answered.
#[tokio::test(start_paused = true)]
async fn however_many_callers_ask_for_more_the_store_is_read_ten_times_a_second() {
    let store = Arc::new(Quiet::default());
    let log = Arc::new(RegisterLog::new(Arc::clone(&store) as Arc<dyn Store>, RegisterView::new(None)));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let log = Arc::clone(&log);
        callers.spawn(async move {
            loop {
                assert!(log.look_for(Version::MAX).await, "the store told all that it has");
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let reads = store.reads.load(Ordering::Relaxed);
    assert!((50..=110).contains(&reads), "{reads} reads in ten seconds");
    // The tail is not behind those that wait.
    let began = tokio::time::Instant::now();
    log.refresh().await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    callers.shutdown().await;
}

/// A store that shows what a test puts there.
#[derive(Default)]
struct Shown(std::sync::Mutex<Vec<Arc<SealedEntry>>>);

#[async_trait]
impl Store for Shown {
    fn kind(&self) -> &'static str {
        "shown"
    }

    async fn load(&self) -> Result<Loaded, StoreError> {
        unreachable!()
    }

    async fn init_genesis(&self, _: Genesis) -> Result<Genesis, StoreError> {
        unreachable!()
    }

    async fn publish(&self, _: Draft) -> Result<Publication, StoreError> {
        unreachable!()
    }

    async fn set_active(&self, _: StateChange) -> Result<Publication, StoreError> {
        unreachable!()
    }

    async fn read_after(&self, _: Version, _: usize) -> Result<Vec<Arc<SealedEntry>>, StoreError> {
        Ok(self.0.lock().unwrap().clone())
    }

    async fn changed(&self, _: Version) {
        std::future::pending().await
    }

    async fn apply(&self, _: Vec<Arc<SealedEntry>>, _: Checkpoint) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn replace(
        &self,
        _: Option<Genesis>,
        _: Vec<Arc<SealedEntry>>,
        _: Option<Checkpoint>,
    ) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::test]
async fn what_a_database_rewrites_is_not_served_and_what_came_before_it_is() {
    let store = Arc::new(Shown::default());
    let mut view = RegisterView::new(None);
    view.apply(vec![entry("a", 1).seal(), entry("b", 2).seal()], Version::ZERO);
    let log = RegisterLog::new(Arc::clone(&store) as Arc<dyn Store>, view);
    let mut refused = log.subscribe_refused();
    let rewritten = Entry { version: Version::new("version", 4).unwrap(), ..entry("a", 7) };
    *store.0.lock().unwrap() = vec![entry("c", 3).seal(), rewritten.seal(), entry("d", 5).seal()];
    for _ in 0..2 {
        assert!(matches!(log.refresh().await, Err(StoreError::Damaged(_))));
        assert_eq!(
            log.view().iter().map(|sealed| sealed.entry().version.get()).collect::<Vec<_>>(),
            [1, 2, 3]
        );
        assert!(!log.look_for(Version::new("version", 5).unwrap()).await, "it can't tell");
    }
    assert!(matches!(log.refused(), Some(Contradiction::Rewritten { field: "published_at", .. })));
    assert!(refused.has_changed().unwrap());
    refused.mark_unchanged();
    // A database may show again what it has shown.
    let state = Entry {
        version: Version::new("version", 4).unwrap(),
        is_active: false,
        transaction_id: "tx".into(),
        ..entry("a", 1)
    };
    *store.0.lock().unwrap() = vec![entry("c", 3).seal(), state.seal(), entry("d", 5).seal()];
    log.refresh().await.unwrap();
    assert_eq!((log.view().head().get(), log.refused()), (5, None));
    assert!(refused.has_changed().unwrap());
}

#[tokio::test]
async fn an_exchanged_database_is_known_until_the_right_one_is_back() {
    use sorcha_store::InItsPlace;
    let log = RegisterLog::new(Arc::new(Quiet::default()), RegisterView::new(None));
    let lost = Exchange { ours: None, found: InItsPlace::Nothing };
    log.note_reachable(Err(&StoreError::Exchanged(lost.clone())));
    log.note_reachable(Err(&StoreError::Unavailable("no primary".into())));
    assert_eq!((log.exchange(), log.is_reachable()), (Some(lost), false), "an outage says nothing about it");
    log.note_reachable(Ok(()));
    assert_eq!((log.exchange(), log.is_reachable()), (None, true));
}
