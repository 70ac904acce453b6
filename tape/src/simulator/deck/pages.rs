//! What a simulated drive tells about itself and its cartridge.

use super::Deck;
use crate::medium::Generation;
use crate::scsi::{Data, TapeAlert};
use crate::simulator::cartridge::{CartridgeKind, Protection};
use crate::simulator::locked;
use crate::simulator::quirks::Blocks;
use crate::simulator::reply::{Check, Done, GOOD, INVALID_FIELD, INVALID_PARAMETER, field, field_16, give};

const LONGEST_BLOCK: u32 = 8 << 20;
const COMPRESSION: u8 = 0x0f;
const ALL_PAGES: u8 = 0x3f;

impl Deck {
    /// SSC-4 7.6.
    pub(super) fn block_limits(&self, data: &mut Data<'_>) -> Done {
        let [_, a, b, c] = LONGEST_BLOCK.to_be_bytes();
        give(data, &[0, a, b, c, 0, 1], 6)
    }

    /// MODE SELECT(6) and (10): the length of blocks, and compression.
    pub(super) fn mode_select(&mut self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        let Data::Out(parameters) = data else { return Err(Check::illegal(INVALID_FIELD)) };
        let ten = field(cdb, 0) == 0x55;
        let (said, header) = if ten { (field_16(cdb, 7).into(), 8) } else { (usize::from(field(cdb, 4)), 4) };
        let descriptor_len = if ten { field_16(parameters, 6) } else { field(parameters, 3).into() };
        let illegal = Check::illegal(INVALID_PARAMETER);
        if said != parameters.len() || !matches!(descriptor_len, 0 | 8) {
            return Err(illegal);
        }
        let page = parameters.get(header + usize::from(descriptor_len)..).unwrap_or_default();
        if descriptor_len == 8 {
            let block_len = super::super::reply::field_24(parameters, header + 5);
            if (block_len == 0 && self.quirks.blocks == Blocks::FixedOnly) || block_len > LONGEST_BLOCK {
                return Err(illegal);
            }
            self.block_len = block_len;
        }
        match page {
            [] => {}
            [COMPRESSION, 14, flags, ..] => self.compresses = flags & 0x80 != 0,
            _ => return Err(illegal),
        }
        GOOD
    }

    /// MODE SENSE(6) and (10): header, block descriptor, compression page.
    pub(super) fn mode_sense(&self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        let code = field(cdb, 2) & 0x3f;
        let mut page = Vec::new();
        if matches!(code, COMPRESSION | ALL_PAGES) {
            page.extend([COMPRESSION, 14, 0x40 | u8::from(self.compresses) << 7, 0x80]);
            page.resize(16, 0);
        } else if code != 0 {
            return Err(Check::illegal(INVALID_FIELD));
        }
        let descriptor = if field(cdb, 1) & 0x08 == 0 { self.block_descriptor() } else { Vec::new() };
        let (kind, specific) = (self.medium_type(), self.device_specific());
        let (len, descriptor_len) = (descriptor.len() + page.len(), descriptor.len() as u8);
        let (mut bytes, alloc) = match field(cdb, 0) {
            0x5a => {
                let [hi, lo] = (len as u16 + 6).to_be_bytes();
                (vec![hi, lo, kind, specific, 0, 0, 0, descriptor_len], usize::from(field_16(cdb, 7)))
            }
            _ => (vec![len as u8 + 3, kind, specific, descriptor_len], field(cdb, 4).into()),
        };
        bytes.extend(descriptor);
        bytes.extend(page);
        give(data, &bytes, alloc)
    }

    /// REPORT DENSITY SUPPORT: what the drive can do, or what the cartridge is.
    pub(super) fn densities(&self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        let of_medium = field(cdb, 1) & 1 != 0;
        let all = (1..=10).map(Generation::Lto).chain([Generation::M8]);
        let wanted: Vec<Generation> = match of_medium {
            true => vec![self.loaded()?.generation],
            false => all.filter(|one| self.generation.reads(*one)).collect(),
        };
        let mut body = Vec::new();
        for generation in wanted {
            let code = generation.density().unwrap_or(0);
            let writable = u8::from(self.generation.writes(generation)) << 7;
            body.extend([code, code, writable, 0, 0, 0, 0, 0, 0, 127, 0, 0, 0, 0, 0, 0]);
            body.extend(format!("{:<8}{:<8}{:<20}", "LTO-CVE", generation.to_string(), "Ultrium").bytes());
        }
        let [hi, lo] = (body.len() as u16 + 2).to_be_bytes();
        let mut page = vec![hi, lo, 0, 0];
        page.extend(body);
        give(data, &page, field_16(cdb, 7).into())
    }

