//! The escrow: what a new box needs to go on with this vault when the box has died. It travels as a metadata record wherever the
//! vault's segments go, sealed for the organisation: the box's own key doesn't open it.

use coffer_format::entry::Body;
use coffer_format::escrow::Escrow;
use coffer_format::event::Event;
use coffer_format::{FileHash, Lsn, VaultId, from_bytes, to_bytes};
use rusqlite::OptionalExtension;

use crate::keys::{open_escrow, seal_escrow};
use crate::reading::Reading;
use crate::vault::Vault;
use crate::{RecoveryKey, RecoveryPublic, Result, VaultError, catalog};

const DIGEST_CONTEXT: &str = "coffer 2026-11 escrow digest";

impl Vault {
    /// Keeps an escrow for the holder of `recovery`'s private half, unless the newest that can be read is the same.
    pub fn keep_escrow(&self, recovery: &RecoveryPublic, escrow: &Escrow) -> Result<()> {
        let plain = to_bytes(escrow);
        let digest = digest(recovery, self.id(), &plain);
        if self.has_escrow(recovery, escrow) {
            return Ok(());
        }
        let (encapsulated, sealed) = seal_escrow(recovery, self.id(), &plain)?;
        self.record(vec![Event::Escrowed { digest, encapsulated, sealed: sealed.into() }])
    }

    /// Whether the newest escrow that can be read is this one, sealed for that key.
    pub fn has_escrow(&self, recovery: &RecoveryPublic, escrow: &Escrow) -> bool {
        let digest = digest(recovery, self.id(), &to_bytes(escrow));
        matches!(self.reading.newest_escrow(), Ok(Some(newest)) if newest.digest == digest)
    }
}

struct Kept {
    digest: FileHash,
    encapsulated: [u8; 32],
    sealed: Vec<u8>,
}

impl Reading {
    /// The newest escrow; `None` where the box never kept one.
    pub fn escrow(&self, vault: VaultId, key: &RecoveryKey) -> Result<Option<Escrow>> {
        let Some(kept) = self.newest_escrow()? else { return Ok(None) };
        let plain = open_escrow(key, vault, &kept.encapsulated, &kept.sealed)?;
        if digest(&key.public(), vault, &plain) != kept.digest {
            return Err(VaultError::Key(
                "the escrow isn't what its record says: use an older copy of this vault",
            ));
        }
        Ok(Some(from_bytes(&plain)?))
    }

    fn newest_escrow(&self) -> Result<Option<Kept>> {
        let found = self.readers.with(|db| {
            let mut query = db.prepare_cached("SELECT value FROM state WHERE key = ?1")?;
            let Some(lsn) = query.query_row([catalog::ESCROW], |row| row.get(0)).optional()? else {
                return Ok(None);
            };
            catalog::find_log(db, Lsn(lsn))
        })?;
        let Some((segment, offset, record_len)) = found else { return Ok(None) };
        match self.entry_at(segment, offset, record_len)?.body {
            Body::Event { event: Event::Escrowed { digest, encapsulated, sealed } } => {
                Ok(Some(Kept { digest, encapsulated, sealed: sealed.0 }))
            }
            _ => Err(VaultError::Damaged {
                segment,
                offset,
                what: "its escrow isn't where the catalog says".into(),
            }),
        }
    }
}

/// Tells one escrow from another without its key. It's sealed with high entropy in it, so nothing can be guessed from this.
fn digest(recovery: &RecoveryPublic, vault: VaultId, plain: &[u8]) -> FileHash {
    let mut hasher = blake3::Hasher::new_derive_key(DIGEST_CONTEXT);
    hasher.update(&recovery.0).update(&vault.0).update(plain);
    FileHash(*hasher.finalize().as_bytes())
}
