//! The committer's database, and what to do when it fails.
//!
//! After a failed write (a full disk, say) redb refuses everything until the file is opened again, and forgets what was
//! not durable yet. So it is opened again, and what was taken since the last fsync is put back before anything else.

use std::time::Duration;

use redb::Database;
use tokio::time::Instant;

use super::{
    Loaded, StoreError, closed,
    committer::Op,
    file::{RegisterFile, guarded},
    transact::{Answer, Commit, Group, Outcome, transact},
    writer::restore,
};

/// Waits before a database that failed is opened again: the whole register is read then.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// The database, where it lies, and what is wrong with it.
pub(super) struct Medium {
    db: Option<Database>,
    /// None for storage that can't be opened again, such as memory.
    file: Option<RegisterFile>,
    fault: Option<Fault>,
    /// The wait after the next fault.
    pause: Duration,
}

/// What was being done when the database failed.
#[derive(Clone, Copy)]
enum Doing {
    Store,
    Flush,
    Open,
}

struct Fault {
    error: StoreError,
    retry_at: Instant,
}

impl Medium {
    pub(super) const fn new(db: Database, file: Option<RegisterFile>) -> Self {
        Self { db: Some(db), file, fault: None, pause: FIRST_PAUSE }
    }

    /// Commits a group, all or nothing. Operations that were tried leave their answer, others get the error.
    pub(super) fn commit(
        &mut self,
        before: Loaded,
        group: Group,
        answers: &mut Vec<Answer>,
    ) -> Result<Outcome, StoreError> {
        let replaces = group.ops.iter().any(|op| matches!(op, Op::Replace { .. }));
        let doing = if group.ops.is_empty() { Doing::Flush } else { Doing::Store };
        let result = match &self.file {
            Some(file) if replaces && !before.findings.is_empty() => {
                let file = file.clone();
                self.commit_anew(&file, before, group, answers)
            }
            _ => self.commit_in_place(before, group, replaces, answers),
        };
        match &result {
            Ok(outcome) if outcome.commit == Commit::Durable => {
                self.pause = FIRST_PAUSE;
                // Damage is not sealed over.
                if let Some(file) = self.file.as_ref().filter(|_| outcome.state.findings.is_empty()) {
                    file.witness.note(&outcome.state.view);
                }
            }
            // A fault that is known already was told when it came.
            Err(error) if self.fault.is_none() => self.failed(error.clone(), doing),
            _ => {}
        }
        result
    }

