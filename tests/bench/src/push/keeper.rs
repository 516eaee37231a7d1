//! What a subscriber at equal duty does with a publication before it acknowledges it: verify, append to a file, fsync
//! within a second. A peer's journal does the same (`sorcha_store::journal`).

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;

use crate::{bench::say, documents};

/// As `sorcha_store::journal::Options::flush_within`.
const FSYNC_WITHIN: Duration = Duration::from_secs(1);
/// Publications that are appended by one write: as many as a peer is handed at once.
pub(super) const AT_ONCE: usize = 64;

/// What subscribers do with what they get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// They keep nothing.
    Stock,
    /// They verify and store it, as our peers do.
    Equal,
}

/// One subscriber's file.
pub(super) struct Keeper {
    file: Arc<File>,
    fsync_due: Arc<AtomicBool>,
    buffer: Vec<u8>,
}

impl Keeper {
    /// An empty file of a subscriber.
    pub(super) fn create(work: &Path, who: usize) -> Result<Self> {
        let file = File::create_new(work.join(format!("subscriber-{who}.kept")))?;
        Ok(Self { file: Arc::new(file), fsync_due: Arc::default(), buffer: Vec::new() })
    }

    /// Verifies payloads and appends them by one write. It is made on the calling task, as a peer's is.
    pub(super) fn keep<'a>(&mut self, payloads: impl IntoIterator<Item = &'a Bytes>) -> Result<()> {
        self.buffer.clear();
        for payload in payloads {
            documents::verify(payload).context("a document is not the one that was published")?;
            self.buffer.extend_from_slice(payload);
        }
        if !self.buffer.is_empty() {
            (&*self.file).write_all(&self.buffer)?;
            self.fsync_later();
        }
        Ok(())
    }

    /// Schedules the one fsync for everything that is written until then.
    fn fsync_later(&self) {
        if self.fsync_due.swap(true, Ordering::AcqRel) {
            return;
        }
        // Weak, so that the file of a subscriber that has ended is not fsynced any more.
        let (file, due) = (Arc::downgrade(&self.file), Arc::clone(&self.fsync_due));
        tokio::spawn(async move {
            tokio::time::sleep(FSYNC_WITHIN).await;
            due.store(false, Ordering::Release);
            let Some(file) = file.upgrade() else { return };
            let synced = tokio::task::spawn_blocking(move || file.sync_data()).await;
            if !matches!(synced, Ok(Ok(()))) {
                say(&format!("a subscriber's file can't be fsynced: {synced:?}"));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_kept_is_whole_and_what_is_not_sound_is_refused() {
        let work = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::create(work.path(), 7).unwrap();
        let sound = Bytes::from(documents::with_checksum("document".to_owned()));
        keeper.keep([&sound, &sound]).unwrap();
        let kept = || std::fs::read(work.path().join("subscriber-7.kept")).unwrap();
        assert_eq!(kept(), [&sound[..], &sound[..]].concat());
        let mut damaged = sound.to_vec();
        damaged[0] ^= 1;
        assert!(keeper.keep([&Bytes::from(damaged)]).is_err());
        assert_eq!(kept().len(), 2 * sound.len());
    }
}
