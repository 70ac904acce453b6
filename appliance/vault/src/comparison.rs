//! The catalog against the segments: everything that it says follows from them, and what doesn't is made again.
//!
//! Nothing is restarted for it. Reading goes on beside the work of the vault; only where something is wrong the commit lock is taken, what
//! was found is looked at again, and what is still wrong is put right in one transaction.

use std::collections::HashSet;
use std::sync::Arc;

use coffer_format::{Lsn, SegmentId};
use rusqlite::Connection;
use serde::Serialize;

use crate::catalog::{self, Shadow, WrongRows};
use crate::places;
use crate::presence::files_there;
use crate::reading::Reading;
use crate::recover::uncovered;
use crate::replay::{PassedOver, Replay};
use crate::segment::{FileForm, read_contents, segment_path};
use crate::{Result, VaultError};

/// What a comparison of the catalog with the segments showed, and mended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Rows that weren't what the segments say, by table. They are now.
    pub wrong: Vec<WrongRows>,
    /// Why all of it was made anew.
    pub made_anew: Option<String>,
    /// Why part of it couldn't be compared.
    pub not_compared: Option<String>,
}

impl Comparison {
    /// What was wrong and was put right, in a sentence for a person.
    pub fn sentence(&self) -> Option<String> {
        self.told().map(|told| format!("{told}: nothing needs to be done"))
    }

    /// The same, whatever else needs to be done.
    pub(crate) fn told(&self) -> Option<String> {
        if let Some(why) = &self.made_anew {
            return Some(format!("the catalog was damaged ({why}); it was made again from the segments"));
        }
        let tables: Vec<&str> = self.wrong.iter().map(|one| one.table).collect();
        let (rows, were) = match self.rows() {
            0 => return None,
            1 => ("a wrong row".to_owned(), "it was"),
            rows => (format!("{rows} wrong rows"), "they were"),
        };
        let tables = tables.join(", ");
        Some(format!("the catalog had {rows} (in {tables}); {were} made again from the segments"))
    }

    /// What both of them found.
    pub(crate) fn and(mut self, more: Comparison) -> Comparison {
        for one in more.wrong {
            match self.wrong.iter_mut().find(|known| known.table == one.table) {
                Some(known) => known.rows += one.rows,
                None => self.wrong.push(one),
            }
        }
        self.made_anew = self.made_anew.or(more.made_anew);
        self.not_compared = self.not_compared.or(more.not_compared);
        self
    }

    /// How many rows were wrong.
    pub fn rows(&self) -> u64 {
        self.wrong.iter().map(|one| one.rows).sum()
    }

    fn add(&mut self, table: &'static str, rows: u64) {
        if rows > 0 {
            self.wrong.push(WrongRows { table, rows });
        }
    }
}

/// Whoever writes a catalog.
pub(crate) trait Keeper {
    fn reading(&self) -> &Arc<Reading>;
    /// What it notes by itself isn't compared.
    fn is_mirror(&self) -> bool;
    fn passed_over(&self) -> PassedOver;
    /// Reads a closed segment back whose file doesn't show what is listed of it: it's damaged, and is to be healed.
    fn suspect(&self, segment: SegmentId) -> Result<()>;
    /// Runs `work` with the connection that writes while nobody else does.
    fn locked(&self, work: &mut dyn FnMut(&mut Connection, &Moment) -> Result<()>) -> Result<()>;
}

/// How things stand while nobody writes.
pub(crate) struct Moment {
    /// The newest record whose effect should be in the catalog.
    pub(crate) applied: Lsn,
    /// Segments that are being written: what is listed of them is written anew with the next records.
    pub(crate) growing: HashSet<SegmentId>,
}

/// Hears of bytes that were read; says whether to go on.
pub(crate) type Pace<'a> = dyn FnMut(u64) -> bool + 'a;

