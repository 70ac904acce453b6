//! Secrets at rest: on Linux the permissions of their file keep them.

use std::io;

/// Whether the system has a place for secrets.
pub(crate) const SEALS: bool = false;

pub(crate) fn seal(secret: &[u8]) -> io::Result<Vec<u8>> {
    Ok(secret.to_vec())
}

pub(crate) fn unseal(sealed: &[u8]) -> io::Result<Vec<u8>> {
    Ok(sealed.to_vec())
}
