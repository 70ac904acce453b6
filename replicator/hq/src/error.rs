//! Why HQ couldn't do something. Each sentence ends with what to do.

use std::path::PathBuf;

use coffer_format::wire::{Refusal, RefusalCode};
use coffer_link::{IdentityError, LinkError};
use coffer_vault::VaultError;
use thiserror::Error;

/// An error of HQ.
#[derive(Debug, Error)]
pub enum HqError {
    #[error("cannot {doing} {}: check the disk and its permissions", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} already holds an HQ: choose another folder", path.display())]
    Exists { path: PathBuf },
    #[error("{} is not as `coffer-hq init` wrote it: restore it from your safe copy", path.display())]
    Damaged { path: PathBuf },
    #[error(
        "HQ's registry (hq.sqlite) could not be used: check the disk; if it's lost, enrol the branches again"
    )]
    Registry(#[from] rusqlite::Error),
    #[error(
        "HQ's registry ({}) is missing or damaged, and so is its second copy: put them back from a copy of this folder. If there's none, run \
         `coffer-hq new-registry`, then enrol each box and each operator again", path.display()
    )]
    RegistryLost { path: PathBuf },
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Tape(#[from] coffer_tape::TapeError),
    #[error("this machine gave no random numbers: restart it")]
    NoRandomness,
    #[error("a part of HQ stopped unexpectedly: restart coffer-hq and report this")]
    Internal,
    #[error("{sentence}")]
    Refused { code: RefusalCode, sentence: String },
}

impl HqError {
    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> HqError {
        let path = path.into();
        move |source| HqError::Io { doing, path, source }
    }

    pub(crate) fn refused(code: RefusalCode, sentence: impl Into<String>) -> HqError {
        HqError::Refused { code, sentence: sentence.into() }
    }

    /// What a peer is told. Paths and causes of HQ's own stay in its log.
    pub fn refusal(&self) -> Refusal {
        match self {
            HqError::Refused { code, sentence } => Refusal { code: *code, sentence: sentence.clone() },
            HqError::Vault(error) => error.refusal(),
            HqError::Link(LinkError::Refused(refusal)) => refusal.clone(),
            HqError::Identity(error @ IdentityError::Request) => {
                Refusal { code: RefusalCode::BadRequest, sentence: error.to_string() }
            }
            _ => Refusal {
                code: RefusalCode::Internal,
                sentence: "HQ has a problem of its own: look at its log".to_owned(),
            },
        }
    }
}
