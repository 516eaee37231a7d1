//! Publications and changes of state: allocation of the next version (ADR 5).

use std::{sync::Arc, time::Duration};

use mongodb::bson::{Document, RawDocumentBuf, doc};
use rand::RngExt as _;
use sorcha_register::{
    entry::Entry,
    names::{BlueprintId, Leaf, Version},
};
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep, timeout_at},
};

use super::{
    Known, MongoStore, Outcome, blocking,
    database::Database,
    entry_codec::{
        MAX_DOCUMENT_BYTES, Stored, binary, check_size, decode, encode, encode_document, entry_hash,
        stated_version,
    },
    errors::Failure,
    meta::HEAD,
};
use crate::{Draft, Exchange, InItsPlace, Publication, StateChange, StoreError, next_version};

/// Protocol section 9: retries 3, delay 500 ms. Safe here, since an id is published once.
const RETRIES: u32 = 3;
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// Longest random delay after another node took the version, as a power of two in milliseconds.
const MAX_RACE_DELAY_LOG2: u32 = 6;
/// What a change of state adds to a document beside its texts: the names of fields that were absent, one number
/// in `versions`.
const CHANGE_OVERHEAD_BYTES: usize = 128;

/// What is to become the next version.
pub(super) enum Change<'a> {
    /// A new blueprint; `json` is its document in BSON.
    Publish { draft: &'a Draft, json: &'a RawDocumentBuf },
    /// A deprecation or reactivation.
    SetActive(&'a StateChange),
}

impl Change<'_> {
    const fn blueprint_id(&self) -> &BlueprintId {
        match self {
            Self::Publish { draft, .. } => &draft.blueprint_id,
            Self::SetActive(change) => &change.blueprint_id,
        }
    }

    /// The answer that the stored entry gives already: it may be what an earlier attempt of this very call stored.
    fn answer(&self, stored: &Stored, tries: &Tries) -> Result<Option<Publication>, StoreError> {
        let entry = stored.sealed.entry();
        let publication = |changed| Some(Publication { entry: Arc::clone(&stored.sealed), changed });
        if tries.uncertain.contains(&stored.sealed.leaf()) {
            return Ok(publication(true));
        }
        match self {
            Self::Publish { draft, .. } if entry.document == draft.document => Ok(publication(false)),
            Self::Publish { .. } => Err(StoreError::Conflict {
                id: entry.blueprint_id.clone(),
                checksum: entry.document.checksum(),
            }),
            Self::SetActive(change) if entry.is_active == change.is_active => Ok(publication(false)),
            Self::SetActive(_) => Ok(None),
        }
    }
}

/// What earlier attempts of one call left behind.
#[derive(Default)]
struct Tries {
    /// Entries that may have been stored without an acknowledgement.
    uncertain: Vec<Leaf>,
    /// Why the newest attempt failed.
    last: Option<StoreError>,
}

/// Checks a draft and brings its document into BSON.
pub(super) async fn encode_draft(draft: Draft) -> Result<RawDocumentBuf, StoreError> {
    let entry = draft.at(Version::FIRST);
    entry.validate()?;
    blocking(move || {
        let json = encode_document(&entry.blueprint_id, &entry.document)?;
        encode(&entry.seal(), &[], &json)?;
        Ok(json)
    })
    .await
}

impl MongoStore {
    /// Makes a change the next version, trying again as long as an operation may take.
    ///
    /// After an attempt whose outcome is not known the entry is looked for: what is there is published.
    pub(super) async fn carry_out(&self, change: Change<'_>) -> Result<Publication, StoreError> {
        if self.known.borrow().is_unsettled {
            self.settle(&mut *self.replica.lock().await).await?;
        }
        self.check_sound()?;
        let deadline = Instant::now() + self.db.timeout;
        let Ok(_turn) = timeout_at(deadline, self.turn.lock()).await else {
            return Err(StoreError::Unavailable("the publications before this one take too long".to_owned()));
        };
        let mut tries = Tries::default();
        let failure = match timeout_at(deadline, self.try_until_done(&change, &mut tries)).await {
            Ok(Ok(publication)) => return Ok(self.noted(publication)),
            Ok(Err(failure)) => failure,
            Err(_) => tries.last.take().map_or_else(|| Failure::timed_out(self.db.timeout), Failure::Retry),
        };
        if !tries.uncertain.is_empty()
            && matches!(failure, Failure::Retry(_))
            && let Ok(Some(publication)) = self.look(&change, &tries).await
            && let Ok(publication) = self.kept_apart(publication).await
        {
            return Ok(self.noted(publication));
        }
        Err(failure.into_error())
    }

