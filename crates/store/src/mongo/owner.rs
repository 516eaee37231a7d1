//! Ownership of a database: a register is shared by central nodes, a replica belongs to one peer. The record in
//! `<collection>_meta` is a lease, which the peer renews while it runs.
//!
//! The same peer takes its database over at once after a restart; its previous process, if it still runs, is fenced. Another
//! peer is refused until the lease has expired.

use std::{sync::Arc, time::Duration};

use mongodb::bson::{DateTime, RawDocument, RawDocumentBuf, doc, raw::cstr};
use sorcha_register::clock::{Clock, Timestamp};
use sorcha_runtime::{env::Env, supervise};
use tokio::{sync::watch, time::sleep};
use tokio_util::task::AbortOnDropHandle;

use super::{
    MongoStore, Outcome,
    database::Database,
    errors::Failure,
    meta::{CHECKPOINT, GENESIS, OWNER, REPLACING, with_id},
};
use crate::StoreError;

/// Period of the renewal.
const RENEW: Duration = Duration::from_secs(5);
/// Duration of the lease: afterwards other peers may take the database over.
const EXPIRES: Duration = Duration::from_secs(600);
/// Attempts against concurrent claims.
const ATTEMPTS: usize = 5;

/// The node that claims a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimant {
    /// A central node, for a shared register.
    Central,
    /// A peer, for its own replica.
    Peer {
        /// Its id, on Kubernetes after its namespace.
        identity: String,
    },
}

impl Claimant {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Central => "register",
            Self::Peer { .. } => "replica",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    kind: String,
    identity: String,
    /// Id of the process.
    instance: String,
    renewed: Timestamp,
}

impl Record {
    fn encode(&self) -> RawDocumentBuf {
        let mut out = with_id(OWNER);
        out.append(cstr!("kind"), self.kind.as_str());
        out.append(cstr!("identity"), self.identity.as_str());
        out.append(cstr!("instance"), self.instance.as_str());
        out.append(cstr!("renewedAt"), DateTime::from_millis(self.renewed.as_millis()));
        out
    }

    fn decode(raw: &RawDocument) -> Option<Self> {
        let text = |key| raw.get_str(key).ok().map(str::to_owned);
        Some(Self {
            kind: text("kind")?,
            identity: text("identity")?,
            instance: text("instance")?,
            renewed: Timestamp::from_millis(raw.get_datetime("renewedAt").ok()?.timestamp_millis()),
        })
    }
}

/// Owner of a database before a claim.
enum Found {
    Free,
    /// A register or replica without a record, such as an imported one.
    Unnamed(&'static str),
    Owned(Record),
}

/// A claim that is renewed.
#[derive(Debug)]
pub(super) struct Claim {
    instance: String,
    /// Why it is lost; `None` while it holds.
    lost: watch::Receiver<Option<StoreError>>,
    _renewal: AbortOnDropHandle<()>,
}

impl Claim {
    pub(super) fn fault(&self) -> Option<StoreError> {
        self.lost.borrow().clone()
    }
}

impl MongoStore {
    /// Claims the database for a node, which renews its claim from then on.
    ///
    /// # Errors
    /// [`StoreError::Owned`] when another node owns it, naming that node and the remedy.
    pub async fn claim(&self, claimant: &Claimant, env: &Env) -> Result<(), StoreError> {
        let record = Record {
            kind: claimant.kind().to_owned(),
            identity: match claimant {
                Claimant::Central => String::new(),
                Claimant::Peer { identity } => identity.clone(),
            },
            instance: format!("{:032x}", rand::random::<u128>()),
            renewed: env.clock.now(),
        };
        for _ in 0..ATTEMPTS {
            if self.try_claim(&record).await? {
                if let Claimant::Peer { .. } = claimant {
                    let claim = keep_renewing(&self.db, &record, env.clone());
                    let _first_stays = self.claim.set(claim);
                }
                return Ok(());
            }
        }
        Err(StoreError::Unavailable("others claim the database at the same time".to_owned()))
    }

    /// False when a concurrent claim won.
    async fn try_claim(&self, record: &Record) -> Outcome<bool> {
        let found = self.db.found().await?;
        let refused = |why: String| Err(Failure::Final(StoreError::Owned(self.db.owned(&why))));
        match found {
            Found::Free => self.db.insert_owner(record).await,
            Found::Unnamed(kind) if kind == record.kind => self.db.insert_owner(record).await,
            Found::Unnamed(kind) => refused(format!("it holds a {kind}")),
            Found::Owned(owner) if owner.kind != record.kind => refused(match owner.identity.as_str() {
                "" => format!("it holds a {}", owner.kind),
                peer => format!("it holds the {} of peer {peer}", owner.kind),
            }),
            Found::Owned(owner) if owner.identity == record.identity => {
                if owner.kind == "register" {
                    return Ok(true);
                }
                self.db.replace_owner(&owner, record).await
            }
            Found::Owned(owner) => {
                let silent = record.renewed.millis_since(owner.renewed);
                if silent < i64::try_from(EXPIRES.as_millis()).unwrap_or(i64::MAX) {
                    let seconds = silent.max(0) / 1000;
                    return refused(format!(
                        "it holds the replica of peer {}, which was there {seconds} s ago",
                        owner.identity
                    ));
                }
                tracing::warn!(
                    owner = owner.identity, last_seen = %owner.renewed,
                    "the database was the replica of another peer, which is gone; it is taken over"
                );
                self.db.replace_owner(&owner, record).await
            }
        }
    }

