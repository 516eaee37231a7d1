//! Registers made in advance: sound ones, as a central node would have written them, without publishing one by one.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use sorcha_central::bootstrap;
use sorcha_host::keys;
use sorcha_register::{
    canonical::Document,
    clock::Timestamp,
    entry::SealedEntry,
    names::{BlueprintId, Version},
    view::RegisterView,
};
use sorcha_store::{
    Draft, Store, StoreError,
    journal::{JournalStore, Options, REGISTER_FILE},
};

use crate::documents::{self, Documents};

/// Instant of all publications: fixed, so that registers are alike from run to run.
const PUBLISHED_AT: Timestamp = Timestamp::from_millis(1_767_225_600_000);
/// How long a store may take to let go of its file.
const PATIENCE: Duration = Duration::from_secs(10);
const TRANSACTION: &str = "019b76da-a800-7000-8000-000000000000";

/// Makes a register of so many documents in a central node's data directory.
pub(crate) async fn make(data: &Path, count: usize) -> Result<()> {
    std::fs::create_dir_all(data)?;
    let key = keys::load_or_create(data)?;
    let (genesis, seed) = bootstrap::new_register("n0.sorcha.dev", &key, PUBLISHED_AT)?;
    let documents = Documents::new();
    let mut entries = vec![seed];
    for index in 0..count {
        entries.push(entry(&documents, index)?);
    }
    open(data).await?.replace(Some(genesis), entries, None).await?;
    Ok(())
}

/// Publishes so many documents of one size in a central node's data directory, one by one: only one is in memory at once.
pub(crate) async fn grow(data: &Path, count: usize, bytes: usize) -> Result<()> {
    make(data, 0).await?;
    let (store, documents) = (open(data).await?, Documents::new());
    for index in 0..count {
        let document = Document::from_received(documents.sized(index, bytes).into());
        store.publish(draft(index, document)?).await?;
    }
    Ok(())
}

/// Opens the store in a data directory; one that has just been dropped lets go of its file a moment later.
pub(crate) async fn open(data: &Path) -> Result<JournalStore> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match JournalStore::open(data.join(REGISTER_FILE), Options::default()).await {
            Err(StoreError::Unavailable(_)) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            opened => return Ok(opened?),
        }
    }
}

/// The register in a data directory.
pub(crate) async fn load(data: &Path) -> Result<RegisterView> {
    let loaded = open(data).await?.load().await?;
    anyhow::ensure!(loaded.findings.is_empty(), "the register is damaged: {:?}", loaded.findings);
    Ok(loaded.view)
}

/// The entry of a document; the first comes after the seed.
fn entry(documents: &Documents, index: usize) -> Result<Arc<SealedEntry>> {
    let version = i64::try_from(index)? + Version::FIRST.plus(1).get();
    let document = Document::canonicalize(documents.document(index).as_bytes()).context("a document")?;
    Ok(draft(index, document)?.at(Version::new("version", version)?).seal())
}

fn draft(index: usize, document: Document) -> Result<Draft> {
    Ok(Draft {
        blueprint_id: BlueprintId::new(documents::id(index))?,
        document,
        published_at: PUBLISHED_AT,
        published_by: "bench".to_owned(),
        transaction_id: TRANSACTION.to_owned(),
        metadata: BTreeMap::new(),
        trace_parent: String::new(),
    })
}
