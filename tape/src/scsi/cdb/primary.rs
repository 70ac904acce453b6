//! Commands every kind of device may have (SPC-4).

use super::{Cdb, Expected, QUERY_MS};

/// SPC-4 6.47.
pub fn test_unit_ready() -> Cdb {
    Cdb::new("TEST UNIT READY", QUERY_MS, &[0x00, 0, 0, 0, 0, 0]).expecting(Expected::NotReady)
}

/// SPC-4 6.39: REQUEST SENSE, fixed format.
pub fn request_sense(alloc: u8) -> Cdb {
    Cdb::new("REQUEST SENSE", QUERY_MS, &[0x03, 0, 0, 0, alloc, 0])
}

/// SPC-4 6.6: standard data.
pub fn inquiry(alloc: u16) -> Cdb {
    let [hi, lo] = alloc.to_be_bytes();
    Cdb::new("INQUIRY", QUERY_MS, &[0x12, 0, 0, hi, lo, 0])
}

/// SPC-4 6.6: a vital product data page (7.8).
pub fn inquiry_vpd(page: u8, alloc: u16) -> Cdb {
    let [hi, lo] = alloc.to_be_bytes();
    Cdb::new("INQUIRY", QUERY_MS, &[0x12, 1, page, hi, lo, 0])
}

/// SPC-4 6.11: MODE SENSE(6), current values; a changer's pages without block descriptors, which it hasn't.
pub fn mode_sense(page: u8, alloc: u8) -> Cdb {
    Cdb::new("MODE SENSE(6)", QUERY_MS, &[0x1a, no_descriptors(page), page, 0, alloc, 0])
}

/// SPC-4 6.12: MODE SENSE(10), current values.
pub fn mode_sense_10(page: u8, alloc: u16) -> Cdb {
    let [hi, lo] = alloc.to_be_bytes();
    let command = [0x5a, no_descriptors(page), page, 0, 0, 0, 0, hi, lo, 0];
    Cdb::new("MODE SENSE(10)", QUERY_MS, &command)
}

/// The DBD bit.
fn no_descriptors(page: u8) -> u8 {
    u8::from(matches!(page, 0x1d..=0x1f)) << 3
}

/// SPC-4 6.9: MODE SELECT(6) of `len` bytes of parameters.
pub fn mode_select(len: u8) -> Cdb {
    Cdb::new("MODE SELECT(6)", QUERY_MS, &[0x15, 0x10, 0, 0, len, 0])
}

/// SPC-4 6.10: MODE SELECT(10) of `len` bytes of parameters.
pub fn mode_select_10(len: u16) -> Cdb {
    let [hi, lo] = len.to_be_bytes();
    Cdb::new("MODE SELECT(10)", QUERY_MS, &[0x55, 0x10, 0, 0, 0, 0, 0, hi, lo, 0])
}

/// SPC-4 6.8: cumulative values of one log page.
pub fn log_sense(page: u8, alloc: u16) -> Cdb {
    let [hi, lo] = alloc.to_be_bytes();
    Cdb::new("LOG SENSE", QUERY_MS, &[0x4d, 0, 0x40 | (page & 0x3f), 0, 0, 0, 0, hi, lo, 0])
}

/// Whether a person may take a medium out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    Allow,
    Prevent,
}

/// SPC-4 6.14 (SMC-3 6.10 for changers, whose mail slot it locks).
pub fn prevent_allow_removal(removal: Removal) -> Cdb {
    let prevent = u8::from(removal == Removal::Prevent);
    Cdb::new("PREVENT ALLOW MEDIUM REMOVAL", QUERY_MS, &[0x1e, 0, 0, 0, prevent, 0])
}

/// SPC-4 6.17: READ ATTRIBUTE, the values of partition 0 from attribute `first` on.
pub fn read_attribute(first: u16, alloc: u32) -> Cdb {
    let ([fh, fl], [a, b, c, d]) = (first.to_be_bytes(), alloc.to_be_bytes());
    let command = [0x8c, 0, 0, 0, 0, 0, 0, 0, fh, fl, a, b, c, d, 0, 0];
    Cdb::new("READ ATTRIBUTE", QUERY_MS, &command)
}

/// SPC-4 6.48: WRITE ATTRIBUTE of `len` bytes of parameters, through to the cartridge's memory (WTC).
pub fn write_attribute(len: u32) -> Cdb {
    let [a, b, c, d] = len.to_be_bytes();
    Cdb::new("WRITE ATTRIBUTE", QUERY_MS, &[0x8d, 1, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d, 0, 0])
}

/// SPC-4 6.35: REPORT SUPPORTED OPERATION CODES, all of them.
pub fn report_supported_opcodes(alloc: u32) -> Cdb {
    let [a, b, c, d] = alloc.to_be_bytes();
    Cdb::new("REPORT SUPPORTED OPERATION CODES", QUERY_MS, &[0xa3, 0x0c, 0, 0, 0, 0, a, b, c, d, 0, 0])
}
