//! Text that people and other programs write: bounded, without the mark that some editors put at its beginning, and with a
//! word about encodings that are not UTF-8.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

/// The byte order mark of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a file is not the text that it should be.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// As the operating system says.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A pipe, socket or device, which may keep its reader waiting.
    #[error("it is a pipe or a device, which may keep its reader waiting; give a regular file")]
    NotRegular,
    /// It is some other file.
    #[error("it has more than {limit} bytes")]
    TooLarge {
        /// What is read at the most.
        limit: u64,
    },
    /// It has the byte order mark of another encoding.
    #[error("it is {encoding} text; save it as UTF-8")]
    Encoding {
        /// Which.
        encoding: &'static str,
    },
    /// Not text, or text in an older encoding.
    #[error("byte {at} is not UTF-8 text; save it as UTF-8")]
    NotText {
        /// Where, from 0.
        at: usize,
    },
    /// A NUL, which no text has.
    #[error("byte {at} is NUL, which no text has; if it is UTF-16, save it as UTF-8")]
    Nul {
        /// Where, from 0.
        at: usize,
    },
}

impl Unreadable {
    /// Whether there is no such file.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }

    /// For those who know only errors of the operating system.
    #[must_use]
    pub fn into_io(self) -> io::Error {
        match self {
            Self::Io(error) => error,
            other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
        }
    }
}

/// Bytes without a byte order mark.
///
/// # Errors
/// [`Unreadable::Encoding`] where the mark is that of another encoding.
pub fn unmarked(bytes: &[u8]) -> Result<&[u8], Unreadable> {
    let encoding = match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => "UTF-32",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "UTF-16",
        _ => return Ok(bytes.strip_prefix(MARK).unwrap_or(bytes)),
    };
    Err(Unreadable::Encoding { encoding })
}

/// The text that bytes are.
///
/// # Errors
/// [`Unreadable`] when they are none.
pub fn decoded(bytes: &[u8]) -> Result<&str, Unreadable> {
    let text = unmarked(bytes)?;
    let skipped = bytes.len() - text.len();
    if let Some(at) = text.iter().position(|byte| *byte == 0) {
        return Err(Unreadable::Nul { at: skipped + at });
    }
    std::str::from_utf8(text).map_err(|error| Unreadable::NotText { at: skipped + error.valid_up_to() })
}

/// A regular file's bytes, no more than `limit`.
///
/// # Errors
/// [`Unreadable::Io`], [`Unreadable::NotRegular`], [`Unreadable::TooLarge`].
pub fn bytes(path: &Path, limit: u64) -> Result<Vec<u8>, Unreadable> {
    let kind = fs::metadata(path)?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(Unreadable::NotRegular);
    }
    bytes_once(path, limit)
}

fn bytes_once(path: &Path, limit: u64) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(Unreadable::TooLarge { limit }) } else { Ok(bytes) }
}

/// The text of a file that is read once, by a command: also of a pipe, such as a shell's `<(…)`, as soon as it is written.
///
/// # Errors
/// [`Unreadable`] when it is none, with what to do.
pub fn text_once(path: &Path, limit: u64) -> Result<String, Unreadable> {
    decoded(&bytes_once(path, limit)?).map(str::to_owned)
}

/// A regular file's text, no more than `limit` bytes.
///
/// # Errors
/// [`Unreadable`] when it is none, with what to do.
pub fn text(path: &Path, limit: u64) -> Result<String, Unreadable> {
    decoded(&bytes(path, limit)?).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_no_part_of_the_text_and_other_encodings_are_named() {
        for plain in ["", "a: b", "\n"] {
            assert_eq!(decoded(plain.as_bytes()).unwrap(), plain);
            assert_eq!(decoded(format!("\u{feff}{plain}").as_bytes()).unwrap(), plain);
        }
        let refused: [(&[u8], &str); 7] = [
            (b"\xff\xfea\0", "UTF-16"),
            (b"\xfe\xff\0a", "UTF-16"),
            (b"\xff\xfe\0\0a\0\0\0", "UTF-32"),
            (b"\0\0\xfe\xff\0\0\0a", "UTF-32"),
            (b"a\0b\0", "byte 1 is NUL"),
            (b"\xef\xbb\xbfab\xe9", "byte 5 is not UTF-8"),
            (b"\xff", "byte 0 is not UTF-8"),
        ];
        for (bytes, told) in refused {
            let error = decoded(bytes).unwrap_err().to_string();
            assert!(error.contains(told) && error.contains("save it as UTF-8"), "{error}");
        }
    }

    #[test]
    fn no_more_than_the_limit_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "12345").unwrap();
        assert_eq!(text(file.path(), 5).unwrap(), "12345");
        assert!(text(file.path(), 4).unwrap_err().to_string().contains("more than 4 bytes"));
        assert!(matches!(text(Path::new("/dev/zero"), 4), Err(Unreadable::NotRegular)));
        assert!(matches!(text_once(Path::new("/dev/zero"), 4), Err(Unreadable::TooLarge { .. })));
        assert!(text(Path::new("/nowhere/at/all"), 4).unwrap_err().is_missing());
    }
}
