//! Bearer tokens from a file, read again when it changes.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{
    clock::{Clock, Monotonic},
    config::ConfigError,
    register::limits,
};

const SETTING: &str = "http.token_file";
/// Shortest token that is accepted, characters.
const MIN_TOKEN_CHARS: usize = 16;
/// The file is looked at this often at the most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Publisher's name for a token without one.
const UNNAMED: &str = "publisher";

/// The tokens of a file.
pub(super) struct TokenFile {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
}

struct Known {
    tokens: Vec<Token>,
    stamp: Option<Stamp>,
    looked_at: Monotonic,
}

/// What tells one content of the file from another; a mounted Secret is swapped by a symbolic link.
type Stamp = (SystemTime, u64);

struct Token {
    name: String,
    digest: [u8; 32],
}

impl TokenFile {
    /// Reads the file.
    ///
    /// # Errors
    /// [`ConfigError`] when the file can't be read, or a line of it is no usable token.
    pub(super) fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, ConfigError> {
        let (tokens, stamp) = read(path)?;
        let known = Mutex::new(Known { tokens, stamp, looked_at: clock.monotonic() });
        Ok(Self { path: path.to_owned(), clock, known })
    }

    /// Whether the file holds no token.
    pub(super) fn is_empty(&self) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).tokens.is_empty()
    }

    /// The name of a token, if it is in the file.
    pub(super) fn name_of(&self, token: &str) -> Option<String> {
        let digest = digest(token);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        self.look_again(&mut known);
        // All tokens are compared, each in constant time, so that the time tells nothing about any of them.
        let match_of = |token: &Token| bool::from(token.digest.ct_eq(&digest)).then(|| token.name.clone());
        known.tokens.iter().fold(None, |found, token| match_of(token).or(found))
    }

    /// Reads the file again if it has changed; one that is not readable changes nothing and is logged once.
    fn look_again(&self, known: &mut Known) {
        let (file, now) = (&self.path, self.clock.monotonic());
        if now.since(known.looked_at) < LOOK_EVERY {
            return;
        }
        known.looked_at = now;
        let stamp = stamp(file);
        if stamp == known.stamp {
            return;
        }
        known.stamp = stamp;
        match read(file) {
            Ok((tokens, stamp)) => {
                tracing::info!(tokens = tokens.len(), file = %file.display(), "tokens read again");
                (known.tokens, known.stamp) = (tokens, stamp);
            }
            Err(error) => tracing::error!(%error, "tokens not read again; the ones known stay valid"),
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// The stamp is taken before the content: a change in between is seen at the next look.
fn read(path: &Path) -> Result<(Vec<Token>, Option<Stamp>), ConfigError> {
    let stamp = stamp(path);
    let text = fs::read_to_string(path).map_err(|source| ConfigError::File {
        setting: SETTING,
        path: path.to_owned(),
        source,
    })?;
    let tokens = parse(&text).map_err(|problem| ConfigError::Invalid {
        setting: SETTING,
        problem: format!("{}: {problem}", path.display()),
    })?;
    Ok((tokens, stamp))
}

/// What tokens are compared and remembered by.
pub(super) fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// One token a line, `name: token` or `token`; `#` begins a comment line. Messages never show a token.
fn parse(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens: Vec<Token> = Vec::new();
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, token) =
            line.split_once(':').map_or((UNNAMED, line), |(name, token)| (name.trim(), token.trim()));
        if name.is_empty() || name.chars().count() > limits::PUBLISHED_BY_CHARS {
            return Err(format!(
                "line {number}: the name must have 1 to {} characters",
                limits::PUBLISHED_BY_CHARS
            ));
        }
        if !token.chars().all(|c| c.is_ascii_graphic()) {
            return Err(format!("line {number}: the token has a character that no HTTP header carries"));
        }
        if token.len() < MIN_TOKEN_CHARS {
            return Err(format!(
                "line {number}: the token has {} characters; it needs {MIN_TOKEN_CHARS} or more",
                token.len()
            ));
        }
        let digest = digest(token);
        if tokens.iter().any(|known| known.digest == digest) {
            return Err(format!("line {number}: the token is there already, under another line"));
        }
        tokens.push(Token { name: name.to_owned(), digest });
    }
    Ok(tokens)
}
