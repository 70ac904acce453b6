//! Whether every kept point can be restored, and from where: every byte of every segment is read, and every chunk that a kept
//! version needs is looked up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coffer_format::event::Event;
use coffer_format::segment::Stream;
use coffer_format::{ConfigId, Lsn, NodeId, PointSeq, SegmentId};
use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use crate::catalog::{self, DamageKind, Stretch};
use crate::comparison::Comparison;
use crate::mirror::Due;
use crate::provable::Hit;
use crate::reading::Reading;
use crate::segment::OpenSegment;
use crate::soundness::{Soundness, Standing};
use crate::vault::Vault;
use crate::{Result, VaultError};

/// Most versions that a report names; the others are counted.
pub const TOUCHED_MAX: usize = 10_000;

/// What a verification found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Segments on disk, and their bytes.
    pub segments: u64,
    pub bytes: u64,
    pub damage: Vec<Damage>,
    /// Metadata records that should be there and aren't.
    pub gaps: Vec<Gap>,
    /// Damaged places that the box itself can read until it's stopped, and nobody after that.
    pub until_stopped: u64,
    /// Kept points that may be older than they were, or lack files, as metadata of the time before them isn't what their computer
    /// went by.
    pub doubtful: u64,
    /// Metadata records that can't be read, that no copy has, and that only the catalog still knows of.
    pub known_by_catalog: u64,
    /// Different contents of files that kept versions have, and how many of them need something that is only on tape or at HQ.
    pub contents: u64,
    pub elsewhere: u64,
    /// Versions that can't be restored from this disk as it is: the first [`TOUCHED_MAX`] of them.
    pub touched: Vec<Touched>,
    /// All of those, and how many of them can't be restored from anywhere.
    pub touched_count: u64,
    pub lost_count: u64,
    pub verdict: Verdict,
    /// Of a mirror: whether the branch's box may still send something of what is damaged or missing.
    pub from_box: bool,
    /// Of a mirror: segments that the box has numbered and of which nothing is here. Points whose metadata they hold aren't known.
    pub absent: u64,
    /// What comparing the catalog with the segments showed, before all else.
    pub catalog: Comparison,
}

/// Whether every kept point can be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// From here, or from verified copies of what left the disk.
    #[default]
    Whole,
    /// Something is damaged or missing here; verified copies have all of it.
    Heals,
    /// Something is damaged or missing that no verified copy has.
    Lost,
}

/// A stretch of a segment that isn't what was written. Offsets and lengths in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    #[serde(serialize_with = "crate::vault::as_number")]
    pub segment: SegmentId,
    pub offset: u64,
    pub len: u64,
    pub what: String,
}

/// A run of metadata records that are missing, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gap {
    pub first: u64,
    pub last: u64,
}

/// A version that can't be restored from this disk as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Touched {
    pub config: u32,
    pub path: String,
    pub since: u64,
    /// Verified copies that have what is damaged or missing here.
    pub from: Vec<String>,
    /// Whether it needs something that no verified copy has.
    pub is_lost: bool,
}

impl Report {
    /// What was found at HQ, in a sentence for a person.
    pub fn sentence_at_hq(&self) -> String {
        let (places, touched) = (self.damage.len(), self.touched_count);
        let absent = match self.absent {
            0 => String::new(),
            absent => format!(
                "{absent} segments of the box haven't come or aren't here any more, so points may be missing from the list; "
            ),
        };
        let begins = format!("{absent}{places} damaged places, {touched} versions can't be restored from HQ");
        match self.verdict {
            Verdict::Lost => format!(
                "{begins}, {} of them neither from a verified copy nor from the branch's box{}",
                self.lost_count,
                self.doubts()
            ),
            Verdict::Heals if self.from_box => format!(
                "{begins} as it is; the branch's box is asked for what is damaged or missing here, and sends again what it has of it once it's connected"
            ),
            _ => self.sentence(),
        }
    }

