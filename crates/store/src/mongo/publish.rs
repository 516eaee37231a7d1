//! Publications and changes of state: allocation of the next version (ADR 5).

mod write;

use std::{sync::Arc, time::Duration};

use mongodb::bson::{RawDocumentBuf, doc};
use rand::RngExt as _;
use sorcha_register::names::{BlueprintId, Leaf, Version};
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep, timeout_at},
};

use super::{
    Known, MongoStore, Outcome, blocking,
    database::Database,
    entry_codec::{Stored, decode, encode, encode_document},
    errors::Failure,
    meta::HEAD,
};
use crate::{Draft, Exchange, InItsPlace, Publication, StateChange, StoreError, next_version};

/// Protocol section 9: retries 3, delay 500 ms. Retries are idempotent: an id is published once.
const RETRIES: u32 = 3;
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// Longest random delay after another node took the version, as a power of two in milliseconds.
const MAX_RACE_DELAY_LOG2: u32 = 6;

/// A change that takes the next version.
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

    /// The answer, if the stored entry gives it: an earlier attempt of this call may have stored the entry.
    fn answer(&self, stored: &Stored, tries: &Tries) -> Result<Option<Publication>, StoreError> {
        let entry = stored.sealed.entry();
        let publication = |changed| Some(Publication { entry: Arc::clone(&stored.sealed), changed });
        if tries.uncertain.contains(&stored.sealed.leaf()) {
            return Ok(publication(true));
        }
        match self {
            Self::Publish { draft, .. } if entry.document == draft.document.fingerprint() => {
                Ok(publication(false))
            }
            Self::Publish { .. } => Err(StoreError::Conflict {
                id: entry.blueprint_id.clone(),
                checksum: entry.document.checksum(),
            }),
            Self::SetActive(change) if entry.is_active == change.is_active => Ok(publication(false)),
            Self::SetActive(_) => Ok(None),
        }
    }
}

/// State of the earlier attempts of one call.
#[derive(Default)]
struct Tries {
    /// Entries that may have been stored without an acknowledgement.
    uncertain: Vec<Leaf>,
    /// Why the newest attempt failed.
    last: Option<StoreError>,
}

/// Checks a draft and encodes its document in BSON.
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
    /// Stores a change at the next version, with retries within the time limit of an operation.
    ///
    /// After an attempt with an unknown outcome the entry is read: if it is stored, it is published.
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

    /// The answer that the stored entry gives to a change.
    async fn look(&self, change: &Change<'_>, tries: &Tries) -> Outcome<Option<Publication>> {
        let Some(raw) = self.db.find(change.blueprint_id()).await? else { return Ok(None) };
        let stored = blocking(move || decode(&raw)).await?;
        Ok(change.answer(&stored, tries)?)
    }

    /// The version after the newest. A version that was seen is never assigned again: peers hold its entry.
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

/// Stores the newest version that this process published, so that the next start finds a register whose end is missing. Best
/// effort: publications do not wait for it, and many of them share one write.
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
