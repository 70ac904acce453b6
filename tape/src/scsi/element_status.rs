//! READ ELEMENT STATUS data (SMC-3 6.14.2): what is where.

use std::fmt;

use coffer_format::{DecodeError, Reader};
use serde::{Deserialize, Serialize};

use super::{ElementKind, be16, be24, byte, take_some, text};
use crate::Barcode;

const WHAT: &str = "element status";
const VOLUME_TAG_LEN: usize = 36;

/// A changer's number for one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ElementAddress(pub u16);

impl fmt::Display for ElementAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What kind of cartridge a changer takes one for (SMC-3 table 37: MEDIUM TYPE).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ElementMedium {
    #[default]
    Unknown,
    Data,
    Cleaning,
    Diagnostic,
    Worm,
}

impl ElementMedium {
    fn from_code(code: u8) -> ElementMedium {
        match code & 7 {
            1 => ElementMedium::Data,
            2 => ElementMedium::Cleaning,
            3 => ElementMedium::Diagnostic,
            4 => ElementMedium::Worm,
            _ => ElementMedium::Unknown,
        }
    }
}

/// One element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElementStatus {
    pub kind: ElementKind,
    pub address: ElementAddress,
    pub full: bool,
    /// The robot can reach it; false for a drive that holds on to its cartridge.
    pub accessible: bool,
    /// For a mail slot: a person, not the robot, put the cartridge there.
    pub placed_by_hand: bool,
    pub medium: ElementMedium,
    /// Additional sense code and qualifier, if the element isn't as it should be.
    pub exception: Option<(u8, u8)>,
    /// Where the cartridge came from, if the changer knows.
    pub source: Option<ElementAddress>,
    /// `None` if there is none, it can't be read, or it wasn't asked for.
    pub barcode: Option<Barcode>,
    /// What the changer calls the drive in this element: its serial number, or vendor, product and serial number.
    pub device_id: Option<String>,
}

/// All elements in a reply. Elements of unknown kinds are left out.
pub fn decode_element_status(bytes: &[u8]) -> Result<Vec<ElementStatus>, DecodeError> {
    let mut r = Reader::new(bytes);
    r.take(5, WHAT)?;
    let report_len = be24(&mut r, WHAT)?;
    let mut pages = Reader::new(take_some(&mut r, report_len as usize, WHAT)?);
    let mut elements = Vec::new();
    while pages.remaining() > 0 {
        decode_page(&mut pages, &mut elements)?;
    }
    Ok(elements)
}

/// One element status page: descriptors of one kind and length.
fn decode_page(r: &mut Reader<'_>, elements: &mut Vec<ElementStatus>) -> Result<(), DecodeError> {
    let kind = ElementKind::from_code(byte(r, WHAT)?);
    let tags = Tags(byte(r, WHAT)?);
    let descriptor_len = usize::from(be16(r, WHAT)?);
    byte(r, WHAT)?;
    let page_len = be24(r, WHAT)? as usize;
    let page = take_some(r, page_len, WHAT)?;
    let Some(kind) = kind else { return Ok(()) };
    if descriptor_len < 12 && !page.is_empty() {
        return Err(DecodeError::Invalid { what: WHAT });
    }
    for descriptor in page.chunks_exact(descriptor_len.max(1)) {
        elements.push(decode_element(kind, tags, descriptor)?);
    }
    Ok(())
}

/// Which volume tags a page's descriptors have.
#[derive(Clone, Copy)]
struct Tags(u8);

impl Tags {
    fn primary(self) -> bool {
        self.0 & 0x80 != 0
    }
    fn alternate(self) -> bool {
        self.0 & 0x40 != 0
    }
}

