//! Writing the tables of an embedded store.

use std::{cell::Cell, sync::Arc};

use redb::{Database, Durability, WriteTransaction};

use super::{
    Loaded,
    tables::{CHECKPOINT, ENTRIES, GENESIS, IDS, META, SEAL, encode_checkpoint, failed},
};
use crate::{
    register::{
        entry::SealedEntry,
        lineage::Genesis,
        names::Version,
        view::{RegisterView, Seal},
    },
    store::{Checkpoint, StoreError},
};

/// The tables inside a write transaction.
pub(super) struct Writer<'txn> {
    txn: &'txn WriteTransaction,
    writes: Cell<usize>,
}

impl<'txn> Writer<'txn> {
    pub(super) const fn new(txn: &'txn WriteTransaction) -> Self {
        Self { txn, writes: Cell::new(0) }
    }

    /// How often something was written.
    pub(super) fn writes(&self) -> usize {
        self.writes.get()
    }

    fn writing(&self) {
        self.writes.set(self.writes.get() + 1);
    }

    /// Stores entries; `superseded` are the versions whose records they replace.
    pub(super) fn put(&self, entries: &[Arc<SealedEntry>], superseded: &[Version]) -> Result<(), StoreError> {
        if entries.is_empty() && superseded.is_empty() {
            return Ok(());
        }
        self.writing();
        let mut by_version = self.txn.open_table(ENTRIES).map_err(failed)?;
        let mut by_id = self.txn.open_table(IDS).map_err(failed)?;
        for version in superseded {
            by_version.remove(version.get()).map_err(failed)?;
        }
        let mut record = Vec::new();
        for sealed in entries {
            record.clear();
            record.extend_from_slice(sealed.leaf().as_bytes());
            record.extend_from_slice(sealed.encoded());
            let entry = sealed.entry();
            by_version.insert(entry.version.get(), record.as_slice()).map_err(failed)?;
            by_id.insert(entry.blueprint_id.as_str(), entry.version.get()).map_err(failed)?;
        }
        Ok(())
    }

    /// Removes everything.
    pub(super) fn clear(&self) -> Result<(), StoreError> {
        self.writing();
        self.txn.delete_table(ENTRIES).map_err(failed)?;
        self.txn.delete_table(IDS).map_err(failed)?;
        self.txn.delete_table(META).map_err(failed)?;
        Ok(())
    }

    pub(super) fn genesis(&self, genesis: &Genesis) -> Result<(), StoreError> {
        self.meta(GENESIS, genesis.bytes())
    }

    pub(super) fn checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        self.meta(CHECKPOINT, &encode_checkpoint(checkpoint)?)
    }

    pub(super) fn seal(&self, seal: Seal) -> Result<(), StoreError> {
        let mut bytes = Vec::with_capacity(48);
        bytes.extend_from_slice(&seal.head.get().to_be_bytes());
        bytes.extend_from_slice(&seal.count.to_be_bytes());
        bytes.extend_from_slice(seal.held.as_bytes());
        self.meta(SEAL, &bytes)
    }

    /// Takes back what the register does not hold: ids, versions, a genesis, a checkpoint.
    fn remove(&self, entries: &[&SealedEntry], records: &[&str]) -> Result<(), StoreError> {
        self.writing();
        let mut by_version = self.txn.open_table(ENTRIES).map_err(failed)?;
        let mut by_id = self.txn.open_table(IDS).map_err(failed)?;
        for sealed in entries {
            by_version.remove(sealed.entry().version.get()).map_err(failed)?;
            by_id.remove(sealed.entry().blueprint_id.as_str()).map_err(failed)?;
        }
        let mut meta = self.txn.open_table(META).map_err(failed)?;
        for record in records {
            meta.remove(*record).map_err(failed)?;
        }
        Ok(())
    }

    fn meta(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.writing();
        self.txn.open_table(META).map_err(failed)?.insert(key, value).map_err(failed)?;
        Ok(())
    }
}

/// Makes a file that was opened again hold `state`, which is what was acknowledged: it lacks what was not durable, and it
/// may have what failed at the last moment.
pub(super) fn restore(db: &Database, found: &Loaded, state: &Loaded) -> Result<(), StoreError> {
    if !state.findings.is_empty() {
        // A damaged replica is replaced as a whole soon.
        return Ok(());
    }
    if let Some(finding) = found.findings.first() {
        return Err(StoreError::Damaged(finding.to_string()));
    }
    let same_genesis = found.view.genesis() == state.view.genesis();
    if found.view.seal() == state.view.seal() && same_genesis && found.checkpoint == state.checkpoint {
        return Ok(());
    }
    let differs = |view: &RegisterView, sealed: &SealedEntry| {
        view.get(&sealed.entry().blueprint_id).is_none_or(|other| other.leaf() != sealed.leaf())
    };
    let extra: Vec<_> = found.view.iter().map(|e| &**e).filter(|e| differs(&state.view, e)).collect();
    let lost: Vec<_> = state.view.iter().filter(|e| differs(&found.view, e)).cloned().collect();
    tracing::info!(
        put_back = lost.len(),
        taken_back = extra.len(),
        "the file differs from what was acknowledged"
    );
    let mut txn = db.begin_write().map_err(failed)?;
    let writer = Writer::new(&txn);
    writer.remove(&extra, &[GENESIS, CHECKPOINT])?;
    writer.put(&lost, &[])?;
    state.view.genesis().map_or(Ok(()), |genesis| writer.genesis(genesis))?;
    state.checkpoint.as_ref().map_or(Ok(()), |checkpoint| writer.checkpoint(checkpoint))?;
    writer.seal(state.view.seal())?;
    txn.set_durability(Durability::Immediate).map_err(failed)?;
    txn.commit().map_err(failed)
}