    /// What was found, in a sentence for a person.
    pub fn sentence(&self) -> String {
        let gaps = self.doubts();
        let gaps = match self.known_by_catalog {
            0 => gaps,
            records => format!(
                "{gaps}; {records} metadata records can't be read and no copy has them, so only the catalog still knows what they said. To go on \
                 without them, stop cofferd, move catalog.sqlite* out of the vault's folder and start it again: the computers then \
                 compare all their files, and points that those records closed aren't shown any more"
            ),
        };
        let places = match self.damage.len() {
            0 => String::new(),
            places => format!("{places} damaged places, "),
        };
        let judged = match self.verdict {
            Verdict::Whole if self.elsewhere > 0 => {
                "every kept point can be restored, part of it from tape or HQ".into()
            }
            Verdict::Whole => "every kept point can be restored from here".into(),
            Verdict::Heals => format!(
                "{places}{} versions can't be restored from this disk, but verified copies have all of it",
                self.touched_count
            ),
            Verdict::Lost => format!(
                "{places}{} versions can't be restored from this disk, {} of them from no verified copy either{gaps}",
                self.touched_count, self.lost_count
            ),
        };
        let mended = match self.verdict {
            Verdict::Whole => self.catalog.sentence(),
            Verdict::Heals | Verdict::Lost => self.catalog.told(),
        };
        let held = (self.until_stopped > 0).then(|| HELD.to_owned());
        let catalog = mended.into_iter().chain(held).chain(self.catalog.not_compared.clone());
        catalog.fold(judged, |all, more| format!("{all}; {more}"))
    }

    /// What isn't known as metadata is missing.
    fn doubts(&self) -> String {
        let gone: u64 = self.gaps.iter().map(|gap| gap.last - gap.first + 1).sum();
        let gaps = match gone {
            0 => String::new(),
            _ => format!(
                "; {gone} metadata records are missing, and points made then may lack files or not be shown"
            ),
        };
        match self.doubtful {
            0 => gaps,
            doubtful => format!("{gaps}; {doubtful} points may be older than they were, or lack files"),
        }
    }
}

impl Vault {
    /// Reads everything back and looks up what every kept version needs. Damage that is found is recorded: its chunks
    /// count as not here, so that they're stored anew when they come again. What is whole again is recorded too.
    pub fn verify(&self, progress: &mut dyn FnMut(u64)) -> Result<Report> {
        let compared = match self.compare_catalog(&mut |_| true) {
            // What can be read all the same is looked at.
            Err(error) if self.is_read_only() || error.is_disk_full() => {
                Comparison { not_compared: Some(error.refusal().sentence), ..Comparison::default() }
            }
            compared => compared?.unwrap_or_default(),
        };
        let (mut report, read) = self.reading.look(progress, &mut |_| Ok(None))?;
        report.catalog = compared;
        let found: Vec<Damage> = report.damage.iter().filter(|one| one.what != CLOSED_SO).cloned().collect();
        // Where it can't be recorded, it's known all the same: whoever asks hears the same as who verified.
        if self.is_read_only() {
            let found_in = found.iter().map(|one| one.segment);
            let looked_at = read.iter().map(|(segment, _)| *segment).chain(found_in).collect();
            self.reading.keep_unrecorded(&found, &looked_at);
            return Ok(report);
        }
        let noted = self.note_verified(&report, &found, read);
        match self.reading.keep_unless_recorded(noted, &found) {
            Err(error) if !error.is_of_no_writes() && !self.is_read_only() => return Err(error),
            _ => {}
        }
        Ok(report)
    }

    fn note_verified(&self, report: &Report, found: &[Damage], read: Vec<(SegmentId, u64)>) -> Result<()> {
        self.record_found(found, &read.iter().map(|(segment, _)| *segment).collect())?;
        self.record(vec![Event::Verified {
            segments: report.segments,
            bytes: report.bytes,
            touched: report.touched_count,
            lost: report.lost_count,
        }])?;
        let is_sound = |segment| !found.iter().any(|one| one.segment == segment);
        let read: Vec<_> =
            read.into_iter().map(|(segment, bytes)| (segment, bytes, is_sound(segment))).collect();
        self.note_read_back(&read)
    }