    /// A register with findings takes no publication until it is restored (ADR 27).
    fn check_sound(&self) -> Result<(), StoreError> {
        self.known.borrow().damage.clone().map_or(Ok(()), |damage| Err(StoreError::Damaged(damage)))
    }

    fn noted(&self, publication: Publication) -> Publication {
        let version = publication.entry.entry().version;
        self.note_newest(version);
        if publication.changed {
            self.published
                .send_if_modified(|newest| std::mem::replace(newest, version.max(*newest)) < version);
        }
        publication
    }

    async fn try_until_done(&self, change: &Change<'_>, tries: &mut Tries) -> Outcome<Publication> {
        let (mut races, mut retries) = (0, 0);
        loop {
            let attempt = match self.attempt(change, tries).await {
                Ok(Some(publication)) => self.kept_apart(publication).await.map(Some),
                other => other,
            };
            match attempt {
                Ok(Some(publication)) => return Ok(publication),
                Ok(None) => {
                    races += 1;
                    sleep(race_delay(races)).await;
                }
                Err(Failure::Retry(error)) if retries < RETRIES => {
                    tracing::debug!(%error, "publication is tried again");
                    retries += 1;
                    tries.last = Some(error);
                    sleep(RETRY_DELAY).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// One attempt; `None` when another node took the version.
    async fn attempt(&self, change: &Change<'_>, tries: &mut Tries) -> Outcome<Option<Publication>> {
        match change {
            Change::Publish { draft, json } => {
                if !tries.uncertain.is_empty()
                    && let Some(publication) = self.look(change, tries).await?
                {
                    return Ok(Some(publication));
                }
                match self.insert(draft, json, tries).await? {
                    // Of the id or of the version: the entry tells, if there is one.
                    None => self.look(change, tries).await,
                    published => Ok(published),
                }
            }
            Change::SetActive(state) => {
                let id = &state.blueprint_id;
                let Some(raw) = self.db.find(id).await? else {
                    return Err(StoreError::NotFound(id.clone()).into());
                };
                let size = raw.as_bytes().len();
                let stored = blocking(move || decode(&raw)).await?;
                match change.answer(&stored, tries)? {
                    Some(publication) => Ok(Some(publication)),
                    None => self.update(state, stored, size, tries).await,
                }
            }
        }
    }

    /// `None` when the id or the version is taken.
    async fn insert(
        &self,
        draft: &Draft,
        json: &RawDocumentBuf,
        tries: &mut Tries,
    ) -> Outcome<Option<Publication>> {
        let sealed = draft.clone().at(self.next_version().await?).seal();
        let document = encode(&sealed, &[], json)?;
        tries.uncertain.push(sealed.leaf());
        match self.db.bounded(self.db.entries.insert_one(document)).await {
            Ok(_) => Ok(Some(Publication { entry: sealed, changed: true })),
            Err(failure) => self.raced(sealed.entry(), None, failure, tries).await.map(|()| None),
        }
    }

    /// After a write that failed: whether another one was faster, since there is something else than `before`. Servers don't
    /// all say so, or say so with the same code: what they hold counts.
    ///
    /// # Errors
    /// The failure, where it was not that.
    async fn raced(
        &self,
        entry: &Entry,
        before: Option<Version>,
        failure: Failure,
        tries: &mut Tries,
    ) -> Outcome<()> {
        match failure {
            Failure::Duplicate => {
                tries.uncertain.pop();
                Ok(())
            }
            Failure::Retry(error) => Err(Failure::Retry(error)),
            other => {
                let found = self.db.find(&entry.blueprint_id).await?;
                let stored = found.map(|raw| stated_version(&raw).unwrap_or_default());
                if stored == before && self.db.head().await? < entry.version {
                    return Err(other);
                }
                let (reason, version) = (other.into_error(), entry.version);
                tracing::debug!(%reason, %version, "a write failed; the version is taken");
                Ok(())
            }
        }
    }

    async fn update(
        &self,
        change: &StateChange,
        stored: Stored,
        size: usize,
        tries: &mut Tries,
    ) -> Outcome<Option<Publication>> {
        let before = stored.sealed.entry();
        let version = self.next_version().await?;
        if version <= before.version {
            return Ok(None);
        }
        let grown = size + change.transaction_id.len() + change.trace_parent.len() + CHANGE_OVERHEAD_BYTES;
        check_size(&change.blueprint_id, grown, MAX_DOCUMENT_BYTES)?;
        let sealed = change.applied_to(before, version).seal();
        let supersedes = [&stored.supersedes[..], &[before.version]].concat();
        let filter = doc! { "_id": change.blueprint_id.as_str(), "version": before.version.get() };
        tries.uncertain.push(sealed.leaf());
        let update = state_update(sealed.entry(), entry_hash(sealed.leaf(), &supersedes));
        match self.db.bounded(self.db.entries.update_one(filter, update)).await {
            Ok(result) if result.matched_count == 1 => Ok(Some(Publication { entry: sealed, changed: true })),
            Ok(_) => {
                tries.uncertain.pop();
                Ok(None)
            }
            Err(failure) => {
                self.raced(sealed.entry(), Some(before.version), failure, tries).await.map(|()| None)
            }
        }
    }

    /// What the database holds under the change's id, as an answer to it.
    async fn look(&self, change: &Change<'_>, tries: &Tries) -> Outcome<Option<Publication>> {
        let Some(raw) = self.db.find(change.blueprint_id()).await? else { return Ok(None) };
        let stored = blocking(move || decode(&raw)).await?;
        Ok(change.answer(&stored, tries)?)
    }

    /// The version after the newest. A number that was seen in use is never given again: peers hold its entry.
    pub(super) async fn next_version(&self) -> Outcome<Version> {
        // Before the head is read: the tail may see more meanwhile.
        let Known { newest: seen, genesis, floor, .. } = self.known.borrow().clone();
        let head = self.db.head_of(genesis.as_deref()).await?.max(floor);
        if head < seen {
            let ours = genesis.map(|genesis| genesis.lineage());
            let found = InItsPlace::Older { head, seen };
            return Err(Failure::Retry(StoreError::Exchanged(Exchange { ours, found })));
        }
        Ok(next_version(head)?)
    }
}

fn race_delay(races: u32) -> Duration {
    Duration::from_millis(rand::rng().random_range(1..=1 << races.min(MAX_RACE_DELAY_LOG2)))
}

/// The one update that moves a blueprint to its next version.
fn state_update(entry: &Entry, hash: [u8; 32]) -> Document {
    let mut set =
        doc! { "version": entry.version.get(), "isActive": entry.is_active, "entryHash": binary(&hash) };
    let mut unset = Document::new();
    for (key, text) in
        [("publicationTransactionId", &entry.transaction_id), ("traceParent", &entry.trace_parent)]
    {
        if text.is_empty() {
            unset.insert(key, "");
        } else {
            set.insert(key, text);
        }
    }
    let mut update = doc! { "$set": set, "$push": { "versions": entry.version.get() } };
    // Servers before 5.0 refuse an empty one.
    if !unset.is_empty() {
        update.insert("$unset", unset);
    }
    update
}

/// Writes down the newest version that this process published, so that a register whose end is cut off is found
/// at the next start. Best effort: publications do not wait for it, and many of them share one write.
pub(super) async fn record_heads(
    db: Database,
    mut newest: watch::Receiver<Version>,
    recording: Arc<Mutex<()>>,
) {
    while newest.changed().await.is_ok() {
        let _turn = recording.lock().await;
        let version = *newest.borrow_and_update();
        let raise = db
            .meta
            .update_one(doc! { "_id": HEAD }, doc! { "$max": { "version": version.get() } })
            .upsert(true);
        if let Err(failure) = db.bounded(raise).await {
            tracing::debug!(%version, reason = %failure.into_error(), "head record not written; the next publication writes it");
        }
    }
}
