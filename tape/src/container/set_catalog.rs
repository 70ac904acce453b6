//! The catalog of the whole set, on its way to tape: items from whoever knows the vault, packed into pages.
//!
//! A catalog is a help, never a condition: where its source fails it ends without its end, and the container is whole
//! without it.

use std::io;

use coffer_format::container::BLOCK_PAYLOAD_MAX;
use coffer_format::set_catalog::CatalogItem;
use coffer_format::{Encode, Writer};

use super::RecordedSegment;

/// Items of a catalog, from its begin to its end.
pub type CatalogItems = Box<dyn Iterator<Item = io::Result<CatalogItem>>>;

/// When a writer asks for a catalog.
#[derive(Debug, Clone, Copy)]
pub enum CatalogMoment<'a> {
    /// Before a cartridge's first container: everything that was before.
    Beginning,
    /// Behind the segments of a container, which are these: what came after container `after`.
    Closing { container: u32, after: u32, recorded: &'a [RecordedSegment] },
}

/// Gives the items of a catalog; none leaves it out.
pub type CatalogSource<'a> = dyn FnMut(CatalogMoment<'_>) -> CatalogItems + 'a;

/// No catalog at all.
pub fn no_catalog(_: CatalogMoment<'_>) -> CatalogItems {
    Box::new(std::iter::empty())
}

/// Items as payloads of blocks. Holds one page and one item at a time.
pub(super) struct Pages {
    items: CatalogItems,
    /// An item that didn't fit in the page before.
    waiting: Option<Vec<u8>>,
}

/// The count of items that a page begins with.
const COUNT_LEN: usize = 4;

impl Pages {
    pub(super) fn new(items: CatalogItems) -> Pages {
        Pages { items, waiting: None }
    }

    fn next_item(&mut self) -> Option<Vec<u8>> {
        if let Some(waiting) = self.waiting.take() {
            return Some(waiting);
        }
        match self.items.next()? {
            Ok(item) => Some(coffer_format::to_bytes(&item)),
            Err(error) => {
                tracing::error!(%error, "the catalog for this cartridge ends early: run `coffer verify`");
                self.items = Box::new(std::iter::empty());
                None
            }
        }
    }
}

impl Iterator for Pages {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut page = Writer(vec![0; COUNT_LEN]);
        let mut count = 0u32;
        while let Some(item) = self.next_item() {
            if COUNT_LEN + item.len() > BLOCK_PAYLOAD_MAX {
                tracing::error!(
                    bytes = item.len(),
                    "an item of the catalog is longer than a block and was left out"
                );
                continue;
            }
            if page.0.len() + item.len() > BLOCK_PAYLOAD_MAX {
                self.waiting = Some(item);
                break;
            }
            page.bytes(&item);
            count += 1;
        }
        let mut head = Writer::default();
        count.encode(&mut head);
        page.0[..COUNT_LEN].copy_from_slice(&head.0);
        (count > 0).then_some(page.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_format::segment::Stream;
    use coffer_format::set_catalog::{CatalogPage, OutlinePiece, PIECE_MAX};
    use coffer_format::{Blob, SegmentId, from_bytes};

    fn outline(number: u64) -> CatalogItem {
        let bytes = Blob(vec![number as u8; PIECE_MAX]);
        let piece = OutlinePiece {
            segment: SegmentId(number),
            stream: Stream::Meta,
            total: 1 << 20,
            offset: 0,
            bytes,
        };
        CatalogItem::Outline { piece }
    }

    #[test]
    fn items_come_back_from_pages_in_order() {
        let items = (0..10).map(|number| Ok(outline(number)));
        let pages: Vec<_> = Pages::new(Box::new(items)).collect();
        assert_eq!(pages.len(), 4);
        let read = pages.iter().flat_map(|page| from_bytes::<CatalogPage>(page).unwrap().items);
        assert!(read.eq((0..10).map(outline)));
    }

    #[test]
    fn a_source_that_fails_ends_the_catalog() {
        let items = [Ok(outline(1)), Err(io::ErrorKind::NotFound.into()), Ok(CatalogItem::End)];
        let pages: Vec<_> = Pages::new(Box::new(items.into_iter())).collect();
        assert_eq!(pages.len(), 1);
        assert_eq!(from_bytes::<CatalogPage>(&pages[0]).unwrap().items, [outline(1)]);
    }
}
