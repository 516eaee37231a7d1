//! The tables of an embedded store and what a sound file satisfies.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::{super::disk::io_error, Loaded};
use crate::{
    register::{
        integrity::{self, Examination, Fault, Finding, Record},
        lineage::Genesis,
        names::{BlueprintId, Leaf, RegisterDigest, Version},
        view::{RegisterView, Seal},
    },
    store::{Checkpoint, StoreError},
};

/// version -> leaf digest (32 bytes), then the encoded entry.
pub(super) const ENTRIES: TableDefinition<i64, &[u8]> = TableDefinition::new("entries");
/// blueprint id -> version.
pub(super) const IDS: TableDefinition<&str, i64> = TableDefinition::new("ids");
/// genesis, seal, checkpoint.
pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

pub(super) const GENESIS: &str = "genesis";
pub(super) const SEAL: &str = "seal";
pub(super) const CHECKPOINT: &str = "checkpoint";

const LEAF_BYTES: usize = 32;

/// Maps any redb error: a full disk is told from the rest.
pub(super) fn failed(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Io(io) => io_error(&io),
        redb::Error::Corrupted(why) => StoreError::Damaged(why),
        other => StoreError::Internal(other.to_string()),
    }
}

/// Reads and verifies a whole file.
pub(super) fn load(db: &Database) -> Result<Loaded, StoreError> {
    let read = db.begin_read().map_err(failed)?;
    let mut records = Vec::new();
    let mut findings = Vec::new();
    match read.open_table(ENTRIES) {
        Ok(table) => {
            for row in table.iter().map_err(failed)? {
                let (version, value) = row.map_err(failed)?;
                match record(version.value(), value.value()) {
                    Ok(record) => records.push(record),
                    Err(finding) => findings.push(finding),
                }
            }
        }
        Err(TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(failed(error)),
    }
    let index = read_index(&read, &mut findings)?;
    let meta = Meta::read(&read, &mut findings)?;

    let Examination { entries, findings: found } = integrity::examine(&records);
    findings.extend(found);
    let mut examination = Examination { entries, findings };
    integrity::check_index(&mut examination, &index);
    let Examination { entries, mut findings } = examination;

    let genesis = meta.genesis(&mut findings).map(Arc::new);
    let checkpoint = meta.checkpoint(&mut findings);
    let seal = meta.seal();
    let head = checkpoint.as_ref().map_or(Version::ZERO, |checkpoint| checkpoint.version);
    let view = RegisterView::with_entries(genesis, entries, head);
    if findings.is_empty() {
        findings.extend(integrity::check_seal(&view, seal));
    }
    Ok(Loaded { view, checkpoint, findings })
}

fn record(version: i64, value: &[u8]) -> Result<Record, Finding> {
    let version = Version::new("version", version)
        .map_err(|error| Finding::whole(Fault::Damaged(format!("the key of an entry: {error}"))))?;
    let (leaf, encoded) = value
        .split_at_checked(LEAF_BYTES)
        .ok_or_else(|| Finding::at(version, None, Fault::Damaged("the record is too short".to_owned())))?;
    Ok(Record { version, encoded: Bytes::copy_from_slice(encoded), leaf: Leaf::from_slice(leaf) })
}

fn read_index(
    read: &redb::ReadTransaction,
    findings: &mut Vec<Finding>,
) -> Result<BTreeMap<BlueprintId, Version>, StoreError> {
    let mut index = BTreeMap::new();
    let table = match read.open_table(IDS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(index),
        Err(error) => return Err(failed(error)),
    };
    for row in table.iter().map_err(failed)? {
        let (id, version) = row.map_err(failed)?;
        match (BlueprintId::new(id.value()), Version::new("version", version.value())) {
            (Ok(id), Ok(version)) => _ = index.insert(id, version),
            (Err(error), _) | (_, Err(error)) => {
                findings.push(Finding::whole(Fault::Damaged(format!("an index entry: {error}"))));
            }
        }
    }
    Ok(index)
}

#[derive(Default)]
struct Meta(BTreeMap<String, Bytes>);

impl Meta {
    /// A record of a name that is not known had another one: nobody else writes here.
    fn read(read: &redb::ReadTransaction, findings: &mut Vec<Finding>) -> Result<Self, StoreError> {
        let table = match read.open_table(META) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(Self::default()),
            Err(error) => return Err(failed(error)),
        };
        let mut rows = BTreeMap::new();
        for row in table.iter().map_err(failed)? {
            let (key, value) = row.map_err(failed)?;
            let key = key.value();
            if ![GENESIS, SEAL, CHECKPOINT].contains(&key) {
                findings
                    .push(Finding::whole(Fault::Damaged(format!("a record of the unknown name {key:?}"))));
            }
            rows.insert(key.to_owned(), Bytes::copy_from_slice(value.value()));
        }
        Ok(Self(rows))
    }

    fn genesis(&self, findings: &mut Vec<Finding>) -> Option<Genesis> {
        match Genesis::verify(self.0.get(GENESIS)?.clone()) {
            Ok(genesis) => Some(genesis),
            Err(error) => {
                findings.push(Finding::whole(Fault::Genesis(error.to_string())));
                None
            }
        }
    }

    /// A checkpoint that is not readable is a finding; the replica then syncs from nothing.
    fn checkpoint(&self, findings: &mut Vec<Finding>) -> Option<Checkpoint> {
        match decode_checkpoint(self.0.get(CHECKPOINT)?) {
            Some(checkpoint) => Some(checkpoint),
            None => {
                findings.push(Finding::whole(Fault::Damaged("the sync checkpoint".to_owned())));
                None
            }
        }
    }

    fn seal(&self) -> Option<Seal> {
        let bytes = self.0.get(SEAL)?;
        let (head, rest) = bytes.split_first_chunk::<8>()?;
        let (count, held) = rest.split_first_chunk::<8>()?;
        Some(Seal {
            head: Version::new("head", i64::from_be_bytes(*head)).ok()?,
            count: u64::from_be_bytes(*count),
            held: RegisterDigest::from_slice(held)?,
        })
    }
}

/// The checkpoint's JSON followed by its SHA-256, so that no flipped bit goes unnoticed.
pub(super) fn encode_checkpoint(checkpoint: &Checkpoint) -> Result<Vec<u8>, StoreError> {
    use sha2::Digest as _;
    let mut bytes =
        serde_json::to_vec(checkpoint).map_err(|error| StoreError::Internal(error.to_string()))?;
    let digest = sha2::Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    Ok(bytes)
}

fn decode_checkpoint(bytes: &[u8]) -> Option<Checkpoint> {
    use sha2::Digest as _;
    let (json, digest) = bytes.split_last_chunk::<32>()?;
    (sha2::Sha256::digest(json).as_slice() == digest).then(|| serde_json::from_slice(json).ok()).flatten()
}
