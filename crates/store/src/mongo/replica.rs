//! A replica's batches, and the replacement of a whole register, without multi-document transactions.
//!
//! A batch is stored before its position; entries beyond the position do not count. A replacement is written beside the present
//! register; then one document marks it as complete. After a crash from there on, the next load finishes the replacement.

use std::{collections::BTreeMap, sync::Arc};

use mongodb::bson::{RawDocumentBuf, doc};
use sorcha_register::{
    entry::SealedEntry,
    lineage::Genesis,
    names::{BlueprintId, Version},
    view::RegisterView,
};

use super::{
    Known, MongoStore, Outcome, blocking,
    entry_codec::{encode, encode_document},
    errors::Failure,
    meta::{
        APPLYING, CHECKPOINT, GENESIS, HEAD, Position, REPLACING, RESTORED, Replacement, Restored,
        encode_genesis, encode_position, encode_replacement, encode_restored, encode_version,
    },
};
use crate::{Checkpoint, StoreError, disk::read_error};

/// Attempts at a batch against concurrent writers.
const ATTEMPTS: usize = 3;

/// Bytes of a whole register that are encoded at once, and one entry.
const ENCODED_BYTES: usize = 8 << 20;
/// Most versions without an entry in an imported register.
const MAX_GAPS: i64 = 1_000_000;

/// An entry and its document.
type Encoded = (Arc<SealedEntry>, RawDocumentBuf);

impl MongoStore {
    /// Stores newer entries, then the position.
    pub(super) async fn apply_batch(
        &self,
        entries: Vec<Arc<SealedEntry>>,
        checkpoint: Checkpoint,
    ) -> Outcome<()> {
        let mut replica = self.replica.lock().await;
        self.check_claim().await?;
        self.settle(&mut replica).await?;
        if replica.is_none() {
            *replica = Some(self.load_into(&mut None).await?.view);
        }
        let mut view = replica.clone().unwrap_or_default();
        let encoded = encode_all(entries.clone(), BTreeMap::new()).await?;
        self.store_newer(encoded, checkpoint.version).await?;
        self.spill(entries.clone()).await;
        view.apply(entries, checkpoint.version);
        // Damage is not sealed over: the next start must find it again.
        let seal = self.known.borrow().damage.is_none().then(|| view.seal());
        let position = Position { checkpoint, seal };
        self.db.put_meta(CHECKPOINT, encode_position(&position)).await?;
        self.known.send_modify(|known| {
            known.newest = view.head();
            known.is_replica = true;
        });
        *replica = Some(view);
        Ok(())
    }

    /// Has the documents of entries leave memory, now that the database holds them.
    async fn spill(&self, entries: Vec<Arc<SealedEntry>>) {
        let spill = Arc::clone(&self.db.spill);
        blocking(move || entries.iter().for_each(|sealed| spill.keep(sealed))).await;
    }

    async fn store_newer(&self, encoded: Vec<Encoded>, position: Version) -> Outcome<()> {
        let mut last = Failure::Duplicate;
        for _ in 0..ATTEMPTS {
            let stored =
                self.db.versions(encoded.iter().map(|(sealed, _)| &sealed.entry().blueprint_id)).await?;
            let known = |sealed: &SealedEntry| stored.get(&sealed.entry().blueprint_id).copied();
            let newer =
                |sealed: &SealedEntry| known(sealed).is_none_or(|version| version < sealed.entry().version);
            let (present, absent): (Vec<_>, Vec<_>) = newest_of_each(&encoded)
                .filter(|(sealed, _)| newer(sealed))
                .partition(|(sealed, _)| known(sealed).is_some());
            if !present.is_empty() {
                self.db.put_meta(APPLYING, encode_version(APPLYING, position)).await?;
            }
            let absent: Vec<_> = absent.into_iter().map(|(_, document)| document.clone()).collect();
            match self.db.insert_all(&self.db.entries, absent).await {
                Ok(()) => return self.replace_each(present).await,
                Err(Failure::Retry(error)) => return Err(Failure::Retry(error)),
                // Whatever the code is: the next attempt reads the stored state.
                Err(failure) => last = failure,
            }
        }
        Err(match last {
            Failure::Duplicate => {
                let why = "another entry has the version of one that is to be stored";
                Failure::Final(StoreError::Damaged(why.to_owned()))
            }
            other => other,
        })
    }

