//! The agent's own folder: who it is, which box it belongs to, and a journal per configuration.
//! Everything in it can be made anew by enrolling again; the keys in it are for the agent's user alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use coffer_format::{ConfigId, FileHash};

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
        let key = fs::read(&plain).map_err(|error| StateError::Read(plain.clone(), error))?;
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
        let opened = private_file().create(true).truncate(false).write(true).open(&path);
        let file = opened.map_err(|error| StateError::Write(path.clone(), error))?;
        match file.try_lock() {
            Ok(()) => Ok(StateLock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(StateError::InUse(self.path.clone())),
            Err(fs::TryLockError::Error(error)) => Err(StateError::Write(path, error)),
        }
    }

    pub fn save_chunk_key(&self, key: &[u8; 32]) -> Result<(), StateError> {
        self.save(CHUNK_KEY, FileHash(*key).to_string().as_bytes())
    }

    pub fn chunk_key(&self) -> Result<[u8; 32], StateError> {
        let damaged = || StateError::Damaged(self.path.join(CHUNK_KEY));
        let text = String::from_utf8(self.read(CHUNK_KEY)?).map_err(|_| damaged())?;
        let key: FileHash = text.trim().parse().map_err(|_| damaged())?;
        Ok(key.0)
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
            fs::read(&path).and_then(|bytes| if is_secret(name) { unseal(&bytes) } else { Ok(bytes) });
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

fn is_secret(name: &str) -> bool {
    matches!(name, CHUNK_KEY | SEALED_KEY)
}
