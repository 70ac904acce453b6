//! What the drive knows of the cartridge in it.

use super::{Drive, Performed};
use crate::TapeError;
use crate::medium::{Generation, Medium, MediumKind, WriteProtection};
use crate::scsi::cdb;
use crate::scsi::{
    Attribute, Data, Density, ModeParameters, Readiness, Sense, decode_attributes, decode_densities,
    decode_tape_capacity, decode_volume_loads, encode_attributes, log, mam,
};

impl Drive {
    /// All that can be told of the cartridge without reading its data. Waits for one that is loading.
    pub fn medium(&mut self) -> Result<Medium, TapeError> {
        self.examine().map(|(medium, _)| medium)
    }

    /// The drive's own generation, by the formats it lists or by its name.
    pub fn generation(&mut self) -> Result<Option<Generation>, TapeError> {
        if self.generation.is_none() {
            let densities = self.densities(false)?;
            let listed = densities.iter().filter(|density| density.writable);
            let newest = listed.filter_map(|density| Generation::from_density(density.code)).max();
            self.generation = Some(newest.or_else(|| Generation::from_product(&self.inquiry.product)));
        }
        Ok(self.generation.flatten())
    }

    /// The formats the drive knows, or those of the cartridge in it; empty if it doesn't tell.
    pub fn densities(&mut self, of_medium: bool) -> Result<Vec<Density>, TapeError> {
        const ALLOC: u16 = 4096;
        let page = self.device.ask(&cdb::report_density_support(of_medium, ALLOC), ALLOC.into())?;
        if !of_medium {
            self.features.densities.learn(page.is_some());
        }
        Ok(page.and_then(|page| decode_densities(&page).ok()).unwrap_or_default())
    }

    /// The cartridge's memory; `None` if it has none or the drive can't read it.
    pub fn attributes(&mut self) -> Result<Option<Vec<Attribute>>, TapeError> {
        const ALLOC: u32 = 16 << 10;
        let command = cdb::read_attribute(0, ALLOC);
        let page = match self.device.ask(&command, ALLOC as usize) {
            Err(TapeError::Sense { sense, .. }) if !sense.is_attention() => {
                tracing::warn!(drive = self.name(), %sense, "the cartridge's memory can't be read");
                return Ok(None);
            }
            page => page?,
        };
        self.features.attributes.learn(page.is_some());
        Ok(page.and_then(|page| decode_attributes(&page).ok()))
    }

    /// Writes to the cartridge's memory, which only takes some attributes (SPC-4 7.4.2: host type).
    pub fn write_attributes(&mut self, attributes: &[Attribute]) -> Result<Performed, TapeError> {
        let parameters = encode_attributes(attributes);
        let command = cdb::write_attribute(parameters.len() as u32);
        let known = self.device.done_if_known(&command, Data::Out(&parameters))?;
        Ok(Performed::from_known(known))
    }

    /// Refuses a cartridge that mustn't be written to, with a sentence of its own for each reason.
    pub fn check_writable(&mut self) -> Result<(), TapeError> {
        let (medium, sense) = self.examine()?;
        let device = self.name().to_owned();
        match medium.kind {
            MediumKind::Cleaning => Err(TapeError::CleaningInDrive { device }),
            MediumKind::Incompatible => Err(TapeError::Incompatible { device, sense }),
            MediumKind::Worm => Err(TapeError::WriteOnce),
            _ if medium.protection == WriteProtection::On => Err(TapeError::WriteProtected),
            _ => match medium.mismatch() {
                Some((medium, drive)) => Err(TapeError::WrongGeneration { device, medium, drive }),
                None => Ok(()),
            },
        }
    }

