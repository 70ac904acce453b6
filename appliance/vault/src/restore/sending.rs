//! Sending what was planned: nodes, then packs, read in the order in which they lie in the segments.

use std::collections::BTreeMap;

use coffer_format::Blob;
use coffer_format::chunk::{Compression, Pack};
use coffer_format::limits::PACK_RAW_MAX;
use coffer_format::wire::{LeftOut, Message, Placement, RestoreNode};

use super::loss::Loss;
use super::planning::{Batch, Packs, Placed};
use super::{Restored, Send, Wanted};
use crate::Result;
use crate::catalog::Doubt;
use crate::reading::{Reading, check_place, unpack};

/// Most nodes, or lines of what's left out, in one message.
const MESSAGE_NODES: usize = 256;
/// Most placements in one message: with a whole pack they stay well below the longest frame.
const MESSAGE_PLACEMENTS: usize = 64 << 10;

/// Reads what was planned, and sends it.
pub(super) struct Sending<'a> {
    reading: &'a Reading,
    wanted: &'a Wanted,
    /// What was announced and couldn't be read.
    lost: Restored,
    /// Such files, for their other names in later batches.
    lost_files: Lost,
}

/// Files that were announced and can't be given, by their index.
type Lost = BTreeMap<u32, Loss>;
/// What couldn't be read where it was said to be, and why.
type Missed = Vec<(Placed, Loss)>;

impl<'a> Sending<'a> {
    pub(super) fn new(reading: &'a Reading, wanted: &'a Wanted) -> Sending<'a> {
        Sending { reading, wanted, lost: Restored::default(), lost_files: Lost::new() }
    }

    /// What was planned, without what couldn't be read.
    pub(super) fn less_lost(&self, planned: Restored) -> Restored {
        let Restored { nodes, bytes, left_out } = self.lost;
        Restored {
            nodes: planned.nodes - nodes,
            bytes: planned.bytes - bytes,
            left_out: planned.left_out + left_out,
        }
    }

    pub(super) fn batch(&mut self, batch: Batch, send: &mut Send<'_>) -> Result<()> {
        let Batch { mut nodes, packs, mut left_out } = batch;
        left_out.extend(self.take_lost_names(&mut nodes));
        for nodes in nodes.chunks(MESSAGE_NODES) {
            send(Message::RestoreNodes { nodes: nodes.to_vec() })?;
        }
        let mut lost = Lost::new();
        let missed = self.packs(packs, &mut lost, send)?;
        if !missed.is_empty() {
            let (found, gone) = self.look_elsewhere(missed)?;
            gone.into_iter().for_each(|(placed, loss)| lose(&mut lost, [&placed.placement], &loss));
            for (placed, loss) in self.packs(found, &mut lost, send)? {
                lose(&mut lost, [&placed.placement], &loss);
            }
        }
        left_out.extend(self.give_up(&nodes, lost));
        for files in left_out.chunks(MESSAGE_NODES) {
            send(Message::RestoreLeftOut { files: files.to_vec() })?;
        }
        send(Message::RestoreBatchEnd)
    }

    /// Sends packs in order. Returns what wasn't where it was said to be.
    fn packs(&self, packs: Packs, lost: &mut Lost, send: &mut Send<'_>) -> Result<Missed> {
        let mut missed = Missed::new();
        for ((segment, offset), (record_len, mut placed)) in packs {
            placed.retain(|one| !lost.contains_key(&one.placement.index));
            if placed.is_empty() {
                continue;
            }
            let pack = match self.reading.pack(segment, offset, record_len) {
                Ok(pack) => pack,
                Err(error) => {
                    let loss = Loss::of(error)?;
                    missed.extend(placed.into_iter().map(|one| (one, loss.clone())));
                    continue;
                }
            };
            let mut placements = Vec::with_capacity(placed.len());
            for one in placed {
                match check_place(&pack, &one.chunk, &one.at) {
                    Ok(()) => placements.push(one.placement),
                    Err(error) => missed.push((one, Loss::of(error)?)),
                }
            }
            if placements.is_empty() {
                continue;
            }
            match self.read(pack, &placements) {
                Ok(read) => self.pack(read, placements, lost, send)?,
                Err(error) => lose(lost, &placements, &Loss::of(error)?),
            }
        }
        Ok(missed)
    }

    /// Looks in the segments themselves for chunks that couldn't be read where they were said to be.
    fn look_elsewhere(&self, missed: Missed) -> Result<(Packs, Missed)> {
        let but = missed.iter().map(|(one, _)| one.at).collect();
        let ids = missed.iter().map(|(one, _)| one.chunk).collect();
        let found = self.reading.search_chunks(&ids, &but)?;
        if !found.is_empty() {
            self.reading.readers.doubt(Doubt::Rows);
        }
        let (mut packs, mut gone) = (Packs::new(), Missed::new());
        for (one, loss) in missed {
            let Some(at) = found.get(&one.chunk).copied() else {
                gone.push((one, loss));
                continue;
            };
            let offset = one.placement.offset.wrapping_sub(one.at.raw_offset).wrapping_add(at.raw_offset);
            let placed = Placed { placement: Placement { offset, ..one.placement }, at, ..one };
            packs.entry((at.segment, at.offset)).or_insert((at.record_len, Vec::new())).1.push(placed);
        }
        Ok((packs, gone))
    }

    /// Other names of files that an earlier batch couldn't give.
    fn take_lost_names(&mut self, nodes: &mut Vec<RestoreNode>) -> Vec<LeftOut> {
        let mut lines = Vec::new();
        nodes.retain(|node| {
            let loss = node.hard_link_to.and_then(|first| self.lost_files.get(&first));
            lines.extend(loss.map(|loss| loss.of_file(None, node.path.0.clone())));
            loss.is_none()
        });
        self.lost.nodes += lines.len() as u64;
        self.lost.left_out += lines.len() as u64;
        lines
    }

    /// Names what was announced already, under each of its names.
    fn give_up(&mut self, nodes: &[RestoreNode], lost: Lost) -> Vec<LeftOut> {
        if lost.is_empty() {
            return Vec::new();
        }
        let mut lines = Vec::new();
        for node in nodes {
            let Some(loss) = lost.get(&node.hard_link_to.unwrap_or(node.index)) else { continue };
            lines.push(loss.of_file(Some(node.index), node.path.0.clone()));
            self.lost.bytes += if node.hard_link_to.is_none() { node.meta.size } else { 0 };
        }
        self.lost.nodes += lines.len() as u64;
        self.lost.left_out += lines.len() as u64;
        self.lost_files.extend(lost);
        lines
    }

    fn read(&self, pack: Pack, placements: &[Placement]) -> Result<Read> {
        let used: u64 = placements.iter().map(|placement| u64::from(placement.len)).sum();
        let raw_len = pack.raw_len() as u64;
        let share = if self.wanted.trusted { used * 4 >= raw_len } else { covered(placements) == raw_len };
        if share { Ok(Read::Whole(pack)) } else { unpack(&pack).map(Read::Raw) }
    }

    fn pack(
        &self,
        read: Read,
        placements: Vec<Placement>,
        lost: &mut Lost,
        send: &mut Send<'_>,
    ) -> Result<()> {
        let raw_len = read.raw_len() as u64;
        let fits = |one: &Placement| u64::from(one.offset) + u64::from(one.len) <= raw_len;
        let (placements, beyond): (Vec<_>, Vec<_>) = placements.into_iter().partition(fits);
        lose(lost, &beyond, &Loss::damaged("its map reaches beyond a chunk".to_owned()));
        match read {
            Read::Whole(pack) => whole(pack, placements, send),
            Read::Raw(raw) => parts(&raw, placements, send),
        }
    }
}

