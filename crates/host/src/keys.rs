//! The node's Ed25519 signing key, kept beside its data.
//!
//! A central node signs the genesis of a register that it creates. The key is a PKCS#8 PEM file, as
//! `openssl genpkey -algorithm ed25519` writes it, so that an administrator can bring one along.

use std::{
    fs::File,
    io::{self, ErrorKind, Read as _},
    path::{Path, PathBuf},
};

use ed25519_dalek::{
    SigningKey,
    pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, spki::der::pem::LineEnding},
};
use rand::{TryRng as _, rngs::SysRng};
use sorcha_os::{
    folder, read,
    replace::{Existing, Mode, ReplaceError, replace_file},
};

/// File name of the key inside a data directory.
pub const FILE_NAME: &str = "signing.key";

/// Largest key file, bytes.
const FILE_BYTES: u64 = 16 * 1024;

/// Why there is no signing key.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message names each field")]
pub enum KeyError {
    /// The file is there but can't be read.
    #[error("read the signing key {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    /// The file holds something else.
    #[error(
        "{path} does not hold an Ed25519 key in PKCS#8 PEM: {reason}; put the right key there, or move the file away \
         and a new key is made"
    )]
    Format { path: PathBuf, reason: String },
    /// A new key can't be stored.
    #[error("the signing key: {0}")]
    Write(ReplaceError),
    /// The data directory can't be made.
    #[error("make the folder of the signing key {path}: {source}")]
    Folder { path: PathBuf, source: io::Error },
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness for a signing key: {0}")]
    Randomness(String),
}

/// Loads `<data_dir>/signing.key`, or makes it when there is none.
///
/// Of several processes that make it at once, one wins and all use its key.
///
/// # Errors
/// [`KeyError`] naming the file and what to do.
pub fn load_or_create(data_dir: &Path) -> Result<SigningKey, KeyError> {
    let path = data_dir.join(FILE_NAME);
    if let Some(key) = load(&path)? {
        return Ok(key);
    }
    let key = generate()?;
    match store(&path, &key) {
        Ok(()) => {
            tracing::info!(file = %path.display(), "signing key created");
            return Ok(key);
        }
        Err(KeyError::Write(ReplaceError::AlreadyThere(_))) => {}
        Err(error) => return Err(error),
    }
    let vanished = || KeyError::Read { path: path.clone(), source: ErrorKind::NotFound.into() };
    load(&path)?.ok_or_else(vanished)
}

/// Loads `<data_dir>/signing.key` if it is there.
///
/// # Errors
/// [`KeyError`] naming the file and what to do.
pub fn load_if_there(data_dir: &Path) -> Result<Option<SigningKey>, KeyError> {
    load(&data_dir.join(FILE_NAME))
}

fn load(path: &Path) -> Result<Option<SigningKey>, KeyError> {
    let unreadable = |source| KeyError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let wrong = |reason: String| KeyError::Format { path: path.to_owned(), reason };
    let mut bytes = Vec::new();
    (&file).take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(wrong(format!("it has more than {FILE_BYTES} bytes")));
    }
    let text = read::decoded(&bytes).map_err(|error| wrong(error.to_string()))?;
    // As an editor on another system saves it.
    let pem = text.trim().replace("\r\n", "\n") + "\n";
    let key = SigningKey::from_pkcs8_pem(&pem).map_err(|error| wrong(error.to_string()))?;
    warn_if_open(path, &file);
    Ok(Some(key))
}

/// Stores a key atomically, unless there is one.
fn store(path: &Path, key: &SigningKey) -> Result<(), KeyError> {
    let failed = |source| KeyError::Folder { path: path.to_owned(), source };
    folder::make(folder::of(path)).map_err(failed)?;
    let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|error| failed(io::Error::other(error)))?;
    replace_file(path, pem.as_bytes(), Mode::Private, Existing::Stays).map_err(KeyError::Write)
}

fn generate() -> Result<SigningKey, KeyError> {
    let mut secret = [0; 32];
    SysRng.try_fill_bytes(&mut secret).map_err(|error| KeyError::Randomness(error.to_string()))?;
    Ok(SigningKey::from_bytes(&secret))
}