    /// Records what reading segments back showed: damage that isn't known, and that what was known isn't there any more.
    pub(crate) fn record_found(&self, found: &[Damage], looked_at: &BTreeSet<SegmentId>) -> Result<()> {
        let known = self.reading.readers.with(catalog::all_damage)?;
        let is_known = |one: &Damage| {
            known.iter().any(|(stretch, _)| {
                stretch.segment == one.segment
                    && stretch.offset <= one.offset
                    && stretch.offset + stretch.len >= one.offset + one.len
            })
        };
        let fresh = found.iter().filter(|one| !is_known(one));
        let mut events: Vec<_> = fresh
            .map(|one| Event::StretchDamaged {
                segment: one.segment,
                offset: one.offset,
                len: one.len,
                detail: one.what.as_str().into(),
            })
            .collect();
        let whole_again: BTreeSet<_> = known
            .iter()
            .filter(|(stretch, _)| stretch.kind != DamageKind::Closed && looked_at.contains(&stretch.segment))
            .map(|(stretch, _)| stretch.segment)
            .filter(|segment| !found.iter().any(|one| one.segment == *segment))
            .collect();
        events.extend(whole_again.iter().map(|segment| Event::SegmentReturned { segment: *segment }));
        if events.is_empty() {
            self.reading.forget_unrecorded(looked_at);
            return Ok(());
        }
        let mut told: BTreeMap<SegmentId, (usize, String)> = BTreeMap::new();
        for one in found.iter().filter(|one| !is_known(one)) {
            told.entry(one.segment).or_insert_with(|| (0, one.what.clone())).0 += 1;
        }
        self.leave_if_lost(&events)?;
        self.transact(move |batch| {
            for (segment, (places, what)) in told {
                batch.audit("box", &is_damaged(segment, places, &what))?;
            }
            for segment in whole_again {
                batch.audit("box", &format!("segment {segment} can be read as it was written again"))?;
                if catalog::has_unapplied(batch.db(), segment)? {
                    catalog::ask_for_rebuild(batch.db())?;
                }
            }
            events.into_iter().try_for_each(|event| batch.write_event(event).map(drop))
        })?;
        self.reading.forget_unrecorded(looked_at);
        Ok(())
    }
}

impl Vault {
    /// Records damage that something else than reading a segment back showed.
    pub fn record_damage(&self, segment: SegmentId, (offset, len): (u64, u64), what: &str) -> Result<()> {
        let event = Event::StretchDamaged { segment, offset, len, detail: what.into() };
        self.leave_if_lost(std::slice::from_ref(&event))?;
        let told = is_damaged(segment, 1, what);
        self.transact(move |batch| {
            batch.audit("box", &told)?;
            batch.write_event(event).map(drop)
        })
    }

    /// Closes the segment that takes metadata if any of these events tell of damage in it: HQ gets nothing of what lies behind damage, and
    /// what is told of it must get there.
    pub(crate) fn leave_damaged<'a>(&self, events: impl IntoIterator<Item = &'a Event>) -> Result<()> {
        let open = {
            let meta = self.meta.lock().map_err(|_| VaultError::ReadOnly)?;
            meta.open.as_ref().map(OpenSegment::id)
        };
        let is_left =
            |event: &Event| damaged_stretch(event).is_some_and(|(segment, _)| Some(segment) == open);
        if events.into_iter().any(is_left) { self.roll() } else { Ok(()) }
    }

    /// The same of what HQ has no copy of: what it has puts the open segment right as it is.
    fn leave_if_lost(&self, events: &[Event]) -> Result<()> {
        let lost: Vec<&Event> = {
            let at_hq = self.reading.beginnings();
            let is_lost = |event: &&Event| {
                damaged_stretch(event)
                    .is_some_and(|(segment, end)| at_hq.len_of(segment).is_none_or(|bytes| bytes < end))
            };
            events.iter().filter(is_lost).collect()
        };
        self.leave_damaged(lost)
    }
}

/// The segment that an event tells of damage in, and where that ends.
fn damaged_stretch(event: &Event) -> Option<(SegmentId, u64)> {
    match event {
        Event::StretchDamaged { segment, offset, len, .. } => Some((*segment, offset.saturating_add(*len))),
        Event::RecordDamaged { segment, offset, .. } => Some((*segment, *offset)),
        _ => None,
    }
}

/// What is audited where damage is found.
pub(crate) fn is_damaged(segment: SegmentId, places: usize, what: &str) -> String {
    let places = if places > 1 { format!(" in {places} places") } else { String::new() };
    format!("segment {segment} is damaged{places}: {what}")
}

pub(crate) fn stretch_of(one: &Damage) -> Stretch {
    let kind = if one.what == CLOSED_SO { DamageKind::Closed } else { DamageKind::Changed };
    Stretch { segment: one.segment, offset: one.offset, len: one.len, kind }
}

/// Where what is damaged or missing of a mirror may come from.
const FROM_BOX: &str = "the branch's box";

/// What is said of damage that a segment was closed with.
const CLOSED_SO: &str = "it was damaged before the segment was closed";
/// What is said where the disk lost something that the box still has.
const HELD: &str =
    "the box still has what the disk lost since it was started: restore it before the box is stopped";
