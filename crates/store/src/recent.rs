//! The newest entries, kept in memory up to a number of bytes: those that are about to be pushed.

use std::{collections::VecDeque, sync::Arc};

use sorcha_register::entry::SealedEntry;

/// Stored entries whose bytes are in memory, oldest first.
#[derive(Debug)]
pub(crate) struct RecentEntries {
    entries: VecDeque<Arc<SealedEntry>>,
    bytes: u64,
    most: u64,
}

impl RecentEntries {
    pub(crate) const fn new(most: u64) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, most }
    }

    /// Forgets which entries it has. They stay in memory.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// Takes stored entries. The oldest ones are evicted from memory.
    pub(crate) fn extend(&mut self, entries: impl IntoIterator<Item = Arc<SealedEntry>>) {
        for sealed in entries {
            if sealed.is_recent() {
                self.bytes += sealed.length() as u64;
                self.entries.push_back(sealed);
            }
            while self.bytes > self.most
                && let Some(oldest) = self.entries.pop_front()
            {
                self.bytes -= oldest.length() as u64;
                oldest.evict();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sorcha_register::testing::entry;

    use super::*;
    use crate::reader::FileReader;

    #[test]
    fn the_newest_entries_stay_in_memory_up_to_the_limit() {
        let file = Arc::new(FileReader(tempfile::tempfile().unwrap()));
        let entries: Vec<_> = (1..=10).map(|number| entry("a", number).seal()).collect();
        let room = entries.iter().rev().take(3).map(|sealed| sealed.length() as u64).sum();
        let mut recent = RecentEntries::new(room);
        for sealed in &entries {
            sealed.stored_at(Arc::clone(&file) as _, 0);
            recent.extend([Arc::clone(sealed)]);
        }
        let in_memory: Vec<_> = entries.iter().map(|sealed| sealed.is_recent()).collect();
        assert_eq!(in_memory, [vec![false; 7], vec![true; 3]].concat());
        RecentEntries::new(0).extend(entries.iter().cloned());
        assert!(!entries.iter().any(|sealed| sealed.is_recent()));
    }
}
