//! The file with a caller's bearer token.

use std::{io, path::Path};

use sorcha_os::read;

/// No token file is larger.
const FILE_BYTES: u64 = 64 * 1024;

/// Why a file gives no token. Messages never show what is in it.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It can't be read.
    #[error("read the token file {0}")]
    Unreadable(String, #[source] io::Error),
    /// No line counts.
    #[error("the token file {0} holds no token")]
    Empty(String),
    /// The first line is none.
    #[error("the token file {0} holds no bearer token: letters, digits and -._~+/= are allowed")]
    Malformed(String),
}

/// The first token in a file, which may be the caller's, or a node's with lines `name: token`. Empty lines and lines that begin
/// with `#` don't count.
///
/// # Errors
/// [`Unusable`] naming the file.
pub fn read(path: &Path) -> Result<String, Unusable> {
    let shown = || path.display().to_string();
    let text = read::text_once(path, FILE_BYTES);
    let text = text.map_err(|error| Unusable::Unreadable(shown(), error.into_io()))?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let line = lines.next().ok_or_else(|| Unusable::Empty(shown()))?;
    // A token has no colon and no space (RFC 6750), so this line can't be misread.
    let token = line.rsplit_once(':').map_or(line, |(_name, token)| token.trim());
    let is_token_char = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    if token.is_empty() || !token.chars().all(is_token_char) {
        return Err(Unusable::Malformed(shown()));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_file_is_the_clients_or_the_servers() {
        let file = |content: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), content).unwrap();
            read(file.path())
        };
        assert_eq!(file("abc.DEF-1\n").unwrap(), "abc.DEF-1");
        assert_eq!(file("\u{feff}abc.DEF-1\r\n").unwrap(), "abc.DEF-1");
        assert_eq!(file("# tokens\n\nci: s3cret==\nother: x\n").unwrap(), "s3cret==");
        assert!(file("\n# none\n").unwrap_err().to_string().contains("holds no token"));
        let broken = file("two words").unwrap_err().to_string();
        assert!(broken.contains("no bearer token") && !broken.contains("two words"), "{broken}");
        assert!(read(Path::new("/nowhere/token")).unwrap_err().to_string().contains("/nowhere/token"));
    }
}
