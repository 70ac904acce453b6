//! Where the data on a cartridge ends, and what to make of it.
//!
//! The quick way winds to the end and looks back; what it finds must agree in every part, else every file is
//! counted from the beginning, which is slow and sure.

use coffer_format::container::{BLOCK_LEN, BlockHeader, BlockKind, Label, decode_block};

use super::index::read_index_before;
use crate::TapeError;
use crate::drive::{Drive, ReadOutcome, SpaceOutcome};

/// Most tape files on one cartridge.
pub(super) const FILES_MAX: u32 = 1 << 20;

/// The state of the last tape file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It ends with its filemark.
    Closed { last: u32 },
    /// A crash ended it: there are blocks and no filemark.
    Torn { last: u32 },
}

/// Leaves the tape at the end of data, behind a filemark. Returns the number of the next container.
pub(super) fn find_end(drive: &mut Drive, label: &Label) -> Result<u32, TapeError> {
    let end = match look_back(drive, label)? {
        Some(end) => end,
        None => count_files(drive)?,
    };
    if drive.space_end()? != SpaceOutcome::Done {
        return Err(TapeError::LostEnd("the drive didn't wind there"));
    }
    match end {
        End::Closed { last } => Ok(last + 1),
        End::Torn { last } => {
            tracing::warn!(tape = label.barcode, container = last, "closing what a crash left open");
            drive.write_filemarks(1)?;
            Ok(last + 1)
        }
    }
}

/// The quick way; `None` if anything is odd.
fn look_back(drive: &mut Drive, label: &Label) -> Result<Option<End>, TapeError> {
    if drive.space_end()? != SpaceOutcome::Done || drive.space_filemarks(-1)? != SpaceOutcome::Done {
        return Ok(None);
    }
    if !matches!(read(drive, label)?, Found::Filemark) {
        return Ok(None);
    }
    match read(drive, label)? {
        Found::Block(header) => Ok(Some(End::Torn { last: header.container })),
        Found::EndOfData => look_at_last(drive, label),
        Found::Filemark | Found::Unreadable => Ok(None),
    }
}

/// Standing at the end of data behind a filemark: which file ends here, and can its index be read?
fn look_at_last(drive: &mut Drive, label: &Label) -> Result<Option<End>, TapeError> {
    let back = [drive.space_filemarks(-1)?, drive.space_blocks(-1)?];
    if back != [SpaceOutcome::Done; 2] {
        return Ok(None);
    }
    let Found::Block(header) = read(drive, label)? else { return Ok(None) };
    let last = header.container;
    if header.kind == BlockKind::Index {
        if drive.space_filemarks(1)? != SpaceOutcome::Done {
            return Ok(None);
        }
        if read_index_before(drive, label, last)?.is_none() {
            tracing::warn!(tape = label.barcode, container = last, "the last index can't be read");
        }
    }
    Ok(Some(End::Closed { last }))
}

/// The sure way.
fn count_files(drive: &mut Drive) -> Result<End, TapeError> {
    drive.rewind()?;
    let mut closed = 0;
    loop {
        match drive.space_filemarks(1)? {
            SpaceOutcome::Done if closed < FILES_MAX => closed += 1,
            SpaceOutcome::EndOfData => break,
            _ => return Err(TapeError::LostEnd("filemarks can't be counted")),
        }
    }
    // Whether blocks follow the last filemark: stand behind it and read.
    drive.rewind()?;
    if closed > 0 && drive.space_filemarks(closed as i32)? != SpaceOutcome::Done {
        return Err(TapeError::LostEnd("the drive counts filemarks differently each time"));
    }
    let mut block = vec![0; BLOCK_LEN];
    match drive.read_block(&mut block) {
        Ok(ReadOutcome::EndOfData) if closed > 0 => Ok(End::Closed { last: closed - 1 }),
        Ok(ReadOutcome::Filemark) => Err(TapeError::LostEnd("a filemark appeared")),
        Ok(_) => Ok(End::Torn { last: closed }),
        Err(error) if error.is_medium_error() => Ok(End::Torn { last: closed }),
        Err(error) => Err(error),
    }
}

enum Found {
    Block(BlockHeader),
    Unreadable,
    Filemark,
    EndOfData,
}

fn read(drive: &mut Drive, label: &Label) -> Result<Found, TapeError> {
    let mut block = vec![0; BLOCK_LEN];
    Ok(match drive.read_block(&mut block) {
        Ok(ReadOutcome::Block(len)) => match decode_block(&block[..len]) {
            Ok((header, _)) if header.cartridge == label.cartridge => Found::Block(header),
            _ => Found::Unreadable,
        },
        Ok(ReadOutcome::TooLong) => Found::Unreadable,
        Ok(ReadOutcome::Filemark) => Found::Filemark,
        Ok(ReadOutcome::EndOfData) => Found::EndOfData,
        Err(error) if error.is_medium_error() => Found::Unreadable,
        Err(error) => return Err(error),
    })
}
