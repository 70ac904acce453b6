//! One command at a time: what is sent, what came back, and what a device's pages mean.
//!
//! Every decoder here reads bytes nobody vouched for: it is bounded by its input and never panics.

mod block_limits;
pub mod cdb;
mod device;
mod element_page;
mod element_status;
mod identity;
mod log_page;
mod position;
mod sense;
mod sg_io;
mod transport;

pub use block_limits::BlockLimits;
pub use device::{Answer, Device, Readiness};
pub use element_page::{ElementKind, ElementMap, ElementRange};
pub use element_status::{ElementAddress, ElementStatus, decode_element_status};
pub use identity::{DeviceIds, Inquiry, decode_device_ids, decode_serial};
pub use log_page::{decode_supported_pages, decode_tape_alerts};
pub use position::TapePosition;
pub use sense::{Sense, key};
pub use sg_io::SgIo;
pub use transport::{Data, ScsiReply, ScsiTransport, status};

use coffer_format::{DecodeError, Reader};

/// SCSI is big-endian.
fn be16(r: &mut Reader<'_>, what: &'static str) -> Result<u16, DecodeError> {
    Ok(u16::from_be_bytes(r.array(what)?))
}

fn be24(r: &mut Reader<'_>, what: &'static str) -> Result<u32, DecodeError> {
    let [a, b, c] = r.array(what)?;
    Ok(u32::from_be_bytes([0, a, b, c]))
}

fn be32(r: &mut Reader<'_>, what: &'static str) -> Result<u32, DecodeError> {
    Ok(u32::from_be_bytes(r.array(what)?))
}

fn byte(r: &mut Reader<'_>, what: &'static str) -> Result<u8, DecodeError> {
    Ok(r.array::<1>(what)?[0])
}

/// Takes as many of `count` bytes as there are: devices cut pages at the allocation length.
fn take_some<'a>(r: &mut Reader<'a>, count: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
    r.take(count.min(r.remaining()), what)
}

/// Text of a fixed field: what is printable, without the padding.
fn text(bytes: &[u8]) -> String {
    let shown: String = bytes.iter().map(|b| if b.is_ascii_graphic() { *b as char } else { ' ' }).collect();
    shown.trim().to_owned()
}
