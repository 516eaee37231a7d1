//! Checks entries on all cores while more are read.

use std::{
    num::NonZero,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};

use sorcha_register::{
    entry::{SealedEntry, Source},
    integrity::{self, Examination, Finding, Record},
};

/// A file below this size is checked by the thread that reads it: a second one would cost more than it saves.
const WORTH_A_THREAD: u64 = 1024 * 1024;
/// A worker gets about so many bytes at once.
const JOB: usize = 1024 * 1024;

/// An entry as stored, and where.
pub(super) struct Placed {
    pub(super) record: Record,
    pub(super) offset: u64,
}

type Checked = Result<Arc<SealedEntry>, Finding>;

struct Job {
    /// Number of its first entry.
    first: usize,
    records: Vec<Placed>,
}

/// Entries on their way through the checks, in order.
pub(super) struct Checking<'s> {
    source: &'s Arc<dyn Source>,
    next: Job,
    bytes: usize,
    jobs: Option<SyncSender<Job>>,
    queue: &'s Mutex<Receiver<Job>>,
    done: &'s Mutex<Vec<(usize, Vec<Checked>)>>,
    /// Entries that count.
    whole: Option<usize>,
}

impl Checking<'_> {
    /// Runs a reader that passes the entries of a file of this length; returns what it returns, and what came of the entries.
    pub(super) fn run<T>(
        source: &Arc<dyn Source>,
        length: u64,
        read: impl FnOnce(&mut Checking<'_>) -> T,
    ) -> (T, Examination) {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let workers = if length < WORTH_A_THREAD { 0 } else { cores.saturating_sub(1) };
        let (jobs, queue) = sync_channel(2 * workers);
        let (queue, done) = (Mutex::new(queue), Mutex::new(Vec::new()));
        let (out, whole) = thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| work(source, &queue, &done));
            }
            let jobs = (workers > 0).then_some(jobs);
            let next = Job { first: 0, records: Vec::new() };
            let mut checking =
                Checking { source, next, bytes: 0, jobs, queue: &queue, done: &done, whole: None };
            let out = read(&mut checking);
            let whole = checking.whole.unwrap_or(checking.len());
            checking.finish();
            (out, whole)
        });
        (out, examined(done.into_inner().unwrap_or_else(PoisonError::into_inner), whole))
    }

    /// Entries taken so far.
    pub(super) const fn len(&self) -> usize {
        self.next.first + self.next.records.len()
    }

    /// Only the first entries count.
    pub(super) const fn truncate(&mut self, whole: usize) {
        self.whole = Some(whole);
    }

    pub(super) fn take(&mut self, placed: Placed) {
        self.bytes += placed.record.encoded.len();
        self.next.records.push(placed);
        if self.bytes >= JOB {
            self.hand_over();
        }
    }

    /// Checks an entry at once; returns whether it is sound.
    pub(super) fn take_now(&mut self, placed: Placed) -> bool {
        self.hand_over();
        let job = Job { first: self.next.first, records: vec![placed] };
        self.next.first += 1;
        let checked = check(self.source, job.records);
        let is_sound = checked.iter().all(Result::is_ok);
        push(self.done, job.first, checked);
        is_sound
    }

    fn hand_over(&mut self) {
        if self.next.records.is_empty() {
            return;
        }
        let first = self.len();
        let job = std::mem::replace(&mut self.next, Job { first, records: Vec::new() });
        self.bytes = 0;
        let job = match &self.jobs {
            None => job,
            Some(jobs) => match jobs.try_send(job) {
                Ok(()) => return,
                // All workers are busy.
                Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => job,
            },
        };
        push(self.done, job.first, check(self.source, job.records));
    }

    fn finish(mut self) {
        self.hand_over();
        self.jobs = None;
        work(self.source, self.queue, self.done);
    }
}

fn work(source: &Arc<dyn Source>, queue: &Mutex<Receiver<Job>>, done: &Mutex<Vec<(usize, Vec<Checked>)>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { break };
        push(done, job.first, check(source, job.records));
    }
}

fn push(done: &Mutex<Vec<(usize, Vec<Checked>)>>, first: usize, checked: Vec<Checked>) {
    done.lock().unwrap_or_else(PoisonError::into_inner).push((first, checked));
}

/// What is sound stays in the file alone.
fn check(source: &Arc<dyn Source>, records: Vec<Placed>) -> Vec<Checked> {
    let check = |Placed { record, offset }| {
        let sealed = integrity::check(&record)?;
        sealed.stored_at(Arc::clone(source), offset);
        sealed.evict();
        Ok(sealed)
    };
    records.into_iter().map(check).collect()
}

fn examined(mut done: Vec<(usize, Vec<Checked>)>, whole: usize) -> Examination {
    done.sort_unstable_by_key(|(first, _)| *first);
    Examination::of(done.into_iter().flat_map(|(_, checked)| checked).take(whole))
}
