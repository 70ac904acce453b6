//! What a new box needs, besides the vault, to be the box that the computers know.

use crate::Blob;

layout! {
    /// Sealed for the organisation in event 19. `certificate` (DER) and `key` (PKCS#8, DER) are those of the authority that signed
    /// the computers' certificates; `settings` is the text of `box.toml`.
    #[derive(Clone, PartialEq, Eq)]
    pub struct Escrow { pub certificate: Blob, pub key: Blob, pub settings: String }
}

/// Keys stay out of logs.
impl std::fmt::Debug for Escrow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Escrow")
    }
}
