//! Who may write: bearer tokens from a file (design section 8, D23). Reads need none.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{HeaderMap, header, request::Parts},
};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::problem::{Kind, Problem};
use crate::{
    clock::{Clock, Monotonic},
    config::{ConfigError, Http},
    register::limits,
};

const SETTING: &str = "http.token_file";
/// Shortest token that is accepted, characters.
const MIN_TOKEN_CHARS: usize = 16;
/// The file is looked at this often at the most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Publisher's name for a token without one, and for nobody in particular.
const UNNAMED: &str = "publisher";
const ANONYMOUS: &str = "anonymous";

/// Tells who may write. Cheap to clone.
#[derive(Clone)]
pub struct Auth(Arc<Guard>);

struct Guard {
    file: Option<PathBuf>,
    insecure_writes: bool,
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

impl Auth {
    /// Reads the token file, if one is configured.
    ///
    /// # Errors
    /// [`ConfigError`] when the file can't be read, or a line of it is no usable token.
    pub fn new(http: &Http, clock: Arc<dyn Clock>) -> Result<Self, ConfigError> {
        let (tokens, stamp) = match &http.token_file {
            Some(path) => read(path)?,
            None => (Vec::new(), None),
        };
        match (http.insecure_writes, http.token_file.is_some()) {
            (true, _) => {
                tracing::warn!("http.insecure_writes is on: anybody who reaches the HTTP port may write")
            }
            (false, true) if tokens.is_empty() => {
                tracing::warn!("http.token_file holds no token: all writes are refused")
            }
            _ => {}
        }
        let known = Mutex::new(Known { tokens, stamp, looked_at: clock.monotonic() });
        Ok(Self(Arc::new(Guard {
            file: http.token_file.clone(),
            insecure_writes: http.insecure_writes,
            clock,
            known,
        })))
    }

    /// Whether the caller shows a valid token, or every caller counts as one who does.
    pub(super) fn is_trusted(&self, headers: &HeaderMap) -> bool {
        self.0.insecure_writes || self.name_of(headers).is_some()
    }

    /// The caller's name, if it may write.
    fn writer(&self, headers: &HeaderMap) -> Result<Writer, Problem> {
        match self.name_of(headers) {
            Some(name) => Ok(Writer { name }),
            None if self.0.insecure_writes => Ok(Writer { name: ANONYMOUS.to_owned() }),
            None if self.0.file.is_none() => Err(Problem::new(
                Kind::WRITES_DISABLED,
                "no token is configured; set http.token_file, or http.insecure_writes = true for a trial",
            )),
            None if headers.contains_key(header::AUTHORIZATION) => {
                Err(Problem::new(Kind::UNAUTHORIZED, "the token is not one of this node's http.token_file"))
            }
            None => Err(Problem::new(Kind::UNAUTHORIZED, "send the header `Authorization: Bearer <token>`")),
        }
    }

    fn name_of(&self, headers: &HeaderMap) -> Option<String> {
        let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let digest = digest(token.trim());
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        self.look_again(&mut known);
        // All tokens are compared, each in constant time, so that the time tells nothing about any of them.
        let match_of = |token: &Token| bool::from(token.digest.ct_eq(&digest)).then(|| token.name.clone());
        known.tokens.iter().fold(None, |found, token| match_of(token).or(found))
    }

    /// Reads the file again if it has changed; one that is not readable changes nothing and is logged once.
    fn look_again(&self, known: &mut Known) {
        let (Some(file), now) = (&self.0.file, self.0.clock.monotonic()) else { return };
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

/// A caller who may write, by name. Extract it before the body: nobody else's body is read.
#[derive(Debug)]
pub(super) struct Writer {
    /// The token's name.
    pub(super) name: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Writer
where
    Auth: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Auth::from_ref(state).writer(&parts.headers)
    }
}

fn stamp(path: &PathBuf) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// The stamp is taken before the content: a change in between is seen at the next look.
fn read(path: &PathBuf) -> Result<(Vec<Token>, Option<Stamp>), ConfigError> {
    let stamp = stamp(path);
    let text = fs::read_to_string(path).map_err(|source| ConfigError::File {
        setting: SETTING,
        path: path.clone(),
        source,
    })?;
    let tokens = parse(&text).map_err(|problem| ConfigError::Invalid {
        setting: SETTING,
        problem: format!("{}: {problem}", path.display()),
    })?;
    Ok((tokens, stamp))
}

fn digest(token: &str) -> [u8; 32] {
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
