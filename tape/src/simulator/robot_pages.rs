//! What a simulated changer tells: where its elements are, and what is in them.

use super::reply::{Check, Done, INVALID_FIELD, field, give};
use super::robot::{HAND, Robot, address};
use super::state::Spot;
use crate::scsi::{Data, ElementAddress, ElementKind, ElementMap};

/// What READ ELEMENT STATUS was asked for.
struct Asked {
    kind: Option<ElementKind>,
    first: u16,
    count: u16,
    barcodes: bool,
    device_ids: bool,
    alloc: usize,
}

impl Asked {
    fn parse(cdb: &[u8]) -> Result<Asked, Check> {
        let code = field(cdb, 1) & 0x0f;
        let kind = ElementKind::from_code(code);
        if code != 0 && kind.is_none() {
            return Err(Check::illegal(INVALID_FIELD));
        }
        Ok(Asked {
            kind,
            first: u16::from_be_bytes([field(cdb, 2), field(cdb, 3)]),
            count: u16::from_be_bytes([field(cdb, 4), field(cdb, 5)]),
            barcodes: field(cdb, 1) & 0x10 != 0,
            device_ids: field(cdb, 6) & 1 != 0,
            alloc: u32::from_be_bytes([0, field(cdb, 7), field(cdb, 8), field(cdb, 9)]) as usize,
        })
    }
}

impl Robot {
    /// MODE SENSE(6), page 1Dh only (SMC-3 7.3.4).
    pub(super) fn mode_sense(&self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        if !matches!(field(cdb, 2) & 0x3f, ElementMap::PAGE | 0x3f) {
            return Err(Check::illegal(INVALID_FIELD));
        }
        let shape = &self.state.shape;
        let first = |spot| address(spot).map_or(0, |address| address.0);
        let mut page = vec![23, 0, 0, 0, ElementMap::PAGE, 18];
        let numbers = [
            [HAND, 1],
            [first(Spot::Slot(0)), shape.slots],
            [first(Spot::MailSlot(0)), shape.mail_slots],
            [first(Spot::Drive(0)), shape.drives],
        ];
        page.extend(numbers.as_flattened().iter().flat_map(|number| number.to_be_bytes()));
        page.extend([0, 0]);
        give(data, &page, field(cdb, 4).into())
    }

    /// READ ELEMENT STATUS (SMC-3 6.14).
    pub(super) fn element_status(&self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        let asked = Asked::parse(cdb)?;
        let mut left = usize::from(asked.count);
        let (mut pages, mut total) = (Vec::new(), 0u16);
        for kind in [ElementKind::Transport, ElementKind::Slot, ElementKind::MailSlot, ElementKind::Drive] {
            if asked.kind.is_some_and(|wanted| wanted != kind) {
                continue;
            }
            let elements = self.elements(kind).into_iter().filter(|(address, _)| address.0 >= asked.first);
            let elements: Vec<_> = elements.take(left).collect();
            left -= elements.len();
            total += elements.len() as u16;
            let descriptors: Vec<Vec<u8>> =
                elements.into_iter().map(|(address, spot)| self.descriptor(&asked, address, spot)).collect();
            push_page(&mut pages, kind, asked.barcodes, &descriptors);
        }
        let first = asked.first.to_be_bytes();
        let [_, a, b, c] = (pages.len() as u32).to_be_bytes();
        let mut report = vec![first[0], first[1], (total >> 8) as u8, total as u8, 0, a, b, c];
        report.extend(pages);
        give(data, &report, asked.alloc)
    }

    fn elements(&self, kind: ElementKind) -> Vec<(ElementAddress, Option<Spot>)> {
        let shape = &self.state.shape;
        let spots: Vec<Spot> = match kind {
            ElementKind::Transport => return vec![(ElementAddress(HAND), None)],
            ElementKind::Slot => (0..shape.slots).map(Spot::Slot).collect(),
            ElementKind::MailSlot => (0..shape.mail_slots).map(Spot::MailSlot).collect(),
            ElementKind::Drive => (0..shape.drives).map(Spot::Drive).collect(),
        };
        spots.into_iter().filter_map(|spot| Some((address(spot)?, Some(spot)))).collect()
    }

    fn descriptor(&self, asked: &Asked, at: ElementAddress, spot: Option<Spot>) -> Vec<u8> {
        const FULL: u8 = 0x01;
        const ACCESS: u8 = 0x08;
        const IMPORT_EXPORT: u8 = 0x30;
        let held = spot.and_then(|spot| self.state.at(spot));
        let mut flags = ACCESS | if held.is_some() { FULL } else { 0 };
        if matches!(spot, Some(Spot::MailSlot(_))) {
            flags |= IMPORT_EXPORT;
        }
        let source = held.and_then(|(_, cartridge)| cartridge.source).and_then(address);
        let [sh, sl] = source.unwrap_or_default().0.to_be_bytes();
        let [ah, al] = at.0.to_be_bytes();
        let mut bytes = vec![ah, al, flags, 0, 0, 0, 0, 0, 0, u8::from(source.is_some()) << 7, sh, sl];
        if asked.barcodes {
            let barcode = held.map_or("", |(barcode, _)| barcode.as_str());
            bytes.extend(format!("{barcode:<32}").bytes());
            bytes.extend([0; 4]);
        }
        match (asked.device_ids, spot) {
            (true, Some(Spot::Drive(number))) => {
                let serial = self.drive_serial(number);
                bytes.extend([2, 0, 0, serial.len() as u8]);
                bytes.extend(serial.bytes());
            }
            _ => bytes.extend([0; 4]),
        }
        bytes
    }
}

/// One element status page; none if there are no elements.
fn push_page(pages: &mut Vec<u8>, kind: ElementKind, barcodes: bool, descriptors: &[Vec<u8>]) {
    let Some(first) = descriptors.first() else { return };
    let [lh, ll] = (first.len() as u16).to_be_bytes();
    let [_, a, b, c] = ((first.len() * descriptors.len()) as u32).to_be_bytes();
    pages.extend([kind.code(), u8::from(barcodes) << 7, lh, ll, 0, a, b, c]);
    pages.extend(descriptors.iter().flatten());
}