    /// Whether this process may still write here.
    pub(super) async fn check_claim(&self) -> Outcome<()> {
        let Some(claim) = self.claim.get() else { return Ok(()) };
        self.db.check_owner(&claim.instance).await
    }
}

impl Database {
    fn owned(&self, why: &str) -> String {
        let (database, collection) = (&self.meta.namespace().db, self.entries.name());
        format!(
            "database {database:?}, collection {collection:?} is not this node's: {why}. Give each peer a database of its own \
             (store.mongodb.database), apart from the central nodes'. If that node is gone for good, stop it and start this one \
             {} later, or remove the document \"{OWNER}\" from {}",
            humantime::format_duration(EXPIRES),
            self.meta.name()
        )
    }

    async fn found(&self) -> Outcome<Found> {
        let meta = self.read_meta().await?;
        if let Some(record) = meta.get(OWNER).and_then(|raw| Record::decode(raw)) {
            return Ok(Found::Owned(record));
        }
        let replacing = meta.get(REPLACING).map(|raw| raw.get_document("checkpoint").is_ok());
        Ok(if meta.contains_key(CHECKPOINT) || replacing == Some(true) {
            Found::Unnamed("replica")
        } else if meta.contains_key(GENESIS) || self.bounded(self.entries.find_one(doc! {})).await?.is_some()
        {
            Found::Unnamed("register")
        } else {
            Found::Free
        })
    }

    async fn insert_owner(&self, record: &Record) -> Outcome<bool> {
        let outcome = self.bounded(self.meta.insert_one(record.encode())).await;
        self.is_owner(record, outcome.map(|_| ())).await
    }

    async fn replace_owner(&self, owner: &Record, record: &Record) -> Outcome<bool> {
        let filter = doc! { "_id": OWNER, "instance": &owner.instance };
        let outcome = self.bounded(self.meta.replace_one(filter, record.encode())).await;
        self.is_owner(record, outcome.map(|_| ())).await
    }

    /// Whatever the server answered: the stored record counts.
    async fn is_owner(&self, record: &Record, outcome: Outcome<()>) -> Outcome<bool> {
        let stored = self.owner().await?;
        match outcome {
            _ if stored.as_ref().is_some_and(|stored| stored.instance == record.instance) => Ok(true),
            Err(failure) if stored.is_none() => Err(failure),
            _ => Ok(false),
        }
    }

    async fn owner(&self) -> Outcome<Option<Record>> {
        let raw = self.bounded(self.meta.find_one(doc! { "_id": OWNER })).await?;
        Ok(raw.and_then(|raw| Record::decode(&raw)))
    }

    async fn check_owner(&self, instance: &str) -> Outcome<()> {
        let why = match self.owner().await? {
            Some(owner) if owner.instance == instance => return Ok(()),
            Some(owner) => format!("{} has taken it over", owner.identity),
            None => "its owner's record is gone: it was dropped, restored or exchanged under the running peer. Nothing is \
                written to it; restart the peer to begin a new replica in it"
                .to_owned(),
        };
        Err(Failure::Final(StoreError::Owned(self.owned(&why))))
    }

    async fn renew(&self, instance: &str, clock: &dyn Clock) -> Outcome<()> {
        let filter = doc! { "_id": OWNER, "instance": instance };
        let set = doc! { "$set": { "renewedAt": DateTime::from_millis(clock.now().as_millis()) } };
        let outcome = self.bounded(self.meta.update_one(filter, set)).await?;
        if outcome.matched_count == 1 { Ok(()) } else { self.check_owner(instance).await }
    }
}

fn keep_renewing(db: &Database, record: &Record, env: Env) -> Claim {
    let (lost, known) = watch::channel(None);
    let (db, instance) = (db.clone(), record.instance.clone());
    let renewed = instance.clone();
    let renewal = async move {
        let clock = Arc::clone(&env.clock);
        supervise::forever("store-owner", &env, || renew(&db, &renewed, &*clock, &lost)).await;
    };
    Claim { instance, lost: known, _renewal: AbortOnDropHandle::new(tokio::spawn(renewal)) }
}

async fn renew(db: &Database, instance: &str, clock: &dyn Clock, lost: &watch::Sender<Option<StoreError>>) {
    loop {
        sleep(RENEW).await;
        let fault = match db.renew(instance, clock).await {
            // An outage says nothing about whose it is.
            Err(Failure::Retry(_)) => continue,
            outcome => outcome.err().map(Failure::into_error),
        };
        let changed = lost.send_if_modified(|known| {
            let changed = known.is_some() != fault.is_some();
            known.clone_from(&fault);
            changed
        });
        match fault {
            Some(error) if changed => {
                tracing::error!(%error, "the replica's database is not this peer's any more")
            }
            None if changed => tracing::info!("the replica's database is this peer's again"),
            _ => {}
        }
    }
}
