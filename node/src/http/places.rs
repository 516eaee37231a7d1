//! Places for connections: so many and no more. When all are taken, the oldest callers that wait for nothing give way.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// A newer connection is not asked to give way: what its caller asks for may be on its way.
const SETTLES: Duration = Duration::from_secs(1);
/// Time for one connection to give way before the next older one is asked to.
const GIVES_WAY: Duration = Duration::from_millis(20);

/// All places of a server.
pub(super) struct Places {
    free: Arc<Semaphore>,
    all: usize,
    /// Who is there, oldest first, and was not asked to give way yet.
    taken: BTreeMap<u64, Taken>,
    next: u64,
    told: bool,
}

struct Taken {
    since: Instant,
    gives_way: CancellationToken,
}

/// What was a place.
pub(super) struct Left(u64);

/// A place; free again when it is dropped.
pub(super) struct Place {
    number: u64,
    gives_way: CancellationToken,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// Frees it; gives what it was known by.
    pub(super) fn leave(self) -> Left {
        Left(self.number)
    }

    /// Cancelled when the connection is to end as soon as it has nothing in progress.
    pub(super) fn gives_way(&self) -> CancellationToken {
        self.gives_way.clone()
    }
}

impl Places {
    pub(super) fn new(all: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(all)), all, taken: BTreeMap::new(), next: 0, told: false }
    }

    /// A place for one more, as soon as there is one. Idle connections make room, those with a request in progress don't:
    /// then it takes until one ends.
    pub(super) async fn take(&mut self) -> Place {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_full) => self.made_room().await,
        };
        let (number, gives_way) = (self.next, CancellationToken::new());
        self.next += 1;
        self.taken.insert(number, Taken { since: Instant::now(), gives_way: gives_way.clone() });
        Place { number, gives_way, _permit: permit }
    }

    async fn made_room(&mut self) -> Option<OwnedSemaphorePermit> {
        if !self.told {
            self.told = true;
            tracing::warn!(
                http.max_connections = self.all,
                "all HTTP connections are taken; idle ones are closed for new ones, and further callers wait"
            );
        }
        let free = Arc::clone(&self.free);
        while let Some(oldest) = self.taken.first_entry() {
            let settled = oldest.get().since + SETTLES;
            if let Ok(permit) = timeout_at(settled, Arc::clone(&free).acquire_owned()).await {
                return permit.ok();
            }
            oldest.remove().gives_way.cancel();
            if let Ok(permit) = timeout(GIVES_WAY, Arc::clone(&free).acquire_owned()).await {
                return permit.ok();
            }
        }
        free.acquire_owned().await.ok()
    }

    /// A connection has ended; it is told anew that there are no places once there were some.
    pub(super) fn left(&mut self, place: Option<&Left>) {
        if let Some(Left(number)) = place {
            self.taken.remove(number);
        }
        self.told &= self.free.available_permits() < self.all.div_ceil(4);
    }
}