/// Compares the rows, and puts right what is wrong. An error of a broken catalog comes back as it is. `None` where `pace` ended it.
pub(crate) fn compare(keeper: &dyn Keeper, pace: &mut Pace<'_>) -> Result<Option<Comparison>> {
    let mut found = Comparison::default();
    if !compare_records(keeper, &mut found, pace)? {
        return Ok(None);
    }
    let listed = compare_listing(keeper)?;
    found.add("segments", listed);
    let Some(chunks) = places::compare(keeper, pace)? else { return Ok(None) };
    found.add("chunks", chunks);
    Ok(Some(found))
}

/// What isn't as it was written on the pages of a catalog.
pub(crate) fn wrong_pages(reading: &Reading) -> Result<Option<String>> {
    match reading.readers.with(catalog::wrong_pages) {
        Err(VaultError::Catalog(error)) if catalog::is_broken(&error) => Ok(Some(error.to_string())),
        other => other,
    }
}

/// Compares what follows from metadata records alone.
fn compare_records(keeper: &dyn Keeper, found: &mut Comparison, pace: &mut Pace<'_>) -> Result<bool> {
    let reading = &**keeper.reading();
    if !has_room(reading)? {
        found.not_compared = Some(
            "there's too little room on the disk to compare the catalog with the segments: it's done once there is".into(),
        );
        return Ok(true);
    }
    let shadow = Shadow::create(reading.readers.path(), keeper.is_mirror())?;
    let mut replay = Replay::new(shadow, keeper.passed_over());
    // Most of it is read before anything is held.
    let about = reading.readers.with(catalog::applied)?;
    if !replay.advance(reading, about, pace)? {
        return Ok(false);
    }
    if is_right(reading, &mut replay)? {
        return Ok(true);
    }
    keeper.locked(&mut |db, moment| {
        replay.advance(reading, moment.applied, &mut |_| true)?;
        if replay.applied()? != moment.applied || replay.says_less_than(db)? {
            found.not_compared = Some(
                "metadata records can't be read: the catalog is compared with the segments once those are healed".into(),
            );
            return Ok(());
        }
        let transaction = db.transaction()?;
        found.wrong = replay.shadow.compare(&transaction)?;
        replay.shadow.replace(&transaction, &found.wrong)?;
        Ok(transaction.commit()?)
    })?;
    Ok(true)
}

/// Whether a second catalog fits on the disk beside the first.
fn has_room(reading: &Reading) -> Result<bool> {
    let path = reading.readers.path();
    let catalog = std::fs::metadata(path).map_err(VaultError::io("ask the size of", path))?.len();
    let free =
        reading.disk.free_bytes(&reading.dir).map_err(VaultError::io("ask the size of", &reading.dir))?;
    Ok(free > catalog.saturating_mul(2))
}

/// Whether the catalog says what the records do, at one moment.
fn is_right(reading: &Reading, replay: &mut Replay) -> Result<bool> {
    reading.readers.with(|db| {
        let moment = db.unchecked_transaction()?;
        let applied = catalog::applied(&moment)?;
        replay.advance(reading, applied, &mut |_| true)?;
        Ok(replay.applied()? == applied
            && !replay.says_less_than(&moment)?
            && replay.shadow.compare(&moment)?.is_empty())
    })
}

