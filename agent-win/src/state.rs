//! The agent's own folder: who it is, which box it belongs to, and a journal per configuration.
//! Everything in it can be made anew by enrolling again; the keys in it are for the agent's user alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use coffer_format::{ConfigId, FileHash};
use coffer_link::{is_no_file, open_lock_file, read_small_file, set_no_file_aside};

use crate::durable_file;
use crate::platform::{SEALS, private_file, seal, unseal};
use crate::private_folder;
pub use crate::private_folder::NotPrivate;
use crate::restore::WaitingFiles;

/// The folder.
#[derive(Debug, Clone)]
pub struct StateDir {
    path: PathBuf,
}

/// Why it couldn't be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("{} can't be read; enrol this computer with `coffer-agent enrol`, or run as the user who did", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("{} can't be written; check its permissions and the disk", .0.display())]
    Write(PathBuf, #[source] io::Error),
    #[error("{} is damaged; enrol this computer again with a new code", .0.display())]
    Damaged(PathBuf),
    #[error("another agent is using {}; stop it first", .0.display())]
    InUse(PathBuf),
    #[error(transparent)]
    NotPrivate(NotPrivate),
}

/// Keeps every other agent out of the folder while it lives.
#[derive(Debug)]
pub struct StateLock {
    _file: fs::File,
}

const CHUNK_KEY: &str = "chunk.key";
/// Beside the key, which is as it always was: a sum of it, and the beginning of that one's own.
const CHUNK_KEY_SUM: &str = "chunk.key.sum";
const SERVER: &str = "server";
const SEALED_KEY: &str = "identity.key";

impl StateDir {
    /// Makes the folder where it isn't there.
    pub fn create(path: &Path) -> Result<StateDir, StateError> {
        private_folder::create(path).map_err(|error| StateError::of(error, path, StateError::Write))?;
        StateDir::open(path)
    }