    async fn replace_each(&self, newer: Vec<&Encoded>) -> Outcome<()> {
        for (sealed, document) in newer {
            let entry = sealed.entry();
            let older =
                doc! { "_id": entry.blueprint_id.as_str(), "version": { "$lt": entry.version.get() } };
            self.db.bounded(self.db.entries.replace_one(older, document)).await?;
        }
        Ok(())
    }

    /// Writes a register beside the present one and puts it in its place.
    pub(super) async fn replace_register(
        &self,
        genesis: Option<Genesis>,
        entries: Vec<Arc<SealedEntry>>,
        checkpoint: Option<Checkpoint>,
    ) -> Outcome<()> {
        let is_replica = checkpoint.is_some();
        let head = checkpoint.as_ref().map_or(Version::ZERO, |checkpoint| checkpoint.version);
        if !is_replica {
            check_gaps(&entries)?;
        }
        let view = RegisterView::with_entries(genesis.clone().map(Arc::new), entries, head);
        let position = checkpoint.map(|checkpoint| Position { checkpoint, seal: Some(view.seal()) });
        let supersedes = if is_replica { BTreeMap::new() } else { gaps_before_entries(&view) };
        let replacement = Replacement { genesis, position, restored: None, head: view.head() };
        self.put_in_place(view, supersedes, replacement).await
    }

    /// As [`MongoStore::replace_register`] for a central node, which goes on after `head`.
    pub(super) async fn restore_register(
        &self,
        genesis: Genesis,
        entries: Vec<Arc<SealedEntry>>,
        head: Version,
    ) -> Outcome<()> {
        let count = entries.len() as u64;
        let view = RegisterView::with_entries(Some(Arc::new(genesis.clone())), entries, head);
        let restored = Some(Restored { version: view.head(), entries: count });
        let replacement = Replacement { genesis: Some(genesis), position: None, restored, head: view.head() };
        self.put_in_place(view, BTreeMap::new(), replacement).await
    }

    async fn put_in_place(
        &self,
        view: RegisterView,
        supersedes: BTreeMap<Version, Vec<Version>>,
        replacement: Replacement,
    ) -> Outcome<()> {
        let mut replica = self.replica.lock().await;
        self.check_claim().await?;
        let _turn = self.turn.lock().await;
        self.write_incoming(&view, supersedes).await?;
        let record = encode_replacement(&replacement)?;
        let is_replica = replacement.position.is_some();
        let floor = replacement.restored.map(|restored| restored.version).unwrap_or_default();
        // Until the replacement is finished, the database may hold either register.
        self.known.send_modify(|known| known.is_unsettled = true);
        self.db.put_meta(REPLACING, record).await?;
        self.finish_replacement(&replacement).await?;
        self.spill(view.iter().cloned().collect()).await;
        self.published.send_replace(view.head());
        let genesis = view.genesis().cloned();
        self.known.send_replace(Known {
            genesis,
            newest: view.head(),
            is_replica,
            floor,
            ..Known::default()
        });
        *replica = is_replica.then_some(view);
        Ok(())
    }

    pub(super) async fn write_incoming(
        &self,
        view: &RegisterView,
        mut supersedes: BTreeMap<Version, Vec<Version>>,
    ) -> Outcome<()> {
        self.db.bounded(self.db.incoming.drop()).await?;
        self.db.create_indexes(&self.db.incoming).await?;
        let mut entries = view.iter().peekable();
        while entries.peek().is_some() {
            let (mut some, mut bytes) = (Vec::new(), 0);
            while let Some(sealed) = entries.next_if(|_| bytes < ENCODED_BYTES) {
                bytes += sealed.length();
                some.push(Arc::clone(sealed));
            }
            let of_some = |sealed: &Arc<SealedEntry>| supersedes.remove_entry(&sealed.entry().version);
            let superseded = some.iter().filter_map(of_some).collect();
            let encoded = encode_all(some, superseded).await?;
            let documents = encoded.into_iter().map(|(_, document)| document);
            self.db.insert_all(&self.db.incoming, documents).await?;
        }
        Ok(())
    }

