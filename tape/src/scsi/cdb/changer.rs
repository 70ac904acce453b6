//! Commands of media changers (SMC-3).

use super::{Cdb, Expected, LONG_MS};
use crate::scsi::{ElementAddress, ElementKind};

/// What READ ELEMENT STATUS should tell besides the elements' state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementDetail {
    Nothing,
    Barcodes,
    DeviceIds,
    BarcodesAndDeviceIds,
}

impl ElementDetail {
    fn barcodes(self) -> bool {
        matches!(self, ElementDetail::Barcodes | ElementDetail::BarcodesAndDeviceIds)
    }

    fn device_ids(self) -> bool {
        matches!(self, ElementDetail::DeviceIds | ElementDetail::BarcodesAndDeviceIds)
    }
}

/// SMC-3 6.14: `count` elements of one kind from `first`.
pub fn read_element_status(
    kind: ElementKind,
    first: ElementAddress,
    count: u16,
    detail: ElementDetail,
    alloc: u16,
) -> Cdb {
    let (barcodes, ids) = (u8::from(detail.barcodes()) << 4, u8::from(detail.device_ids()));
    let ([fh, fl], [ch, cl], [ah, al]) = (first.0.to_be_bytes(), count.to_be_bytes(), alloc.to_be_bytes());
    let command = [0xb8, barcodes | kind.code(), fh, fl, ch, cl, ids, 0, ah, al, 0, 0];
    Cdb::new("READ ELEMENT STATUS", LONG_MS, &command)
}

/// SMC-3 6.4.
pub fn initialize_element_status() -> Cdb {
    Cdb::new("INITIALIZE ELEMENT STATUS", LONG_MS, &[0x07, 0, 0, 0, 0, 0])
}

/// Which operation code a changer knows for looking at some of its elements again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeOpcode {
    /// 37h, SMC-2 and later.
    Current,
    /// E7h, of vendors before that.
    Older,
}

/// SMC-3 6.5: INITIALIZE ELEMENT STATUS WITH RANGE, only `count` elements from `first`.
pub fn initialize_element_status_with_range(opcode: RangeOpcode, first: ElementAddress, count: u16) -> Cdb {
    const RANGE: u8 = 1;
    let code = match opcode {
        RangeOpcode::Current => 0x37,
        RangeOpcode::Older => 0xe7,
    };
    let ([fh, fl], [ch, cl]) = (first.0.to_be_bytes(), count.to_be_bytes());
    let command = [code, RANGE, fh, fl, 0, 0, ch, cl, 0, 0];
    Cdb::new("INITIALIZE ELEMENT STATUS WITH RANGE", LONG_MS, &command)
}

/// SMC-3 6.6. After a unit attention it may be sent again: a move that was done finds its source empty.
pub fn move_medium(transport: ElementAddress, from: ElementAddress, to: ElementAddress) -> Cdb {
    let ([th, tl], [fh, fl], [dh, dl]) =
        (transport.0.to_be_bytes(), from.0.to_be_bytes(), to.0.to_be_bytes());
    let command = [0xa5, 0, th, tl, fh, fl, dh, dl, 0, 0, 0, 0];
    Cdb::new("MOVE MEDIUM", LONG_MS, &command).expecting(Expected::Moving)
}

/// SMC-3 6.2: what is in `from` goes to `to`, what was there goes to `second`.
pub fn exchange_medium(
    transport: ElementAddress,
    from: ElementAddress,
    to: ElementAddress,
    second: ElementAddress,
) -> Cdb {
    let [[th, tl], [fh, fl], [ah, al], [bh, bl]] = [transport, from, to, second].map(|at| at.0.to_be_bytes());
    let command = [0xa6, 0, th, tl, fh, fl, ah, al, bh, bl, 0, 0];
    Cdb::new("EXCHANGE MEDIUM", LONG_MS, &command).expecting(Expected::Moving)
}

/// SMC-3 6.9: the robot goes before an element, ahead of a move.
pub fn position_to_element(transport: ElementAddress, to: ElementAddress) -> Cdb {
    let ([th, tl], [dh, dl]) = (transport.0.to_be_bytes(), to.0.to_be_bytes());
    Cdb::new("POSITION TO ELEMENT", LONG_MS, &[0x2b, 0, th, tl, dh, dl, 0, 0, 0, 0])
}

/// What is done to a mail slot's door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoorMove {
    Open,
    Close,
}

/// SMC-3 6.8: OPEN/CLOSE IMPORT/EXPORT ELEMENT.
pub fn open_close_mail_slot(at: ElementAddress, door: DoorMove) -> Cdb {
    let ([hi, lo], action) = (at.0.to_be_bytes(), u8::from(door == DoorMove::Close));
    Cdb::new("OPEN/CLOSE IMPORT/EXPORT ELEMENT", LONG_MS, &[0x1b, 0, hi, lo, action, 0])
}
