//! How large a simulated library is.

use serde::{Deserialize, Serialize};

use super::Quirks;
use crate::{Barcode, TapeError};

/// A library's parts and its cartridges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibraryShape {
    pub slots: u16,
    pub drives: u16,
    pub mail_slots: u16,
    /// Blank cartridges to begin with, in the first slots; what doesn't fit lies outside.
    pub cartridges: u16,
    /// First characters of every barcode; numbers from 1 fill it up to six.
    pub barcode_prefix: String,
    /// Medium type, the last two characters of every barcode.
    pub generation: String,
    pub capacity_bytes: u64,
    #[serde(default)]
    pub quirks: Quirks,
}

impl Default for LibraryShape {
    fn default() -> LibraryShape {
        LibraryShape {
            slots: 24,
            drives: 2,
            mail_slots: 1,
            cartridges: 12,
            barcode_prefix: "COF".to_owned(),
            generation: "L6".to_owned(),
            capacity_bytes: 2_500_000_000_000,
            quirks: Quirks::default(),
        }
    }
}

impl LibraryShape {
    /// Room a drive keeps behind early warning, in bytes.
    pub(super) fn early_warning_bytes(capacity_bytes: u64) -> u64 {
        (capacity_bytes / 50).clamp(2 << 20, 1 << 30)
    }

    pub(super) fn barcode(&self, number: u16) -> Result<Barcode, TapeError> {
        let width = 6usize.saturating_sub(self.barcode_prefix.len());
        Ok(format!("{}{number:0width$}{}", self.barcode_prefix, self.generation).parse()?)
    }

    pub(super) fn check(&self) -> Result<(), TapeError> {
        const ELEMENTS_MAX: u16 = 4000;
        const CAPACITY_MIN: u64 = 4 << 20;
        let fits = (1..=ELEMENTS_MAX).contains(&self.slots)
            && (1..=16).contains(&self.drives)
            && self.mail_slots <= 16
            && self.cartridges <= ELEMENTS_MAX
            && self.capacity_bytes >= CAPACITY_MIN;
        if !fits {
            let limits =
                "1 to 4000 slots, 1 to 16 drives, up to 16 mail slots, and cartridges of 4 MiB or more";
            return Err(TapeError::Shape(format!("a simulated library has {limits}: change its shape")));
        }
        super::cartridge::generation(&self.generation)?;
        self.barcode(1).map(drop)
    }
}
