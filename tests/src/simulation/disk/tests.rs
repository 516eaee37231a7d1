use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use ed25519_dalek::SigningKey;
use sorcha_register::{
    canonical::Document,
    clock::Timestamp,
    lineage::Genesis,
    names::{BlueprintId, Version},
};
use sorcha_store::{
    Checkpoint, Draft, Loaded, StateChange, Store as _, StoreError,
    journal::{JournalStore, Options, REGISTER_FILE},
};

use super::{content::SECTOR, *};

fn bytes(file: &dyn Medium, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    file.source().read(&mut bytes, 0).unwrap();
    bytes
}

fn path(name: &str) -> &Path {
    Path::new(name)
}

#[test]
fn a_killed_process_leaves_what_it_wrote_and_a_power_cut_what_was_synced() {
    let disk = Disk::new(1);
    let mounted = disk.mount();
    let file = mounted.open(path("a")).unwrap();
    mounted.sync_names(path("a")).unwrap();
    file.write(&[1; 4096], 0).unwrap();
    file.sync().unwrap();
    file.write(&[2; 4096], 0).unwrap();
    disk.kill();
    assert!(file.write(&[3], 0).is_err(), "a dead process writes nothing more");
    let file = disk.mount().open(path("a")).unwrap();
    assert_eq!(bytes(&*file, 4096), [2; 4096]);
    disk.cut_power();
    let left = bytes(&*disk.mount().open(path("a")).unwrap(), 4096);
    assert!(left.contains(&1) && left.contains(&2), "some sectors of what was not synced");
    let whole = |sector: &[u8]| sector.iter().all(|byte| *byte == sector[0]);
    assert!(left.chunks(SECTOR).all(whole), "sectors are not torn");
}

#[test]
fn names_are_lost_from_the_last_one_on_until_they_are_synced() {
    let mut left = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let disk = Disk::new(seed);
        let mounted = disk.mount();
        drop(mounted.open(path("old")).unwrap());
        mounted.sync_names(path("old")).unwrap();
        drop(mounted.open(path("new")).unwrap());
        mounted.rename(path("new"), path("old")).unwrap();
        disk.cut_power();
        let state = disk.state();
        left.insert(state.names.clone());
    }
    let old = |content: usize| (PathBuf::from("old"), content);
    let expected =
        [Names::from([old(0)]), Names::from([old(0), (PathBuf::from("new"), 1)]), Names::from([old(1)])];
    assert_eq!(left, expected.into());
}

