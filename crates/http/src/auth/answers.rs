//! Reviews that spare the API server: few at once, and answers that are remembered for a while, by the token's hash.
//!
//! Yes and no are remembered apart: whoever sends many bad tokens does not drive out the good ones.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sorcha_config::TokenReviews;
use sorcha_register::clock::{Clock, Monotonic, Timestamp};
use sorcha_runtime::{shares::Shares, source::Source};
use tokio::time::timeout;

use super::{
    review::{Review, ReviewError, Reviewer, Verdict},
    tokens::digest,
};

type Digest = [u8; 32];

/// A reviewer behind its limits.
pub(super) struct Reviews {
    reviewer: Arc<dyn Reviewer>,
    clock: Arc<dyn Clock>,
    limits: TokenReviews,
    /// Shared among addresses: half to each, a network of version 6 being one, so that one that sends bad tokens leaves places for others.
    places: Shares<Source>,
    accepted: Mutex<Answers>,
    refused: Mutex<Answers>,
}

impl Reviews {
    pub(super) fn new(reviewer: Arc<dyn Reviewer>, limits: &TokenReviews, clock: Arc<dyn Clock>) -> Self {
        let answers = || Mutex::new(Answers { known: HashMap::new(), capacity: limits.max_cached });
        Self {
            reviewer,
            clock,
            limits: limits.clone(),
            places: Shares::new(limits.max_concurrent, limits.max_concurrent / 2),
            accepted: answers(),
            refused: answers(),
        }
    }

    pub(super) fn how_to_get_one(&self) -> &str {
        self.reviewer.how_to_get_one()
    }

    /// What is remembered of a token, else what the reviewer says; `from`: the caller's address, where it is known.
    ///
    /// # Errors
    /// [`ReviewError`] when there is no answer within the limit.
    pub(super) async fn review(&self, token: &str, from: Option<&Source>) -> Result<Verdict, ReviewError> {
        let digest = digest(token);
        if let Some(verdict) = self.known(&digest) {
            return Ok(verdict);
        }
        let limit = self.limits.timeout;
        let late = || ReviewError::Away(format!("no answer within {limit:?} (http.kubernetes.timeout)"));
        timeout(limit, self.ask(digest, token, from)).await.unwrap_or_else(|_| Err(late()))
    }

    async fn ask(&self, digest: Digest, token: &str, from: Option<&Source>) -> Result<Verdict, ReviewError> {
        let closed = |_| ReviewError::Away("the node stops".to_owned());
        let _place = self.places.take(from).await.map_err(closed)?;
        // Another request may have asked about the same token meanwhile.
        if let Some(verdict) = self.known(&digest) {
            return Ok(verdict);
        }
        let Review { verdict, until } = self.reviewer.review(token).await?;
        let (answers, keep) = match &verdict {
            Verdict::MayWrite { .. } => (&self.accepted, self.limits.cache_for),
            Verdict::Unknown { .. } | Verdict::MayNot { .. } => {
                (&self.refused, self.limits.cache_refusals_for)
            }
        };
        let left =
            |end: Timestamp| Duration::from_millis(end.millis_since(self.clock.now()).max(0).unsigned_abs());
        let keep = until.map_or(keep, |end| keep.min(left(end)));
        let now = self.clock.monotonic();
        let answer = Remembered { verdict: verdict.clone(), from: now, keep };
        answers.lock().unwrap_or_else(PoisonError::into_inner).put(digest, answer, now);
        Ok(verdict)
    }

    fn known(&self, digest: &Digest) -> Option<Verdict> {
        let now = self.clock.monotonic();
        let known = |answers: &Mutex<Answers>| {
            let answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.known.get(digest).filter(|answer| answer.holds(now)).map(|answer| answer.verdict.clone())
        };
        known(&self.accepted).or_else(|| known(&self.refused))
    }
}

struct Remembered {
    verdict: Verdict,
    from: Monotonic,
    keep: Duration,
}

impl Remembered {
    fn left(&self, now: Monotonic) -> Duration {
        self.keep.saturating_sub(now.since(self.from))
    }

    fn holds(&self, now: Monotonic) -> bool {
        self.left(now) > Duration::ZERO
    }
}

/// At most `capacity` answers; when they are full, the one that ends first goes.
struct Answers {
    known: HashMap<Digest, Remembered>,
    capacity: usize,
}

impl Answers {
    fn put(&mut self, digest: Digest, answer: Remembered, now: Monotonic) {
        if self.known.len() >= self.capacity && !self.known.contains_key(&digest) {
            self.known.retain(|_, answer| answer.holds(now));
        }
        if self.known.len() >= self.capacity && !self.known.contains_key(&digest) {
            let first =
                self.known.iter().min_by_key(|(_, answer)| answer.left(now)).map(|(digest, _)| *digest);
            first.map(|first| self.known.remove(&first));
        }
        self.known.insert(digest, answer);
    }
}

#[cfg(test)]
mod tests;
