//! Entries as the body of an answer. Large entries go to the wire as slices of shared bytes, or piece by piece from the store's
//! file, so that a stalled reader holds no copy of them; the library would make one for each stream.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    vec,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame};
use sorcha_register::entry::Encoded;
use sorcha_runtime::reading;
use tonic::Status;

use super::{
    flight::CHUNK,
    outlet::{Inlet, Outlet, outlet},
    stream::unreadable,
};

/// Pieces that a stream of entries buffers.
const PIECES: usize = 2;
/// Prefix of a gRPC message: a flag, 0 for uncompressed, and the length.
const PREFIX: usize = 5;

/// Entries go through the queue in pieces: a wake-up for each entry would cost more than the entry.
pub(super) type Pieces = Outlet<Vec<Encoded>>;

/// A stream of encoded entries.
pub(super) struct EntryBody {
    pieces: Inlet<Vec<Encoded>>,
    piece: vec::IntoIter<Encoded>,
    /// Largest entry, bytes (`limits.max_message_bytes`).
    largest: usize,
    /// Rest of a large entry.
    rest: Bytes,
    /// What is still to be read of a large entry, behind its rest.
    stored: Option<reading::Pieces>,
    /// The final status, once it is known.
    end: Option<Status>,
    is_over: bool,
}

impl EntryBody {
    pub(super) fn new(largest: usize) -> (Pieces, Self) {
        let (outlet, pieces) = outlet(PIECES);
        let piece = Vec::new().into_iter();
        (outlet, Self { pieces, piece, largest, rest: Bytes::new(), stored: None, end: None, is_over: false })
    }

    /// The next entry; none once the stream has an end.
    fn poll_entry(&mut self, cx: &mut Context<'_>) -> Poll<Option<Encoded>> {
        while self.end.is_none() && !self.is_over {
            if let Some(entry) = self.piece.next() {
                if entry.len() <= self.largest {
                    return Poll::Ready(Some(entry));
                }
                self.end = Some(too_large(entry.len(), self.largest));
                break;
            }
            match self.pieces.poll_item(cx) {
                Poll::Ready(Some(Ok(piece))) => self.piece = piece.into_iter(),
                Poll::Ready(Some(Err(status))) => self.end = Some(status),
                Poll::Ready(None) => self.end = Some(Status::ok("")),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(None)
    }

    /// One chunk at most: the end of a large entry, the small entries that are ready, the beginning of the next large one.
    fn poll_copied(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut copied = BytesMut::from(std::mem::take(&mut self.rest).as_ref());
        while self.rest.is_empty() && self.stored.is_none() && copied.len() + PREFIX <= CHUNK {
            match self.poll_entry(cx) {
                Poll::Ready(Some(entry)) => self.copy(&mut copied, entry),
                Poll::Pending if copied.is_empty() => return Poll::Pending,
                Poll::Ready(None) if copied.is_empty() => return Poll::Ready(None),
                Poll::Pending | Poll::Ready(None) => break,
            }
        }
        Poll::Ready(Some(copied.freeze()))
    }

    /// Copies an entry as far as there is room in the chunk.
    fn copy(&mut self, copied: &mut BytesMut, entry: Encoded) {
        if copied.is_empty() {
            let there = self.piece.as_slice().iter().map(|next| PREFIX + next.len()).sum::<usize>();
            copied.reserve((PREFIX + entry.len() + there).min(CHUNK));
        }
        copied.put_u8(0);
        // The limit of a message is far below 4 GB.
        copied.put_u32(u32::try_from(entry.len()).unwrap_or(u32::MAX));
        match entry {
            Encoded::Held(mut entry) => {
                let first = entry.split_to(entry.len().min(CHUNK - copied.len()));
                copied.put_slice(&first);
                self.rest = entry;
            }
            stored @ Encoded::Stored { .. } => self.stored = Some(reading::Pieces::of(stored)),
        }
    }

    /// Reads the next piece of a large entry, unless the one before is not sent yet.
    fn poll_stored(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.rest.is_empty()
            && let Some(stored) = &mut self.stored
        {
            match ready!(stored.poll_next(cx)) {
                Some(Ok(piece)) => self.rest = piece,
                Some(Err(error)) => (self.stored, self.end) = (None, Some(unreadable(&error))),
                None => self.stored = None,
            }
        }
        Poll::Ready(())
    }

    fn trailers(&mut self) -> Option<Result<Frame<Bytes>, Status>> {
        if std::mem::replace(&mut self.is_over, true) {
            return None;
        }
        let mut trailers = HeaderMap::new();
        let end = self.end.take().unwrap_or_else(|| Status::ok(""));
        Some(end.add_header(&mut trailers).map(|()| Frame::trailers(trailers)))
    }
}

fn too_large(bytes: usize, limit: usize) -> Status {
    Status::out_of_range(format!(
        "an entry has {bytes} bytes; this central node sends at most {limit} (limits.max_message_bytes)"
    ))
}

impl Body for EntryBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        ready!(self.poll_stored(cx));
        let data = if self.rest.len() < CHUNK {
            match self.poll_copied(cx) {
                Poll::Ready(Some(copied)) => copied,
                Poll::Ready(None) => return Poll::Ready(self.trailers()),
                Poll::Pending => return Poll::Pending,
            }
        } else {
            self.rest.split_to(CHUNK)
        };
        self.pieces.is_taken();
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use prost::Message as _;
    use sorcha_proto::EncodedEntry;
    use tonic::Code;

    use super::*;

    /// The frames of a stream of entries, and the code that it ends with.
    async fn frames(largest: usize, pieces: Vec<Vec<Bytes>>, end: Option<Status>) -> (Vec<Bytes>, i32) {
        let (outlet, mut body) = EntryBody::new(largest);
        let sending = tokio::spawn(async move {
            for piece in pieces {
                outlet.send(piece.into_iter().map(Encoded::from).collect()).await.unwrap();
            }
            if let Some(end) = end {
                outlet.end(end);
            }
        });
        let (mut data, mut code) = (Vec::new(), None);
        while let Some(frame) = body.frame().await {
            match frame.unwrap().into_data() {
                Ok(bytes) => data.push(bytes),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap();
                    code = Some(trailers["grpc-status"].to_str().unwrap().parse().unwrap());
                }
            }
        }
        sending.await.unwrap();
        (data, code.expect("a stream says how it ends"))
    }

