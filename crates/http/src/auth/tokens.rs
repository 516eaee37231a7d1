//! Bearer tokens from a file, read again when it changes. What is not in the file as it is now is not good: a line that can't be
//! used ends its token, and a file that is gone or can't be read ends all of them, until it is back.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use sorcha_config::ConfigError;
use sorcha_os::read::{self, Unreadable};
use sorcha_register::{
    clock::{Clock, Monotonic},
    entry::check_published_by,
    limits,
};
use sorcha_runtime::file_watch::FileWatch;
use subtle::ConstantTimeEq as _;

const SETTING: &str = "http.token_file";
/// Shortest token that is accepted, characters.
const MIN_TOKEN_CHARS: usize = 16;
/// The file is looked at this often at the most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// No file with tokens is larger.
const FILE_BYTES: u64 = 1024 * 1024;
/// Faults of one file that are logged.
const LOGGED: usize = 10;
/// Publisher's name for a token without one.
const UNNAMED: &str = "publisher";

/// The tokens of a file.
pub(super) struct TokenFile {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    known: Mutex<TokenTable>,
}

struct TokenTable {
    tokens: Vec<Token>,
    /// What is wrong with the file as it is now.
    fault: Option<String>,
    watch: FileWatch,
    looked_at: Monotonic,
}

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
        let watch = FileWatch::from_now(path.to_owned());
        let Parsed { tokens, faults } = parse(&read(path)?);
        if let Some(fault) = faults.first() {
            let problem = format!("{}: {fault}", path.display());
            return Err(ConfigError::Invalid { setting: SETTING, problem });
        }
        let known = Mutex::new(TokenTable { tokens, fault: None, watch, looked_at: clock.monotonic() });
        Ok(Self { path: path.to_owned(), clock, known })
    }

    /// How many tokens are good now.
    pub(super) fn count(&self) -> usize {
        self.now().tokens.len()
    }

    /// What is wrong with the file as it is now, and so which tokens are not good.
    pub(super) fn fault(&self) -> Option<String> {
        self.now().fault.clone()
    }

    /// The name of a token, if it is in the file.
    pub(super) fn name_of(&self, token: &str) -> Option<String> {
        let digest = digest(token);
        let known = self.now();
        // All tokens are compared, each in constant time, so that the time tells nothing about any of them.
        let match_of = |token: &Token| bool::from(token.digest.ct_eq(&digest)).then(|| token.name.clone());
        known.tokens.iter().fold(None, |found, token| match_of(token).or(found))
    }

    /// What the file holds, at most [`LOOK_EVERY`] ago.
    fn now(&self) -> MutexGuard<'_, TokenTable> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.monotonic();
        // One that is being replaced by a program that removes it first is looked for at each call.
        if now.since(known.looked_at) >= LOOK_EVERY || known.watch.is_missing() {
            known.looked_at = now;
            if known.watch.has_changed() {
                known.take(&self.path);
            }
        }
        known
    }
}

impl TokenTable {
    fn take(&mut self, path: &Path) {
        let before = self.tokens.len();
        let Parsed { tokens, faults } = match read(path) {
            Ok(content) => parse(&content),
            Err(error) => Parsed { tokens: Vec::new(), faults: vec![error.to_string()] },
        };
        let (file, good) = (path.display(), tokens.len());
        for fault in faults.iter().take(LOGGED) {
            tracing::error!(%file, fault, good, before, "http.token_file is not sound: only the tokens of its good lines are taken");
        }
        if faults.is_empty() {
            tracing::info!(tokens = good, %file, "tokens read again");
        }
        self.fault = faults.first().map(|fault| {
            format!(
                "{SETTING} {file} is not sound: {fault}; good tokens: {good}, before this change: {before}"
            )
        });
        self.tokens = tokens;
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    read::bytes(path, FILE_BYTES).map_err(|error| ConfigError::File {
        setting: SETTING,
        path: path.to_owned(),
        source: error.into_io(),
    })
}

/// What tokens are compared and remembered by.
pub(super) fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// The good lines of a file, and what is wrong with the others.
#[derive(Default)]
struct Parsed {
    tokens: Vec<Token>,
    faults: Vec<String>,
}

/// One token a line, `name: token` or `token`; `#` begins a comment line. Messages never show a token.
fn parse(content: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    let content = match read::unmarked(content) {
        Ok(content) => content,
        Err(error) => return Parsed { faults: vec![error.to_string()], ..parsed },
    };
    for (number, line) in (1..).zip(content.split(|byte| *byte == b'\n')) {
        match parse_line(line) {
            Ok(Some(token)) if parsed.tokens.iter().any(|known| known.digest == token.digest) => {
                parsed.faults.push(format!(
                    "line {number}: another line before has the same token; give each name its own"
                ));
            }
            Ok(Some(token)) => parsed.tokens.push(token),
            Ok(None) => {}
            Err(problem) => parsed.faults.push(format!("line {number}: {problem}")),
        }
    }
    parsed
}

fn parse_line(line: &[u8]) -> Result<Option<Token>, String> {
    // Files that were put together bring their marks along.
    let line = read::decoded(line).map_err(|error| match error {
        Unreadable::Encoding { .. } | Unreadable::NotText { .. } => "it is not UTF-8 text".to_owned(),
        other => other.to_string(),
    })?;
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, token) =
        line.split_once(':').map_or((UNNAMED, line), |(name, token)| (name.trim(), token.trim()));
    if name.is_empty() || name.chars().count() > limits::PUBLISHED_BY_CHARS {
        return Err(format!("the name must have 1 to {} characters", limits::PUBLISHED_BY_CHARS));
    }
    if name.contains(is_invisible) || check_published_by(name).is_err() {
        return Err("the name has an invisible character; type the name again".to_owned());
    }
    // `system:serviceaccount:…` on a line is this name, and a token that nobody meant.
    if name.eq_ignore_ascii_case("system") {
        return Err("the name must not be `system`, with which Kubernetes begins the names of its own users; choose another \
                    one"
            .to_owned());
    }
    if !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err("the token has a character that HTTP headers can't carry; use visible ASCII characters"
            .to_owned());
    }
    if token.len() < MIN_TOKEN_CHARS {
        return Err(format!("the token has {} characters; it needs {MIN_TOKEN_CHARS} or more", token.len()));
    }
    Ok(Some(Token { name: name.to_owned(), digest: digest(token) }))
}

/// Marks, joiners and the like: two names would look the same and not be.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
