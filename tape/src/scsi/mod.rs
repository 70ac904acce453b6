//! One command at a time: what is sent, what came back, and what a device's pages mean.
//!
//! Every decoder here reads bytes nobody vouched for: it is bounded by its input and never panics.

mod attribute;
mod block_limits;
mod capability_page;
pub mod cdb;
mod density;
mod device;
mod element_page;
mod element_status;
mod encryption;
mod identity;
mod log_page;
mod mode_page;
mod opcodes;
mod position;
mod reservation;
mod sense;
mod sg_io;
mod tape_alert;
mod transport;

pub use attribute::{Attribute, AttributeFormat, decode_attributes, encode_attributes, mam};
pub use block_limits::BlockLimits;
pub use capability_page::{ChangerCapabilities, GEOMETRY_PAGE, decode_rotates};
pub use density::{Density, decode_densities};
pub use device::{Answer, Device, Readiness};
pub(crate) use device::{Patience, READY_MS, VAGUE_MS};
pub use element_page::{ElementKind, ElementMap, ElementRange};
pub use element_status::{ElementAddress, ElementMedium, ElementStatus, decode_element_status};
pub use encryption::{
    EncryptionKey, EncryptionStatus, SET_KEY_PAGE, decode_aes_256_index, encode_clear_key, encode_set_key,
    spin,
};
pub use identity::{DeviceIds, Inquiry, decode_device_ids, decode_serial};
pub use log_page::{
    DeviceStatus, ErrorCounters, decode_supported_pages, decode_tape_alert_response, decode_tape_alerts,
    decode_tape_capacity, decode_volume_loads, log,
};
pub(crate) use mode_page::compression;
pub use mode_page::{BlockDescriptor, ModeForm, ModeParameters};
pub use opcodes::Opcodes;
pub use position::TapePosition;
pub use reservation::{ReservationKey, decode_holder, decode_keys, encode_reservation};
pub use sense::{Sense, key};
pub use sg_io::SgIo;
pub use tape_alert::{AlertAction, AlertSeverity, TapeAlert};
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

fn be64(r: &mut Reader<'_>, what: &'static str) -> Result<u64, DecodeError> {
    Ok(u64::from_be_bytes(r.array(what)?))
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
