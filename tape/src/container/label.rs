//! Tape file 0: whose cartridge this is.

use coffer_format::container::{BLOCK_LEN, BlockHeader, BlockKind, Label, decode_block, encode_block};
use coffer_format::{SegmentId, from_bytes, to_bytes};

use crate::TapeError;
use crate::drive::{Drive, ReadOutcome};

/// What a cartridge says at its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelState {
    Ours(Label),
    Blank,
    /// Data of another program, or a label of ours that can't be read any more.
    Foreign,
}

/// Whether data may be lost to a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelPolicy {
    OnlyBlank,
    /// Whatever is on the cartridge is given up.
    Overwrite,
}

/// Reads the label; leaves the tape behind the first block.
pub fn read_label(drive: &mut Drive) -> Result<LabelState, TapeError> {
    drive.rewind()?;
    let mut block = vec![0; BLOCK_LEN];
    let read = match drive.read_block(&mut block)? {
        ReadOutcome::EndOfData => return Ok(LabelState::Blank),
        ReadOutcome::Filemark | ReadOutcome::TooLong => return Ok(LabelState::Foreign),
        ReadOutcome::Block(len) => decode_block(&block[..len]),
    };
    Ok(match read {
        Ok((BlockHeader { kind: BlockKind::Label, container: 0, cartridge, .. }, payload)) => {
            let label = from_bytes::<Label>(payload).ok().filter(|label| label.cartridge == cartridge);
            label.map_or(LabelState::Foreign, LabelState::Ours)
        }
        _ => LabelState::Foreign,
    })
}

/// The label, or what to do about its absence.
pub(super) fn require_label(drive: &mut Drive) -> Result<Label, TapeError> {
    match read_label(drive)? {
        LabelState::Ours(label) => Ok(label),
        LabelState::Blank => Err(TapeError::NotLabelled),
        LabelState::Foreign => Err(TapeError::NotBlank),
    }
}

/// Writes a label and a filemark at the beginning of the tape, and reads it back.
pub fn label_cartridge(drive: &mut Drive, label: &Label, policy: LabelPolicy) -> Result<(), TapeError> {
    match (read_label(drive)?, policy) {
        (LabelState::Blank, _) | (_, LabelPolicy::Overwrite) => {}
        (LabelState::Ours(found), _) => return Err(TapeError::AlreadyLabelled(found.barcode)),
        (LabelState::Foreign, _) => return Err(TapeError::NotBlank),
    }
    let payload = to_bytes(label);
    let header = BlockHeader {
        kind: BlockKind::Label,
        cartridge: label.cartridge,
        container: 0,
        number: 0,
        payload_len: payload.len() as u32,
        segment: SegmentId(0),
    };
    drive.rewind()?;
    drive.write_block(&encode_block(&header, &payload))?;
    drive.write_filemarks(1)?;
    drive.synchronize()?;
    match read_label(drive)? {
        LabelState::Ours(found) if found == *label => Ok(()),
        _ => Err(TapeError::Damaged {
            container: 0,
            block: 0,
            what: "the label reads back differently".to_owned(),
        }),
    }
}
