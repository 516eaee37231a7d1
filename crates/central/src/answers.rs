//! Answers on their way to the connection: handed over in chunks, a few at a time, whatever made them.

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

/// What a call that answers with entries returns to the generated code; the body goes by it, to [`Answers`].
pub(super) type Unread = stream::Once<Ready<Result<EncodedEntry, Status>>>;

/// An answer of entries.
pub(super) fn of_entries(body: EntryBody, held: impl Send + Sync + 'static) -> tonic::Response<Unread> {
    let unread = Status::internal("the entries were not handed over");
    let mut response = holding(stream::once(futures::future::ready(Err(unread))), held);
    response.extensions_mut().insert(Handover(Arc::new(Mutex::new(Some(body)))));
    response
}

/// An answer that holds something until it is taken.
pub(super) fn holding<T>(message: T, held: impl Send + Sync + 'static) -> tonic::Response<T> {
    let (mut response, held): (_, Held) = (tonic::Response::new(message), Arc::new(held));
    response.extensions_mut().insert(held);
    response
}

/// A body on its way past the generated code.
#[derive(Clone)]
struct Handover(Arc<Mutex<Option<EntryBody>>>);

impl Handover {
    fn take(&self) -> Option<EntryBody> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Puts all answers of a node under watch.
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

/// A service whose answers are watched.
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
    /// Of a frame that is larger than a chunk.
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
