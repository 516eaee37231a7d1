//! The birth of a register on a central node: genesis, then the seed entry (protocol section 6.8).
//! Safe to run at every start, and by several nodes on one database at once.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use sorcha_register::{
    clock::{Clock, Timestamp},
    entry::SealedEntry,
    lineage::{Genesis, InvalidGenesis},
    names::Version,
    seed::{self, SeedError},
};
use sorcha_store::{Draft, Loaded, Store, StoreError};

/// Why there is no register to serve.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The store failed, or holds a damaged register.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Entries are there, but nothing says which register they belong to.
    #[error(
        "the store holds {0} entries but no genesis record; run `sorcha-node register restore` to bring the register \
         back from a bundle, or `register reseed` to begin a new one"
    )]
    NoGenesis(usize),
    /// A new genesis does not verify.
    #[error("make the genesis record: {0}")]
    Genesis(#[from] InvalidGenesis),
    /// The compiled-in seed is not valid.
    #[error(transparent)]
    Seed(#[from] SeedError),
}

/// Makes sure that the store holds a sound register with its seed entry, and returns its genesis.
///
/// # Errors
/// [`BootstrapError`]; a damaged register is never overwritten with a new one.
pub async fn ensure_seed(
    store: &dyn Store,
    creator: &str,
    key: &SigningKey,
    clock: &dyn Clock,
) -> Result<Genesis, BootstrapError> {
    let genesis = match find_genesis(store).await? {
        Some(genesis) => genesis,
        None => store.init_genesis(Genesis::create(creator, key, clock.now())?).await?,
    };
    match store.publish(seed_draft(&genesis, clock.now())?).await {
        Ok(publication) if publication.changed => {
            tracing::info!(lineage = %genesis.lineage(), creator, "register created and seeded");
        }
        Ok(_) => {}
        // Another release seeded this register with its own text; what is published stays (ADR 28).
        Err(StoreError::Conflict { id, checksum }) => {
            tracing::info!(%id, %checksum, "the register has the seed blueprint of another release");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(genesis)
}

async fn find_genesis(store: &dyn Store) -> Result<Option<Genesis>, BootstrapError> {
    let look = |loaded: Loaded| match loaded.findings.first() {
        Some(finding) => Err(StoreError::Damaged(finding.to_string())),
        None => Ok((loaded.view.genesis().map(|genesis| Genesis::clone(genesis)), loaded.view.len())),
    };
    match look(store.load().await?)? {
        (None, 1..) => {}
        (genesis, _) => return Ok(genesis),
    }
    // Another node may have begun the register between the reads of genesis and entries: look once more.
    match look(store.load().await?)? {
        (None, entries @ 1..) => Err(BootstrapError::NoGenesis(entries)),
        (genesis, _) => Ok(genesis),
    }
}

/// The seed entry as a publication; creating the register is its transaction.
fn seed_draft(genesis: &Genesis, now: Timestamp) -> Result<Draft, SeedError> {
    let (blueprint_id, document, metadata) = seed::seed()?;
    Ok(Draft {
        blueprint_id,
        document,
        published_at: now,
        published_by: seed::PUBLISHER.to_owned(),
        transaction_id: genesis.lineage().to_string(),
        metadata,
        trace_parent: String::new(),
    })
}

/// A new register with nothing but its seed, to be stored in one step.
///
/// # Errors
/// [`BootstrapError`] if the compiled-in parts are not valid (they are).
pub fn new_register(
    creator: &str,
    key: &SigningKey,
    now: Timestamp,
) -> Result<(Genesis, Arc<SealedEntry>), BootstrapError> {
    let genesis = Genesis::create(creator, key, now)?;
    let seed = seed_draft(&genesis, now)?.at(Version::FIRST).seal();
    Ok((genesis, seed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sorcha_register::{canonical::Document, names::BlueprintId, testing::entry};
    use sorcha_runtime::clock::SystemClock;
    use sorcha_store::journal::{JournalStore, Options};

    fn store() -> JournalStore {
        JournalStore::in_memory(Options::default()).unwrap()
    }

    async fn seeded(store: &dyn Store, node: u8) -> Result<Genesis, BootstrapError> {
        ensure_seed(store, &format!("n{node}"), &SigningKey::from_bytes(&[node; 32]), &SystemClock::new())
            .await
    }

    #[tokio::test]
    async fn the_seed_is_version_one_as_the_contract_says() {
        let store = store();
        let genesis = seeded(&store, 0).await.unwrap();
        let view = store.load().await.unwrap().view;
        let sealed = view.get(&BlueprintId::new(seed::ID).unwrap()).unwrap();
        let entry = sealed.entry();
        assert_eq!((entry.version.get(), entry.published_by(), entry.is_active), (1, "system", true));
        assert!(entry.metadata().any(|pair| pair == ("category", "register")));
        assert_eq!(entry.transaction_id(), genesis.lineage().to_string());
        assert_eq!((view.len(), view.lineage()), (1, Some(genesis.lineage())));
    }

    #[tokio::test]
    async fn a_restart_and_other_nodes_find_the_register_that_is_there() {
        let store = store();
        let first = seeded(&store, 0).await.unwrap();
        for node in [0, 1, 2] {
            assert_eq!(seeded(&store, node).await.unwrap(), first);
        }
        assert_eq!(store.load().await.unwrap().view.head().get(), 1);
    }

    #[tokio::test]
    async fn several_nodes_at_once_make_one_register() {
        for _ in 0..20 {
            let store = Arc::new(store());
            let starts = (0..3).map(|node| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { seeded(&*store, node).await.unwrap().lineage() })
            });
            let found = futures::future::join_all(starts).await;
            let lineages: std::collections::BTreeSet<_> = found.into_iter().map(Result::unwrap).collect();
            assert_eq!(lineages.len(), 1);
            assert_eq!(store.load().await.unwrap().view.head().get(), 1);
        }
    }

    #[tokio::test]
    async fn the_seed_of_another_release_stays() {
        let store = store();
        let genesis = store.init_genesis(sorcha_register::testing::genesis(7)).await.unwrap();
        let document = Document::canonicalize(br#"{"id":"register-creation-v1","version":"0.9.0"}"#).unwrap();
        let older =
            Draft { document: document.clone(), ..seed_draft(&genesis, Timestamp::default()).unwrap() };
        store.publish(older).await.unwrap();
        assert_eq!(seeded(&store, 0).await.unwrap(), genesis);
        let view = store.load().await.unwrap().view;
        assert_eq!(view.iter().next().unwrap().whole().unwrap().document, document);
    }

    #[tokio::test]
    async fn entries_without_a_genesis_are_not_adopted_silently() {
        let store = store();
        store.replace(None, vec![entry("a", 1).seal()], None).await.unwrap();
        let error = seeded(&store, 0).await.unwrap_err();
        assert!(error.to_string().contains("1 entries but no genesis"), "{error}");
        assert!(store.load().await.unwrap().view.genesis().is_none());
    }

    #[test]
    fn a_new_register_is_another_lineage_each_time() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let register = |millis| new_register("n0", &key, Timestamp::from_millis(millis)).unwrap();
        let (genesis, seed) = register(1);
        assert_ne!(genesis.lineage(), register(2).0.lineage());
        assert_eq!(seed.entry().version.get(), 1);
    }
}
