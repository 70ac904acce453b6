//! Answers in SCSI's own bytes.

use std::io;

use crate::scsi::{Data, ScsiReply, key, status};

/// Additional sense code and qualifier.
pub(super) type Code = (u8, u8);

pub(super) const END_OF_MEDIUM: Code = (0x00, 0x02);
pub(super) const FILEMARK: Code = (0x00, 0x01);
pub(super) const BEGINNING: Code = (0x00, 0x04);
pub(super) const END_OF_DATA: Code = (0x00, 0x05);
pub(super) const BECOMING_READY: Code = (0x04, 0x01);
pub(super) const WAITS_FOR_LOAD: Code = (0x04, 0x02);
pub(super) const NEEDS_A_HAND: Code = (0x04, 0x03);
pub(super) const WRITE_ERROR: Code = (0x0c, 0x00);
pub(super) const READ_ERROR: Code = (0x11, 0x00);
pub(super) const UNKNOWN_COMMAND: Code = (0x20, 0x00);
pub(super) const NO_SUCH_ELEMENT: Code = (0x21, 0x01);
pub(super) const INVALID_FIELD: Code = (0x24, 0x00);
pub(super) const INVALID_PARAMETER: Code = (0x26, 0x00);
pub(super) const WRITE_PROTECTED: Code = (0x27, 0x00);
pub(super) const MEDIUM_CHANGED: Code = (0x28, 0x00);
pub(super) const MAIL_SLOT_USED: Code = (0x28, 0x01);
pub(super) const POWERED_ON: Code = (0x29, 0x00);
pub(super) const INCOMPATIBLE: Code = (0x30, 0x00);
pub(super) const CLEANING_CARTRIDGE: Code = (0x30, 0x03);
pub(super) const CANT_WRITE_FORMAT: Code = (0x30, 0x05);
pub(super) const WRITTEN_ONCE: Code = (0x30, 0x0c);
pub(super) const NO_MEDIUM: Code = (0x3a, 0x00);
pub(super) const DESTINATION_FULL: Code = (0x3b, 0x0d);
pub(super) const SOURCE_EMPTY: Code = (0x3b, 0x0e);
pub(super) const STILL_THREADED: Code = (0x53, 0x02);

/// Fixed-format sense, 18 bytes (SPC-4 4.5.3).
#[derive(Debug, Clone, Copy)]
pub(super) struct Check {
    bytes: [u8; 18],
    /// Bytes of the buffer left over, of a command that was done with a remark; otherwise all of them are.
    left_over: Option<usize>,
}

impl Check {
    pub(super) fn new(key: u8, (asc, ascq): Code) -> Check {
        let mut bytes = [0; 18];
        bytes[0] = 0x70;
        bytes[2] = key;
        bytes[7] = 10;
        (bytes[12], bytes[13]) = (asc, ascq);
        Check { bytes, left_over: None }
    }

    pub(super) fn illegal(code: Code) -> Check {
        Check::new(key::ILLEGAL_REQUEST, code)
    }

    /// The command was done; there is merely something to say.
    pub(super) fn is_remark(&self) -> bool {
        self.bytes[2] & 0x0f == key::NO_SENSE
    }

    /// About an earlier command.
    pub(super) fn deferred(mut self) -> Check {
        self.bytes[0] |= 0x01;
        self
    }

    pub(super) fn filemark(mut self) -> Check {
        self.bytes[2] |= 0x80;
        self
    }

    pub(super) fn end_of_medium(mut self) -> Check {
        self.bytes[2] |= 0x40;
        self
    }

    pub(super) fn wrong_length(mut self) -> Check {
        self.bytes[2] |= 0x20;
        self
    }

    /// The rest of the buffer was filled.
    pub(super) fn left_over(mut self, bytes: usize) -> Check {
        self.left_over = Some(bytes);
        self
    }

    /// What was asked for less what was done.
    pub(super) fn information(mut self, value: i64) -> Check {
        self.bytes[0] |= 0x80;
        self.bytes[3..7].copy_from_slice(&(value as i32).to_be_bytes());
        self
    }

    /// The whole answer, about a buffer of `data_len` bytes.
    pub(super) fn reply(self, data_len: usize) -> ScsiReply {
        const DRIVER_SENSE: u16 = 0x08;
        ScsiReply {
            status: status::CHECK_CONDITION,
            sense: self.bytes.to_vec(),
            residual: self.left_over.unwrap_or(data_len) as i64,
            driver_status: DRIVER_SENSE,
            ..ScsiReply::default()
        }
    }
}

