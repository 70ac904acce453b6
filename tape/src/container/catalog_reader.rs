//! The catalog of the whole set, read from one cartridge: the newest part first, then the chain down to the beginning.

use coffer_format::container::{BLOCK_LEN, BLOCK_PAYLOAD_MAX, BlockKind, Label};
use coffer_format::from_bytes;
use coffer_format::set_catalog::{CatalogItem, CatalogPage};

use super::reader::go_to_file;
use super::{CartridgeContents, ContainerContents, block_of};
use crate::drive::{Drive, LocateOutcome, ReadOutcome, SpaceOutcome};
use crate::{BlockAddress, TapeError};

/// Most blocks in a row that can't be read before a catalog is given up.
const UNREADABLE_MAX: u32 = 16;

/// How far the catalog on a cartridge reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogReach {
    /// Whether everything from before the cartridge's first container was told; else an older cartridge may know more.
    pub from_the_beginning: bool,
    /// Containers that no catalog here describes, newest first: a crash, early warning or damage took it.
    pub undescribed: Vec<u32>,
}

/// Reads the catalog of the whole set; hands its items to `take`, newest first as far as they contradict each other.
pub fn read_catalog(
    drive: &mut Drive,
    contents: &CartridgeContents,
    take: &mut dyn FnMut(CatalogItem),
) -> Result<CatalogReach, TapeError> {
    let mut undescribed = Vec::new();
    let mut at = contents.containers.last().map_or(0, |last| last.index.container);
    while at > 0 {
        let container = contents.containers.iter().find(|one| one.index.container == at);
        let told = match container {
            Some(container) => read_closing(drive, &contents.label, container, take)?,
            None => None,
        };
        at = match told {
            Some(after) if after < at => after,
            _ => {
                undescribed.push(at);
                at - 1
            }
        };
    }
    let beginning = match contents.containers.first().filter(|first| first.index.container == 1) {
        Some(first) => read_pages(drive, &contents.label, first, 0, take)?,
        None => None,
    };
    Ok(CatalogReach { from_the_beginning: beginning == Some(0), undescribed })
}

/// The catalog behind a container's segments; says after which container it begins, if it is whole.
fn read_closing(
    drive: &mut Drive,
    label: &Label,
    container: &ContainerContents,
    take: &mut dyn FnMut(CatalogItem),
) -> Result<Option<u32>, TapeError> {
    let Some(last) = container.index.entries.last() else { return Ok(None) };
    let blocks = last.bytes.div_ceil(BLOCK_PAYLOAD_MAX as u64);
    let Ok(blocks) = u32::try_from(blocks) else { return Ok(None) };
    read_pages(drive, label, container, last.first_block.saturating_add(blocks), take)
}

/// Reads pages from a block of a container on; segments that were given up are passed over.
fn read_pages(
    drive: &mut Drive,
    label: &Label,
    container: &ContainerContents,
    first_block: u32,
    take: &mut dyn FnMut(CatalogItem),
) -> Result<Option<u32>, TapeError> {
    if !go_to_block(drive, container, first_block)? {
        return Ok(None);
    }
    let mut block = vec![0; BLOCK_LEN];
    let (mut begun, mut whole, mut unreadable) = (None, true, 0);
    while unreadable < UNREADABLE_MAX {
        let len = match drive.read_block(&mut block) {
            Ok(ReadOutcome::Block(len)) => len,
            Ok(ReadOutcome::TooLong) => 0,
            Ok(ReadOutcome::Filemark | ReadOutcome::EndOfData) => return Ok(None),
            Err(error) if error.is_medium_error() => 0,
            Err(error) => return Err(error),
        };
        let page = match block_of(&block[..len], label, container.index.container) {
            Ok((header, _)) if header.kind == BlockKind::Segment && begun.is_none() && first_block > 0 => {
                continue;
            }
            Ok((header, payload)) if header.kind == BlockKind::Catalog => {
                from_bytes::<CatalogPage>(payload).ok()
            }
            Ok(_) => return Ok(None),
            Err(_) => None,
        };
        let Some(page) = page else {
            (whole, unreadable) = (false, unreadable + 1);
            continue;
        };
        for item in page.items {
            match item {
                CatalogItem::Begin { vault, after, .. } if vault == label.vault => begun = Some(after),
                CatalogItem::Begin { .. } => return Ok(None),
                CatalogItem::End => return Ok(begun.filter(|_| whole)),
                item => take(item),
            }
        }
    }
    Ok(None)
}

/// Goes to a block of a container. `false`: the drive can't, or there is none.
fn go_to_block(drive: &mut Drive, container: &ContainerContents, block: u32) -> Result<bool, TapeError> {
    if let Some(start) = container.start
        && drive.locate(BlockAddress(start.0 + u64::from(block)))? == LocateOutcome::Done
    {
        return Ok(true);
    }
    match go_to_file(drive, container.index.container) {
        Err(error) if error.is_damage() => return Ok(false),
        other => other?,
    }
    let Ok(count) = i32::try_from(block) else { return Ok(false) };
    Ok(count == 0 || drive.space_blocks(count)? == SpaceOutcome::Done)
}
