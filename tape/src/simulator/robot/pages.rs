//! What a simulated changer tells: where its elements are, what it can do, and what is in them.

use super::Robot;
use crate::scsi::{ChangerCapabilities, Data, ElementAddress, ElementKind, ElementMap, GEOMETRY_PAGE};
use crate::simulator::cartridge::{CartridgeKind, CartridgeState};
use crate::simulator::deck;
use crate::simulator::quirks::{DriveNames, Reader};
use crate::simulator::reply::{Check, Done, INVALID_FIELD, field, field_16, field_24, give};
use crate::simulator::state::Spot;

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
            first: field_16(cdb, 2),
            count: field_16(cdb, 4),
            barcodes: field(cdb, 1) & 0x10 != 0,
            device_ids: field(cdb, 6) & 1 != 0,
            alloc: field_24(cdb, 7) as usize,
        })
    }
}

impl Robot {
    /// MODE SENSE(6) and (10): pages 1Dh, 1Eh and 1Fh (SMC-3 7.3).
    pub(super) fn mode_sense(&self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        let page = match field(cdb, 2) & 0x3f {
            ElementMap::PAGE | 0x3f => self.address_page(),
            GEOMETRY_PAGE => vec![GEOMETRY_PAGE, 2, 0, 0],
            ChangerCapabilities::PAGE => self.capabilities_page(),
            _ => return Err(Check::illegal(INVALID_FIELD)),
        };
        let (mut bytes, alloc) = match field(cdb, 0) {
            0x5a => {
                let [hi, lo] = (page.len() as u16 + 6).to_be_bytes();
                (vec![hi, lo, 0, 0, 0, 0, 0, 0], usize::from(field_16(cdb, 7)))
            }
            _ => (vec![page.len() as u8 + 3, 0, 0, 0], field(cdb, 4).into()),
        };
        bytes.extend(page);
        give(data, &bytes, alloc)
    }

    fn address_page(&self) -> Vec<u8> {
        let (shape, bases) = (&self.state.shape, &self.state.shape.quirks.bases);
        let numbers = [
            [bases.hand, 1],
            [bases.slots, shape.slots],
            [bases.mail_slots, shape.mail_slots],
            [bases.drives, shape.drives],
        ];
        let mut page = vec![ElementMap::PAGE, 18];
        page.extend(numbers.as_flattened().iter().flat_map(|number| number.to_be_bytes()));
        page.extend([0, 0]);
        page
    }

    /// Everything but the hand holds cartridges; slots and drives are exchanged.
    fn capabilities_page(&self) -> Vec<u8> {
        const STORES: u8 = 0x0e;
        const DRIVE: u8 = 0x08;
        let exchanges = !self.state.shape.quirks.changer_without.contains(&0xa6);
        let slot_exchanges = if exchanges { DRIVE } else { 0 };
        let mut page = vec![ChangerCapabilities::PAGE, 18, STORES, 0];
        page.extend([STORES; 4]);
        page.extend([0, 0, 0, 0, 0, slot_exchanges, 0, 0, 0, 0, 0, 0]);
        page
    }

    /// READ ELEMENT STATUS (SMC-3 6.14).
    pub(super) fn element_status(&self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        let asked = Asked::parse(cdb)?;
        let quirks = &self.state.shape.quirks;
        let names = quirks.drive_names;
        let refused = (asked.barcodes && quirks.reader == Reader::Refuses)
            || (asked.device_ids && names == DriveNames::Never)
            || (asked.device_ids && asked.barcodes && names == DriveNames::Apart);
        if refused {
            return Err(Check::illegal(INVALID_FIELD));
        }
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

    fn elements(&self, kind: ElementKind) -> Vec<(ElementAddress, Spot)> {
        let shape = &self.state.shape;
        let spots: Vec<Spot> = match kind {
            ElementKind::Transport => vec![Spot::Hand],
            ElementKind::Slot => (0..shape.slots).map(Spot::Slot).collect(),
            ElementKind::MailSlot => (0..shape.mail_slots).map(Spot::MailSlot).collect(),
            ElementKind::Drive => (0..shape.drives).map(Spot::Drive).collect(),
        };
        spots.into_iter().filter_map(|spot| Some((self.address(spot)?, spot))).collect()
    }

    fn descriptor(&self, asked: &Asked, at: ElementAddress, spot: Spot) -> Vec<u8> {
        const FULL: u8 = 0x01;
        const BY_HAND: u8 = 0x02;
        const ACCESS: u8 = 0x08;
        const IMPORT_EXPORT: u8 = 0x30;
        let held = self.state.at(spot);
        let mut flags = ACCESS | if held.is_some() { FULL } else { 0 };
        if matches!(spot, Spot::MailSlot(_)) {
            flags |= IMPORT_EXPORT;
            let all = self.state.shape.quirks.marks_all_mail;
            flags |= if held.is_some_and(|(_, cartridge)| all || cartridge.by_hand) { BY_HAND } else { 0 };
        }
        let source = held.and_then(|(_, cartridge)| cartridge.source).and_then(|spot| self.address(spot));
        let [sh, sl] = source.unwrap_or_default().0.to_be_bytes();
        let [ah, al] = at.0.to_be_bytes();
        let kind = held.map_or(0, |(_, cartridge)| medium_code(cartridge));
        let mut bytes = vec![ah, al, flags, 0, 0, 0, 0, 0, 0, u8::from(source.is_some()) << 7 | kind, sh, sl];
        if asked.barcodes {
            let seen = held.and_then(|(barcode, cartridge)| cartridge.seen(barcode));
            let seen = seen.filter(|_| self.state.shape.quirks.reader == Reader::Present);
            let barcode = seen.map_or("", |barcode| barcode.as_str());
            bytes.extend(format!("{barcode:<32}").bytes());
            bytes.extend([0; 4]);
        }
        match (asked.device_ids, spot) {
            (true, Spot::Drive(number)) => {
                let name = self.drive_name(number);
                bytes.extend([2, 0, 0, name.len() as u8]);
                bytes.extend(name.bytes());
            }
            _ => bytes.extend([0; 4]),
        }
        bytes
    }

    fn drive_name(&self, number: u16) -> String {
        let serial = deck::serial(number);
        match self.state.shape.quirks.drive_names {
            DriveNames::Whole => format!("{:<8}{:<16}{serial:<10}", "COFFER", "ULTRIUM"),
            _ => serial,
        }
    }
}

/// As the changer takes it (SMC-3 table 37): data, cleaning, written once.
fn medium_code(cartridge: &CartridgeState) -> u8 {
    match cartridge.kind {
        CartridgeKind::Data => 1,
        CartridgeKind::Cleaning { .. } | CartridgeKind::WrongCleaning => 2,
        CartridgeKind::Worm => 4,
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