/// What a command comes to: bytes left over in its buffer, or sense.
pub(super) type Done = Result<Good, Check>;

/// A command that succeeded, maybe with something to say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Good {
    pub(super) residual: usize,
}

/// Succeeded without data, or with all of it taken.
pub(super) const GOOD: Done = Ok(Good { residual: 0 });

pub(super) fn reply(done: Done, data_len: usize) -> ScsiReply {
    match done {
        Ok(good) => ScsiReply { residual: good.residual as i64, ..ScsiReply::default() },
        Err(check) => check.reply(data_len),
    }
}

/// Fills the buffer with as much of `page` as it and the allocation length take.
pub(super) fn give(data: &mut Data<'_>, page: &[u8], alloc: usize) -> Done {
    let Data::In(buffer) = data else { return GOOD };
    let filled = page.len().min(alloc).min(buffer.len());
    buffer[..filled].copy_from_slice(&page[..filled]);
    Ok(Good { residual: buffer.len() - filled })
}

/// Standard INQUIRY data (SPC-4 6.6.2).
pub(super) fn inquiry(device_type: u8, product: &str) -> Vec<u8> {
    let mut page = vec![device_type, 0x80, 6, 2, 31, 0, 0, 0];
    page.extend(format!("{:<8}{:<16}{:<4}", "COFFER", product, "0001").bytes());
    page
}

/// The vital product data pages (SPC-4 7.8).
pub(super) fn vpd(device_type: u8, page: u8, product: &str, serial: &str) -> Option<Vec<u8>> {
    let body = match page {
        0x00 => vec![0x00, 0x80, 0x83],
        0x80 => serial.as_bytes().to_vec(),
        0x83 => {
            let name = format!("{:<8}{:<16}{}", "COFFER", product, serial);
            let mut body = vec![2, 1, 0, name.len() as u8];
            body.extend(name.bytes());
            body
        }
        _ => return None,
    };
    let mut bytes = vec![device_type, page, 0, body.len() as u8];
    bytes.extend(body);
    Some(bytes)
}

/// Answers INQUIRY, which every device does in any state.
pub(super) fn answer_inquiry(cdb: &[u8], data: &mut Data<'_>, device: (u8, &str, &str)) -> Done {
    let (device_type, product, serial) = device;
    let alloc = usize::from(u16::from_be_bytes([field(cdb, 3), field(cdb, 4)]));
    let page = match field(cdb, 1) & 1 {
        0 => inquiry(device_type, product),
        _ => vpd(device_type, field(cdb, 2), product, serial).ok_or(Check::illegal(INVALID_FIELD))?,
    };
    give(data, &page, alloc)
}

/// A big-endian number in a command.
pub(super) fn field_16(cdb: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([field(cdb, at), field(cdb, at + 1)])
}

pub(super) fn field_24(cdb: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([0, field(cdb, at), field(cdb, at + 1), field(cdb, at + 2)])
}

pub(super) fn field_32(cdb: &[u8], at: usize) -> u32 {
    u32::from(field_16(cdb, at)) << 16 | u32::from(field_16(cdb, at + 2))
}

pub(super) fn field_64(cdb: &[u8], at: usize) -> u64 {
    u64::from(field_32(cdb, at)) << 32 | u64::from(field_32(cdb, at + 4))
}

/// REPORT SUPPORTED OPERATION CODES, all commands: `known` less what this device lacks (SPC-4 6.35.2).
pub(super) fn opcode_list(cdb: &[u8], data: &mut Data<'_>, known: &[u8], lacks: &[u8]) -> Done {
    let mut body = Vec::new();
    for opcode in known.iter().filter(|opcode| !lacks.contains(opcode)) {
        body.extend([*opcode, 0, 0, 0, 0, 0, 0, cdb_len(*opcode)]);
    }
    let mut page = (body.len() as u32).to_be_bytes().to_vec();
    page.extend(body);
    give(data, &page, field_32(cdb, 6) as usize)
}

/// By the group of the operation code (SPC-4 4.2.5.1).
fn cdb_len(opcode: u8) -> u8 {
    match opcode >> 5 {
        0 => 6,
        4 => 16,
        5 => 12,
        _ => 10,
    }
}

/// A byte of a command that may be too short.
pub(super) fn field(cdb: &[u8], at: usize) -> u8 {
    cdb.get(at).copied().unwrap_or(0)
}

/// An error of the file system below is the device failing.
pub(super) fn failed(error: &io::Error) -> Check {
    tracing::error!(%error, "simulated device failed");
    Check::new(key::HARDWARE_ERROR, (0x44, 0x00))
}
