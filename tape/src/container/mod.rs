//! What lies on a Coffer cartridge: a label, then containers of segments.
//!
//! The layout is written down in appliance/format's `FORMAT.md`; its bytes are `coffer_format::container`'s. Here are
//! the rules that keep it readable:
//! - Tape file 0 is the label; container *n* is tape file *n*; each ends with one filemark.
//! - A container counts only after its filemark and a synchronize. What a crash left unclosed is closed by the next
//!   writer with a filemark and keeps its number; its whole segments are found by walking.
//! - A cartridge ends with a closed container: after early warning only the index is written, twice.
//! - Between segments and index, and before a cartridge's first segment, lies the catalog of the whole set. Nothing
//!   depends on it but a reader without the vault.
//! - Every block says which cartridge, container and segment it's of; nothing is believed from position alone.

mod addressed;
mod catalog_reader;
mod extract;
mod hash;
mod index;
mod label;
mod outline;
mod read_ahead;
mod reader;
mod receipt;
mod scan;
mod segment_feed;
mod set_catalog;
mod tail;
mod walk;
mod write_ahead;
mod writer;

pub use addressed::{AddressReader, AddressedSegment};
pub use catalog_reader::{CatalogReach, read_catalog};
pub use extract::{Delivery, ExtractReport, FailedCartridge, LostSegment, extract_all};
pub use hash::ExpectedHash;
pub use label::{LabelPolicy, LabelState, label_cartridge, read_label};
pub use outline::{Outline, read_outline};
pub use reader::{SegmentPlace, SegmentReader, read_segment, stream_segment};
pub use receipt::{ContainerReceipt, PlannedSegment, RecordedSegment, RefusedSegment};
pub use scan::{CartridgeContents, ContainerContents, IndexSource, scan_cartridge};
pub use set_catalog::{CatalogItems, CatalogMoment, CatalogSource, no_catalog};
pub use walk::Damage;
pub use writer::ContainerWriter;

use coffer_format::container::Label;
use coffer_format::container::{BlockHeader, decode_block};

use crate::TapeError;

/// Takes a block apart and makes sure it is of this cartridge and container.
fn block_of<'a>(
    block: &'a [u8],
    label: &Label,
    container: u32,
) -> Result<(BlockHeader, &'a [u8]), TapeError> {
    let damaged = |block, what: String| TapeError::Damaged { container, block, what };
    let (header, payload) = decode_block(block).map_err(|error| damaged(0, error.to_string()))?;
    if header.cartridge != label.cartridge || header.container != container {
        return Err(damaged(header.number, "a block of something else".to_owned()));
    }
    Ok((header, payload))
}