    fn examine(&mut self) -> Result<(Medium, Sense), TapeError> {
        let (kind, sense) = match self.device.readiness()? {
            Readiness::Ready => (MediumKind::Unknown, Sense::default()),
            Readiness::NoMedium => return Err(TapeError::NoMedium { device: self.name().to_owned() }),
            Readiness::Becoming(_) => {
                self.wait_loaded()?;
                (MediumKind::Unknown, Sense::default())
            }
            Readiness::Failed(sense) if sense.is_cleaning_cartridge() => (MediumKind::Cleaning, sense),
            Readiness::Failed(sense) if sense.is_incompatible() => (MediumKind::Incompatible, sense),
            Readiness::Failed(sense) => return Err(self.refusal(sense)),
        };
        let mut medium = Medium::unknown(kind);
        medium.drive_generation = self.generation()?;
        let memory = self.attributes()?.unwrap_or_default();
        remember(&mut medium, &memory);
        if kind == MediumKind::Unknown {
            if let Some(mode) = self.mode_header()? {
                judge_mode(&mut medium, &mode);
            }
            self.fill_from_logs(&mut medium)?;
            if medium.generation.is_none() {
                let densities = self.densities(true)?;
                medium.generation = densities.iter().find_map(|one| Generation::from_density(one.code));
            }
        }
        Ok((medium, sense))
    }

    fn fill_from_logs(&mut self, medium: &mut Medium) -> Result<(), TapeError> {
        if medium.remaining_mib.is_none() {
            let page = self.log_page(log::TAPE_CAPACITY)?;
            let found = page.and_then(|page| decode_tape_capacity(&page).ok());
            self.features.tape_capacity.learn(found.is_some());
            if let Some((remaining, maximum)) = found {
                (medium.remaining_mib, medium.maximum_mib) = (remaining, medium.maximum_mib.or(maximum));
            }
        }
        if medium.loads.is_none() {
            let page = self.log_page(log::VOLUME_STATISTICS)?;
            medium.loads = page.and_then(|page| decode_volume_loads(&page).ok()).flatten();
        }
        Ok(())
    }
}

/// What the cartridge's memory says.
fn remember(medium: &mut Medium, memory: &[Attribute]) {
    const DATA: u64 = 0x00;
    const CLEANING: u64 = 0x01;
    const WORM: u64 = 0x80;
    const DENSITY: u16 = 0x0405;
    let find = |id: u16| memory.iter().find(|attribute| attribute.id == id);
    let number = |id: u16| find(id).and_then(Attribute::number);
    let text = |id: u16| find(id).and_then(Attribute::text);
    medium.serial = text(mam::SERIAL);
    medium.manufacturer = text(mam::MANUFACTURER);
    medium.memory_barcode = text(mam::BARCODE);
    medium.remaining_mib = number(mam::REMAINING_MIB);
    medium.maximum_mib = number(mam::MAXIMUM_MIB);
    medium.loads = number(mam::LOADS);
    medium.written_mib = number(mam::WRITTEN_MIB);
    medium.read_mib = number(mam::READ_MIB);
    let densities = [number(DENSITY), number(mam::FORMAT_DENSITY)].into_iter().flatten();
    let codes = densities.filter_map(|code| u8::try_from(code).ok());
    medium.generation = codes.filter_map(Generation::from_density).next();
    let said = match number(mam::MEDIUM_KIND) {
        Some(DATA) => Some(MediumKind::Data),
        Some(CLEANING) => Some(MediumKind::Cleaning),
        Some(WORM) => Some(MediumKind::Worm),
        _ => None,
    };
    if let (MediumKind::Unknown, Some(said)) = (medium.kind, said) {
        medium.kind = said;
    }
    if medium.kind == MediumKind::Cleaning {
        medium.cleanings_max = number(mam::MEDIUM_KIND_DETAIL);
    }
}

/// What the mode parameters say: the switch; generation and WORM by LTO's medium types, 18h to 98h and 3Ch to 9Ch.
fn judge_mode(medium: &mut Medium, mode: &ModeParameters) {
    medium.protection = if mode.write_protected() { WriteProtection::On } else { WriteProtection::Off };
    let (number, kind) = (mode.medium_type >> 4, mode.medium_type & 0x0f);
    let known = matches!((number, kind), (1..=10, 0x8) | (3..=10, 0xc));
    let said = if kind == 0xc { MediumKind::Worm } else { MediumKind::Data };
    if known && medium.kind == MediumKind::Unknown {
        medium.kind = said;
    }
    let density = mode.block.and_then(|block| Generation::from_density(block.density));
    let by_kind = known.then_some(Generation::Lto(number));
    medium.generation = medium.generation.or(density).or(by_kind);
}