    fn failed(&mut self, error: StoreError, doing: Doing) {
        match doing {
            Doing::Store => tracing::error!(%error, "store commit failed; nothing of it was stored"),
            Doing::Flush => {
                tracing::error!(%error, "store commit failed; what was taken last is not durable yet");
            }
            Doing::Open => tracing::error!(%error, "store commit failed; the store can't be opened again"),
        }
        // What can't be opened again may only be tried again.
        if self.file.is_none() {
            return;
        }
        self.fault = Some(Fault { error, retry_at: Instant::now() + self.pause });
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    fn commit_in_place(
        &mut self,
        before: Loaded,
        group: Group,
        replaces: bool,
        answers: &mut Vec<Answer>,
    ) -> Result<Outcome, StoreError> {
        if let Err(error) = self.open_again(&before) {
            return Err(group.fail(error));
        }
        if let Some(file) = self.file.as_ref().filter(|_| replaces) {
            file.witness.forget();
        }
        match &self.db {
            Some(db) => guarded(|| transact(db, before, group, answers)),
            None => Err(group.fail(closed())),
        }
    }

    /// Opens the file again if the last commit failed and some time has passed.
    fn open_again(&mut self, state: &Loaded) -> Result<(), StoreError> {
        let (Some(fault), Some(file)) = (&self.fault, &self.file) else { return Ok(()) };
        if Instant::now() < fault.retry_at {
            return Err(fault.error.clone());
        }
        // Its lock on the file must go first.
        let former = self.db.take();
        let opened = guarded(|| {
            drop(former);
            file.open()
        });
        let opened = opened.and_then(|(db, found)| guarded(|| restore(&db, &found, state)).map(|()| db));
        match opened {
            Ok(db) => {
                tracing::info!(failure = %fault.error, "store opened again after a failure");
                (self.db, self.fault) = (Some(db), None);
                Ok(())
            }
            Err(error) => {
                self.failed(error.clone(), Doing::Open);
                Err(error)
            }
        }
    }

    /// Replaces a damaged register by a new file: nothing is written into a structure that can't be trusted.
    fn commit_anew(
        &mut self,
        file: &RegisterFile,
        before: Loaded,
        group: Group,
        answers: &mut Vec<Answer>,
    ) -> Result<Outcome, StoreError> {
        let fresh = match file.begin_anew() {
            Ok(fresh) => fresh,
            Err(error) => return Err(group.fail(error)),
        };
        let outcome = guarded(move || transact(&fresh, before, group, answers))?;
        file.witness.forget();
        file.finish_anew()?;
        // Closing the damaged database would write into it; its file is gone anyway.
        std::mem::forget(self.db.take());
        let (db, found) = file.open()?;
        if let Some(finding) = found.findings.first() {
            return Err(StoreError::Damaged(finding.to_string()));
        }
        self.db = Some(db);
        Ok(outcome)
    }

    /// Closes the database cleanly, so that the next start need not recover it.
    pub(super) fn close(&mut self) {
        let db = self.db.take();
        let closed = guarded(|| {
            drop(db);
            Ok(())
        });
        if let Err(error) = closed {
            tracing::warn!(%error, "store not closed cleanly; the next start recovers it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        register::entry::tests::entry,
        store::{
            contract::{checkpoint, draft},
            embedded::FILE_NAME,
        },
    };

    fn ops(ops: Vec<Op>) -> Group {
        Group { ops, must_flush: false, has_pending: true }
    }

    fn done<T>() -> tokio::sync::oneshot::Sender<T> {
        tokio::sync::oneshot::channel().0
    }

    fn apply(version: i64) -> Op {
        let entries = vec![entry(&format!("b{version}"), version).seal()];
        Op::Apply { entries, checkpoint: checkpoint(version), reply: done() }
    }

    /// A medium whose database has failed, over the file as it lay on disk then.
    fn failed(directory: &tempfile::TempDir, groups: Vec<Vec<Op>>) -> (Medium, Loaded) {
        let file = RegisterFile::new(&directory.path().join("before.redb"), 1 << 20);
        let (db, mut state) = file.open().unwrap();
        let mut medium = Medium::new(db, Some(file));
        for group in groups {
            state = medium.commit(state, ops(group), &mut Vec::new()).unwrap().state;
        }
        let path = directory.path().join(FILE_NAME);
        std::fs::copy(directory.path().join("before.redb"), &path).unwrap();
        medium.file = Some(RegisterFile::new(&path, 1 << 20));
        medium.failed(StoreError::Full("no space left".to_owned()), Doing::Store);
        (medium, state)
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_durable_is_put_back_after_a_failure() {
        let directory = tempfile::tempdir().unwrap();
        let durable = vec![apply(1), Op::Flush(done())];
        let (mut medium, state) = failed(&directory, vec![durable, vec![apply(2)], vec![apply(3)]]);
        let error = medium.commit(state.clone(), ops(vec![apply(4)]), &mut Vec::new()).err().unwrap();
        assert!(matches!(error, StoreError::Full(_)), "not opened again at once: {error}");
        tokio::time::advance(FIRST_PAUSE).await;
        let after = medium.commit(state, ops(vec![apply(4), Op::Flush(done())]), &mut Vec::new()).unwrap();
        assert_eq!(after.commit, Commit::Durable);
        medium.close();
        let (_db, found) = RegisterFile::new(&directory.path().join(FILE_NAME), 1 << 20).open().unwrap();
        assert_eq!(found.findings, []);
        assert_eq!(found.view.seal(), after.state.view.seal());
        assert_eq!((found.view.len(), found.checkpoint), (4, Some(checkpoint(4))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_but_reached_the_disk_is_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let publish = |id: &str| Op::Publish(draft(id, "{}"), done());
        let (mut medium, _) = failed(&directory, vec![vec![publish("a")], vec![publish("b")]]);
        // The second publication was answered with an error: the state does not have it.
        let mut state = Loaded { view: Default::default(), checkpoint: None, findings: Vec::new() };
        let first = draft("a", "{}").at(crate::register::names::Version::ZERO.next()).seal();
        state.view.apply(vec![first], crate::register::names::Version::ZERO);
        tokio::time::advance(FIRST_PAUSE).await;
        let after = medium.commit(state, ops(vec![publish("c")]), &mut Vec::new()).unwrap();
        medium.close();
        let (_db, found) = RegisterFile::new(&directory.path().join(FILE_NAME), 1 << 20).open().unwrap();
        assert_eq!((found.findings.len(), found.view.seal()), (0, after.state.view.seal()));
        let ids: Vec<_> = found.view.iter().map(|e| e.entry().blueprint_id.to_string()).collect();
        assert_eq!(ids, ["a", "c"]);
    }

    #[test]
    fn nothing_to_store_is_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        let (db, state) = RegisterFile::new(&path, 1 << 20).open().unwrap();
        let mut medium = Medium::new(db, Some(RegisterFile::new(&path, 1 << 20)));
        let publish = || vec![Op::Publish(draft("a", "{}"), done())];
        let group = |ops| Group { ops, must_flush: false, has_pending: false };
        let first = medium.commit(state, group(publish()), &mut Vec::new()).unwrap();
        assert_eq!(first.commit, Commit::Durable);
        let again = medium.commit(first.state, group(publish()), &mut Vec::new()).unwrap();
        assert_eq!(again.commit, Commit::Nothing);
        let flush = medium.commit(again.state, group(vec![Op::Flush(done())]), &mut Vec::new()).unwrap();
        assert_eq!(flush.commit, Commit::Nothing);
    }
}