fn decode_element(kind: ElementKind, tags: Tags, bytes: &[u8]) -> Result<ElementStatus, DecodeError> {
    let mut r = Reader::new(bytes);
    let address = ElementAddress(be16(&mut r, WHAT)?);
    let flags = byte(&mut r, WHAT)?;
    byte(&mut r, WHAT)?;
    let (asc, ascq) = (byte(&mut r, WHAT)?, byte(&mut r, WHAT)?);
    r.take(3, WHAT)?;
    let source_flags = byte(&mut r, WHAT)?;
    let source = ElementAddress(be16(&mut r, WHAT)?);
    let barcode = if tags.primary() {
        text(r.take(VOLUME_TAG_LEN, WHAT)?.get(..32).unwrap_or_default())
    } else {
        String::new()
    };
    if tags.alternate() {
        r.take(VOLUME_TAG_LEN, WHAT)?;
    }
    let (full, by_hand) = (flags & 0x01 != 0, flags & 0x02 != 0);
    Ok(ElementStatus {
        kind,
        address,
        full,
        accessible: flags & 0x08 != 0,
        placed_by_hand: full && by_hand && kind == ElementKind::MailSlot,
        medium: if full { ElementMedium::from_code(source_flags) } else { ElementMedium::Unknown },
        exception: (flags & 0x04 != 0).then_some((asc, ascq)),
        source: (full && source_flags & 0x80 != 0).then_some(source),
        barcode: barcode.parse().ok().filter(|_| full),
        device_id: decode_device_id(&mut r),
    })
}

/// The identification descriptor at the end; devices without one leave it out or zero.
fn decode_device_id(r: &mut Reader<'_>) -> Option<String> {
    let header = r.take(4, WHAT).ok()?;
    let id = text(take_some(r, header[3].into(), WHAT).ok()?);
    (!id.is_empty()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A page with one full drive, tagged and identified.
    fn drive_page() -> Vec<u8> {
        let mut descriptor = vec![1, 0, 0x09, 0, 0, 0, 0, 0, 0, 0x80, 0x10, 3];
        descriptor.extend(format!("{:<32}", "COF003L6").bytes());
        descriptor.extend([0; 4]);
        descriptor.extend([2, 1, 0, 5]);
        descriptor.extend(b"SER01");
        let mut bytes = vec![1, 0, 0, 1, 0, 0, 0, 8 + descriptor.len() as u8];
        bytes.extend([4, 0x80, 0, descriptor.len() as u8, 0, 0, 0, descriptor.len() as u8]);
        bytes.extend(descriptor);
        bytes
    }

    #[test]
    fn a_full_drive_is_read_whole() {
        let elements = decode_element_status(&drive_page()).unwrap();
        let drive = &elements[0];
        assert_eq!((drive.kind, drive.address, drive.full), (ElementKind::Drive, ElementAddress(256), true));
        assert_eq!(drive.barcode.as_ref().unwrap().as_str(), "COF003L6");
        assert_eq!(drive.source, Some(ElementAddress(4099)));
        assert_eq!(drive.device_id.as_deref(), Some("SER01"));
        assert!(drive.accessible && !drive.placed_by_hand);
        let mut cleaner = drive_page();
        cleaner[16 + 9] |= 2;
        assert_eq!(decode_element_status(&cleaner).unwrap()[0].medium, ElementMedium::Cleaning);
    }

    #[test]
    fn what_lies_behind_the_report_is_ignored_and_a_cut_descriptor_left_out() {
        let mut long = drive_page();
        long.extend([0xee; 40]);
        assert_eq!(decode_element_status(&long).unwrap().len(), 1);
        let short = drive_page();
        assert_eq!(decode_element_status(&short[..40]).unwrap(), []);
        assert!(decode_element_status(&short[..12]).is_err());
    }

    #[test]
    fn descriptors_without_length_are_refused() {
        let mut page = drive_page();
        page[11] = 0;
        assert!(decode_element_status(&page).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode_element_status(&bytes);
        }

        #[test]
        fn a_damaged_page_is_read_without_panic(at in 0usize..73, value: u8) {
            let mut page = drive_page();
            let at = at % page.len();
            page[at] = value;
            let _ = decode_element_status(&page);
        }
    }
}
