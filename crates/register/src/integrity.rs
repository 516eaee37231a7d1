//! Integrity checks of a stored register, and their findings (ADR 27).
//!
//! Stores pass their content as [`Record`]s; the checks separate good entries from findings. Every finding names the fault and
//! its place, so that a peer fetches only that again.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use serde::Serialize;

use super::{
    entry::SealedEntry,
    names::{BlueprintId, Leaf, Version},
    view::{RegisterView, Seal},
};

/// Most missing versions that are named one by one.
const NAMED_GAPS: i64 = 1000;

/// One entry as stored.
#[derive(Clone, Debug)]
pub struct Record {
    /// The key it is stored under.
    pub version: Version,
    /// Its encoded `SystemRegisterEntry`.
    pub encoded: Bytes,
    /// The leaf digest stored beside it.
    pub leaf: Option<Leaf>,
}

/// A fault in a stored register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Version, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Blueprint, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blueprint_id: Option<BlueprintId>,
    /// The fault.
    pub fault: Fault,
}

/// The first findings and their number.
#[must_use]
pub fn summary(findings: &[Finding]) -> String {
    let shown: Vec<String> = findings.iter().take(3).map(ToString::to_string).collect();
    format!("{} integrity findings: {}", findings.len(), shown.join("; "))
}

/// Kinds of findings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// The stored bytes are not a valid entry.
    Damaged(String),
    /// The entry is valid but not the one that was stored: a field was changed.
    Altered,
    /// The entry states another version than its key, or is stored in the place of another one.
    Misplaced(String),
    /// An entry is missing.
    Missing,
    /// The summary of the register differs from its entries.
    Seal(String),
    /// The genesis record is missing or does not verify.
    Genesis(String),
    /// The store itself is not readable.
    Store(String),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(version) = self.version {
            write!(f, "version {version}")?;
        }
        if let Some(id) = &self.blueprint_id {
            write!(f, "{}blueprint {id}", if self.version.is_some() { ", " } else { "" })?;
        }
        if self.version.is_some() || self.blueprint_id.is_some() {
            f.write_str(": ")?;
        }
        match &self.fault {
            Fault::Damaged(why) => write!(f, "damaged: {why}"),
            Fault::Altered => f.write_str("altered: a field differs from what was stored"),
            Fault::Misplaced(why) => write!(f, "misplaced: {why}"),
            Fault::Missing => f.write_str("missing"),
            Fault::Seal(why) => write!(f, "seal: {why}"),
            Fault::Genesis(why) => write!(f, "genesis: {why}"),
            Fault::Store(why) => write!(f, "store: {why}"),
        }
    }
}

impl Finding {
    /// A finding about the register as a whole.
    #[must_use]
    pub const fn whole(fault: Fault) -> Self {
        Self { version: None, blueprint_id: None, fault }
    }

    /// A finding about one version.
    #[must_use]
    pub const fn at(version: Version, blueprint_id: Option<BlueprintId>, fault: Fault) -> Self {
        Self { version: Some(version), blueprint_id, fault }
    }
}

/// Good entries and findings, in the order of the records.
#[derive(Debug, Default)]
pub struct Examination {
    /// Entries that verify, ascending by version.
    pub entries: Vec<Arc<SealedEntry>>,
    /// Those of entries that do not.
    pub findings: Vec<Finding>,
}

impl Examination {
    /// Separates what [`check`] found, in the order of the records.
    #[must_use]
    pub fn of(checked: impl IntoIterator<Item = Result<Arc<SealedEntry>, Finding>>) -> Self {
        let mut examination = Self::default();
        for result in checked {
            match result {
                Ok(entry) => examination.entries.push(entry),
                Err(finding) => examination.findings.push(finding),
            }
        }
        examination
    }
}

/// Decodes and checks one record.
///
/// # Errors
/// The [`Finding`].
pub fn check(record: &Record) -> Result<Arc<SealedEntry>, Finding> {
    let sealed = SealedEntry::decode(record.encoded.clone())
        .map_err(|error| Finding::at(record.version, None, Fault::Damaged(error.to_string())))?;
    let id = Some(sealed.entry().blueprint_id.clone());
    let stated = sealed.entry().version;
    if stated != record.version {
        return Err(Finding::at(
            record.version,
            id,
            Fault::Misplaced(format!("the entry states version {stated}")),
        ));
    }
    // Bytes that decode to the same entry but are not its encoding were changed too.
    if sealed.encoded().held() != Some(&record.encoded) {
        return Err(Finding::at(record.version, id, Fault::Altered));
    }
    match record.leaf {
        Some(leaf) if leaf == sealed.leaf() => Ok(sealed),
        Some(_) => Err(Finding::at(record.version, id, Fault::Altered)),
        None => Err(Finding::at(record.version, id, Fault::Damaged("its leaf digest is missing".to_owned()))),
    }
}

/// Compares the view of the good entries with the stored seal; meaningful only without other findings.
#[must_use]
pub fn check_seal(view: &RegisterView, stored: Option<Seal>) -> Option<Finding> {
    let actual = view.seal();
    let difference = match stored {
        None if view.is_empty() => return None,
        None => "it is missing".to_owned(),
        Some(stored) if stored == actual => return None,
        Some(stored) if stored.head != actual.head => {
            format!("it states head {}, the entries end at {}", stored.head, actual.head)
        }
        Some(stored) if stored.count != actual.count => {
            format!("it states {} entries, {} are held", stored.count, actual.count)
        }
        Some(_) => "the digest of the entries differs".to_owned(),
    };
    Some(Finding::whole(Fault::Seal(difference)))
}

/// Checks that all versions after `after`, up to `head`, are accounted for: each is an entry's, or is listed as superseded.
///
/// For stores without a seal that several writers share. `superseded` holds the versions that entries had before.
/// Missing versions are named one by one as long as they are few.
#[must_use]
pub fn check_dense(after: Version, head: Version, held: &[Version], superseded: &[Version]) -> Vec<Finding> {
    let mut seen: Vec<Version> = held.iter().chain(superseded).copied().collect();
    seen.sort_unstable();
    let mut findings: Vec<Finding> = seen
        .windows(2)
        .filter(|pair| pair[0] == pair[1])
        .map(|pair| Finding::at(pair[0], None, Fault::Misplaced("two entries claim this version".to_owned())))
        .collect();
    seen.dedup();
    seen.retain(|version| *version > after);
    let accounted = seen.iter().filter(|version| **version <= head).count();
    let missing = (head.get() - after.get()).max(0) - i64::try_from(accounted).unwrap_or(i64::MAX);
    if missing > NAMED_GAPS {
        let why = format!(
            "{missing} of the versions after {after} up to {head} are missing, or the head record is wrong"
        );
        findings.push(Finding::whole(Fault::Store(why)));
        return findings;
    }
    let mut expected = after.next();
    for version in seen.into_iter().map(Some).chain([head.next()]) {
        while let Some(gap) =
            expected.filter(|gap| *gap <= head && version.is_none_or(|version| *gap < version))
        {
            findings.push(Finding::at(gap, None, Fault::Missing));
            expected = gap.next();
        }
        expected = version.and_then(Version::next);
    }
    findings
}

#[cfg(test)]
mod tests;
