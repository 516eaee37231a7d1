//! A file, read from its beginning to its end in large pieces.

use std::{collections::VecDeque, sync::Arc};

use bytes::{Bytes, BytesMut};
use sorcha_register::entry::Source;

use super::{
    super::{StoreError, disk::io_error},
    file::Content,
};

/// Bytes that are read at once.
const PIECE: usize = 4 * 1024 * 1024;
/// Pieces whose memory is used again once nobody reads them.
const REUSED: usize = 4;

/// The part of a file that was read last.
pub(super) struct Window<'f> {
    content: &'f Content<'f>,
    start: u64,
    bytes: Bytes,
    spent: VecDeque<Bytes>,
    failure: Option<StoreError>,
}

impl<'f> Window<'f> {
    pub(super) fn over(content: &'f Content<'f>) -> Self {
        Self { content, start: 0, bytes: Bytes::new(), spent: VecDeque::new(), failure: None }
    }

    pub(super) const fn length(&self) -> u64 {
        self.content.length
    }

    /// The file, for later reads.
    pub(super) fn source(&self) -> Arc<dyn Source> {
        self.content.file.source()
    }

    /// The error that ended reading, if one did.
    pub(super) fn failure(self) -> Result<(), StoreError> {
        self.failure.map_or(Ok(()), Err)
    }

    /// Bytes of the file; `None` where it ends before, or can't be read.
    pub(super) fn get(&mut self, at: u64, length: usize) -> Option<Bytes> {
        let end = at.checked_add(length as u64).filter(|end| *end <= self.content.length)?;
        if at < self.start || end > self.start + self.bytes.len() as u64 {
            self.fill(at, length)?;
        }
        let from = usize::try_from(at - self.start).ok()?;
        Some(self.bytes.slice(from..from + length))
    }

    fn fill(&mut self, at: u64, length: usize) -> Option<()> {
        let rest = usize::try_from(self.content.length - at).unwrap_or(usize::MAX);
        let size = length.max(PIECE).min(rest);
        let mut buffer = self.buffer(size);
        if let Err(error) = self.content.file.source().read(&mut buffer, at) {
            self.failure.get_or_insert(io_error(&error));
            return None;
        }
        let before = std::mem::replace(&mut self.bytes, buffer.freeze());
        if before.len() == PIECE {
            self.spent.push_back(before);
            self.spent.truncate(REUSED);
        }
        self.start = at;
        Some(())
    }

    /// Memory of a piece that nobody reads any more, or new memory.
    fn buffer(&mut self, size: usize) -> BytesMut {
        if size == PIECE {
            for _ in 0..self.spent.len() {
                match self.spent.pop_front().map(Bytes::try_into_mut) {
                    Some(Ok(buffer)) => return buffer,
                    Some(Err(in_use)) => self.spent.push_back(in_use),
                    None => break,
                }
            }
        }
        BytesMut::zeroed(size)
    }
}
