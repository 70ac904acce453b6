//! What a cartridge says of all the others: which there are, what is on them, and enough of each segment to know
//! which versions it holds. It lies in container blocks of kind [`crate::container::BlockKind::Catalog`].

use crate::codec::bounded;
use crate::event::CartridgeState;
use crate::segment::Stream;
use crate::{Blob, Decode, DecodeError, Encode, Reader, SegmentId, VaultId, Writer, limits};

/// Most bytes of an outline in one [`OutlinePiece`].
pub const PIECE_MAX: usize = 64 << 10;
/// Copies that a writer puts into one [`CatalogItem::Copies`], at most: so that an item always fits in a page.
pub const COPIES_MAX: usize = 1000;

layout! {
    /// Where a copy lies: its container on a cartridge, and the address of its first block (0: not known).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct CopyAt { pub segment: SegmentId, pub container: u32, pub block: u64 }
}

/// A run of a segment's outline. The outline of a metadata segment is its whole file; that of a data segment is its stub:
/// header, index record, trailer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlinePiece {
    pub segment: SegmentId,
    pub stream: Stream,
    /// Length of the whole outline, and where in it these bytes belong.
    pub total: u64,
    pub offset: u64,
    pub bytes: Blob,
}

impl Encode for OutlinePiece {
    fn encode(&self, w: &mut Writer) {
        self.segment.encode(w);
        self.stream.encode(w);
        self.total.encode(w);
        self.offset.encode(w);
        self.bytes.encode(w);
    }
}
impl Decode for OutlinePiece {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let piece = OutlinePiece {
            segment: r.get()?,
            stream: r.get()?,
            total: r.get()?,
            offset: r.get()?,
            bytes: r.get()?,
        };
        bounded("outline of a segment", piece.total, limits::SEGMENT_MAX)?;
        bounded("piece of an outline", piece.bytes.len() as u64, PIECE_MAX as u64)?;
        bounded("piece of an outline", piece.offset, piece.total)?;
        bounded("piece of an outline", piece.offset + piece.bytes.len() as u64, piece.total)?;
        Ok(piece)
    }
}

kinds! {
    /// One thing that a catalog says.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum CatalogItem {
        /// A catalog begins, made at `at_ms` on the vault's clock. It says what came after container `after` of its cartridge
        /// was written; 0: it says everything that was before the cartridge's first container.
        1 = Begin { vault: VaultId, at_ms: u64, after: u32 },
        /// A cartridge of the vault, as it was then. `number` is its place in its set: one that is used anew gets a new number, and
        /// what was on it before is gone.
        2 = Cartridge { barcode: String, set: String, number: u32, state: CartridgeState },
        /// Copies on another cartridge, the one with this barcode and number.
        3 = Copies { barcode: String, number: u32, copies: Vec<CopyAt> },
        4 = Outline { piece: OutlinePiece },
        /// The catalog was written to its end.
        5 = End,
    }
}

layout! {
    /// The payload of one catalog block.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct CatalogPage { pub items: Vec<CatalogItem> }
}

/// The container after which the catalog in container `number` begins: that with its lowest set bit cleared. So the chain
/// down to the cartridge's beginning has at most log2(`number`) links, and each thing is said at most as often.
pub fn catalog_base(number: u32) -> u32 {
    number & number.wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_short_and_leaves_no_container_out() {
        for newest in 1..3000u32 {
            let (mut at, mut links, mut covered) = (newest, 0, 0);
            while at > 0 {
                covered += at - catalog_base(at);
                at = catalog_base(at);
                links += 1;
            }
            assert_eq!(covered, newest);
            assert!(links <= newest.ilog2() + 1);
        }
    }
}
