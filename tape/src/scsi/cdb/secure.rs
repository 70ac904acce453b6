//! Commands about keys and about who may use a device (SPC-4, SSC-4 clause 9; RESERVE and RELEASE: SPC-2).

use super::{Cdb, QUERY_MS};

/// SPC-4 6.40: SECURITY PROTOCOL IN, a page of tape data encryption (SSC-4 8.5.2).
pub fn security_protocol_in(page: u16, alloc: u32) -> Cdb {
    security("SECURITY PROTOCOL IN", 0xa2, page, alloc)
}

/// SPC-4 6.41: SECURITY PROTOCOL OUT, a page of tape data encryption (SSC-4 8.5.3) of `len` bytes.
pub fn security_protocol_out(page: u16, len: u32) -> Cdb {
    security("SECURITY PROTOCOL OUT", 0xb5, page, len)
}

fn security(name: &'static str, opcode: u8, page: u16, len: u32) -> Cdb {
    const TAPE_DATA_ENCRYPTION: u8 = 0x20;
    let ([ph, pl], [a, b, c, d]) = (page.to_be_bytes(), len.to_be_bytes());
    Cdb::new(name, QUERY_MS, &[opcode, TAPE_DATA_ENCRYPTION, ph, pl, 0, 0, a, b, c, d, 0, 0])
}

/// What PERSISTENT RESERVE IN asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReservationIn {
    Keys,
    Reservation,
}

/// SPC-4 6.15.
pub fn persistent_reserve_in(what: ReservationIn, alloc: u16) -> Cdb {
    let [hi, lo] = alloc.to_be_bytes();
    let action = u8::from(what == ReservationIn::Reservation);
    Cdb::new("PERSISTENT RESERVE IN", QUERY_MS, &[0x5e, action, 0, 0, 0, 0, 0, hi, lo, 0])
}

/// What PERSISTENT RESERVE OUT does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReservationOut {
    Reserve,
    Release,
    /// Registers a key whatever was registered before; a key of 0 unregisters.
    RegisterAnyway,
}

/// SPC-4 6.16: for this computer alone (exclusive access), with 24 bytes of parameters.
pub fn persistent_reserve_out(what: ReservationOut) -> Cdb {
    const EXCLUSIVE_ACCESS: u8 = 3;
    let action = match what {
        ReservationOut::Reserve => 1,
        ReservationOut::Release => 2,
        ReservationOut::RegisterAnyway => 6,
    };
    let kind = if what == ReservationOut::RegisterAnyway { 0 } else { EXCLUSIVE_ACCESS };
    Cdb::new("PERSISTENT RESERVE OUT", QUERY_MS, &[0x5f, action, kind, 0, 0, 0, 0, 0, 24, 0])
}

/// SPC-2 7.21: RESERVE(6), the whole device.
pub fn reserve() -> Cdb {
    Cdb::new("RESERVE(6)", QUERY_MS, &[0x16, 0, 0, 0, 0, 0])
}

/// SPC-2 7.16: RELEASE(6).
pub fn release() -> Cdb {
    Cdb::new("RELEASE(6)", QUERY_MS, &[0x17, 0, 0, 0, 0, 0])
}