    pub fn open(path: &Path) -> Result<StateDir, StateError> {
        private_folder::check(path).map_err(|error| StateError::of(error, path, StateError::Read))?;
        let path = fs::canonicalize(path).map_err(|error| StateError::Read(path.to_owned(), error))?;
        Ok(StateDir { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where certificate and key are.
    pub fn identity(&self) -> PathBuf {
        self.path.join("identity")
    }

    /// Where the system keeps secrets: moves the private key there.
    pub fn seal_identity(&self) -> Result<(), StateError> {
        if !SEALS {
            return Ok(());
        }
        let plain = self.identity().join("key.pem");
        let key = read_small_file(&plain).map_err(|error| StateError::Read(plain.clone(), error))?;
        self.save(SEALED_KEY, &key)?;
        fs::remove_file(&plain).map_err(|error| StateError::Write(plain, error))
    }

    /// The private key (PEM), where it isn't with the certificate.
    pub fn sealed_key(&self) -> Result<Option<Vec<u8>>, StateError> {
        if self.path.join(SEALED_KEY).exists() { self.read(SEALED_KEY).map(Some) } else { Ok(None) }
    }

    /// Where the journal of a configuration is.
    pub fn journal(&self, config: ConfigId) -> PathBuf {
        self.path.join(format!("config-{config}"))
    }

    /// What was restored while the file in its place was in use.
    pub fn waiting_files(&self) -> WaitingFiles {
        WaitingFiles::new(self.path.join("waiting-files"))
    }

    /// Keeps others out, or says that another is in.
    pub fn lock(&self) -> Result<StateLock, StateError> {
        let path = self.path.join("lock");
        let opened = open_lock_file(&path, &private_file());
        let file = opened.map_err(|error| StateError::Write(path.clone(), error))?;
        match file.try_lock() {
            Ok(()) => Ok(StateLock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(StateError::InUse(self.path.clone())),
            Err(fs::TryLockError::Error(error)) => Err(StateError::Write(path, error)),
        }
    }

    pub fn save_chunk_key(&self, key: &[u8; 32]) -> Result<(), StateError> {
        // The sum of another key would make this one count as damaged.
        let sum = self.path.join(CHUNK_KEY_SUM);
        set_no_file_aside(&sum).map_err(|error| StateError::Write(sum.clone(), error))?;
        match fs::remove_file(&sum) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StateError::Write(sum, error));
            }
            _ => {}
        }
        self.save(CHUNK_KEY, FileHash(*key).to_string().as_bytes())?;
        self.save_chunk_key_sum(key)
    }

    /// Notes that a key is what was written: the box gave it, or has taken what it names.
    pub(crate) fn save_chunk_key_sum(&self, key: &[u8; 32]) -> Result<(), StateError> {
        let sum = sum_of(key);
        self.save(CHUNK_KEY_SUM, format!("{sum} {}", sum_of(&sum.0)).as_bytes())
    }

    /// The key that chunks are named with. One that isn't what was written is damaged: the box would refuse all that it names.
    pub fn chunk_key(&self) -> Result<[u8; 32], StateError> {
        let damaged = || StateError::Damaged(self.chunk_key_file());
        let text = String::from_utf8(self.read(CHUNK_KEY)?).map_err(|_| damaged())?;
        let key: FileHash = text.trim().parse().map_err(|_| damaged())?;
        match self.chunk_key_sum()? {
            Some(sum) if sum != sum_of(&key.0) => Err(damaged()),
            _ => Ok(key.0),
        }
    }

    pub(crate) fn chunk_key_file(&self) -> PathBuf {
        self.path.join(CHUNK_KEY)
    }

    /// Whether the key is known to be what was written.
    pub(crate) fn has_chunk_key_sum(&self) -> Result<bool, StateError> {
        Ok(self.chunk_key_sum()?.is_some())
    }

    /// What the key's sum was when it was written; `None` where there's none, or it's damaged itself.
    fn chunk_key_sum(&self) -> Result<Option<FileHash>, StateError> {
        let text = match self.read(CHUNK_KEY_SUM) {
            Err(StateError::Read(_, error)) if is_no_file(&error) => return Ok(None),
            read => read?,
        };
        let sum = String::from_utf8(text).ok().and_then(|text| {
            let (sum, check) = text.trim().split_once(' ')?;
            let (sum, check): (FileHash, FileHash) = (sum.parse().ok()?, check.parse().ok()?);
            (sum_of(&sum.0) == check).then_some(sum)
        });
        if sum.is_none() {
            let path = self.path.join(CHUNK_KEY_SUM);
            tracing::warn!(path = %path.display(), "the sum is damaged: it's written again after the next capture");
        }
        Ok(sum)
    }

    pub fn save_server(&self, address: &str) -> Result<(), StateError> {
        self.save(SERVER, address.as_bytes())
    }

    /// The box's address, as it was given at enrolment.
    pub fn server(&self) -> Result<String, StateError> {
        let text = String::from_utf8(self.read(SERVER)?);
        Ok(text.map_err(|_| StateError::Damaged(self.path.join(SERVER)))?.trim().to_owned())
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, StateError> {
        let path = self.path.join(name);
        let bytes =
            read_small_file(&path).and_then(|bytes| if is_secret(name) { unseal(&bytes) } else { Ok(bytes) });
        bytes.map_err(|error| StateError::Read(path, error))
    }

    /// All of it or nothing, whatever happens meanwhile.
    fn save(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let path = self.path.join(name);
        let bytes = if is_secret(name) { seal(bytes) } else { Ok(bytes.to_vec()) };
        let saved = bytes.and_then(|bytes| durable_file::save(&path, &bytes));
        saved.map_err(|error| StateError::Write(path, error))
    }
}

impl StateError {
    fn of(error: NotPrivate, path: &Path, failed: fn(PathBuf, io::Error) -> StateError) -> StateError {
        match error {
            NotPrivate::Io(error) => failed(path.to_owned(), error),
            error => StateError::NotPrivate(error),
        }
    }
}

fn sum_of(bytes: &[u8; 32]) -> FileHash {
    FileHash(blake3::derive_key("coffer 2026-11 sum of an agent's chunk key", bytes))
}

fn is_secret(name: &str) -> bool {
    matches!(name, CHUNK_KEY | SEALED_KEY)
}

#[cfg(all(test, not(windows)))]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn change(state: &StateDir, name: &str) {
        let path = state.path.join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[7] = if bytes[7] == b'a' { b'b' } else { b'a' };
        fs::write(&path, bytes).unwrap();
    }

    #[test]
    fn a_changed_digit_of_the_chunk_key_is_found_and_one_of_its_sum_costs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::create(&dir.path().join("state")).unwrap();
        let key = [0x5a; 32];
        state.save_chunk_key(&key).unwrap();
        assert_eq!(fs::read(state.chunk_key_file()).unwrap(), FileHash(key).to_string().into_bytes());
        assert_eq!(state.chunk_key().unwrap(), key);
        change(&state, CHUNK_KEY);
        let told = state.chunk_key().unwrap_err().to_string();
        assert!(told.contains("chunk.key is damaged") && told.contains("new code"), "{told}");

        state.save_chunk_key(&key).unwrap();
        change(&state, CHUNK_KEY_SUM);
        assert_eq!(state.chunk_key().unwrap(), key);
        assert!(!state.has_chunk_key_sum().unwrap());
        state.save_chunk_key_sum(&key).unwrap();
        assert!(state.has_chunk_key_sum().unwrap());
        // Enrolled elsewhere.
        state.save_chunk_key(&[7; 32]).unwrap();
        assert_eq!(state.chunk_key().unwrap(), [7; 32]);
    }
}
