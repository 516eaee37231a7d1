//! Reading and verifying a whole register at start-up (ADR 27).

use std::{collections::BTreeMap, sync::Arc};

use mongodb::bson::{RawDocumentBuf, doc};
use sorcha_register::{
    integrity::{self, Fault, Finding},
    lineage::Genesis,
    names::Version,
    view::RegisterView,
};

use super::{
    Known, MongoStore, Outcome, blocking,
    contents::Contents,
    entry_codec::stated_version,
    errors::Failure,
    meta::{
        APPLYING, CHECKPOINT, GENESIS, HEAD, Position, REPLACING, RESTORED, Restored, decode_genesis,
        decode_position, decode_replacement, decode_restored, encode_genesis,
    },
};
use crate::{Loaded, StoreError};

impl MongoStore {
    /// Reads everything. A replacement that a crash interrupted is finished first.
    pub(super) async fn load_into(&self, replica: &mut Option<RegisterView>) -> Outcome<Loaded> {
        let mut meta = self.db.read_meta().await?;
        if let Some(Ok(unfinished)) = meta.get(REPLACING).map(|raw| decode_replacement(raw)) {
            tracing::info!(head = %unfinished.head, "finishing a replacement of the register that was cut off");
            self.finish_replacement(&unfinished).await?;
            meta = self.db.read_meta().await?;
        }
        // After the head record: entries that are published meanwhile only add to what it asks for.
        let read = self.db.read(doc! {}, usize::MAX).await?;
        let mut contents = blocking(move || Contents::new(read)).await;
        let restored = meta.get(RESTORED).and_then(|raw| decode_restored(raw));
        let floor = restored.map(|restored| restored.version).unwrap_or_default();
        if !meta.contains_key(CHECKPOINT) {
            self.db.complete(&mut contents, floor, usize::MAX).await?;
            // One that has moved meanwhile is found at its new place.
            if restored.is_some_and(|restored| contents.lacks_of(restored) > 0) {
                contents.add(self.db.read(doc! {}, usize::MAX).await?);
            }
            while self.move_strays(&contents).await? {
                let read = self.db.read(doc! {}, usize::MAX).await?;
                contents = blocking(move || Contents::new(read)).await;
            }
        }
        let loaded = blocking(move || assess(&meta, contents)).await;
        let is_replica = loaded.checkpoint.is_some();
        *replica = is_replica.then(|| loaded.view.clone());
        let newest = loaded.view.head();
        let damage = loaded.findings.first().map(ToString::to_string);
        if damage.is_none() && !is_replica && newest > Version::ZERO {
            self.published.send_replace(newest);
        }
        let genesis = loaded.view.genesis().cloned();
        self.known.send_replace(Known { genesis, newest, floor, is_replica, damage, is_unsettled: false });
        Ok(loaded)
    }

    /// Stores a genesis unless there is one; returns the one that is there.
    pub(super) async fn init_lineage(
        &self,
        genesis: &Genesis,
        replica: &mut Option<RegisterView>,
    ) -> Outcome<Genesis> {
        let stored = self.insert_genesis(genesis).await?;
        self.known.send_modify(|known| known.genesis = Some(Arc::new(stored.clone())));
        if let Some(view) = replica.take() {
            *replica = Some(view.with_genesis(Arc::new(stored.clone())));
        }
        Ok(stored)
    }

    async fn insert_genesis(&self, genesis: &Genesis) -> Outcome<Genesis> {
        let document = encode_genesis(genesis)?;
        let Err(failure) = self.db.bounded(self.db.meta.insert_one(document)).await else {
            return Ok(genesis.clone());
        };
        // Whether it was stored or not: the stored record counts.
        let Some(raw) = self.db.bounded(self.db.meta.find_one(doc! { "_id": GENESIS })).await? else {
            return Err(match failure {
                Failure::Duplicate | Failure::Retry(_) => Failure::Retry(StoreError::Unavailable(
                    "whether the genesis was stored is not known yet".to_owned(),
                )),
                other => other,
            });
        };
        decode_genesis(&raw).map_err(|why| Finding::whole(Fault::Genesis(why)).into())
    }
}

