//! What answers may take together that had to be made: a list of peers, a page of the docs. A caller that reads slowly holds its
//! answer, so many callers would hold much.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    pieces::Shared,
    problem::{Kind, Problem},
};

/// Smaller answers are not counted; there are no more of them than connections.
const SMALL: u64 = 64 * 1024;
/// When a caller asks again.
const RETRY: Duration = Duration::from_secs(1);
/// Bytes are counted in units of so many.
const UNIT: u64 = 1024;

/// Room for answers.
#[derive(Clone)]
pub(super) struct Room(Arc<Semaphore>);

impl Room {
    /// For `http.max_answer_bytes`.
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / 1024)))
    }
}

/// Refuses an answer for which there is no room.
pub(super) async fn bounded(State(Room(room)): State<Room>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    // A body of unknown size is written while it is read.
    let size = response.body().size_hint().exact().filter(|size| *size > SMALL);
    let (Some(size), None) = (size, response.extensions().get::<Shared>()) else { return response };
    let units = u32::try_from(size.div_ceil(UNIT)).unwrap_or(u32::MAX);
    match room.try_acquire_many_owned(units) {
        Ok(permit) => response.map(|body| Body::new(Counted { body, _permit: permit })),
        Err(_full) => {
            let detail =
                format!("an answer of {size} bytes has no room now (http.max_answer_bytes); ask again");
            Problem::new(Kind::BUSY, detail).retry_after(RETRY).into_response()
        }
    }
}

/// A body that has its room as long as it lasts.
struct Counted {
    body: Body,
    _permit: OwnedSemaphorePermit,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, http::StatusCode, middleware::from_fn_with_state, routing::get};
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn large_answers_that_nobody_reads_don_t_add_up() {
        let router = Router::new()
            .route("/made", get(|| async { vec![0_u8; 600 * 1024] }))
            .route("/small", get(|| async { "small" }))
            .layer(from_fn_with_state(Room::new(1 << 20), bounded));
        let ask = async |path: &str| {
            let request = Request::get(path).body(Body::empty()).unwrap();
            router.clone().oneshot(request).await.unwrap()
        };
        let unread = ask("/made").await;
        assert_eq!(unread.status(), StatusCode::OK);
        let refused = ask("/made").await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers().contains_key("retry-after"));
        assert_eq!(ask("/small").await.status(), StatusCode::OK);
        drop(unread);
        assert_eq!(ask("/made").await.status(), StatusCode::OK, "room again");
    }
}
