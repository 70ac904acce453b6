//! A cartridge's memory (MAM): attributes as READ and WRITE ATTRIBUTE carry them (SPC-4 7.4).

use coffer_format::{DecodeError, Reader};

use super::{be16, be32, byte, take_some, text};

const WHAT: &str = "medium attributes";
/// Most attributes that are looked at.
const ATTRIBUTES_MAX: usize = 512;

/// Identifiers of attributes (SPC-4 7.4.2).
pub mod mam {
    /// MiB left in the partition, 8 bytes.
    pub const REMAINING_MIB: u16 = 0x0000;
    pub const MAXIMUM_MIB: u16 = 0x0001;
    pub const LOADS: u16 = 0x0003;
    pub const FORMAT_DENSITY: u16 = 0x0006;
    pub const WRITTEN_MIB: u16 = 0x0220;
    pub const READ_MIB: u16 = 0x0221;
    pub const MANUFACTURER: u16 = 0x0400;
    pub const SERIAL: u16 = 0x0401;
    pub const MADE_ON: u16 = 0x0406;
    /// 00h data, 01h cleaning, 80h WORM.
    pub const MEDIUM_KIND: u16 = 0x0408;
    /// For a cleaning cartridge how often it may be used.
    pub const MEDIUM_KIND_DETAIL: u16 = 0x0409;
    pub const APPLICATION_VENDOR: u16 = 0x0800;
    pub const APPLICATION_NAME: u16 = 0x0801;
    pub const USER_LABEL: u16 = 0x0803;
    pub const BARCODE: u16 = 0x0806;
}

/// How an attribute's value is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeFormat {
    Binary,
    Ascii,
    Text,
}

/// One attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    pub id: u16,
    pub format: AttributeFormat,
    pub value: Vec<u8>,
}

impl Attribute {
    /// Text, blank-padded to the attribute's fixed length.
    pub fn ascii(id: u16, value: &str, len: usize) -> Attribute {
        let mut bytes: Vec<u8> = value.bytes().map(|b| if b.is_ascii_graphic() { b } else { b' ' }).collect();
        bytes.resize(len, b' ');
        Attribute { id, format: AttributeFormat::Ascii, value: bytes }
    }

    /// A number of at most 8 bytes.
    pub fn number(&self) -> Option<u64> {
        let fits = (1..=8).contains(&self.value.len());
        fits.then(|| self.value.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    pub fn text(&self) -> Option<String> {
        Some(text(&self.value)).filter(|text| !text.is_empty())
    }
}

/// The attributes of a READ ATTRIBUTE reply; one that is cut by the allocation length is left out.
pub fn decode_attributes(bytes: &[u8]) -> Result<Vec<Attribute>, DecodeError> {
    let mut r = Reader::new(bytes);
    let len = be32(&mut r, WHAT)? as usize;
    let mut r = Reader::new(take_some(&mut r, len, WHAT)?);
    let mut found = Vec::new();
    while r.remaining() >= 5 && found.len() < ATTRIBUTES_MAX {
        let id = be16(&mut r, WHAT)?;
        let format = match byte(&mut r, WHAT)? & 3 {
            0 => AttributeFormat::Binary,
            1 => AttributeFormat::Ascii,
            _ => AttributeFormat::Text,
        };
        let len = usize::from(be16(&mut r, WHAT)?);
        if len > r.remaining() {
            break;
        }
        found.push(Attribute { id, format, value: r.take(len, WHAT)?.to_vec() });
    }
    Ok(found)
}

/// The parameters of WRITE ATTRIBUTE.
pub fn encode_attributes(attributes: &[Attribute]) -> Vec<u8> {
    let mut body = Vec::new();
    for attribute in attributes {
        let format = match attribute.format {
            AttributeFormat::Binary => 0,
            AttributeFormat::Ascii => 1,
            AttributeFormat::Text => 2,
        };
        body.extend(attribute.id.to_be_bytes());
        body.push(format);
        body.extend((attribute.value.len() as u16).to_be_bytes());
        body.extend(&attribute.value);
    }
    let mut bytes = (body.len() as u32).to_be_bytes().to_vec();
    bytes.extend(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read_and_a_cut_attribute_left_out() {
        let remaining =
            Attribute { id: mam::REMAINING_MIB, format: AttributeFormat::Binary, value: vec![0, 1, 2] };
        let barcode = Attribute::ascii(mam::BARCODE, "COF001L6", 32);
        let bytes = encode_attributes(&[remaining.clone(), barcode.clone()]);
        assert_eq!(decode_attributes(&bytes), Ok(vec![remaining.clone(), barcode]));
        let found = decode_attributes(&bytes[..20]).unwrap();
        assert_eq!((found[0].number(), found.len()), (Some(258), 1));
        assert!(decode_attributes(&bytes[..3]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for attribute in decode_attributes(&bytes).unwrap_or_default() {
                let _ = (attribute.number(), attribute.text());
            }
        }
    }
}
