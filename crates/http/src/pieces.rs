//! Bodies of large answers: shared bytes, documents that are read from the store's file as the caller takes them, and lists that
//! are written while they are read. None is built as a whole.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::header,
    response::{IntoResponse as _, Response},
};
use futures::stream;
use http_body::{Frame, SizeHint};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sorcha_register::{
    entry::{Encoded, SealedEntry},
    names::Checksum,
};
use sorcha_runtime::reading::Pieces;

/// Bytes of a piece that is handed over at once.
pub(super) const PIECE_BYTES: usize = 64 * 1024;

/// Marks an answer whose body is shared with the register or read from its file: it takes little memory of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shared;

/// A document between two texts, sent without a copy. One that is read from a file is compared with its checksum before its last
/// piece is sent: a caller does not get a damaged one whole.
#[derive(Debug)]
pub(super) struct Parts {
    before: Bytes,
    document: Pieces,
    after: Bytes,
    /// The piece that is sent.
    piece: Bytes,
    check: Option<Check>,
    left: u64,
}

/// The hash of what was read, and what it is to be.
#[derive(Debug)]
struct Check {
    hasher: Sha256,
    sealed: Arc<SealedEntry>,
}

impl Parts {
    /// The document of an entry.
    pub(super) fn of(before: Bytes, sealed: &Arc<SealedEntry>, after: Bytes) -> Self {
        let document = sealed.document();
        let left = (before.len() + document.len() + after.len()) as u64;
        let check = matches!(document, Encoded::Stored { .. })
            .then(|| Check { hasher: Sha256::new(), sealed: Arc::clone(sealed) });
        Self { before, document: Pieces::of(document), after, piece: Bytes::new(), check, left }
    }

    /// The next part, if there is one.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if !self.before.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.before))));
        }
        match ready!(self.document.poll_next(cx)) {
            Some(Ok(piece)) => Poll::Ready(Some(self.checked(piece))),
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None if self.after.is_empty() => Poll::Ready(None),
            None => Poll::Ready(Some(Ok(std::mem::take(&mut self.after)))),
        }
    }

    fn checked(&mut self, piece: Bytes) -> io::Result<Bytes> {
        let Some(check) = &mut self.check else { return Ok(piece) };
        check.hasher.update(&piece);
        let is_sound = || {
            let hash = check.hasher.clone().finalize().into();
            Checksum::from_bytes(hash) == check.sealed.entry().document.checksum()
        };
        if self.document.is_empty() && !is_sound() { Err(check.sealed.damaged()) } else { Ok(piece) }
    }

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
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        while self.piece.is_empty() {
            match ready!(self.poll_part(cx)) {
                Some(Ok(part)) => self.piece = part,
                Some(Err(error)) => {
                    tracing::error!(%error, "a document can't be read from the register's file");
                    return Poll::Ready(Some(Err(error)));
                }
                None => return Poll::Ready(None),
            }
        }
        let piece = first_piece(&mut self.piece);
        self.left -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
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
    use sorcha_register::{
        canonical::Document,
        entry::{Entry, Source},
        testing::entry,
    };

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

    /// The frames of a document between two texts, up to the error that ends them.
    async fn frames(sealed: &Arc<SealedEntry>) -> (Vec<Bytes>, Option<io::Error>) {
        let parts = Parts::of(Bytes::from_static(b"a"), sealed, Bytes::from_static(b"z"));
        let mut body = Box::pin(parts);
        assert_eq!(body.size_hint().exact(), Some(sealed.entry().document.length() as u64 + 2));
        let mut frames = Vec::new();
        loop {
            match std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
                Some(Ok(frame)) => frames.push(frame.into_data().unwrap()),
                Some(Err(error)) => return (frames, Some(error)),
                None => return (frames, None),
            }
        }
    }

    fn large() -> Arc<SealedEntry> {
        let text = format!(r#"{{"x":"{}"}}"#, "y".repeat(3 * PIECE_BYTES));
        let document = Document::canonicalize(text.as_bytes()).unwrap();
        Entry { document, ..entry("a", 1) }.seal()
    }

    #[tokio::test]
    async fn a_document_in_memory_is_sent_as_it_is_without_a_copy() {
        let sealed = large();
        let Encoded::Held(document) = sealed.document() else { panic!("it is in memory") };
        let (frames, error) = frames(&sealed).await;
        assert!(error.is_none());
        let sizes: Vec<_> = frames.iter().map(Bytes::len).collect();
        assert_eq!(sizes, [1, PIECE_BYTES, PIECE_BYTES, PIECE_BYTES, document.len() - 3 * PIECE_BYTES, 1]);
        let range = document.as_ptr_range();
        let is_part = |piece: &Bytes| piece.len() == 1 || range.contains(&piece.as_ptr());
        assert!(frames.iter().all(is_part), "each is a part of the document itself");
        assert_eq!(frames.concat(), [b"a", &document[..], b"z"].concat());
    }

    #[derive(Debug)]
    struct File(Vec<u8>);

    impl Source for File {
        fn read_now(&self, bytes: &mut [u8], offset: u64) -> Option<io::Result<()>> {
            Some(self.read(bytes, offset))
        }

        fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
            let from = usize::try_from(offset).unwrap();
            bytes.copy_from_slice(&self.0[from..from + bytes.len()]);
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_document_on_disk_is_sent_in_pieces_and_never_whole_once_it_is_damaged() {
        let sealed = large();
        let encoded = sealed.checked().unwrap().to_vec();
        let whole = frames(&sealed).await.0.concat();
        sealed.stored_at(Arc::new(File(encoded.clone())), 0);
        sealed.evict();
        assert_eq!(frames(&sealed).await.0.concat(), whole);
        let mut bad = encoded;
        *bad.last_mut().unwrap() ^= 1;
        sealed.stored_at(Arc::new(File(bad)), 0);
        let (sent, error) = frames(&sealed).await;
        assert!(sent.concat().len() < whole.len() - 1);
        assert!(error.unwrap().to_string().contains("blueprint a at version 1 was changed"));
    }
}
