//! Backpressure for answers: each is handed to its connection in chunks, a few at a time.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::{
    FutureExt as _,
    future::{BoxFuture, Ready},
    stream,
};
use http_body::{Body, Frame};
use sorcha_proto::EncodedEntry;
use tonic::Status;
use tower::{Layer, Service};

use super::{
    entries::EntryBody,
    flight::{CHUNK, Flight, Held, Load},
    incoming::Connection,
};

/// Placeholder that calls return to the generated code in place of entries; the body reaches [`Answers`] as an extension.
pub(super) type Unread = stream::Once<Ready<Result<EncodedEntry, Status>>>;

pub(super) fn of_entries(body: EntryBody, held: impl Send + Sync + 'static) -> tonic::Response<Unread> {
    let unread = Status::internal("the entries were not handed over");
    let mut response = holding(stream::once(futures::future::ready(Err(unread))), held);
    response.extensions_mut().insert(Handover(Arc::new(Mutex::new(Some(body)))));
    response
}

/// An answer that keeps a value alive until its last byte is written.
pub(super) fn holding<T>(message: T, held: impl Send + Sync + 'static) -> tonic::Response<T> {
    let (mut response, held): (_, Held) = (tonic::Response::new(message), Arc::new(held));
    response.extensions_mut().insert(held);
    response
}

/// A body that bypasses the generated code.
#[derive(Clone)]
struct Handover(Arc<Mutex<Option<EntryBody>>>);

impl Handover {
    fn take(&self) -> Option<EntryBody> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Layer that meters all answers of a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    load: Load,
}

impl<S> Layer<S> for Answers {
    type Service = Watching<S>;

    fn layer(&self, inner: S) -> Watching<S> {
        Watching { inner, load: self.load.clone() }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Watching<S> {
    inner: S,
    load: Load,
}

impl<S, R> Service<http::Request<R>> for Watching<S>
where
    S: Service<http::Request<R>, Response = http::Response<tonic::body::Body>>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Watched>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<R>) -> Self::Future {
        let connection = request.extensions().get::<Connection>().cloned().unwrap_or_default();
        let load = self.load.clone();
        let answered = self.inner.call(request);
        answered.map(move |answer| answer.map(|answer| watched(answer, &connection, load))).boxed()
    }
}

fn watched(
    mut answer: http::Response<tonic::body::Body>,
    connection: &Connection,
    load: Load,
) -> http::Response<Watched> {
    let extensions = answer.extensions_mut();
    let entries = extensions.remove::<Handover>().and_then(|handover| handover.take());
    let flight = Flight::new(load, extensions.remove::<Held>());
    connection.carries(&flight);
    answer.map(|body| {
        let body = entries.map_or(body, tonic::body::Body::new);
        Watched { body, rest: Bytes::new(), flight }
    })
}

/// The body of an answer.
pub(super) struct Watched {
    body: tonic::body::Body,
    /// Rest of a frame that is larger than a chunk.
    rest: Bytes,
    flight: Arc<Flight>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("flight", &self.flight).finish_non_exhaustive()
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.flight.has_room(cx) {
            return Poll::Pending;
        }
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let length = self.rest.len().min(CHUNK);
        let chunk = self.rest.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(self.flight.depart(chunk)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }
}
