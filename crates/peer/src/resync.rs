//! One full sync on request: a token in a file asks for it, and the last token done is remembered durably, so that
//! neither a restart nor a failover repeats or forgets it (`sync.force_resync_file`).

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest as _, Sha256};
use sorcha_os::{
    folder, read,
    replace::{Existing, Mode, replace_file},
};

/// Name of the file in the data directory that holds the last token done.
pub const DONE_FILE: &str = "force-resync-done";
/// Longest token.
pub(crate) const TOKEN_CHARS: usize = 100;
/// No file with a token is larger, with the white space around it.
const FILE_BYTES: u64 = 4096;

/// The request, and what became of the last one.
#[derive(Debug, Default)]
pub(crate) struct Resync {
    done_file: PathBuf,
    tokens: Mutex<Tokens>,
}

#[derive(Debug, Default)]
struct Tokens {
    wanted: Option<String>,
    done: Option<String>,
}

impl Resync {
    /// Reads what was done last from a data directory.
    #[must_use]
    pub(crate) fn load(data_dir: &Path) -> Self {
        let done_file = data_dir.join(DONE_FILE);
        let done = read_done(&done_file).unwrap_or_else(|error| {
            tracing::warn!(file = %done_file.display(), error, "last forced full sync not known");
            None
        });
        Self { done_file, tokens: Mutex::new(Tokens { wanted: None, done }) }
    }

    /// The last token done.
    #[must_use]
    pub(crate) fn done(&self) -> Option<String> {
        self.tokens().done.clone()
    }

    /// The token whose full sync is still to be done.
    #[must_use]
    pub(crate) fn pending(&self) -> Option<String> {
        let tokens = self.tokens();
        tokens.wanted.clone().filter(|_| tokens.wanted != tokens.done)
    }

    /// Takes in what is asked for now; true when that is something new to do.
    pub(crate) fn want(&self, token: Option<String>) -> bool {
        let mut tokens = self.tokens();
        let is_new = token != tokens.wanted && token.is_some() && token != tokens.done;
        tokens.wanted = token;
        is_new
    }

    /// Remembers that the full sync of a token was done.
    pub(crate) async fn complete(&self, token: String) {
        let (file, text) = (self.done_file.clone(), token.clone());
        let stored = tokio::task::spawn_blocking(move || store(&file, &text)).await;
        if let Err(error) = stored.map_err(io::Error::other).flatten() {
            let file = self.done_file.display();
            tracing::error!(%file, %error, token, "forced full sync done, but a restart will repeat it");
        } else {
            tracing::info!(token, "forced full sync done");
        }
        self.tokens().done = Some(token);
    }

    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The token in a file; none when the file is not there or holds only white space.
///
/// # Errors
/// What is wrong with the file.
pub(crate) fn read_token(path: &Path) -> Result<Option<String>, String> {
    let Some(text) = read_text(path)? else { return Ok(None) };
    let token = text.trim();
    if token.chars().count() > TOKEN_CHARS || token.chars().any(char::is_control) {
        return Err(format!("it must hold one line with a token of at most {TOKEN_CHARS} characters"));
    }
    Ok(Some(token.to_owned()).filter(|token| !token.is_empty()))
}

fn read_text(path: &Path) -> Result<Option<String>, String> {
    match read::text(path, FILE_BYTES) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// The last token done: a line of its own, and a line with its SHA-256, so that no changed byte makes another token of it.
fn read_done(path: &Path) -> Result<Option<String>, String> {
    let Some(text) = read_text(path)? else { return Ok(None) };
    let (token, digest) =
        text.strip_suffix('\n').and_then(|text| text.split_once('\n')).ok_or("it is not whole")?;
    if digest_of(token) == digest {
        Ok(Some(token.to_owned()))
    } else {
        Err("its SHA-256 does not fit".to_owned())
    }
}

fn digest_of(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}

/// A crash leaves the old token or the new one.
fn store(path: &Path, token: &str) -> io::Result<()> {
    folder::make(folder::of(path))?;
    let text = format!("{token}\n{}\n", digest_of(token));
    replace_file(path, text.as_bytes(), Mode::Private, Existing::Goes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sorcha_os::faults::{Fault, Step};

    use super::*;

    #[test]
    fn whatever_step_of_remembering_fails_the_old_token_or_the_new_one_is_known() {
        for (step, number) in Step::ALL.into_iter().flat_map(|step| [(step, 0), (step, 1)]) {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join(DONE_FILE);
            store(&file, "old").unwrap();
            let stored = Fault::at(step, number, || store(&file, "new"));
            let known = read_done(&file).unwrap().unwrap();
            assert_eq!(known == "new", stored.is_ok() || step == Step::SyncFolder, "{step:?}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{step:?} left something");
        }
    }

    #[tokio::test]
    async fn a_token_is_done_once_and_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("new");
        let resync = Resync::load(&data_dir);
        assert_eq!((resync.pending(), resync.done()), (None, None));
        let token = |text: &str| Some(text.to_owned());
        assert!(resync.want(token("a")) && !resync.want(token("a")));
        assert_eq!(resync.pending(), token("a"));
        assert!(resync.want(token("b")), "a newer request replaces it");
        resync.complete("a".into()).await;
        assert_eq!((resync.pending(), resync.done()), (token("b"), token("a")));
        resync.complete("b".into()).await;
        assert_eq!(resync.pending(), None);

        let again = Resync::load(&data_dir);
        assert_eq!(again.done(), token("b"));
        assert!(!again.want(token("b")), "a restart does not repeat it");
        assert!(again.want(token("a")), "any other token is a request");
        assert!(!again.want(None));
        assert_eq!(again.pending(), None, "withdrawn");
    }

    #[tokio::test]
    async fn no_changed_byte_makes_another_token_of_the_one_done() {
        let folder = tempfile::tempdir().unwrap();
        Resync::load(folder.path()).complete("2026-11-22".into()).await;
        let file = folder.path().join(DONE_FILE);
        let good = fs::read(&file).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(&file, bad).unwrap();
            assert!(read_done(&file).is_err(), "bit {bit}");
            assert_eq!(Resync::load(folder.path()).done(), None);
        }
    }

    #[test]
    fn tokens_are_read_with_care() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        assert_eq!(read_token(&file), Ok(None));
        let texts = [
            (" 2026-11-22\n", Some("2026-11-22")),
            ("\u{feff}2026-11-22\r\n", Some("2026-11-22")),
            (" \n", None),
            ("\u{feff}", None),
            ("", None),
        ];
        for (text, token) in texts {
            fs::write(&file, text).unwrap();
            assert_eq!(read_token(&file).unwrap().as_deref(), token);
        }
        fs::write(&file, "t".repeat(100)).unwrap();
        assert!(read_token(&file).unwrap().is_some());
        for bad in [b"t".repeat(101), b" ".repeat(5000), vec![0xff]] {
            fs::write(&file, bad).unwrap();
            assert!(read_token(&file).is_err());
        }
        assert!(read_token(folder.path()).is_err(), "a directory");
    }
}
