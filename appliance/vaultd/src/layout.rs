//! Where a box keeps what, below its one directory.

use std::path::{Path, PathBuf};

/// A box's directory.
#[derive(Debug, Clone)]
pub struct Layout(pub PathBuf);

impl Layout {
    pub fn new(dir: &Path) -> Layout {
        Layout(dir.into())
    }
    /// What the administrator writes.
    pub fn settings(&self) -> PathBuf {
        self.0.join("box.toml")
    }
    pub fn vault(&self) -> PathBuf {
        self.0.join("vault")
    }
    /// The box's key, until it's bound to a TPM.
    pub fn box_key(&self) -> PathBuf {
        self.keys().join("box.key")
    }
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }
    /// Second copies of keys, authority and identities: `spare/keys` and so on.
    pub fn spare(&self, of: &Path) -> PathBuf {
        self.0.join("spare").join(of.file_name().unwrap_or_default())
    }
    /// Signs the certificates of this box's computers and operators.
    pub fn authority(&self) -> PathBuf {
        self.0.join("authority")
    }
    /// What the box shows to its computers and operators.
    pub fn identity(&self) -> PathBuf {
        self.0.join("identity")
    }
    /// What the box shows to HQ.
    pub fn branch(&self) -> PathBuf {
        self.0.join("branch")
    }
    /// The first operator's identity, made with the box.
    pub fn operator(&self) -> PathBuf {
        self.0.join("operator")
    }
    /// The recovery key of a box without HQ: to be moved off the box.
    pub fn recovery_key(&self) -> PathBuf {
        self.0.join("recovery.key")
    }
    /// What the robot is about to do.
    pub fn library_journal(&self) -> PathBuf {
        self.0.join("library.journal")
    }
    /// The simulated library, where the settings ask for one.
    pub fn simulated_library(&self) -> PathBuf {
        self.0.join("simulated-library")
    }
}
