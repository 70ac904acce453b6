//! A cartridge that was given up as lost and came back: what is nowhere else is read from it before it's used again.

use std::collections::BTreeSet;

use coffer_format::SegmentId;
use coffer_tape::container::{read_segment, scan_cartridge};
use coffer_tape::{Barcode, Library};
use coffer_vault::Vault;

use super::mounting::{Mounted, Use};
use super::{TapeJob, Trouble};

impl TapeJob {
    /// Brings `orphans` back to disk, as far as they are on the cartridge.
    pub(super) fn rescue(
        &self,
        library: &mut Library,
        vault: &Vault,
        barcode: &Barcode,
        orphans: &BTreeSet<SegmentId>,
    ) -> Result<(), Trouble> {
        let mounted = self.mount(library, vault, barcode)?;
        match self.read_orphans(library, vault, &mounted, orphans) {
            Ok(read) => self.dismount(library, vault, mounted, Use { read, ..Use::default() }),
            Err(Trouble::Tape(error)) => {
                tracing::error!(%barcode, %error, "a cartridge that came back can't be read");
                self.dismount_failed(library, vault, mounted, Use::default(), &error)
            }
            Err(trouble) => Err(trouble),
        }
    }

    fn read_orphans(
        &self,
        library: &mut Library,
        vault: &Vault,
        mounted: &Mounted,
        orphans: &BTreeSet<SegmentId>,
    ) -> Result<u64, Trouble> {
        let drive = library.drive(mounted.drive)?;
        let contents = scan_cartridge(drive)?;
        let mut read = 0;
        for place in contents.places().filter(|place| orphans.contains(&place.entry.segment)) {
            let mut bytes = Vec::with_capacity(place.entry.bytes as usize);
            match read_segment(drive, &contents.label, &place, &mut bytes) {
                Ok(()) => vault.import_segment(place.entry.segment, &bytes)?,
                Err(error) if error.is_damage() => {
                    tracing::error!(segment = %place.entry.segment, %error, "a segment that is nowhere else is damaged");
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            read += place.entry.bytes;
        }
        Ok(read)
    }
}
