//! Where chunks lie, as the segments say themselves: to compare the catalog with, and to find a chunk that it has wrong.
//!
//! A row is right if it names a place that its segment's index names for that chunk, and every chunk of an index has a row. Segments are
//! gone through one by one, with one index in memory; which rows name no such place shows in their number, segment by segment.

use std::collections::{BTreeSet, HashMap, HashSet};

use coffer_format::segment::{IndexEntry, RecordKind, SegmentHeader, Stream};
use coffer_format::{ChunkId, FileHash, Lsn, SegmentId};

use crate::catalog::{self, ChunkLocation};
use crate::comparison::{Keeper, Pace};
use crate::presence::files_there;
use crate::reading::Reading;
use crate::recover::uncovered;
use crate::segment::{Contents, FileForm, read_contents, scan};
use crate::{Result, VaultError};

/// Rows that are written at a time.
const AT_ONCE: usize = 2000;

/// What a segment has: each chunk and its places there.
struct Places {
    chunks: HashMap<ChunkId, Vec<ChunkLocation>>,
    /// Stretches that can't be read: nobody knows what was there. Offset and length.
    unknown: Vec<(u64, u64)>,
    is_closed: bool,
}

impl Places {
    fn may_have(&self, id: &[u8], at: &ChunkLocation) -> bool {
        let is_unknown = |(offset, len): &(u64, u64)| {
            at.offset < offset.saturating_add(*len) && at.offset.saturating_add(at.record_len) > *offset
        };
        let id = <[u8; 32]>::try_from(id).map(ChunkId);
        id.is_ok_and(|id| self.chunks.get(&id).is_some_and(|here| here.contains(at)))
            || self.unknown.iter().any(is_unknown)
    }
}

/// A segment's records, as its index has them, or a walk over them.
struct Records {
    all: Vec<IndexEntry>,
    unknown: Vec<(u64, u64)>,
    is_closed: bool,
}

/// Compares the catalog's chunks with the segments. Returns how many rows were wrong, `None` where `pace` ended it.
pub(crate) fn compare(keeper: &dyn Keeper, pace: &mut Pace<'_>) -> Result<Option<u64>> {
    let Some(first) = pass(keeper, pace)? else { return Ok(None) };
    if first == 0 {
        return Ok(Some(0));
    }
    // What a wrong row hid shows now.
    Ok(pass(keeper, pace)?.map(|_| first))
}

fn pass(keeper: &dyn Keeper, pace: &mut Pace<'_>) -> Result<Option<u64>> {
    let reading = &**keeper.reading();
    let (mut right, mut unreadable) = (HashMap::new(), HashSet::new());
    let mut wrong = 0;
    for (segment, form) in files_there(reading)? {
        let Some(places) = places_in(reading, segment, form)? else {
            unreadable.insert(segment);
            continue;
        };
        let Compared { right: here, lacking } = compare_one(reading, segment, &places)?;
        right.insert(segment, here);
        if places.is_closed {
            wrong += list(keeper, segment, &lacking)?;
        }
        if !pace(places.chunks.len() as u64 * size_of::<ChunkLocation>() as u64) {
            return Ok(None);
        }
    }
    for (segment, count) in reading.readers.with(catalog::count_chunks)? {
        if !unreadable.contains(&segment) && right.get(&segment).copied().unwrap_or(0) < count {
            wrong += remove_wrong(keeper, segment)?;
        }
    }
    Ok(Some(wrong))
}

/// How a segment's chunks stand in the catalog.
struct Compared {
    /// Rows that are right and name this segment.
    right: u64,
    /// Chunks without a row, or with one that names a wrong place here.
    lacking: Vec<ChunkId>,
}

fn compare_one(reading: &Reading, segment: SegmentId, places: &Places) -> Result<Compared> {
    let mut compared = Compared { right: 0, lacking: Vec::new() };
    reading.readers.with(|db| {
        for (id, here) in &places.chunks {
            match catalog::find_chunk(db, id)? {
                Some(at) if at.segment != segment => {}
                Some(at) if here.contains(&at) => compared.right += 1,
                Some(at) if places.may_have(&id.0, &at) => {}
                _ => compared.lacking.push(*id),
            }
        }
        Ok(())
    })?;
    Ok(compared)
}

/// Lists chunks that have no row, or a wrong one here. Those of segments that aren't listed as closed wait.
fn list(keeper: &dyn Keeper, segment: SegmentId, lacking: &[ChunkId]) -> Result<u64> {
    let reading = &**keeper.reading();
    let mut wrong = 0;
    for some in lacking.chunks(AT_ONCE) {
        keeper.locked(&mut |db, moment| {
            if moment.growing.contains(&segment) || !catalog::is_listed_closed(db, segment)? {
                return Ok(());
            }
            let form = if catalog::is_on_disk(db, segment)? { FileForm::Whole } else { FileForm::Stub };
            let Some(places) = places_in(reading, segment, form)? else { return Ok(()) };
            let transaction = db.transaction()?;
            for id in some {
                let Some(here) = places.chunks.get(id) else { continue };
                match catalog::find_chunk(&transaction, id)? {
                    Some(at) if at.segment != segment || places.may_have(&id.0, &at) => continue,
                    Some(at) => {
                        catalog::remove_chunk(&transaction, &id.0, &at)?;
                        wrong += 1;
                    }
                    None => tracing::info!(%segment, %id, "a chunk wasn't listed"),
                }
                catalog::put_chunk(&transaction, id, here.last().expect("a chunk has a place"))?;
            }
            Ok(transaction.commit()?)
        })?;
    }
    Ok(wrong)
}

