//! What a pull has brought so far: no more than a replica may take.

use std::{ops::Deref, sync::Arc};

use sorcha_register::{
    entry::SealedEntry,
    names::Version,
    succession::{self, Contradiction},
};

/// Entries in the order in which they came, and the memory that they take.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    entries: Vec<Arc<SealedEntry>>,
    memory: u64,
}

impl Gathered {
    /// Adds an entry, unless all of them would take more than `most` bytes.
    ///
    /// # Errors
    /// [`Contradiction::TooLarge`]; the entry is not added then.
    pub(super) fn add(&mut self, sealed: Arc<SealedEntry>, most: u64) -> Result<(), Contradiction> {
        let memory = sealed.memory_with_document();
        self.add_taking(sealed, memory, most)
    }

    /// As [`Gathered::add`], for an entry whose document is stored while more arrive.
    ///
    /// # Errors
    /// As [`Gathered::add`].
    pub(super) fn add_stored(&mut self, sealed: Arc<SealedEntry>, most: u64) -> Result<(), Contradiction> {
        let memory = sealed.memory();
        self.add_taking(sealed, memory, most)
    }

    fn add_taking(&mut self, sealed: Arc<SealedEntry>, memory: u64, most: u64) -> Result<(), Contradiction> {
        let memory = self.memory.saturating_add(memory);
        succession::check_memory(memory, most)?;
        self.entries.push(sealed);
        self.memory = memory;
        Ok(())
    }

    /// Version of the last one.
    pub(super) fn last(&self) -> Option<Version> {
        self.entries.last().map(|last| last.entry().version)
    }

    pub(super) fn into_entries(self) -> Vec<Arc<SealedEntry>> {
        self.entries
    }
}

impl Deref for Gathered {
    type Target = [Arc<SealedEntry>];

    fn deref(&self) -> &Self::Target {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sorcha_register::testing::entry;

    #[test]
    fn no_more_is_gathered_than_may_be_held() {
        let one = entry("a", 1).seal();
        let most = 2 * one.memory_with_document();
        let mut gathered = Gathered::default();
        for number in 1..=2 {
            gathered.add(entry("a", number).seal(), most).expect("it fits");
        }
        let refused = gathered.add(entry("a", 3).seal(), most).expect_err("it does not fit");
        assert_eq!(refused.label(), "too_large");
        assert!(refused.to_string().contains("sync.max_memory"), "{refused}");
        assert_eq!((gathered.len(), gathered.last()), (2, Some(entry("a", 2).version)));
    }
}
