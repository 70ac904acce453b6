//! Connections for reading the catalog, and what they make of one that isn't what was written.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use rusqlite::Connection;

use super::schema;
use super::seal::{Seal, replaced};
use crate::disk::{Disk, RealDisk};
use crate::{Result, VaultError};

/// Why the catalog should be looked at soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Doubt {
    None,
    /// A row isn't what a segment says.
    Rows,
    /// It can't be read.
    Pages,
}

/// Connections for reading; each sees the newest committed state.
pub(crate) struct Readers {
    path: PathBuf,
    pool: Mutex<Pool>,
    doubt: AtomicU8,
    seal: Seal,
}

/// Connections that nobody uses just now. A catalog that took the place of another is a generation of its own.
#[derive(Default)]
struct Pool {
    generation: u64,
    idle: Vec<Connection>,
}

impl Readers {
    pub(crate) fn new(path: &Path) -> Readers {
        Readers { path: path.into(), pool: Mutex::default(), doubt: AtomicU8::new(0), seal: Seal::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` with a connection of its own. Refused while the catalog isn't the one that was written.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.check_seal()?;
        let (generation, connection) = self.take().inspect_err(|error| match self.path.exists() {
            true => self.hear(error),
            false => self.doubt(Doubt::Pages),
        })?;
        let outcome = work(&connection).inspect_err(|error| self.hear(error));
        let mut pool = self.pool.lock().expect("nothing panics while it holds connections");
        if pool.idle.len() < 4 && pool.generation == generation {
            pool.idle.push(connection);
        }
        drop(pool);
        // What was read may be of what was put there meanwhile.
        self.check_seal()?;
        outcome
    }

    /// Fails where somebody else wrote to the catalog.
    pub(crate) fn check_seal(&self) -> Result<()> {
        if self.is_replaced() { Err(replaced()) } else { Ok(()) }
    }

    /// Whether somebody else wrote to the catalog. It's to be made anew then.
    pub(crate) fn is_replaced(&self) -> bool {
        let is_replaced = !self.seal.holds(&self.path);
        if is_replaced {
            self.doubt(Doubt::Pages);
        }
        is_replaced
    }

    /// From here on only [`Readers::fold`] may change the catalog's file.
    pub(crate) fn close_seal(&self) {
        self.seal.close(&self.path);
    }

    /// From here on no other file may take the place of the catalog's.
    pub(crate) fn keep_place(&self) {
        self.seal.keep(&self.path);
    }

    /// The catalog's file changes until the seal is closed again.
    pub(crate) fn lift_seal(&self) {
        self.seal.lift();
    }

    /// Moves the journal into the catalog's file.
    pub(crate) fn fold(&self, writer: &Connection) -> Result<()> {
        let folded = self.seal.renew(&self.path, || schema::fold_journal(writer));
        if self.is_replaced() {
            tracing::error!("the catalog isn't what was left there; it's made anew from the segments");
        }
        folded
    }

    fn take(&self) -> Result<(u64, Connection)> {
        let mut pool = self.pool.lock().expect("nothing panics while it holds connections");
        let connection = match pool.idle.pop() {
            Some(connection) => connection,
            None => schema::open_reader(&self.path)?,
        };
        Ok((pool.generation, connection))
    }

    /// Runs `swap`, which puts another catalog in this one's place; nobody opens one meanwhile. Who has one open reads the old one
    /// to the end.
    pub(crate) fn renew<T>(&self, swap: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut pool = self.pool.lock().expect("nothing panics while it holds connections");
        pool.idle.clear();
        pool.generation += 1;
        swap()
    }

    /// What was read before says nothing of what is on the medium now: from here on it's read again.
    pub(crate) fn forget_pages(&self) -> Result<()> {
        self.renew(|| {
            let io = |source| VaultError::Io { doing: "read", path: self.path.clone(), source };
            // It may be a link to a faster disk.
            match std::fs::canonicalize(&self.path).and_then(|path| RealDisk.open(&path)) {
                Ok(file) => file.forget_cached().map_err(io),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(io(error)),
            }
        })
    }

    /// Takes note of an error that says something of the catalog.
    pub(crate) fn hear(&self, error: &VaultError) {
        if error.is_of_broken_catalog() {
            self.doubt(Doubt::Pages);
        }
    }

    /// The catalog is to be looked at soon.
    pub(crate) fn doubt(&self, doubt: Doubt) {
        self.doubt.fetch_max(doubt as u8, Ordering::SeqCst);
    }

    pub(crate) fn doubted(&self) -> Doubt {
        match self.doubt.load(Ordering::SeqCst) {
            0 => Doubt::None,
            1 => Doubt::Rows,
            _ => Doubt::Pages,
        }
    }

    /// What was doubted, which is looked at now.
    pub(crate) fn take_doubt(&self) -> Doubt {
        let doubt = self.doubted();
        self.doubt.store(Doubt::None as u8, Ordering::SeqCst);
        doubt
    }
}
