//! Where a box keeps what, below its one directory.

use std::path::{Path, PathBuf};

const SET_ASIDE: &str = "vault.set-aside-";

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
    /// There while the vault is older than what HQ knows of it.
    pub fn set_back(&self) -> PathBuf {
        self.0.join("set-back")
    }
    /// When the vault's disk last failed and took writes again, in milliseconds since 1970 as a decimal number.
    pub fn disk_failed(&self) -> PathBuf {
        self.0.join("disk-failed")
    }
    /// A line of the vault's history that the box doesn't go on with.
    pub fn set_aside(&self, now_ms: u64) -> PathBuf {
        self.0.join(format!("{SET_ASIDE}{now_ms}"))
    }
    /// All of those that are still there.
    pub fn all_set_aside(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(SET_ASIDE));
        let mut all: Vec<PathBuf> = named.map(|entry| entry.path()).collect();
        all.sort();
        all
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
    /// The recovery key's public half: what the escrow is sealed for.
    pub fn recovery_public(&self) -> PathBuf {
        self.0.join("keys").join("recovery.pub")
    }
    /// What the robot is about to do.
    pub fn library_journal(&self) -> PathBuf {
        self.0.join("library.journal")
    }
    /// Cartridges that couldn't be read when they were needed.
    pub fn unread_tapes(&self) -> PathBuf {
        self.0.join("unread-tapes.json")
    }
    /// What is known of the box's clock.
    pub fn clock(&self) -> PathBuf {
        self.0.join("clock")
    }
    /// The simulated library, where the settings ask for one.
    pub fn simulated_library(&self) -> PathBuf {
        self.0.join("simulated-library")
    }
}
