//! Stored entries are read without holding up the runtime: what is in the page cache at once, the rest on the blocking pool.

use std::{
    io,
    pin::Pin,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use sorcha_register::entry::Encoded;
use tokio::task::{JoinHandle, spawn_blocking};

/// Bytes of a large entry that are read at once, at most and at least.
const PIECE: usize = 128 * 1024;
const SMALLEST_PIECE: usize = 16 * 1024;
/// Memory of the pieces of all entries that are being sent, bytes. Pieces shrink where more are.
const ALL_PIECES: usize = 16 * 1024 * 1024;

/// Stored entries of the whole process that are being sent in pieces.
static BEING_SENT: AtomicUsize = AtomicUsize::new(0);

/// Reads of entries of the whole process: from memory, from the file.
static READS: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

/// Reads of entries so far that were answered from memory, and from the store's file.
#[must_use]
pub fn counts() -> [u64; 2] {
    READS.each_ref().map(|count| count.load(Ordering::Relaxed))
}

/// Counts a read of an entry.
fn count(encoded: &Encoded) {
    let which = usize::from(matches!(encoded, Encoded::Stored { .. }));
    READS[which].fetch_add(1, Ordering::Relaxed);
}

/// All bytes.
///
/// # Errors
/// As [`Encoded::read`].
pub async fn whole(encoded: Encoded) -> io::Result<Bytes> {
    count(&encoded);
    let mut reading = Reading::default();
    std::future::poll_fn(|cx| reading.poll(&encoded, cx)).await
}

/// Bytes that are read piece by piece, as a connection takes them.
#[derive(Debug)]
pub struct Pieces {
    rest: Encoded,
    /// The piece that is read.
    next: Option<Encoded>,
    reading: Reading,
    /// There while the rest is in a file.
    counted: Option<Counted>,
}

/// Counts in [`BEING_SENT`] until it is dropped.
#[derive(Debug)]
struct Counted;

impl Counted {
    fn begin() -> Self {
        BEING_SENT.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        BEING_SENT.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes of a piece where so many entries are being sent.
fn piece(being_sent: usize) -> usize {
    (ALL_PIECES / being_sent.max(1)).clamp(SMALLEST_PIECE, PIECE)
}

impl Pieces {
    /// Of an entry or a part of it.
    #[must_use]
    pub fn of(encoded: Encoded) -> Self {
        count(&encoded);
        let counted = matches!(encoded, Encoded::Stored { .. }).then(Counted::begin);
        Self { rest: encoded, next: None, reading: Reading::default(), counted }
    }

    /// Bytes that are still to come.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rest.len() + self.next.as_ref().map_or(0, Encoded::len)
    }

    /// Whether none is to come.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next piece: of bytes in memory all of them; none at the end.
    ///
    /// # Errors
    /// As [`Encoded::read`].
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.is_empty() {
            return Poll::Ready(None);
        }
        let rest = &mut self.rest;
        let next = self.next.get_or_insert_with(|| {
            let being_sent = BEING_SENT.load(Ordering::Relaxed);
            let length = if self.counted.is_some() { piece(being_sent) } else { rest.len() };
            rest.split_to(length)
        });
        let read = ready!(self.reading.poll(next, cx));
        self.next = None;
        Poll::Ready(Some(read))
    }
}

/// A read that may wait for a disk.
#[derive(Debug, Default)]
struct Reading(Option<JoinHandle<io::Result<Bytes>>>);

impl Reading {
    fn poll(&mut self, encoded: &Encoded, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if self.0.is_none() {
            if let Some(read) = encoded.now() {
                return Poll::Ready(read);
            }
            let encoded = encoded.clone();
            self.0 = Some(spawn_blocking(move || encoded.read()));
        }
        let Some(task) = &mut self.0 else { return Poll::Pending };
        let read = ready!(Pin::new(task).poll(cx));
        self.0 = None;
        Poll::Ready(read.unwrap_or_else(|error| Err(io::Error::other(error))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sorcha_register::entry::Source;

    use super::*;

    /// A file that is never in the page cache.
    #[derive(Debug)]
    struct Cold(Vec<u8>);

    impl Source for Cold {
        fn read_now(&self, _: &mut [u8], _: u64) -> Option<io::Result<()>> {
            None
        }

        fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
            let from = usize::try_from(offset).unwrap();
            let there = self.0.get(from..from + bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            bytes.copy_from_slice(there);
            Ok(())
        }
    }

    async fn pieces(encoded: Encoded) -> Vec<io::Result<Bytes>> {
        let (mut pieces, mut all) = (Pieces::of(encoded), Vec::new());
        while let Some(piece) = std::future::poll_fn(|cx| pieces.poll_next(cx)).await {
            all.push(piece);
        }
        all
    }

    #[tokio::test]
    async fn what_is_on_disk_is_read_elsewhere_and_in_pieces() {
        let content: Vec<u8> = (0..3 * PIECE + 7).map(|at| (at % 251) as u8).collect();
        let range = 5..content.len() as u64;
        let stored = Encoded::Stored { source: Arc::new(Cold(content.clone())), range };
        assert_eq!(whole(stored.clone()).await.unwrap(), content[5..]);
        let read: Vec<_> = pieces(stored).await.into_iter().map(Result::unwrap).collect();
        assert_eq!((read.len(), read.concat()), (4, content[5..].to_vec()));
        let held = pieces(Bytes::from(content.clone()).into()).await;
        assert_eq!(held.len(), 1, "what is in memory is shared");
    }

    #[test]
    fn pieces_shrink_where_many_are_sent() {
        assert_eq!((piece(0), piece(100)), (PIECE, PIECE));
        assert!(piece(500) < PIECE && (129..=1024).all(|many| many * piece(many) <= ALL_PIECES));
        assert_eq!(piece(1_000_000), SMALLEST_PIECE);
        let stored = Encoded::Stored { source: Arc::new(Cold(Vec::new())), range: 0..10 };
        let (held, counted) = (Pieces::of(Bytes::from_static(b"x").into()), Pieces::of(stored));
        assert!(held.counted.is_none() && counted.counted.is_some());
    }

    #[tokio::test]
    async fn a_file_that_was_cut_off_is_an_error_once() {
        let stored = Encoded::Stored { source: Arc::new(Cold(vec![0; 10])), range: 0..20 };
        assert!(whole(stored.clone()).await.is_err());
        let read = pieces(stored).await;
        assert!(matches!(&read[..], [Err(_)]), "{read:?}");
    }
}