    pub(super) fn log_sense(&mut self, cdb: &[u8], data: &mut Data<'_>) -> Done {
        let code = field(cdb, 2) & 0x3f;
        let body = match code {
            0x00 => vec![0x00, 0x02, 0x03, 0x11, 0x17, 0x2e, 0x31],
            0x02 => counters(self.blocks_written, self.medium_errors),
            0x03 => counters(self.blocks_read, self.medium_errors),
            0x11 => self.device_status(),
            0x17 => {
                let loads = self.loaded()?.state.loads;
                parameter(1, &loads.to_be_bytes())
            }
            0x2e => self.tape_alerts(),
            0x31 => self.capacity()?,
            _ => return Err(Check::illegal(INVALID_FIELD)),
        };
        let [hi, lo] = (body.len() as u16).to_be_bytes();
        let mut page = vec![code, 0, hi, lo];
        page.extend(body);
        give(data, &page, field_16(cdb, 7).into())
    }

    fn block_descriptor(&self) -> Vec<u8> {
        let density = self.loaded().ok().and_then(|cassette| cassette.generation.density()).unwrap_or(0);
        let [_, a, b, c] = self.block_len.to_be_bytes();
        vec![density, 0, 0, 0, 0, a, b, c]
    }

    /// As LTO drives have it: the generation, and 8 for data, C for what is written once.
    fn medium_type(&self) -> u8 {
        let Ok(cassette) = self.loaded() else { return 0 };
        let Generation::Lto(number) = cassette.generation else { return 0x78 };
        let kind = if cassette.state.kind == CartridgeKind::Worm { 0x0c } else { 0x08 };
        number << 4 | kind
    }

    fn device_specific(&self) -> u8 {
        let protected =
            self.loaded().is_ok_and(|cassette| cassette.state.protection == Protection::Protected);
        0x10 | u8::from(protected) << 7
    }

    /// Very high frequency data (SSC-4 8.2.2).
    fn device_status(&self) -> Vec<u8> {
        let present = u8::from(self.cassette.is_some()) << 4;
        let threaded = u8::from(self.threaded) << 1;
        let cleaning = u8::from(self.wants_cleaning) << 2;
        let protected = u8::from(self.device_specific() & 0x80 != 0) << 3;
        parameter(0, &[protected | cleaning, present | threaded, 0, 0])
    }

    /// Told once: reading clears them.
    fn tape_alerts(&mut self) -> Vec<u8> {
        let raised = locked(&self.fate).take_alerts(self.number);
        self.alerts.extend(raised);
        let set = std::mem::take(&mut self.alerts);
        let cleaning = [TapeAlert::CleanNow, TapeAlert::CleanPeriodic];
        self.wants_cleaning |= cleaning.iter().any(|alert| set.contains(&alert.number()));
        (1..=TapeAlert::MAX).flat_map(|flag| parameter(flag.into(), &[set.contains(&flag).into()])).collect()
    }

    /// MiB left and in all, of the only partition.
    fn capacity(&self) -> Result<Vec<u8>, Check> {
        let medium = &self.loaded()?.medium;
        let mib = |bytes: u64| ((bytes >> 20) as u32).to_be_bytes();
        let numbers = [(1, mib(medium.remaining_bytes())), (3, mib(medium.capacity_bytes()))];
        Ok(numbers.iter().flat_map(|(code, value)| parameter(*code, value)).collect())
    }
}

/// Pages 02h and 03h.
fn counters(blocks: u64, errors: u64) -> Vec<u8> {
    let values = [(2, errors), (3, 0), (5, blocks * (256 << 10)), (6, errors)];
    values.iter().flat_map(|(code, value)| parameter(*code, &value.to_be_bytes())).collect()
}

/// One log parameter.
fn parameter(code: u16, value: &[u8]) -> Vec<u8> {
    let [hi, lo] = code.to_be_bytes();
    let mut bytes = vec![hi, lo, 0x40, value.len() as u8];
    bytes.extend(value);
    bytes
}