/// A pack, as it's sent.
enum Read {
    Whole(Pack),
    /// Only what is asked for of these bytes.
    Raw(Vec<u8>),
}

impl Read {
    fn raw_len(&self) -> usize {
        match self {
            Read::Whole(pack) => pack.raw_len(),
            Read::Raw(raw) => raw.len(),
        }
    }
}

fn lose<'a>(lost: &mut Lost, placements: impl IntoIterator<Item = &'a Placement>, loss: &Loss) {
    for placement in placements {
        lost.entry(placement.index).or_insert_with(|| loss.clone());
    }
}

fn whole(pack: Pack, placements: Vec<Placement>, send: &mut Send<'_>) -> Result<()> {
    let (compression, raw_len) = (pack.compression, pack.raw_len() as u32);
    let message = |placements, payload| Message::RestorePack { compression, raw_len, placements, payload };
    if placements.len() <= MESSAGE_PLACEMENTS {
        return send(message(placements, Blob(pack.payload)));
    }
    let mut parts = placements.chunks(MESSAGE_PLACEMENTS);
    parts.try_for_each(|part| send(message(part.to_vec(), Blob(pack.payload.clone()))))
}

/// Every placement lies within `raw`.
fn parts(raw: &[u8], placements: Vec<Placement>, send: &mut Send<'_>) -> Result<()> {
    let mut cut = Vec::new();
    let mut moved = Vec::with_capacity(placements.len());
    for placement in placements {
        let from = placement.offset as usize;
        let bytes = &raw[from..from + placement.len as usize];
        if cut.len() + bytes.len() > PACK_RAW_MAX || moved.len() >= MESSAGE_PLACEMENTS {
            send(raw_pack(std::mem::take(&mut cut), std::mem::take(&mut moved)))?;
        }
        moved.push(Placement { offset: cut.len() as u32, ..placement });
        cut.extend_from_slice(bytes);
    }
    if moved.is_empty() { Ok(()) } else { send(raw_pack(cut, moved)) }
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