/// Builds register and findings from what was read.
fn assess(meta: &BTreeMap<String, RawDocumentBuf>, contents: Contents) -> Loaded {
    let mut findings = Vec::new();
    let genesis = genesis(meta, &mut findings);
    if meta.contains_key(REPLACING) {
        let why = "the record of an unfinished replacement of the register is not readable";
        findings.push(Finding::whole(Fault::Store(why.to_owned())));
    }
    findings.extend(contents.unsound.iter().map(|(finding, _)| finding.clone()));
    let position = meta.get(CHECKPOINT).map(|raw| decode_position(raw));
    match position {
        Some(Some(position)) => {
            let is_applying = recorded(meta, APPLYING) > position.checkpoint.version;
            assess_replica(genesis, contents, position, is_applying, findings)
        }
        Some(None) => {
            findings.push(Finding::whole(Fault::Damaged("the sync checkpoint".to_owned())));
            Loaded { view: contents.view(genesis, Version::ZERO), checkpoint: None, findings }
        }
        None => {
            if meta.get(HEAD).is_some_and(|raw| stated_version(raw).is_none()) {
                findings.push(Finding::whole(Fault::Damaged("the record of the head version".to_owned())));
            }
            let restored = restored(meta, &mut findings);
            let floor = restored.map(|restored| restored.version).unwrap_or_default();
            findings.extend(restored.and_then(|restored| contents.missing_of(restored)));
            findings.extend(contents.gaps(floor, recorded(meta, HEAD)));
            Loaded { view: contents.view(genesis, floor), checkpoint: None, findings }
        }
    }
}

fn genesis(meta: &BTreeMap<String, RawDocumentBuf>, findings: &mut Vec<Finding>) -> Option<Arc<Genesis>> {
    match decode_genesis(meta.get(GENESIS)?) {
        Ok(genesis) => Some(Arc::new(genesis)),
        Err(why) => {
            findings.push(Finding::whole(Fault::Genesis(why)));
            None
        }
    }
}

fn restored(meta: &BTreeMap<String, RawDocumentBuf>, findings: &mut Vec<Finding>) -> Option<Restored> {
    let restored = decode_restored(meta.get(RESTORED)?);
    if restored.is_none() {
        findings.push(Finding::whole(Fault::Damaged("the record of what was restored".to_owned())));
    }
    restored
}

fn recorded(meta: &BTreeMap<String, RawDocumentBuf>, id: &str) -> Version {
    meta.get(id).and_then(|raw| stated_version(raw)).unwrap_or_default()
}

/// A replica is not dense (a full sync carries active entries only); its seal shows whether it is complete.
fn assess_replica(
    genesis: Option<Arc<Genesis>>,
    mut contents: Contents,
    position: Position,
    is_applying: bool,
    mut findings: Vec<Finding>,
) -> Loaded {
    let Position { checkpoint, seal } = position;
    let held = contents.sound.len();
    contents.sound.retain(|stored| stored.sealed.entry().version <= checkpoint.version);
    if contents.sound.len() < held {
        let entries = held - contents.sound.len();
        tracing::info!(entries, position = %checkpoint.version, "entries of an unfinished batch are left out; the next sync brings them");
    }
    let view = contents.view(genesis, checkpoint.version);
    if is_applying {
        let why = "a batch that replaces entries was cut off; sync again";
        findings.push(Finding::whole(Fault::Store(why.to_owned())));
    }
    // The seal covers the genesis, but one that was stored after the seal does no harm.
    if findings.is_empty()
        && let Some(finding) = integrity::check_seal(&view, seal)
        && seal != Some(contents.view(None, checkpoint.version).seal())
    {
        findings.push(finding);
    }
    Loaded { view, checkpoint: Some(checkpoint), findings }
}

impl Contents {
    fn view(&self, genesis: Option<Arc<Genesis>>, head: Version) -> RegisterView {
        RegisterView::with_entries(
            genesis,
            self.sound.iter().map(|stored| Arc::clone(&stored.sealed)).collect(),
            head,
        )
    }

    /// Number of restored versions that are no longer accounted for.
    fn lacks_of(&self, restored: Restored) -> u64 {
        let accounted = self.accounted(Version::ZERO).into_iter();
        let found = accounted.take_while(|version| *version <= restored.version).count() as u64;
        restored.entries.saturating_sub(found)
    }

    fn missing_of(&self, restored: Restored) -> Option<Finding> {
        let (missing, version) = (self.lacks_of(restored), restored.version);
        let why = || {
            format!(
                "{missing} of the entries up to version {version} that were restored from a bundle are missing"
            )
        };
        (missing > 0).then(|| Finding::whole(Fault::Store(why())))
    }

    /// Versions that are not accounted for. Claims of damaged documents count where no other does, so that one damaged field is
    /// one finding.
    fn gaps(&self, floor: Version, recorded: Version) -> Vec<Finding> {
        let mut held: Vec<Version> = self.sound.iter().map(|stored| stored.sealed.entry().version).collect();
        let mut superseded: Vec<Version> =
            self.sound.iter().flat_map(|stored| stored.supersedes.clone()).collect();
        let head = held.last().copied().unwrap_or_default().max(recorded);
        let mut seen: std::collections::BTreeSet<Version> = held.iter().chain(&superseded).copied().collect();
        for (finding, versions) in &self.unsound {
            held.extend(finding.version.filter(|version| *version <= head && seen.insert(*version)));
            superseded.extend(versions.iter().filter(|version| **version <= head && seen.insert(**version)));
        }
        integrity::check_dense(floor, head, &held, &superseded)
    }
}