const CUT_OFF: &str = "metadata that came isn't here any more";

impl Reading {
    /// Reads every segment on disk, and names what is damaged and which versions can't be restored; changes nothing.
    pub fn inspect(self: &Arc<Self>, progress: &mut dyn FnMut(u64)) -> Result<Report> {
        self.look(progress, &mut |_| Ok(None)).map(|(report, _)| report)
    }

    /// The same of a mirror: `due` is asked for what may still come once it's known what is damaged.
    pub(crate) fn inspect_mirror(
        self: &Arc<Self>,
        due: &mut dyn FnMut(&[Damage]) -> Result<Due>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Report> {
        let mut ask = |damage: &[Damage]| due(damage).map(Some);
        self.look(progress, &mut ask).map(|(report, _)| report)
    }

    /// Whether every kept point can be restored, as far as damage is known: no data is read.
    pub fn prove(self: &Arc<Self>) -> Result<Report> {
        let mut report = Report::default();
        for (stretch, detail) in self.all_damage()? {
            let Stretch { segment, offset, len, kind } = stretch;
            let what = match kind {
                DamageKind::Closed => CLOSED_SO.into(),
                _ => String::from_utf8_lossy(&detail).into_owned(),
            };
            report.damage.push(Damage { segment, offset, len, what });
        }
        self.add_gaps(&mut report)?;
        self.judge(&mut report, None)?;
        Ok(report)
    }

    /// As [`Reading::inspect`]; names the segments too whose files were read, and how much of each. `due` is asked for what may still come of
    /// what is damaged.
    fn look(
        self: &Arc<Self>,
        progress: &mut dyn FnMut(u64),
        due: &mut dyn FnMut(&[Damage]) -> Result<Option<Due>>,
    ) -> Result<(Report, Vec<(SegmentId, u64)>)> {
        let mut report = Report::default();
        let mut read = Vec::new();
        self.forget_entries();
        for state in self.segments()? {
            let mut found = match state.on_disk {
                true => self.check_segment(state.segment, state.bytes, &mut |_| true)?.unwrap_or_default(),
                false => self.check_stub(state.segment)?,
            };
            found.extend(self.check_below(state.segment)?);
            if !found.is_empty() && state.on_disk && !self.is_on_disk(state.segment)? {
                // Reclaim took it off the disk meanwhile.
                continue;
            }
            if state.on_disk {
                report.segments += 1;
                report.bytes += state.bytes;
                read.push((state.segment, state.bytes));
                progress(report.bytes);
            }
            report.damage.extend(found);
        }
        self.add_known(&mut report)?;
        let due = due(&report.damage)?;
        self.judge(&mut report, due.as_ref())?;
        Ok((report, read))
    }

    /// Damage that reading doesn't show: what was closed with a segment, and gaps in the order of records.
    fn add_known(&self, report: &mut Report) -> Result<()> {
        for (stretch, _) in self.readers.with(catalog::all_damage)? {
            let Stretch { segment, offset, len, kind } = stretch;
            if kind == DamageKind::Closed {
                report.damage.push(Damage { segment, offset, len, what: CLOSED_SO.into() });
            }
        }
        for Stretch { segment, offset, len, .. } in self.readers.with(catalog::cut_off)? {
            report.damage.push(Damage { segment, offset, len, what: CUT_OFF.into() });
        }
        self.add_gaps(report)
    }

    fn add_gaps(&self, report: &mut Report) -> Result<()> {
        report.gaps.extend(self.missing_records()?);
        report.doubtful = self.doubtful_points()?.len() as u64;
        Ok(())
    }

    fn judge(self: &Arc<Self>, report: &mut Report, due: Option<&Due>) -> Result<()> {
        let stretches = report.damage.iter().map(stretch_of);
        let sound = Soundness::with(self, stretches)?;
        let sound = if due.is_some() { sound.at_hq() } else { sound };
        let held = report
            .damage
            .iter()
            .filter(|one| one.is_below() && sound.of(one.segment, one.offset, one.len) == Standing::Lost);
        report.until_stopped = held.count() as u64;
        let checked = self.check_versions(&sound, &mut |mut hit| {
            if hit.remedy.is_lost && due.is_some_and(|due| due.brings(&hit)) {
                hit.remedy.is_lost = false;
                hit.remedy.places.insert(FROM_BOX.into());
                report.from_box = true;
            }
            report.touched_count += 1;
            report.lost_count += u64::from(hit.remedy.is_lost);
            if report.touched.len() < TOUCHED_MAX {
                report.touched.push(touched_of(self, hit)?);
            }
            Ok(())
        })?;
        report.touched.sort();
        (report.contents, report.elsewhere) = (checked.contents, checked.elsewhere);
        let (mut is_lost, mut comes_back) = (report.lost_count > 0, report.touched_count > 0);
        for gap in &report.gaps {
            // A record that is listed and can't be read may be whole in a copy.
            let record = self.readers.with(|db| catalog::find_log(db, Lsn(gap.first)))?;
            let standing = record.map(|(segment, offset, len)| sound.of(segment, offset, len));
            let is_due = due.is_some_and(|due| due.brings_records(record.map(|(segment, ..)| segment), *gap));
            report.from_box |= is_due;
            let is_gone = !is_due && standing.is_none_or(|standing| standing == Standing::Lost);
            (is_lost, comes_back) = (is_lost || is_gone, comes_back || !is_gone);
        }
        // What came back after a computer had gone on without it.
        is_lost |= report.doubtful > 0 && report.gaps.is_empty();
        report.verdict = match () {
            () if is_lost => Verdict::Lost,
            () if comes_back => Verdict::Heals,
            () => Verdict::Whole,
        };
        // Metadata is needed whatever it says.
        for state in self.segments()?.into_iter().filter(|state| state.stream == Stream::Meta) {
            for one in report.damage.iter().filter(|one| one.segment == state.segment) {
                let stretch = stretch_of(one);
                if self.is_given_up(&stretch)? {
                    continue;
                }
                let standing = sound.of(one.segment, one.offset, one.len);
                if standing == Standing::Lost && due.is_none() && !one.is_below() {
                    report.known_by_catalog += self.records_gone_by(&stretch)?;
                }
                let is_due = due.is_some_and(|due| due.brings_segment(one.segment));
                report.from_box |= is_due && standing == Standing::Lost;
                let verdict =
                    if standing == Standing::Lost && !is_due { Verdict::Lost } else { Verdict::Heals };
                report.verdict = report.verdict.max(verdict);
            }
        }
        Ok(())
    }

    fn is_on_disk(&self, segment: SegmentId) -> Result<bool> {
        Ok(self.segments()?.iter().any(|state| state.segment == segment && state.on_disk))
    }

    /// A path that a node had at a point. Slow: for reports on damage.
    pub(crate) fn path_of(&self, config: ConfigId, node: NodeId, point: PointSeq) -> Result<String> {
        let names = self.names_of(config, node, point)?;
        Ok(format!("/{}", String::from_utf8_lossy(&names.join(&b'/'))))
    }

    /// The names from the root down to a node at a point. Slow.
    pub(crate) fn names_of(&self, config: ConfigId, node: NodeId, point: PointSeq) -> Result<Vec<Vec<u8>>> {
        self.readers.with(|db| {
            let mut names: Vec<Vec<u8>> = Vec::new();
            let mut at = node;
            while at != NodeId::ROOT && names.len() < coffer_format::limits::PATH_MAX {
                let mut query = db.prepare_cached(
                    "SELECT parent, name FROM files WHERE config = ?1 AND node = ?2 AND since <= ?3 AND until > ?3 LIMIT 1",
                )?;
                let found = query
                    .query_row(params![config.0, at.0, point.0], |row| Ok((NodeId(row.get(0)?), row.get(1)?)))
                    .optional()?;
                let Some((parent, name)) = found else { break };
                names.push(name);
                at = parent;
            }
            names.reverse();
            Ok(names)
        })
    }

    /// When everything was last read back by [`Vault::verify`]: ms since 1970-01-01 UTC on the vault's clock.
    pub fn verified_ms(&self) -> Result<Option<u64>> {
        Ok(self.readers.with(catalog::last_look)?.0)
    }

    /// Damage that is known and not mended.
    pub fn known_damage(&self) -> Result<Vec<(SegmentId, u64)>> {
        Ok(self.all_damage()?.into_iter().map(|(stretch, _)| (stretch.segment, stretch.offset)).collect())
    }
}

/// A version that damage touches, by name.
pub(crate) fn touched_of(reading: &Reading, hit: Hit) -> Result<Touched> {
    Ok(Touched {
        config: hit.config.0,
        path: reading.path_of(hit.config, hit.node, hit.since)?,
        since: hit.since.0,
        from: hit.remedy.places.into_iter().collect(),
        is_lost: hit.remedy.is_lost,
    })
}
