//! What a register last durably was, in a small file beside it.
//!
//! The database falls back to the commit before the last one when the last one does not verify: after a crash that is a
//! torn write, and right, but it is wrong when a byte of an acknowledged commit has changed since. Both look alike from
//! inside the file. The witness tells them apart: it is written after the fsync, so it never claims what was not stored.
//! It is not fsynced itself (it survives a kill; a power cut may leave an older one, which claims less), and without it
//! nothing is claimed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Loaded;
use crate::register::{
    integrity::{Fault, Finding},
    names::{Lineage, RegisterDigest, Version},
    view::RegisterView,
};

/// What the file is called: this, for `register.redb`.
const EXTENSION: &str = "head";
/// Every witness has this size, so that one is written in one go over another.
const FILE_BYTES: usize = 320;

/// The file.
#[derive(Clone, Debug)]
pub(super) struct Witness(PathBuf);

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    head: Version,
    held: RegisterDigest,
    lineage: Option<Lineage>,
}

impl Statement {
    fn of(view: &RegisterView) -> Self {
        let seal = view.seal();
        Self { head: seal.head, held: seal.held, lineage: view.lineage() }
    }
}

impl Witness {
    /// The witness of a register's file.
    pub(super) fn beside(register: &Path) -> Self {
        Self(register.with_extension(EXTENSION))
    }

    /// What is wrong with a register that was opened, by what it was before. One that holds more is no contradiction.
    pub(super) fn contradicts(&self, loaded: &Loaded) -> Option<Finding> {
        let stated = match read(&self.0) {
            Ok(stated) => stated?,
            Err(error) => {
                tracing::warn!(file = %self.0.display(), %error, "the witness of the register is not readable; the next commit writes it anew");
                return None;
            }
        };
        let found = Statement::of(&loaded.view);
        let name = self.0.file_name().unwrap_or_default().to_string_lossy();
        let what = if found.head < stated.head {
            format!("{name} says that version {} was stored, the entries end at {}", stated.head, found.head)
        } else if stated.lineage.is_some() && stated.lineage != found.lineage {
            format!("{name} says that the register had another genesis")
        } else if found.head == stated.head && found.held != stated.held {
            format!("{name} says that other entries were stored up to version {}", stated.head)
        } else {
            return None;
        };
        let why = format!("{what}: the newest commit is damaged, or an older copy of the file was put back");
        Some(Finding::whole(Fault::Seal(why)))
    }

    /// States what was committed.
    pub(super) fn note(&self, view: &RegisterView) {
        if let Err(error) = write(&self.0, &Statement::of(view)) {
            tracing::debug!(file = %self.0.display(), %error, "witness not written");
            // One that states less is no contradiction; one that is half written is not readable.
        }
    }

    /// Takes everything back, before a register is put in the place of another.
    pub(super) fn forget(&self) {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(file = %self.0.display(), %error, "can't remove the witness of the former register");
            }
            _ => {}
        }
    }
}

/// The statement and its SHA-256 in a line each, filled up with spaces.
fn write(path: &Path, statement: &Statement) -> io::Result<()> {
    use std::os::unix::fs::FileExt as _;
    let text = serde_json::to_string(statement)?;
    let digest = hex::encode(Sha256::digest(&text));
    let line = format!("{text}\n{digest}");
    let bytes = format!("{line:<width$}\n", width = FILE_BYTES - 1);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    file.write_all_at(bytes.as_bytes(), 0)
}

/// The statement; none when there is no file.
fn read(path: &Path) -> Result<Option<Statement>, String> {
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(FILE_BYTES as u64 + 1).read_to_string(&mut text)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
        Ok(_) => {}
    }
    let line =
        text.strip_suffix('\n').filter(|_| text.len() == FILE_BYTES).map(|line| line.trim_end_matches(' '));
    let (statement, digest) = line.and_then(|line| line.split_once('\n')).ok_or("it is not whole")?;
    if hex::encode(Sha256::digest(statement)) != digest {
        return Err("its SHA-256 does not fit".to_owned());
    }
    serde_json::from_str(statement).map(Some).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::{entry::tests::entry, lineage::tests::genesis};
    use std::sync::Arc;

    fn loaded(heads: i64, seed: u8) -> Loaded {
        let entries = (1..=heads).map(|v| entry(&format!("b{v}"), v).seal()).collect();
        let view = RegisterView::with_entries(Some(Arc::new(genesis(seed))), entries, Version::ZERO);
        Loaded { view, checkpoint: None, findings: Vec::new() }
    }

    fn witness() -> (tempfile::TempDir, Witness) {
        let directory = tempfile::tempdir().unwrap();
        let witness = Witness::beside(&directory.path().join("register.redb"));
        (directory, witness)
    }

    #[test]
    fn what_was_stored_before_is_not_forgotten() {
        let (_directory, witness) = witness();
        assert_eq!(witness.contradicts(&loaded(3, 1)), None, "nothing is claimed");
        for heads in [3, 5, 4] {
            witness.note(&loaded(heads, 1).view);
        }
        assert_eq!(witness.contradicts(&loaded(4, 1)), None);
        assert_eq!(witness.contradicts(&loaded(5, 1)), None, "more is no contradiction");
        let less = witness.contradicts(&loaded(3, 1)).unwrap().to_string();
        assert!(
            less.contains("register.head says that version 4 was stored, the entries end at 3"),
            "{less}"
        );
        let other = witness.contradicts(&loaded(4, 2)).unwrap().to_string();
        assert!(other.contains("another genesis"), "{other}");
        let mut changed = loaded(3, 1);
        changed.view.apply(vec![entry("other", 4).seal()], Version::ZERO);
        let changed = witness.contradicts(&changed).unwrap().to_string();
        assert!(changed.contains("other entries were stored up to version 4"), "{changed}");
        witness.forget();
        assert_eq!(witness.contradicts(&loaded(0, 1)), None);
    }

    #[test]
    fn no_flipped_bit_of_the_witness_is_believed() {
        let (_directory, witness) = witness();
        witness.note(&loaded(4, 1).view);
        let good = fs::read(&witness.0).unwrap();
        assert_eq!(good.len(), FILE_BYTES);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(&witness.0, &bad).unwrap();
            assert!(read(&witness.0).is_err(), "bit {bit}");
            assert_eq!(witness.contradicts(&loaded(3, 1)), None, "bit {bit}");
        }
        for bad in [&good[..100], &[&good[..], b" "].concat(), b""] {
            fs::write(&witness.0, bad).unwrap();
            assert!(read(&witness.0).is_err());
        }
    }
}
