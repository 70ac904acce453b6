//! Taking in a branch's cartridges: a first copy too large for the line comes by post. What is read in counts as if the line had
//! brought it, so that the line goes on from there.

use std::collections::HashSet;
use std::io;

use coffer_format::{SegmentId, VaultId};
use coffer_tape::container::{Delivery, FailedCartridge, LostSegment, extract_all};
use coffer_tape::{Barcode, Library};

use crate::branch::{Branch, Run};
use crate::registry::check_name;
use crate::{HqError, Organisation, Result};

/// What came from cartridges. Bytes.
#[derive(Debug, Default)]
pub struct Imported {
    pub cartridges: u64,
    pub segments: u64,
    pub bytes: u64,
    /// Segments that HQ had already.
    pub known: u64,
    /// Cartridges that are another vault's.
    pub foreign: Vec<String>,
    pub lost: Vec<LostSegment>,
    pub failed: Vec<FailedCartridge>,
}

/// Reads every cartridge in the library that is of this branch's vault (or, for a new branch, of the first vault found) into the
/// branch's mirror. HQ must not be serving meanwhile. `tell` hears of each cartridge.
pub fn import_cartridges(
    organisation: &Organisation,
    branch: &str,
    library: &mut Library,
    tell: &mut dyn FnMut(&str),
) -> Result<Imported> {
    check_name(branch)?;
    let branch = Branch::new(organisation, branch);
    let mut import = Import {
        vault: branch.mirror()?.map(|mirror| mirror.vault()),
        known: branch.has()?.into_iter().filter(|has| has.closed).map(|has| has.segment).collect(),
        branch,
        imported: Imported::default(),
        failure: None,
    };
    let barcodes: Vec<Barcode> =
        library.take_stock()?.barcodes().into_iter().filter(|one| !one.is_cleaning()).collect();
    for barcode in &barcodes {
        tell(&format!("reading tape {barcode}"));
        let read = extract_all(library, std::slice::from_ref(barcode), &mut |delivery| import.take(delivery));
        if let Some(failure) = import.failure.take() {
            return Err(failure);
        }
        let read = read?;
        import.imported.cartridges += read.read.len() as u64;
        import.imported.lost.extend(read.lost);
        import.imported.failed.extend(read.failed);
    }
    // Everything is in the catalog before HQ serves again.
    import.branch.fresh_mirror()?;
    Ok(import.imported)
}

struct Import {
    branch: Branch,
    vault: Option<VaultId>,
    known: HashSet<SegmentId>,
    imported: Imported,
    /// HQ's own error: it ends the import.
    failure: Option<HqError>,
}

impl Import {
    fn take(&mut self, delivery: Delivery<'_>) -> io::Result<()> {
        let label = delivery.label;
        if *self.vault.get_or_insert(label.vault) != label.vault {
            if !self.imported.foreign.contains(&label.barcode) {
                self.imported.foreign.push(label.barcode.clone());
            }
            return Ok(());
        }
        if self.known.contains(&delivery.entry.segment) {
            self.imported.known += 1;
            return Ok(());
        }
        if let Err(error) = self.branch.admit(label.vault, label.org) {
            return Err(self.fail(error));
        }
        let mut bytes = Vec::with_capacity(delivery.entry.bytes as usize);
        delivery.bytes.read_to_end(&mut bytes)?;
        self.keep(delivery.entry.segment, bytes)
    }

    fn keep(&mut self, segment: SegmentId, bytes: Vec<u8>) -> io::Result<()> {
        let (len, run) =
            (bytes.len() as u64, Run { segment, offset: 0, closed_len: bytes.len() as u64, bytes });
        match self.branch.append(run) {
            Ok(kept) if kept.hash.is_some() => {
                self.known.insert(segment);
                self.imported.segments += 1;
                self.imported.bytes += len;
                Ok(())
            }
            // It hashes to what the tape says and not to what it was closed with: the line brings it.
            Ok(_) => {
                tracing::error!(%segment, "a segment on tape isn't what the box closed; the line will bring it");
                Ok(())
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    fn fail(&mut self, error: HqError) -> io::Error {
        let told = io::Error::other(error.to_string());
        self.failure = Some(error);
        told
    }
}