/// Compares what is listed of each segment with its file. Returns how many rows were wrong. A file that can't be read, or is another
/// segment's, says nothing against what is listed: it's the file that is wrong.
fn compare_listing(keeper: &dyn Keeper) -> Result<u64> {
    let reading = keeper.reading();
    let (mut doubtful, mut suspects, mut hashes) = (Vec::new(), Vec::new(), HashSet::new());
    let there = files_there(reading)?;
    for (segment, form) in &there {
        let file = match said_by_file(reading, *segment, *form)? {
            Some(file) if !is_of_another(reading, &file)? => file,
            _ => {
                suspects.extend((*form == FileForm::Whole).then_some(*segment));
                continue;
            }
        };
        hashes.extend(file.row.hash.map(|hash| hash.0.to_vec()));
        if !is_listed_right(reading, &file)? {
            doubtful.push((*segment, *form));
        }
    }
    let mut wrong = 0;
    keeper.locked(&mut |db, moment| {
        suspects.retain(|segment| !moment.growing.contains(segment));
        let transaction = db.transaction()?;
        for (segment, form) in &doubtful {
            let is_settled =
                !moment.growing.contains(segment) && !catalog::is_dropped(&transaction, *segment)?;
            let Some(file) = said_by_file(reading, *segment, *form)?.filter(|_| is_settled) else { continue };
            if !is_as_listed(reading, &transaction, &file)? {
                catalog::list_as(&transaction, &to_list(keeper, file))?;
                wrong += 1;
            }
        }
        // One row under two numbers: the number was changed.
        for (segment, hash, is_alone) in catalog::listed_of(&transaction)? {
            let has_file = there.contains_key(&segment) || moment.growing.contains(&segment);
            if !has_file && (is_alone || hash.is_some_and(|hash| hashes.contains(&hash))) {
                catalog::unlist(&transaction, segment)?;
                wrong += 1;
            }
        }
        wrong += catalog::tidy(&transaction, keeper.is_mirror())?;
        Ok(transaction.commit()?)
    })?;
    if !keeper.is_mirror() {
        // What is listed and has no file is damaged too.
        let listed = reading.segments()?.into_iter().filter(|state| state.on_disk && state.closed);
        suspects.extend(listed.map(|state| state.segment).filter(|segment| !there.contains_key(segment)));
    }
    for segment in suspects {
        if reading.readers.with(|db| catalog::is_listed_closed(db, segment))? {
            keeper.suspect(segment)?;
        }
    }
    Ok(wrong)
}

fn is_of_another(reading: &Reading, file: &catalog::Listed) -> Result<bool> {
    file.row.hash.map_or(Ok(false), |hash| reading.is_of_another(file.row.segment, hash))
}

/// A mirror takes the records of a segment as far as it isn't listed: from its beginning, where what is listed was wrong.
fn to_list(keeper: &dyn Keeper, file: catalog::Listed) -> catalog::Listed {
    match keeper.is_mirror() {
        true => catalog::Listed {
            row: catalog::SegmentRow { closed: false, bytes: 0, hash: None, ..file.row },
            ..file
        },
        false => file,
    }
}

fn is_listed_right(reading: &Reading, file: &catalog::Listed) -> Result<bool> {
    reading.readers.with(|db| is_as_listed(reading, db, file))
}

/// A segment that's listed as gone from the disk while its file is there is being evicted, if it has a stub.
fn is_as_listed(reading: &Reading, db: &Connection, file: &catalog::Listed) -> Result<bool> {
    let Some(mut listed) = catalog::listed(db, file.row.segment)? else { return Ok(false) };
    if file.on_disk && !listed.on_disk {
        let stub = segment_path(&reading.dir, file.row.segment, FileForm::Stub);
        listed.on_disk = reading.disk.open(&stub).is_ok();
    }
    Ok(listed.is_as(file))
}

/// What a closed segment's file says of itself; `None` where it can't be read, or isn't closed.
fn said_by_file(reading: &Reading, segment: SegmentId, form: FileForm) -> Result<Option<catalog::Listed>> {
    let found = match reading.files.open(segment, form) {
        Ok(found) => found,
        Err(VaultError::Damaged { .. } | VaultError::NotOnDisk(_) | VaultError::Key(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let contents = match read_contents(&*found.file, &found.key) {
        Err(VaultError::Decode(_) | VaultError::Io { .. }) => return Ok(None),
        other => other?,
    };
    Ok(contents.map(|contents| catalog::Listed {
        row: catalog::SegmentRow {
            segment,
            stream: found.header.stream,
            closed: true,
            bytes: contents.trailer.file_len,
            hash: Some(contents.trailer.hash),
            created_ms: found.header.created_ms,
        },
        on_disk: form == FileForm::Whole,
        closed_so: uncovered(&contents.index, contents.trailer.index_offset),
    }))
}