    /// Loads the register again after a replacement with an unknown outcome.
    pub(super) async fn settle(&self, replica: &mut Option<RegisterView>) -> Outcome<()> {
        if self.known.borrow().is_unsettled {
            self.load_into(replica).await?;
        }
        Ok(())
    }

    /// Runs the steps of a replacement; each is idempotent.
    pub(super) async fn finish_replacement(&self, replacement: &Replacement) -> Outcome<()> {
        let Replacement { genesis, position, restored, head } = replacement;
        let _recording = self.recording.lock().await;
        if let Err(failure) = self.db.swap_in().await {
            if !matches!(failure, Failure::Retry(_)) {
                // This server does not support it: the old register stays.
                self.db.delete_meta(&[REPLACING]).await?;
                self.known.send_modify(|known| known.is_unsettled = false);
            }
            return Err(failure);
        }
        self.db.delete_meta(&[APPLYING]).await?;
        match genesis {
            Some(genesis) => self.db.put_meta(GENESIS, encode_genesis(genesis)?).await?,
            None => self.db.delete_meta(&[GENESIS]).await?,
        }
        match position {
            Some(position) => self.db.put_meta(CHECKPOINT, encode_position(position)).await?,
            None => self.db.delete_meta(&[CHECKPOINT]).await?,
        }
        match restored {
            Some(restored) => self.db.put_meta(RESTORED, encode_restored(restored)).await?,
            None => self.db.delete_meta(&[RESTORED]).await?,
        }
        self.db.put_meta(HEAD, encode_version(HEAD, *head)).await?;
        self.db.delete_meta(&[REPLACING]).await
    }
}

/// Encodes entries, all of them before the first is stored: one that MongoDB can't keep fails the whole batch.
async fn encode_all(
    entries: Vec<Arc<SealedEntry>>,
    mut supersedes: BTreeMap<Version, Vec<Version>>,
) -> Result<Vec<Encoded>, StoreError> {
    blocking(move || {
        let encode_one = |sealed: Arc<SealedEntry>| {
            let entry = sealed.whole().map_err(|error| read_error(&error))?;
            let json = encode_document(&entry.blueprint_id, &entry.document)?;
            let document = encode(&sealed, &supersedes.remove(&entry.version).unwrap_or_default(), &json)?;
            Ok((sealed, document))
        };
        entries.into_iter().map(encode_one).collect()
    })
    .await
}

/// A batch may carry several states of a blueprint; the newest is stored.
fn newest_of_each(encoded: &[Encoded]) -> impl Iterator<Item = &Encoded> {
    let mut newest: BTreeMap<&BlueprintId, &Encoded> = BTreeMap::new();
    for one in encoded {
        let entry = one.0.entry();
        let held = newest.entry(&entry.blueprint_id).or_insert(one);
        if held.0.entry().version < entry.version {
            *held = one;
        }
    }
    newest.into_values()
}

/// A central node's register accounts for all its versions, one by one.
fn check_gaps(entries: &[Arc<SealedEntry>]) -> Result<(), StoreError> {
    let head = entries.iter().map(|sealed| sealed.entry().version).max().unwrap_or_default();
    let missing = head.get() - i64::try_from(entries.len()).unwrap_or(i64::MAX);
    if missing <= MAX_GAPS {
        return Ok(());
    }
    let why =
        format!("{missing} of the versions 1 to {head} have no entry; MongoDB can account for {MAX_GAPS}");
    Err(StoreError::Unstorable(why))
}

/// Versions without an entry, each attributed to the next entry: an imported register must account for all its versions, and
/// bundles do not state which blueprint had them.
fn gaps_before_entries(view: &RegisterView) -> BTreeMap<Version, Vec<Version>> {
    let mut gaps = BTreeMap::new();
    let mut expected = Some(Version::FIRST);
    for sealed in view.iter() {
        let version = sealed.entry().version;
        let missing: Vec<_> =
            std::iter::successors(expected, |v| v.next()).take_while(|v| *v < version).collect();
        if !missing.is_empty() {
            gaps.insert(version, missing);
        }
        expected = version.next();
    }
    gaps
}
