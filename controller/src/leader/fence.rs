//! Lets calls through, to the API server and to registers, only while this process leads.
//!
//! The clock is asked when a call is made and while it is under way, in the very task that makes it: a process that was
//! stopped for a while, or whose threads are busy, sends nothing more once its time is over.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use kube::client::Body;
use tokio::time::{Instant, timeout_at};
use tower::{BoxError, Layer, Service};

/// Microseconds of a time that does not end within the life of a process.
const ALWAYS: u64 = 1 << 60;

/// The time until when this process leads; shared by all clients and the election.
#[derive(Clone, Debug)]
pub struct Fence {
    start: Instant,
    /// Microseconds after the start; 0: it does not lead.
    until: Arc<AtomicU64>,
}

/// A call that is not made, or not waited for, because the lease may be another's by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lease could not be renewed in time; another controller may hold it")]
pub struct NotLeading;

impl Fence {
    /// One that lets nothing through yet.
    #[must_use]
    pub(crate) fn closed() -> Self {
        Self { start: Instant::now(), until: Arc::default() }
    }

    /// One of a process that has nobody beside it.
    #[must_use]
    pub fn open() -> Self {
        Self { start: Instant::now(), until: Arc::new(AtomicU64::new(ALWAYS)) }
    }

    /// What comes of a call that is made and waited for while it is open.
    ///
    /// # Errors
    /// [`NotLeading`].
    pub async fn within<T>(&self, call: impl Future<Output = T>) -> Result<T, NotLeading> {
        let mut call = std::pin::pin!(call);
        loop {
            // Renewed meanwhile, it may go on.
            let until = self.open_until(Instant::now()).ok_or(NotLeading)?;
            if let Ok(answer) = timeout_at(until, call.as_mut()).await {
                return Ok(answer);
            }
        }
    }

    /// Opens it until an instant, or closes it.
    pub(crate) fn set(&self, until: Option<Instant>) {
        let micros = until.map_or(0, |until| {
            u64::try_from(until.saturating_duration_since(self.start).as_micros()).unwrap_or(ALWAYS)
        });
        self.until.store(micros, Ordering::SeqCst);
    }

    /// Until when it is open, if it is.
    #[must_use]
    pub(crate) fn open_until(&self, now: Instant) -> Option<Instant> {
        let until = Duration::from_micros(self.until.load(Ordering::SeqCst));
        self.start.checked_add(until).filter(|until| now < *until)
    }
}

impl<S> Layer<S> for Fence {
    type Service = Fenced<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Fenced { inner, fence: self.clone() }
    }
}

/// A service behind a fence.
#[derive(Clone, Debug)]
pub struct Fenced<S> {
    inner: S,
    fence: Fence,
}

impl<S, R> Service<http::Request<Body>> for Fenced<S>
where
    S: Service<http::Request<Body>, Response = R>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    R: 'static,
{
    type Response = R;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<R, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if self.fence.open_until(Instant::now()).is_none() {
            return Box::pin(async { Err(NotLeading.into()) });
        }
        let fence = self.fence.clone();
        let answer = self.inner.call(request);
        Box::pin(async move { fence.within(answer).await?.map_err(Into::into) })
    }
}
