//! A closed segment's bytes, from the vault.

use std::io::{self, Read};
use std::sync::Arc;

use coffer_format::SegmentId;
use coffer_vault::Vault;

/// A segment's bytes, from the vault.
pub(super) struct SegmentStream {
    vault: Arc<Vault>,
    segment: SegmentId,
    offset: u64,
}

impl SegmentStream {
    pub(super) fn new(vault: &Arc<Vault>, segment: SegmentId) -> SegmentStream {
        SegmentStream { vault: vault.clone(), segment, offset: 0 }
    }
}

impl Read for SegmentStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count =
            self.vault.reading().read_segment(self.segment, self.offset, buffer).map_err(io::Error::other)?;
        self.offset += count as u64;
        Ok(count)
    }
}