/// Takes out rows that name a place which their segment doesn't.
fn remove_wrong(keeper: &dyn Keeper, segment: SegmentId) -> Result<u64> {
    let reading = &**keeper.reading();
    // First the rows: whatever they name was in the file then.
    let rows = reading.readers.with(|db| catalog::chunks_in(db, segment))?;
    let form = match files_there(reading)?.get(&segment) {
        Some(form) => Some(*form),
        // Its file is lost, and nobody knows what was in it.
        None if reading.readers.with(|db| Ok(catalog::listed(db, segment)?.is_some()))? => return Ok(0),
        None => None,
    };
    let places = match form {
        Some(form) => match places_in(reading, segment, form)? {
            Some(places) => Some(places),
            None => return Ok(0),
        },
        None => None,
    };
    let may_be =
        |id: &[u8], at: &ChunkLocation| places.as_ref().is_some_and(|places| places.may_have(id, at));
    let bad: Vec<_> = rows.into_iter().filter(|(id, at)| !may_be(id, at)).collect();
    let mut wrong = 0;
    for some in bad.chunks(AT_ONCE) {
        keeper.locked(&mut |db, _| {
            let transaction = db.transaction()?;
            for (id, at) in some {
                wrong += catalog::remove_chunk(&transaction, id, at)? as u64;
            }
            Ok(transaction.commit()?)
        })?;
    }
    Ok(wrong)
}

/// `None` where it can't be known what the segment has.
fn places_in(reading: &Reading, segment: SegmentId, form: FileForm) -> Result<Option<Places>> {
    let found = records_in(reading, segment, form, Stream::Bulk)?;
    Ok(found.map(|Records { all, unknown, is_closed }| Places {
        chunks: by_chunk(segment, &all),
        unknown,
        is_closed,
    }))
}

/// The records of a segment, none where it's of another kind than wanted. `None` where they can't be known.
fn records_in(
    reading: &Reading,
    segment: SegmentId,
    form: FileForm,
    wanted: Stream,
) -> Result<Option<Records>> {
    let found = match reading.files.open(segment, form) {
        Ok(found) => found,
        Err(VaultError::Damaged { .. } | VaultError::NotOnDisk(_) | VaultError::Key(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    if (found.header.stream == Stream::Meta) != (wanted == Stream::Meta) {
        return Ok(Some(Records { all: Vec::new(), unknown: Vec::new(), is_closed: true }));
    }
    match read_contents(&*found.file, &found.key) {
        Ok(Some(Contents { trailer, .. })) if reading.is_of_another(segment, trailer.hash)? => {
            return Ok(None);
        }
        Ok(Some(Contents { index, trailer })) => {
            let unknown = uncovered(&index, trailer.index_offset);
            return Ok(Some(Records { all: index.records, unknown, is_closed: true }));
        }
        Err(VaultError::Decode(_) | VaultError::Io { .. }) => return Ok(None),
        Err(error) => return Err(error),
        Ok(None) if form == FileForm::Stub => return Ok(None),
        Ok(None) => {}
    }
    // Still open, or its end is damaged: the records speak for themselves.
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; found.file.size()? as usize];
        found.file.read_at(0, &mut bytes)?;
        Ok(bytes)
    };
    let Ok(bytes) = read() else { return Ok(None) };
    let scanned = scan(&bytes, &found.key, SegmentHeader::LEN as u64);
    // What doesn't decrypt at its end may be a torn write, or damage.
    let behind = (scanned.end, catalog::WHOLE_FILE);
    let unknown = scanned.damaged.into_iter().chain([behind]).collect();
    Ok(Some(Records { all: scanned.index.records, unknown, is_closed: false }))
}

fn by_chunk(segment: SegmentId, records: &[IndexEntry]) -> HashMap<ChunkId, Vec<ChunkLocation>> {
    let mut chunks: HashMap<ChunkId, Vec<ChunkLocation>> = HashMap::new();
    for record in records.iter().filter(|record| record.kind == RecordKind::Pack) {
        for (id, at) in catalog::pack_locations(segment, record.offset, record.record_len, &record.chunks) {
            chunks.entry(id).or_default().push(at);
        }
    }
    chunks
}

impl Reading {
    /// Whether a closed file with that hash isn't the segment that's listed under its number.
    pub(crate) fn is_of_another(&self, segment: SegmentId, hash: FileHash) -> Result<bool> {
        self.readers.with(|db| catalog::is_of_another(db, segment, hash))
    }

    /// Looks for chunks in the segments on disk themselves, the newest first, at other places than those.
    pub(crate) fn search_chunks(
        &self,
        ids: &BTreeSet<ChunkId>,
        but: &HashSet<ChunkLocation>,
    ) -> Result<HashMap<ChunkId, ChunkLocation>> {
        let mut found = HashMap::new();
        for (segment, form) in files_there(self)?.into_iter().rev() {
            if found.len() == ids.len() {
                break;
            }
            if form != FileForm::Whole {
                continue;
            }
            let Some(places) = places_in(self, segment, form)? else { continue };
            for id in ids {
                let here = places.chunks.get(id).filter(|_| !found.contains_key(id));
                if let Some(at) = here.and_then(|here| here.iter().find(|at| !but.contains(at))) {
                    found.insert(*id, *at);
                }
            }
        }
        Ok(found)
    }

    /// Looks for a metadata record in the segments themselves: segment, offset, length.
    pub(crate) fn search_record(&self, lsn: Lsn) -> Result<Option<(SegmentId, u64, u64)>> {
        for (segment, form) in files_there(self)?.into_iter().rev() {
            let Some(Records { all, .. }) = records_in(self, segment, form, Stream::Meta)? else { continue };
            let of = |record: &&IndexEntry| record.kind == RecordKind::Meta && record.lsn == lsn;
            if let Some(record) = all.iter().find(of) {
                return Ok(Some((segment, record.offset, record.record_len)));
            }
        }
        Ok(None)
    }
}