/// Group access is tolerated: Kubernetes gives it to the files of a volume with an `fsGroup`.
fn warn_if_open(path: &Path, file: &File) {
    if let Some(mode) = open_to_others(file) {
        let mode = format!("{mode:04o}");
        tracing::warn!(file = %path.display(), mode, "every user of this machine can get at the signing key; chmod 600 it");
    }
}

fn open_to_others(file: &File) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = file.metadata().ok()?.permissions().mode() & 0o7777;
    (mode & 0o007 != 0).then_some(mode)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sorcha_os::faults::{Fault, Step};

    use super::*;

    /// Made by `openssl genpkey -algorithm ed25519` (OpenSSL 3).
    const OPENSSL: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINREbGG4LEk8VryjGRSZ3hErOQsxGuLp8ZOwYpWImNrw\n\
        -----END PRIVATE KEY-----\n";

    #[test]
    fn is_made_once_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("not/there/yet");
        let made = load_or_create(&data).unwrap();
        assert_eq!(made, load_or_create(&data).unwrap());
        let other = load_or_create(&dir.path().join("other")).unwrap();
        assert_ne!(made, other);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1, "temporary files are left");
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_may_read_it_and_more_is_noticed() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        load_or_create(dir.path()).unwrap();
        let path = dir.path().join(FILE_NAME);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(open_to_others(&File::open(&path).unwrap()), None);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(open_to_others(&File::open(&path).unwrap()), Some(0o644));
        load_or_create(dir.path()).unwrap();
    }

    #[test]
    fn threads_that_start_at_once_share_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| load_or_create(dir.path()).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn whatever_step_of_storing_fails_a_key_that_was_used_is_there_for_good() {
        for (step, number) in Step::ALL.into_iter().flat_map(|step| [(step, 0), (step, 1)]) {
            let dir = tempfile::tempdir().unwrap();
            let first = Fault::at(step, number, || load_or_create(dir.path()));
            let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert!(left.iter().all(|name| name == FILE_NAME), "{step:?} left {left:?}");
            let second = load_or_create(dir.path()).unwrap();
            if let Ok(first) = first {
                assert_eq!(first, second, "{step:?}");
            }
        }
    }

    #[test]
    fn a_key_behind_a_link_that_leads_nowhere_yet_is_made_there() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let target = elsewhere.path().join("key");
        std::os::unix::fs::symlink(&target, dir.path().join(FILE_NAME)).unwrap();
        let made = load_or_create(dir.path()).unwrap();
        assert!(target.is_file());
        assert_eq!(load_or_create(dir.path()).unwrap(), made);
    }

    #[test]
    fn a_key_made_by_openssl_is_taken_however_an_editor_saved_it() {
        let dir = tempfile::tempdir().unwrap();
        let saved =
            [OPENSSL.to_owned(), format!("\u{feff}{OPENSSL}"), OPENSSL.replace('\n', "\r\n") + "\r\n"];
        for text in saved {
            fs::write(dir.path().join(FILE_NAME), text).unwrap();
            let key = load_or_create(dir.path()).unwrap();
            assert!(hex::encode(key.to_bytes()).starts_with("d4446c61"));
        }
        let utf_16: Vec<u8> =
            [0xfeff].into_iter().chain(OPENSSL.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        fs::write(dir.path().join(FILE_NAME), utf_16).unwrap();
        let error = load_or_create(dir.path()).unwrap_err().to_string();
        assert!(error.contains("UTF-16 text; save it as UTF-8"), "{error}");
    }

    #[test]
    fn other_content_is_refused_with_the_remedy_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        for content in
            [&b""[..], b"hello", b"\xff\xfe", OPENSSL.replace("MC4C", "MC4D").as_bytes(), &[b'x'; 20_000]]
        {
            fs::write(&path, content).unwrap();
            let error = load_or_create(dir.path()).unwrap_err().to_string();
            assert!(error.contains("signing.key") && error.contains("PKCS#8 PEM"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), content);
        }
    }

    #[test]
    fn a_key_that_cannot_be_read_or_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(FILE_NAME)).unwrap();
        let error = load_or_create(dir.path()).unwrap_err().to_string();
        assert!(error.starts_with("read the signing key"), "{error}");
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = load_or_create(&file.join("below")).unwrap_err().to_string();
        assert!(error.contains("the signing key"), "{error}");
    }
}
