//! Sending what was planned: nodes, then packs, read in the order in which they lie in the segments.

use coffer_format::chunk::Compression;
use coffer_format::limits::PACK_RAW_MAX;
use coffer_format::wire::{Message, Placement};
use coffer_format::{Blob, SegmentId};

use super::{Batch, MESSAGE_NODES, MESSAGE_PLACEMENTS, Send, Wanted};
use crate::reading::{Reading, unpack};
use crate::{Result, VaultError};

/// Reads what was planned, and sends it.
pub(super) struct Sending<'a> {
    pub(super) reading: &'a Reading,
    pub(super) wanted: &'a Wanted,
}

impl Sending<'_> {
    pub(super) fn batch(&self, (nodes, packs): Batch, send: &mut Send<'_>) -> Result<()> {
        for nodes in nodes.chunks(MESSAGE_NODES) {
            send(Message::RestoreNodes { nodes: nodes.to_vec() })?;
        }
        for ((segment, offset), (record_len, placements)) in packs {
            self.pack(segment, offset, record_len, placements, send)?;
        }
        send(Message::RestoreBatchEnd)
    }

    fn pack(
        &self,
        segment: SegmentId,
        offset: u64,
        record_len: u64,
        placements: Vec<Placement>,
        send: &mut Send<'_>,
    ) -> Result<()> {
        let pack = self.reading.pack(segment, offset, record_len)?;
        let used: u64 = placements.iter().map(|placement| u64::from(placement.len)).sum();
        let raw_len = pack.raw_len() as u64;
        let share = if self.wanted.trusted { used * 4 >= raw_len } else { covered(&placements) == raw_len };
        if share {
            let (compression, raw_len) = (pack.compression, raw_len as u32);
            let whole =
                |placements, payload| Message::RestorePack { compression, raw_len, placements, payload };
            if placements.len() <= MESSAGE_PLACEMENTS {
                return send(whole(placements, Blob(pack.payload)));
            }
            let mut parts = placements.chunks(MESSAGE_PLACEMENTS);
            return parts.try_for_each(|part| send(whole(part.to_vec(), Blob(pack.payload.clone()))));
        }
        let raw = unpack(&pack)?;
        let mut cut = Vec::with_capacity(used.min(PACK_RAW_MAX as u64) as usize);
        let mut moved = Vec::with_capacity(placements.len());
        for placement in placements {
            let from = placement.offset as usize;
            let bytes = raw.get(from..from + placement.len as usize).ok_or_else(|| VaultError::Damaged {
                segment,
                offset,
                what: "a map reaches beyond its chunk".into(),
            })?;
            if cut.len() + bytes.len() > PACK_RAW_MAX || moved.len() >= MESSAGE_PLACEMENTS {
                send(raw_pack(std::mem::take(&mut cut), std::mem::take(&mut moved)))?;
            }
            moved.push(Placement { offset: cut.len() as u32, ..placement });
            cut.extend_from_slice(bytes);
        }
        if moved.is_empty() { Ok(()) } else { send(raw_pack(cut, moved)) }
    }
}

/// How many different bytes of a pack the placements take; what is taken twice counts once.
fn covered(placements: &[Placement]) -> u64 {
    let mut taken: Vec<(u64, u64)> = placements
        .iter()
        .map(|one| (u64::from(one.offset), u64::from(one.offset) + u64::from(one.len)))
        .collect();
    taken.sort_unstable();
    let (mut covered, mut end) = (0, 0);
    for (from, to) in taken {
        covered += to.saturating_sub(from.max(end));
        end = end.max(to);
    }
    covered
}

fn raw_pack(bytes: Vec<u8>, placements: Vec<Placement>) -> Message {
    Message::RestorePack {
        compression: Compression::Raw,
        raw_len: bytes.len() as u32,
        placements,
        payload: Blob(bytes),
    }
}
