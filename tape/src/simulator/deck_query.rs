//! What a simulated drive tells about itself.

use super::Protection;
use super::medium::{Medium, Room};
use super::reply::{Check, Done, GOOD, INVALID_FIELD, INVALID_PARAMETER, field, give};
use crate::scsi::Data;

const LONGEST_BLOCK: u32 = 8 << 20;

/// SSC-4 7.6.
pub(super) fn block_limits(data: &mut Data<'_>) -> Done {
    let [_, a, b, c] = LONGEST_BLOCK.to_be_bytes();
    give(data, &[0, a, b, c, 0, 1], 6)
}

/// MODE SELECT(6): only variable-length blocks are taken.
pub(super) fn mode_select(cdb: &[u8], data: &mut Data<'_>) -> Done {
    let Data::Out(parameters) = data else { return Err(Check::illegal(INVALID_FIELD)) };
    let descriptor_len = field(parameters, 3);
    let variable = parameters.get(9..12).is_none_or(|block_len| block_len == [0, 0, 0]);
    if usize::from(field(cdb, 4)) != parameters.len() || !matches!(descriptor_len, 0 | 8) || !variable {
        return Err(Check::illegal(INVALID_PARAMETER));
    }
    GOOD
}

/// MODE SENSE(6): the header with the write protect bit, no pages.
pub(super) fn mode_sense(cdb: &[u8], data: &mut Data<'_>, medium: Option<&Medium>) -> Done {
    let protected = medium.is_some_and(|medium| medium.protection == Protection::Protected);
    let page = [3, 0, 0x10 | u8::from(protected) << 7, 0];
    give(data, &page, field(cdb, 4).into())
}

/// READ POSITION, short form (SSC-4 7.7.2).
pub(super) fn position(data: &mut Data<'_>, position: usize, medium: &Medium) -> Done {
    let beginning = u8::from(position == 0) << 7;
    let warned = u8::from(medium.room_at(position) != Room::Enough) << 6;
    let address = (position as u32).to_be_bytes();
    let mut page = [0; 20];
    page[0] = beginning | warned;
    page[4..8].copy_from_slice(&address);
    page[8..12].copy_from_slice(&address);
    give(data, &page, page.len())
}

/// LOG SENSE: the list of pages, and TapeAlert with no flag set (SSC-4 8.2.3).
pub(super) fn log_sense(cdb: &[u8], data: &mut Data<'_>) -> Done {
    let alloc = usize::from(u16::from_be_bytes([field(cdb, 7), field(cdb, 8)]));
    let page = match field(cdb, 2) & 0x3f {
        0x00 => vec![0x00, 0, 0, 2, 0x00, 0x2e],
        0x2e => tape_alerts(),
        _ => return Err(Check::illegal(INVALID_FIELD)),
    };
    give(data, &page, alloc)
}

fn tape_alerts() -> Vec<u8> {
    const FLAGS: u16 = 64;
    let [hi, lo] = (FLAGS * 5).to_be_bytes();
    let mut page = vec![0x2e, 0, hi, lo];
    for flag in 1..=FLAGS {
        let [hi, lo] = flag.to_be_bytes();
        page.extend([hi, lo, 0x40, 1, 0]);
    }
    page
}