#[test]
fn a_file_is_open_once() {
    let disk = Disk::new(1);
    let mounted = disk.mount();
    let first = mounted.open(path("a")).unwrap();
    assert_eq!(mounted.open(path("a")).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(first);
    let old = mounted.open(path("a")).unwrap();
    let next = disk.mount();
    let new = next.open(path("a")).expect("the process that had it open is dead");
    drop(old);
    assert!(next.open(path("a")).is_err());
    drop(new);
}

#[test]
fn a_full_disk_keeps_what_it_has() {
    let disk = Disk::new(1);
    let file = disk.mount().open(path("a")).unwrap();
    file.write(&[1; 16], 0).unwrap();
    disk.fill(true);
    assert_eq!(file.resize(32).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.write(&[2; 4], 14).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(bytes(&*file, 16)[..14], [1; 14]);
    file.write(&[3], 0).unwrap();
    disk.fill(false);
    file.write(&[2; 4], 14).unwrap();
    assert_eq!(file.length().unwrap(), 18);
}

#[test]
fn a_process_dies_in_the_middle_of_its_writes() {
    let disk = Disk::new(1);
    let file = disk.mount().open(path("a")).unwrap();
    disk.fail_after(2);
    file.write(&[1], 0).unwrap();
    assert!(file.write(&[2; 100], 1).is_err() && file.sync().is_err());
    assert!(disk.mount().open(path("a")).unwrap().length().unwrap() <= 101);
}

/// A central node's register on a disk of which one change fails.
struct Site {
    disk: Disk,
    store: Option<JournalStore>,
    /// What programs were told is stored: the register as it was when something was acknowledged last.
    acknowledged: Option<Arc<Loaded>>,
}

const INLINE: Options =
    Options { flush_within: std::time::Duration::from_secs(1), cache_bytes: 0, inline: true };

fn blueprint(name: &str) -> BlueprintId {
    BlueprintId::new(name).unwrap()
}

impl Site {
    async fn open(&mut self) -> Result<(), StoreError> {
        self.store = None;
        let store = JournalStore::open_on(Arc::new(self.disk.mount_again()), REGISTER_FILE, INLINE).await?;
        self.store = Some(store);
        Ok(())
    }

    /// A start that failed is tried again.
    async fn starts(&mut self) {
        if self.open().await.is_err() {
            drop(self.open().await);
        }
    }

    /// Does something; when it is acknowledged, all that is there then is to stay.
    async fn does(&mut self, what: impl AsyncFnOnce(&JournalStore) -> Result<(), StoreError>) {
        let Some(store) = &self.store else { return };
        if what(store).await.is_ok() {
            self.acknowledged = Some(Arc::new(store.load().await.unwrap()));
        }
    }

    async fn publishes(&mut self, name: &str) {
        // Large, so that a few changes of state make the journal be written anew.
        let text = format!(r#"{{"id":"{name}","d":"{}"}}"#, "x".repeat(200_000));
        let draft = Draft {
            blueprint_id: blueprint(name),
            document: Document::canonicalize(text.as_bytes()).unwrap(),
            published_at: Timestamp::from_millis(1_700_000_000_000),
            published_by: "tester".into(),
            transaction_id: format!("tx-{name}"),
            metadata: BTreeMap::new(),
            trace_parent: String::new(),
        };
        self.does(async |store| store.publish(draft).await.map(drop)).await;
    }

    async fn toggles(&mut self, name: &str, is_active: bool) {
        let change = StateChange {
            blueprint_id: blueprint(name),
            is_active,
            transaction_id: "tx".into(),
            trace_parent: String::new(),
        };
        self.does(async |store| store.set_active(change).await.map(drop)).await;
    }

    /// A restore: what is there is written beside the journal, and put in its place.
    async fn restores(&mut self) {
        let Some(store) = &self.store else { return };
        let loaded = store.load().await.unwrap();
        let genesis = loaded.view.genesis().map(|genesis| Genesis::clone(genesis));
        let head = loaded.view.head();
        let checkpoint = Checkpoint {
            version: Version::new("version", head.get() + 5).unwrap(),
            last_sync_time: Timestamp::from_millis(1),
            next_sync_due: Timestamp::from_millis(2),
            central_node_id: String::new(),
            adopt: None,
        };
        let entries = loaded.view.iter().cloned().collect();
        self.does(async |store| store.replace(genesis, entries, Some(checkpoint)).await).await;
    }

    async fn lives(&mut self) {
        self.starts().await;
        let genesis =
            Genesis::create("n0", &SigningKey::from_bytes(&[1; 32]), Timestamp::from_millis(1)).unwrap();
        self.does(async |store| store.init_genesis(genesis).await.map(drop)).await;
        self.publishes("a").await;
        self.publishes("b").await;
        for is_active in [false, true, false, true, false, true, false, true] {
            self.toggles("a", is_active).await;
        }
        self.publishes("c").await;
        self.restores().await;
        self.publishes("d").await;
        self.starts().await;
        self.publishes("e").await;
    }

    /// What must be there is.
    async fn keeps_its_word(&mut self) {
        self.store = None;
        let mounted = Arc::new(self.disk.mount());
        let store = JournalStore::open_on(mounted, REGISTER_FILE, INLINE).await.unwrap();
        let after = store.load().await.unwrap();
        assert_eq!(after.findings, []);
        let Some(before) = &self.acknowledged else { return };
        assert!(after.view.head() >= before.view.head(), "{} < {}", after.view.head(), before.view.head());
        assert_eq!(after.view.lineage(), before.view.lineage());
        for sealed in before.view.iter() {
            let entry = sealed.entry();
            let kept = after.view.get(&entry.blueprint_id);
            let version = kept.map(|kept| kept.entry().version);
            assert!(
                version >= Some(entry.version),
                "{}: {version:?} < {}",
                entry.blueprint_id,
                entry.version
            );
        }
    }
}

#[tokio::test]
async fn whatever_single_change_of_the_disk_fails_what_is_acknowledged_outlives_a_power_cut() {
    for how in [Failure::NotDone, Failure::Done] {
        for number in 0.. {
            let disk = Disk::new(u64::from(number));
            let mut site = Site { disk: disk.clone(), store: None, acknowledged: None };
            disk.fail_once_after(number, how);
            site.lives().await;
            let was_last = !disk.has_failed();
            assert!(site.store.is_some(), "a start that is tried again succeeds");
            disk.cut_power();
            site.keeps_its_word().await;
            if was_last {
                assert!(number > 50, "{number} changes are too few: the journal was not written anew");
                break;
            }
        }
    }
}

#[tokio::test]
async fn once_a_new_journal_has_the_name_everything_goes_into_it() {
    let disk = Disk::new(1);
    let mut site = Site { disk: disk.clone(), store: None, acknowledged: None };
    site.open().await.unwrap();
    site.publishes("a").await;
    disk.break_names(true);
    site.restores().await;
    let refused = site.store.as_ref().unwrap().set_active(StateChange {
        blueprint_id: blueprint("a"),
        is_active: false,
        transaction_id: "tx".into(),
        trace_parent: String::new(),
    });
    assert!(refused.await.is_err(), "nothing is acknowledged while its file may lose its name");
    disk.break_names(false);
    site.publishes("b").await;
    disk.cut_power();
    assert!(site.acknowledged.as_ref().unwrap().view.get(&blueprint("b")).is_some());
    site.keeps_its_word().await;
}
