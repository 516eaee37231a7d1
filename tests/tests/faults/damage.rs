//! Changing the bytes of a stopped node's files.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result};
use rand::{RngExt as _, rngs::SmallRng};

/// Files that a register lies in, of a central node and of a peer.
const REGISTERS: [&str; 2] = ["register.journal", "replica.journal"];
/// What a disk may lose as one, and where the file says what it is and how far it is durable.
const PAGE: usize = 4096;
const HEADER: usize = 320;

/// All files of a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files(BTreeMap<String, Vec<u8>>);

/// One change of one file.
#[derive(Clone, Debug)]
pub(crate) struct Damage {
    pub(crate) file: String,
    change: Change,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    /// One bit of the byte at this place is flipped.
    Bit { at: usize, bit: u8 },
    /// The page at this place is zeroes.
    Zeroes { at: usize },
    /// The file ends here.
    Cut { at: usize },
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} with {:?}", self.file, self.change)
    }
}

impl Files {
    pub(crate) fn read(directory: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            files.insert(entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path())?);
        }
        Ok(Self(files))
    }

    /// Makes a directory hold these files, and nothing else.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        std::fs::remove_dir_all(directory)?;
        std::fs::create_dir(directory)?;
        for (name, bytes) in &self.0 {
            std::fs::write(directory.join(name), bytes)?;
        }
        Ok(())
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// The same files with one of them changed.
    pub(crate) fn damaged(&self, damage: &Damage) -> Result<Self> {
        let mut files = self.clone();
        let bytes = files.0.get_mut(&damage.file).context("a file")?;
        match damage.change {
            Change::Bit { at, bit } => bytes[at] ^= 1 << bit,
            Change::Zeroes { at } => {
                let end = bytes.len().min(at + PAGE);
                bytes[at..end].fill(0);
            }
            Change::Cut { at } => bytes.truncate(at),
        }
        Ok(files)
    }

    /// Some damage: mostly to the register, and there mostly to what says where things lie.
    pub(crate) fn some_damage(&self, random: &mut SmallRng) -> Damage {
        let (register, others): (Vec<_>, Vec<_>) =
            self.0.keys().partition(|name| REGISTERS.contains(&name.as_str()));
        let files = if random.random_bool(0.3) && !others.is_empty() { others } else { register };
        let file = files[random.random_range(0..files.len())].clone();
        let length = self.0.get(&file).map_or(1, Vec::len).max(1);
        let page = random.random_range(0..length.div_ceil(PAGE)) * PAGE;
        let at = match random.random_range(0..100) {
            0..5 => return Damage { file, change: Change::Cut { at: random.random_range(0..length) } },
            5..10 => return Damage { file, change: Change::Zeroes { at: page } },
            10..35 => random.random_range(0..length.min(HEADER)),
            // What was acknowledged last.
            35..60 => length - 1 - random.random_range(0..length.min(PAGE)),
            _ => random.random_range(0..length),
        };
        Damage { file, change: Change::Bit { at: at.min(length - 1), bit: random.random_range(0..8) } }
    }
}
