//! The encoding of an entry, in memory or where a store has written it.

use std::{fmt, io, ops::Range, sync::Arc};

use bytes::Bytes;

/// A file in which entries are stored, for reading.
pub trait Source: fmt::Debug + Send + Sync {
    /// Fills the buffer from an offset on, if that needs no wait for a disk.
    fn read_now(&self, bytes: &mut [u8], offset: u64) -> Option<io::Result<()>>;

    /// Fills the buffer from an offset on. It may wait for a disk.
    ///
    /// # Errors
    /// As the operating system gives them; [`io::ErrorKind::UnexpectedEof`] where the file ends before.
    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
}

/// Bytes of an entry, or some of them. Cheap to clone; stored ones take no memory until they are read.
#[derive(Clone, Debug)]
pub enum Encoded {
    /// In memory.
    Held(Bytes),
    /// In a store's file.
    Stored {
        /// The file.
        source: Arc<dyn Source>,
        /// Where in it, bytes.
        range: Range<u64>,
    },
}

impl Encoded {
    /// Length, bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Held(bytes) => bytes.len(),
            Self::Stored { range, .. } => usize::try_from(range.end - range.start).unwrap_or(usize::MAX),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, if they are in memory.
    #[must_use]
    pub const fn held(&self) -> Option<&Bytes> {
        match self {
            Self::Held(bytes) => Some(bytes),
            Self::Stored { .. } => None,
        }
    }

    /// The first bytes, which this one loses.
    #[must_use]
    pub fn split_to(&mut self, length: usize) -> Self {
        match self {
            Self::Held(bytes) => Self::Held(bytes.split_to(length.min(bytes.len()))),
            Self::Stored { source, range } => {
                let middle = (range.start + length as u64).min(range.end);
                let first = range.start..middle;
                range.start = middle;
                Self::Stored { source: Arc::clone(source), range: first }
            }
        }
    }

    /// The last bytes.
    #[must_use]
    pub(super) fn last(mut self, length: usize) -> Self {
        let _before = self.split_to(self.len().saturating_sub(length));
        self
    }

    /// The bytes, if that needs no wait for a disk.
    #[must_use]
    pub fn now(&self) -> Option<io::Result<Bytes>> {
        match self {
            Self::Held(bytes) => Some(Ok(bytes.clone())),
            Self::Stored { source, range } => {
                let mut bytes = vec![0; self.len()];
                Some(source.read_now(&mut bytes, range.start)?.map(|()| bytes.into()))
            }
        }
    }

    /// The bytes. It may wait for a disk.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub fn read(&self) -> io::Result<Bytes> {
        match self {
            Self::Held(bytes) => Ok(bytes.clone()),
            Self::Stored { source, range } => {
                let mut bytes = vec![0; self.len()];
                source.read(&mut bytes, range.start)?;
                Ok(bytes.into())
            }
        }
    }
}

impl From<Bytes> for Encoded {
    fn from(bytes: Bytes) -> Self {
        Self::Held(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of which only the first bytes are in memory.
    #[derive(Debug)]
    struct File {
        bytes: Vec<u8>,
        cached: usize,
    }

    impl Source for File {
        fn read_now(&self, bytes: &mut [u8], offset: u64) -> Option<io::Result<()>> {
            let end = usize::try_from(offset).unwrap() + bytes.len();
            (end <= self.cached).then(|| self.read(bytes, offset))
        }

        fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
            let from = self.bytes.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
            bytes.copy_from_slice(from.get(..bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        }
    }

    #[test]
    fn stored_bytes_are_read_and_split_as_those_in_memory() {
        let source = Arc::new(File { bytes: (0..100).collect(), cached: 30 });
        let mut stored = Encoded::Stored { source, range: 20..90 };
        let mut held = Encoded::from(stored.read().unwrap());
        assert_eq!((stored.len(), stored.now().is_some()), (70, false));
        let (first, same) = (stored.split_to(10), held.split_to(10));
        assert_eq!(first.now().unwrap().unwrap(), same.read().unwrap());
        assert_eq!(stored.clone().last(5).read().unwrap(), held.clone().last(5).read().unwrap());
        assert_eq!(stored.split_to(1000).len(), held.split_to(1000).len());
        assert!(stored.is_empty() && held.is_empty());
    }

    #[test]
    fn a_file_that_is_too_short_is_an_error() {
        let source = Arc::new(File { bytes: vec![0; 10], cached: 0 });
        let stored = Encoded::Stored { source, range: 5..11 };
        assert_eq!(stored.read().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