    /// What any receiver makes of the frames.
    fn messages(frames: &[Bytes]) -> Vec<Bytes> {
        let (mut bytes, mut messages) = (Bytes::from(frames.concat()), Vec::new());
        while !bytes.is_empty() {
            let prefix = bytes.split_to(PREFIX);
            assert_eq!(prefix[0], 0);
            let length = u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize;
            messages.push(EncodedEntry::decode(bytes.split_to(length)).unwrap().0);
        }
        messages
    }

    fn entry(length: usize) -> Bytes {
        (0..length).map(|at| (at % 251) as u8).collect()
    }

    #[tokio::test]
    async fn entries_of_any_length_arrive_as_they_are() {
        let lengths =
            [0, 1, 300, CHUNK - PREFIX - 1, CHUNK - PREFIX, CHUNK, CHUNK + 1, 5 * CHUNK + 7, 300, 0];
        let entries: Vec<_> = lengths.into_iter().map(entry).collect();
        for pieces in [vec![entries.clone()], entries.iter().map(|entry| vec![entry.clone()]).collect()] {
            let (frames, code) = frames(1 << 20, pieces, None).await;
            assert_eq!(messages(&frames), entries);
            assert_eq!(code, 0);
            assert!(frames.iter().all(|frame| !frame.is_empty() && frame.len() <= CHUNK));
        }
    }

    #[tokio::test]
    async fn small_entries_go_out_in_full_chunks() {
        let small: Vec<_> = (0..1000).map(|_| entry(300)).collect();
        let (frames, _) = frames(1 << 20, small.chunks(64).map(<[_]>::to_vec).collect(), None).await;
        assert!(frames.len() <= 1000 * 305 / CHUNK + 1000 / 64 + 2, "{} frames", frames.len());
    }

    #[tokio::test]
    async fn a_large_entry_is_not_copied() {
        let large = entry(1 << 20);
        let (frames, _) = frames(1 << 20, vec![vec![large.clone()]], None).await;
        let shared = large.as_ptr_range();
        let copies = frames.iter().filter(|frame| !shared.contains(&frame.as_ptr())).count();
        assert_eq!(copies, 2, "the frames at both ends are copied");
        assert_eq!(frames.concat().len(), large.len() + PREFIX);
    }

    #[tokio::test]
    async fn a_stream_ends_as_it_is_told_to_after_what_is_on_its_way() {
        let slow = Status::resource_exhausted("too slow");
        let (sent, code) = frames(1 << 20, vec![vec![entry(10)]], Some(slow)).await;
        assert_eq!((messages(&sent).len(), code), (1, Code::ResourceExhausted as i32));
        let pieces = vec![vec![entry(10), entry(101), entry(10)], vec![entry(10)]];
        let (sent, code) = frames(100, pieces, None).await;
        assert_eq!((messages(&sent).len(), code), (1, Code::OutOfRange as i32));
    }
}
