//! A container's index, read from behind: the last blocks before the filemark.

use coffer_format::container::{BLOCK_LEN, BlockKind, CONTAINER_SEGMENTS_MAX, ContainerIndex, Label};
use coffer_format::from_bytes;

use super::block_of;
use crate::TapeError;
use crate::drive::{Drive, ReadOutcome, SpaceOutcome};

/// Most blocks of an index: [`CONTAINER_SEGMENTS_MAX`] entries fit in one, so this is ample.
const INDEX_BLOCKS_MAX: i32 = 8;

/// Reads the index of the container whose filemark lies right before the position. `None` if it has none that can be
/// read, or the drive can't wind backward. Afterwards the position is somewhere in this container.
pub(super) fn read_index_before(
    drive: &mut Drive,
    label: &Label,
    container: u32,
) -> Result<Option<ContainerIndex>, TapeError> {
    if drive.space_filemarks(-1)? != SpaceOutcome::Done {
        return Ok(None);
    }
    let mut payload = Vec::new();
    for read in 0..INDEX_BLOCKS_MAX {
        // Each further block lies before those read already, and reading leaves the tape behind one.
        if drive.space_blocks(if read == 0 { -1 } else { -2 })? != SpaceOutcome::Done {
            return Ok(None);
        }
        let Some(mut earlier) = read_index_block(drive, label, container)? else { return Ok(None) };
        earlier.append(&mut payload);
        payload = earlier;
        if let Some(index) = decode(&payload, container) {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

/// An index that makes sense for this container.
pub(super) fn decode(payload: &[u8], container: u32) -> Option<ContainerIndex> {
    let index = from_bytes::<ContainerIndex>(payload).ok()?;
    let in_order = index.entries.is_sorted_by(|a, b| a.first_block < b.first_block);
    let fits = index.container == container && index.entries.len() <= CONTAINER_SEGMENTS_MAX;
    (in_order && fits).then_some(index)
}

fn read_index_block(drive: &mut Drive, label: &Label, container: u32) -> Result<Option<Vec<u8>>, TapeError> {
    let mut block = vec![0; BLOCK_LEN];
    let len = match drive.read_block(&mut block) {
        Ok(ReadOutcome::Block(len)) => len,
        Ok(_) => return Ok(None),
        Err(error) if error.is_medium_error() => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(match block_of(&block[..len], label, container) {
        Ok((header, payload)) if header.kind == BlockKind::Index => Some(payload.to_vec()),
        _ => None,
    })
}
