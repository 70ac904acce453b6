//! A simulated cartridge's memory (SPC-4 7.4).

use super::{Cassette, Deck};
use crate::scsi::{Attribute, AttributeFormat, Data, decode_attributes, encode_attributes, key, mam};
use crate::simulator::cartridge::CartridgeKind;
use crate::simulator::reply::{
    Check, Done, GOOD, INVALID_FIELD, INVALID_PARAMETER, NO_MEDIUM, field, field_16, field_32, give,
};

/// How often a cleaning cartridge may be used in all.
const CLEANINGS: u16 = 50;

impl Deck {
    /// READ ATTRIBUTE: values. A cleaner's memory can be read as well as any.
    pub(super) fn read_attribute(&self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        if field(cdb, 1) & 0x1f != 0 {
            return Err(Check::illegal(INVALID_FIELD));
        }
        let cassette = self.cassette.as_ref().ok_or(Check::new(key::NOT_READY, NO_MEDIUM))?;
        let first = field_16(cdb, 8);
        let mut attributes = attributes(cassette);
        attributes.retain(|attribute| attribute.id >= first);
        attributes.sort_by_key(|attribute| attribute.id);
        give(data, &encode_attributes(&attributes), field_32(cdb, 10) as usize)
    }

    /// WRITE ATTRIBUTE: only what hosts may write.
    pub(super) fn write_attribute(&mut self, data: &mut Data<'_>) -> Done {
        let Data::Out(parameters) = data else { return Err(Check::illegal(INVALID_FIELD)) };
        let illegal = Check::illegal(INVALID_PARAMETER);
        let attributes = decode_attributes(parameters).map_err(|_| illegal)?;
        if attributes.iter().any(|attribute| !(0x0800..0x0c00).contains(&attribute.id)) {
            return Err(illegal);
        }
        self.loaded()?;
        self.alter(|state| {
            state.memory.extend(attributes.into_iter().map(|attribute| (attribute.id, attribute.value)));
        });
        GOOD
    }
}

fn attributes(cassette: &Cassette) -> Vec<Attribute> {
    let number = |id, value: &[u8]| Attribute { id, format: AttributeFormat::Binary, value: value.to_vec() };
    let mib = |bytes: u64| (bytes >> 20).to_be_bytes();
    let kind = match cassette.state.kind {
        CartridgeKind::Data => 0x00,
        CartridgeKind::Worm => 0x80,
        CartridgeKind::Cleaning { .. } | CartridgeKind::WrongCleaning => 0x01,
    };
    let medium = &cassette.medium;
    let mut all = vec![
        number(mam::REMAINING_MIB, &mib(medium.remaining_bytes())),
        number(mam::MAXIMUM_MIB, &mib(medium.capacity_bytes())),
        number(mam::LOADS, &cassette.state.loads.to_be_bytes()),
        Attribute::ascii(mam::MANUFACTURER, "COFFER", 8),
        Attribute::ascii(mam::SERIAL, &format!("SN{}", cassette.barcode), 32),
        number(0x0405, &[cassette.generation.density().unwrap_or(0)]),
        number(mam::MEDIUM_KIND, &[kind]),
        number(mam::MEDIUM_KIND_DETAIL, &CLEANINGS.to_be_bytes()),
    ];
    let written = cassette.state.memory.iter();
    all.extend(written.map(|(id, value)| Attribute {
        id: *id,
        format: AttributeFormat::Text,
        value: value.clone(),
    }));
    all
}
