//! How much of publications is held at once: bytes and bodies of all publishers together, and of each. What is beyond waits unread.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use sorcha_config::Http;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::problem::{Kind, Problem};

/// How long a body waits for its place. Its sender waits too, and holds a connection.
const PATIENCE: Duration = Duration::from_secs(20);
/// When a publisher tries again.
const RETRY: Duration = Duration::from_secs(5);
/// Bytes are counted in units of so many.
const UNIT: usize = 1024;

/// All places for bodies.
pub(super) struct Intake {
    most_bytes: usize,
    most_bodies: usize,
    all: Arc<Semaphore>,
    publishers: Mutex<HashMap<String, Weak<Share>>>,
}

/// What one publisher may have.
struct Share {
    bodies: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// A body's place; given back when it is dropped.
pub(super) struct Ticket {
    all: Arc<Semaphore>,
    share: Arc<Share>,
    bytes: usize,
    room: Vec<OwnedSemaphorePermit>,
    /// Until the body has arrived.
    body: Option<OwnedSemaphorePermit>,
}

impl Intake {
    pub(super) fn new(http: &Http) -> Self {
        Self {
            most_bytes: http.max_body_bytes,
            most_bodies: http.max_publisher_bodies,
            all: Arc::new(Semaphore::new(http.max_body_bytes / UNIT)),
            publishers: Mutex::default(),
        }
    }

    fn share(&self, publisher: &str) -> Arc<Share> {
        let mut publishers = self.publishers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = publishers.get(publisher).and_then(Weak::upgrade) {
            return share;
        }
        publishers.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Share {
            bodies: Arc::new(Semaphore::new(self.most_bodies)),
            bytes: Arc::new(Semaphore::new(self.most_bytes / 2 / UNIT)),
        });
        publishers.insert(publisher.to_owned(), Arc::downgrade(&share));
        share
    }

    /// A place for a body of a publisher, who expects it to have so many bytes.
    ///
    /// # Errors
    /// [`Problem`] when there is none in time.
    pub(super) async fn admit(&self, publisher: &str, bytes: usize) -> Result<Ticket, Problem> {
        let (share, all, deadline) =
            (self.share(publisher), Arc::clone(&self.all), Instant::now() + PATIENCE);
        let body = timeout_at(deadline, Arc::clone(&share.bodies).acquire_owned()).await;
        let Ok(Ok(body)) = body else {
            let detail = format!(
                "{} bodies of {publisher} are on their way already; publish fewer at once (http.max_publisher_bodies)",
                self.most_bodies
            );
            return Err(Problem::new(Kind::TOO_MANY, detail).retry_after(RETRY));
        };
        let mut ticket = Ticket { all, share, bytes: 0, room: Vec::new(), body: Some(body) };
        ticket.grow(bytes).await?;
        Ok(ticket)
    }
}

impl Ticket {
    /// Makes the place one for a body of so many bytes.
    ///
    /// # Errors
    /// [`Problem`] when there is no room in time.
    pub(super) async fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let more = bytes.saturating_sub(self.bytes).div_ceil(UNIT);
        let units = u32::try_from(more).unwrap_or(u32::MAX);
        let deadline = Instant::now() + PATIENCE;
        for (room, kind, of) in [
            (&self.share.bytes, Kind::TOO_MANY, "this publisher's half of http.max_body_bytes is taken"),
            (&self.all, Kind::BUSY, "http.max_body_bytes are taken by publications"),
        ] {
            match timeout_at(deadline, Arc::clone(room).acquire_many_owned(units)).await {
                Ok(Ok(permit)) => self.room.push(permit),
                Ok(Err(_)) | Err(_) => {
                    let detail = format!("{of}; a body of {bytes} bytes has no room now");
                    return Err(Problem::new(kind, detail).retry_after(RETRY));
                }
            }
        }
        self.bytes = self.bytes.max(bytes);
        Ok(())
    }

    /// The body has arrived: its publisher may send another, while this one keeps its room.
    pub(super) fn arrived(&mut self) {
        self.body = None;
    }

    /// Bytes that the place is for.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: usize = 1 << 20;

    fn intake() -> Intake {
        Intake::new(&Http { max_body_bytes: 8 * MB, max_publisher_bodies: 3, ..Http::default() })
    }

    fn refused(result: Result<Ticket, Problem>) -> Problem {
        result.err().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_publisher_uses_up_its_own_share_and_not_that_of_others() {
        let intake = intake();
        let mut there = Vec::new();
        for _ in 0..3 {
            there.push(intake.admit("a", 1000).await.unwrap_or_else(|_| panic!("room")));
        }
        let told = refused(intake.admit("a", 1000).await);
        assert_eq!(told.kind, Kind::TOO_MANY);
        assert!(told.detail.contains("max_publisher_bodies"), "{}", told.detail);
        there[0].arrived();
        there.push(intake.admit("a", 1000).await.unwrap_or_else(|_| panic!("one has arrived")));
        there.clear();
        there.push(intake.admit("a", 4 * MB).await.unwrap_or_else(|_| panic!("room")));
        assert_eq!(refused(intake.admit("a", MB).await).kind, Kind::TOO_MANY, "half of all");
        there.push(intake.admit("b", 4 * MB).await.unwrap_or_else(|_| panic!("its own half")));
        assert_eq!(refused(intake.admit("c", MB).await).kind, Kind::BUSY);
        there.clear();
        assert!(intake.admit("c", 4 * MB).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_waits_for_its_room() {
        let intake = Arc::new(intake());
        let there = intake.admit("a", 4 * MB).await.unwrap_or_else(|_| panic!("room"));
        let waits = tokio::spawn({
            let intake = Arc::clone(&intake);
            async move { intake.admit("a", 4 * MB).await.is_ok() }
        });
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!waits.is_finished());
        drop(there);
        assert!(waits.await.unwrap());
    }
}
