//! Reads of a file in which entries are stored: from the page cache at once, from the disk where a thread may wait.

use std::{
    fs::File,
    io::{self, IoSliceMut},
    os::unix::fs::FileExt as _,
};

use rustix::io::{Errno, ReadWriteFlags, preadv2};
use sorcha_register::entry::Source;

/// A file, open for reading.
#[derive(Debug)]
pub(crate) struct FileReader(pub(crate) File);

impl Source for FileReader {
    fn read_now(&self, bytes: &mut [u8], offset: u64) -> Option<io::Result<()>> {
        let mut done = 0;
        while done < bytes.len() {
            let rest = &mut [IoSliceMut::new(&mut bytes[done..])];
            match preadv2(&self.0, rest, offset + done as u64, ReadWriteFlags::NOWAIT) {
                Ok(0) => return Some(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(more) => done += more,
                Err(Errno::INTR) => {}
                // It is not in the page cache, or the system does not say: the read that may wait tells.
                Err(_) => return None,
            }
        }
        Some(Ok(()))
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn bytes_are_the_same_with_and_without_waiting_and_a_short_file_is_an_error() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[1, 2, 3, 4, 5]).unwrap();
        let reader = FileReader(file);
        let (mut waited, mut now) = ([0; 3], [0; 3]);
        reader.read(&mut waited, 1).unwrap();
        if let Some(read) = reader.read_now(&mut now, 1) {
            read.unwrap();
            assert_eq!(now, waited);
        }
        assert_eq!(waited, [2, 3, 4]);
        assert_eq!(reader.read(&mut waited, 3).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let short = reader.read_now(&mut now, 3);
        assert!(short.is_none_or(|short| short.unwrap_err().kind() == io::ErrorKind::UnexpectedEof));
    }
}
