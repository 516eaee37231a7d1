//! Bodies of large answers: shared bytes and lists that are written while they are read. None is built as a whole.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::header,
    response::{IntoResponse as _, Response},
};
use futures::stream;
use http_body::{Frame, SizeHint};
use serde::Serialize;

/// Bytes of a piece that is handed over at once.
pub(super) const PIECE_BYTES: usize = 64 * 1024;

/// Marks an answer whose body is shared with the register: it takes no memory of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shared;

/// Parts that are sent one after the other, without a copy.
#[derive(Debug, Default)]
pub(super) struct Parts {
    parts: VecDeque<Bytes>,
    left: u64,
}

impl<const N: usize> From<[Bytes; N]> for Parts {
    fn from(parts: [Bytes; N]) -> Self {
        let left = parts.iter().map(|part| part.len() as u64).sum();
        Self { parts: parts.into(), left }
    }
}

impl Parts {
    /// The answer that has them as its body.
    pub(super) fn answer(self, media_type: &'static str) -> Response {
        let mut response = ([(header::CONTENT_TYPE, media_type)], Body::new(self)).into_response();
        response.extensions_mut().insert(Shared);
        response
    }
}

/// The first piece of some bytes, which lose it.
pub(super) fn first_piece(bytes: &mut Bytes) -> Bytes {
    bytes.split_to(bytes.len().min(PIECE_BYTES))
}

impl HttpBody for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        while let Some(part) = self.parts.front_mut() {
            let piece = first_piece(part);
            if part.is_empty() {
                self.parts.pop_front();
            }
            if !piece.is_empty() {
                self.left -= piece.len() as u64;
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A JSON answer that has a list between two texts. `next` gives the items while the answer is read.
pub(super) fn list<T: Serialize>(
    before: &str,
    after: &str,
    next: impl FnMut() -> Option<T> + Send + 'static,
) -> Response {
    let items = Items { next, before: Some(before.to_owned()), after: after.to_owned() };
    let pieces = stream::unfold(Some(items), |items| async move {
        let mut items = items?;
        let (piece, is_last) = items.piece();
        Some((Ok::<_, Infallible>(piece), (!is_last).then_some(items)))
    });
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(pieces)).into_response()
}

struct Items<F> {
    next: F,
    /// What stands before the first item, until it is written.
    before: Option<String>,
    after: String,
}

impl<T: Serialize, F: FnMut() -> Option<T>> Items<F> {
    /// The next piece, and whether it is the last.
    fn piece(&mut self) -> (Bytes, bool) {
        let mut piece = Vec::new();
        let mut separator = self.before.take().map(|before| {
            piece.extend_from_slice(before.as_bytes());
            ""
        });
        while piece.len() < PIECE_BYTES {
            let Some(item) = (self.next)() else {
                piece.extend_from_slice(self.after.as_bytes());
                return (piece.into(), true);
            };
            piece.extend_from_slice(separator.take().unwrap_or(",").as_bytes());
            // Items have nothing that JSON can't say, and a Vec takes everything.
            if let Err(error) = serde_json::to_writer(&mut piece, &item) {
                tracing::error!(%error, "an item of a list can't be written");
            }
        }
        (piece.into(), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_list_is_written_in_pieces_while_it_is_read() {
        for count in [0, 1, 3, 50_000] {
            let mut numbers = 0..count;
            let body = list(r#"{"items":["#, "]}", move || numbers.next()).into_body();
            let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let read: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            let items = read["items"].as_array().unwrap();
            assert!(items.iter().map(|item| item.as_u64().unwrap()).eq(0..count));
        }
    }

    #[tokio::test]
    async fn parts_are_sent_as_they_are_without_a_copy() {
        let document = Bytes::from(vec![7; 3 * PIECE_BYTES + 5]);
        let parts =
            Parts::from([Bytes::from_static(b"a"), Bytes::new(), document.clone(), Bytes::from_static(b"z")]);
        let mut body = Body::new(parts);
        assert_eq!(body.size_hint().exact(), Some(document.len() as u64 + 2));
        let (mut sizes, mut all) = (Vec::new(), Vec::new());
        while let Some(frame) =
            std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.transpose().unwrap()
        {
            let piece = frame.into_data().unwrap();
            let range = document.as_ptr_range();
            assert!(
                piece.len() == 1 || range.contains(&piece.as_ptr()),
                "it is a part of the document itself"
            );
            sizes.push(piece.len());
            all.extend_from_slice(&piece);
        }
        assert_eq!(sizes, [1, PIECE_BYTES, PIECE_BYTES, PIECE_BYTES, 5, 1]);
        assert_eq!(all.len(), document.len() + 2);
    }
}
