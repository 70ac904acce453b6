//! A container's index, read from behind: the last blocks before the filemark.

use coffer_format::container::{BLOCK_LEN, BlockKind, CONTAINER_SEGMENTS_MAX, ContainerIndex, Label};
use coffer_format::from_bytes;

use super::block_of;
use crate::TapeError;
use crate::drive::{Drive, ReadOutcome, SpaceOutcome};

/// Most blocks of an index, all copies of it: [`CONTAINER_SEGMENTS_MAX`] entries fit in one, so this is ample.
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
    for back in 1..=INDEX_BLOCKS_MAX {
        if back > 1 && !stand_before_filemark(drive)? {
            return Ok(None);
        }
        if drive.space_blocks(-back)? != SpaceOutcome::Done {
            return Ok(None);
        }
        match read_index_block(drive, label, container)? {
            Found::Index(mut earlier) => {
                earlier.append(&mut payload);
                payload = earlier;
            }
            // The copy before it may be whole.
            Found::Unreadable => payload.clear(),
            Found::Other => return Ok(None),
        }
        if let Some(index) = decode(&payload, container) {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

/// From within the container (wherever a failed read left the tape) back to before its filemark.
fn stand_before_filemark(drive: &mut Drive) -> Result<bool, TapeError> {
    let wound = [drive.space_filemarks(1)?, drive.space_filemarks(-1)?];
    Ok(wound == [SpaceOutcome::Done; 2])
}

/// An index that makes sense for this container.
pub(super) fn decode(payload: &[u8], container: u32) -> Option<ContainerIndex> {
    let index = from_bytes::<ContainerIndex>(payload).ok()?;
    let in_order = index.entries.is_sorted_by(|a, b| a.first_block < b.first_block);
    let fits = index.container == container && index.entries.len() <= CONTAINER_SEGMENTS_MAX;
    (in_order && fits).then_some(index)
}

/// What a block near a container's end is.
enum Found {
    /// A part of the index.
    Index(Vec<u8>),
    Unreadable,
    Other,
}

fn read_index_block(drive: &mut Drive, label: &Label, container: u32) -> Result<Found, TapeError> {
    let mut block = vec![0; BLOCK_LEN];
    let len = match drive.read_block(&mut block) {
        Ok(ReadOutcome::Block(len)) => len,
        Ok(ReadOutcome::TooLong) => return Ok(Found::Unreadable),
        Ok(ReadOutcome::Filemark | ReadOutcome::EndOfData) => return Ok(Found::Other),
        Err(error) if error.is_medium_error() => return Ok(Found::Unreadable),
        Err(error) => return Err(error),
    };
    Ok(match block_of(&block[..len], label, container) {
        Ok((header, payload)) if header.kind == BlockKind::Index => Found::Index(payload.to_vec()),
        Ok(_) => Found::Other,
        Err(_) => Found::Unreadable,
    })
}
