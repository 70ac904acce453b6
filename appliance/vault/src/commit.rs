//! Group commit. Whoever wants something durable queues it; one caller at a time takes the whole queue and makes it
//! durable with three syncs: the packs, the metadata, the catalog. What was synced counts once its name stands for it.
//!
//! A batch that the disk has no room for leaves no trace: its transaction is rolled back, its records are cut off again, and what was
//! refused didn't happen. What a failed sync left isn't known: after it nothing is taken in until the vault was reopened.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use coffer_format::entry::{Body, Entry};
use coffer_format::event::{Event, Run};
use coffer_format::manifest::Map;
use coffer_format::op::{Content, MapBody, Op};
use coffer_format::segment::{IndexEntry, RecordKind, Stream};
use coffer_format::wire::RefusalCode;
use coffer_format::{FileHash, Locator, Lsn, Writer, limits};
use rusqlite::{Connection, OptionalExtension};

use crate::catalog::{self, Doubt};
use crate::comparison::Comparison;
use crate::reading::{MapLink, Reading, append_page, resolve};
use crate::seal::{seal_record, write_compressed};
use crate::segment::OpenSegment;
use crate::vault::{MetaState, Vault};
use crate::{Result, VaultError};

/// So many batches in a row may leave their journal as it is because others wait.
const UNFOLDED_MAX: u32 = 64;

/// A queued piece of work, which knows where its outcome goes.
pub(crate) trait Work: Send {
    /// Adds to the batch.
    fn run(&mut self, batch: &mut Batch<'_>) -> Ran;
    /// The batch didn't become durable, so nothing in it happened.
    fn fail(&mut self, error: VaultError);
}

/// How a piece of work went.
pub(crate) enum Ran {
    Well,
    /// It must leave no trace in the batch.
    Failed,
    /// The disk is full: the batch can't go on.
    WithoutRoom,
}

type Slot<T> = Arc<std::sync::Mutex<Option<Result<T>>>>;

struct Job<T, F> {
    work: Option<F>,
    slot: Slot<T>,
}

impl<T: Send, F: FnOnce(&mut Batch<'_>) -> Result<T> + Send> Work for Job<T, F> {
    fn run(&mut self, batch: &mut Batch<'_>) -> Ran {
        let Some(work) = self.work.take() else { return Ran::Failed };
        let done = work(batch);
        let ran = match &done {
            Ok(_) => Ran::Well,
            Err(error) if error.is_disk_full() => Ran::WithoutRoom,
            Err(_) => Ran::Failed,
        };
        *self.slot.lock().expect("nothing panics while it holds a slot") = Some(done);
        ran
    }
    fn fail(&mut self, error: VaultError) {
        let mut slot = self.slot.lock().expect("nothing panics while it holds a slot");
        if !matches!(*slot, Some(Err(_))) {
            *slot = Some(Err(error));
        }
    }
}

/// Metadata that becomes durable together.
pub(crate) struct Batch<'a> {
    db: &'a Connection,
    reading: &'a Reading,
    segment: &'a OpenSegment,
    now_ms: u64,
    first_lsn: Lsn,
    next_lsn: Lsn,
    bytes: Vec<u8>,
    records: Vec<IndexEntry>,
    /// Entries of this batch, which can't be read from disk yet.
    entries: Vec<(Lsn, Arc<Entry>)>,
    pub(crate) data: coffer_format::entry::DataUpTo,
}

impl Batch<'_> {
    pub(crate) fn db(&self) -> &Connection {
        self.db
    }
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Adds an entry and applies it to the catalog.
    pub(crate) fn write(&mut self, body: Body) -> Result<Lsn> {
        let lsn = self.next_lsn;
        let entry = Entry { vault_ms: self.now_ms, batch: self.first_lsn, body };
        let mut plain = Writer::default();
        let raw_len = write_compressed(&mut plain, &entry)?;
        if plain.0.len() > limits::RECORD_PLAIN_MAX || raw_len > 2 * limits::RECORD_PLAIN_MAX {
            return Err(VaultError::refused(
                RefusalCode::BadRequest,
                "one part is too large: the agent must send smaller parts",
            ));
        }
        let record = seal_record(&self.segment.key, RecordKind::Meta, lsn, |w| w.bytes(&plain.0))?;
        let index = IndexEntry {
            offset: self.segment.len + self.bytes.len() as u64,
            kind: RecordKind::Meta,
            lsn,
            record_len: record.len() as u64,
            chunks: Vec::new(),
        };
        catalog::put_log(self.db, self.segment.id(), &index)?;
        catalog::apply_entry(self.db, lsn, &entry)?;
        self.bytes.extend_from_slice(&record);
        self.records.push(index);
        self.entries.push((lsn, Arc::new(entry)));
        self.next_lsn = Lsn(lsn.0 + 1);
        Ok(lsn)
    }

    pub(crate) fn write_event(&mut self, event: Event) -> Result<Lsn> {
        self.write(Body::Event { event })
    }

    /// Adds an entry to the audit log, chained to the one before.
    pub(crate) fn audit(&mut self, who: &str, what: &str) -> Result<()> {
        let newest =
            self.db.query_row("SELECT hash FROM audit ORDER BY lsn DESC LIMIT 1", [], |row| row.get(0));
        let previous = FileHash(newest.optional()?.unwrap_or([0; 32]));
        self.write_event(Event::Audit { who: who.into(), what: what.into(), previous }).map(|_| ())
    }

    pub(crate) fn write_page(&mut self, map: Map) -> Result<Lsn> {
        self.write(Body::MapPage { map })
    }

    pub(crate) fn entry(&self, lsn: Lsn) -> Result<Arc<Entry>> {
        if lsn < self.first_lsn {
            // Not through the readers: this transaction may have seen what they haven't.
            return match catalog::find_log(self.db, lsn)? {
                Some(_) => self.reading.entry(lsn),
                None => Err(VaultError::Damaged {
                    segment: self.segment.id(),
                    offset: 0,
                    what: format!("metadata record {lsn} is missing"),
                }),
            };
        }
        let found = self.entries.iter().find(|(at, _)| *at == lsn).map(|(_, entry)| entry.clone());
        Ok(found.expect("every entry of the batch is kept until it's committed"))
    }

    /// The map that is kept at `at`, which may be in this very batch.
    pub(crate) fn map_link(&self, at: Locator) -> Result<MapLink> {
        if at.lsn < self.first_lsn {
            return self.reading.map_link(at);
        }
        let entry = self.entry(at.lsn)?;
        let Body::Part { ops, .. } = &entry.body else { unreachable!("locators point at parts") };
        let Op::Put { content: Content::Map { ordinal, base, body }, .. } = &ops[at.op as usize] else {
            unreachable!("locators point at maps")
        };
        let map = match body {
            MapBody::Inline { map } => map.clone(),
            MapBody::Pages { size, pages } => {
                let mut whole = Map { size: *size, ..Map::default() };
                for lsn in pages {
                    let page = self.entry(*lsn)?;
                    let Body::MapPage { map } = &page.body else { unreachable!("pages are pages") };
                    append_page(&mut whole, map);
                }
                whole
            }
        };
        Ok(MapLink { ordinal: *ordinal, base: *base, map })
    }

    /// Where every byte of a version is.
    pub(crate) fn full_map(&self, at: Locator) -> Result<Map> {
        resolve(at, |at| self.map_link(at))
    }
}

impl Vault {
    /// Makes `work` durable, together with whatever else is waiting. Returns after the catalog has it.
    pub(crate) fn transact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Batch<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.check_writable()?;
        let slot: Slot<T> = Slot::default();
        let job = Box::new(Job { work: Some(work), slot: slot.clone() });
        self.queue.lock().expect("nothing panics while queueing").push_back(job);
        let mut meta = self.meta.lock().map_err(|_| VaultError::ReadOnly)?;
        let take = || {
            let done = slot.lock().expect("nothing panics while it holds a slot").take();
            done.map(|done| done.inspect_err(|error| self.reading.readers.hear(error)))
        };
        if let Some(done) = take() {
            // Another caller's batch ran it, and that batch is over.
            return done;
        }
        self.run_batch(&mut meta);
        drop(meta);
        self.tell_of_written_again();
        take().expect("a batch leaves an outcome for each of its works")
    }

    /// Goes on behind a record that others know of and that isn't here: what is between counts as missing, and its numbers aren't given again.
    pub fn go_on_behind(&self, known: Lsn) -> Result<()> {
        self.transact(move |batch| {
            if known < batch.next_lsn {
                return Ok(());
            }
            let missing = Run { first: batch.next_lsn, last: known };
            catalog::put_gap(batch.db, missing)?;
            batch.next_lsn = Lsn(known.0 + 1);
            let what = format!(
                "metadata records {} to {} are known at headquarters and couldn't be had: points that were made then may lack files, or \
                 not be shown",
                missing.first, missing.last
            );
            batch.audit("box", &what)
        })
    }

    /// Waits until the batch at work is over: those after it see what was noted before.
    pub(crate) fn finish_batch(&self) -> Result<()> {
        self.meta.lock().map(drop).map_err(|_| VaultError::ReadOnly)
    }

    fn run_batch(&self, meta: &mut MetaState) {
        let mut waiting: Vec<Box<dyn Work>> =
            self.queue.lock().expect("nothing panics while queueing").drain(..).collect();
        let ran = self.check_writable().and_then(|()| self.mend_replaced(meta));
        let Err(error) = ran.and_then(|()| self.try_batch(meta, &mut waiting)) else {
            return;
        };
        tracing::error!(%error, "a batch was not committed");
        // SQLite may have failed to roll back: then nobody knows what the next batch would stand on.
        let is_full = error.is_disk_full() && meta.db.is_autocommit();
        let is_broken = || error.is_of_broken_catalog() || self.reading.readers.is_replaced();
        let is_remade = !is_full && is_broken() && self.remake_for(meta, &error);
        if !is_full && !is_remade {
            self.poison();
        }
        let free = self.free_bytes().unwrap_or(0);
        for work in &mut waiting {
            work.fail(match () {
                () if is_full => VaultError::Full { free, reserve: self.options.reserve_bytes },
                () if is_remade => VaultError::refused(
                    RefusalCode::Busy,
                    "the catalog was damaged and has just been made again from the segments: try again",
                ),
                () => VaultError::ReadOnly,
            });
        }
    }

    /// Makes a catalog anew that a batch can't be committed to. The batch's records count if they became durable: it's as after a crash.
    fn remake_for(&self, meta: &mut MetaState, error: &VaultError) -> bool {
        let why = error.refusal().sentence;
        if let Err(error) = self.remake(meta, &why) {
            tracing::error!(%error, "the catalog couldn't be made anew; restart cofferd");
            return false;
        }
        self.reading.readers.doubt(Doubt::Rows);
        true
    }

    /// Makes a catalog anew that somebody else wrote to: what it says is no ground to put anything on.
    fn mend_replaced(&self, meta: &mut MetaState) -> Result<()> {
        if !self.reading.readers.is_replaced() {
            return Ok(());
        }
        self.remake(meta, catalog::REPLACED)?;
        self.reading.readers.take_doubt();
        catalog::note_care(&meta.db, catalog::MENDED, self.now_ms())?;
        catalog::note_care(&meta.db, catalog::MENDED_ROWS, 0)?;
        let anew = Comparison { made_anew: Some(catalog::REPLACED.to_owned()), ..Comparison::default() };
        self.to_audit.lock().map_err(|_| VaultError::ReadOnly)?.extend(anew.sentence());
        Ok(())
    }

    fn try_batch(&self, meta: &mut MetaState, waiting: &mut [Box<dyn Work>]) -> Result<()> {
        let synced = self.sync_data()?;
        if meta.open.as_ref().is_some_and(|open| open.is_full()) {
            self.close_meta(meta)?;
        }
        self.sync_closed_meta(meta)?;
        if meta.open.is_none() {
            meta.open = Some(self.create_segment(Stream::Meta)?);
        }
        // What the batch looks up in it is read by its name.
        self.keep_meta_in_place(meta)?;
        let MetaState { db, open, next_lsn, .. } = meta;
        let open = open.as_mut().expect("made above");
        let transaction = db.transaction()?;
        for row in &synced.segments {
            catalog::put_segment(&transaction, row)?;
        }
        for (id, at) in &synced.chunks {
            catalog::put_chunk(&transaction, id, at)?;
        }
        let mut batch = Batch {
            db: &transaction,
            reading: &self.reading,
            segment: open,
            now_ms: self.clock.now_ms(),
            first_lsn: *next_lsn,
            next_lsn: *next_lsn,
            bytes: Vec::new(),
            records: Vec::new(),
            entries: Vec::new(),
            data: synced.data,
        };
        for work in waiting {
            run_one(&mut batch, &mut **work)?;
        }
        let Batch { bytes, records, next_lsn: after, .. } = batch;
        // All that the batch goes by was read from the right catalog.
        self.reading.readers.check_seal()?;
        let before = open.end();
        if !bytes.is_empty() {
            open.append_meta(&bytes, records)?;
            self.sync_file(&*open.file)?;
        }
        self.note_damage(open);
        let in_place = self.keep(open.id(), &mut open.file, open.len);
        let listed =
            in_place.and_then(|()| catalog::put_segment(&transaction, &crate::vault::open_row(open)));
        if let Err(error) = listed.and_then(|()| Ok(transaction.commit()?)) {
            if error.is_disk_full() {
                // Their numbers are given out again: they must not be found when the vault is opened next.
                open.cut_back(before)?;
            }
            return Err(error);
        }
        *next_lsn = after;
        self.forget_pending(synced.generation);
        self.fold_journal(db);
        Ok(())
    }
}

impl Vault {
    /// When nothing waits, or not for long, moves the catalog's journal into the catalog, so that disk use follows what is kept. A
    /// reader that is busy just now puts it off to the next time. Called after whatever writes to the catalog.
    pub(crate) fn fold_journal(&self, db: &Connection) {
        let is_busy = !self.queue.lock().is_ok_and(|queue| queue.is_empty());
        if is_busy && self.unfolded.fetch_add(1, Ordering::SeqCst) < UNFOLDED_MAX {
            return;
        }
        self.unfolded.store(0, Ordering::SeqCst);
        if let Err(error) = self.reading.readers.fold(db) {
            tracing::warn!(%error, "the catalog's journal could not be folded in; it's tried again");
        }
    }
}

/// Runs one work; if it fails, leaves no trace of it in the batch.
fn run_one(batch: &mut Batch<'_>, work: &mut dyn Work) -> Result<()> {
    let before = (batch.bytes.len(), batch.records.len(), batch.entries.len(), batch.next_lsn);
    batch.db.execute_batch("SAVEPOINT work")?;
    match work.run(batch) {
        Ran::Well => {}
        // SQLite may have rolled everything back by itself: there's no going on from here.
        Ran::WithoutRoom => return Err(VaultError::Full { free: 0, reserve: 0 }),
        Ran::Failed if batch.db.is_autocommit() => return Err(VaultError::ReadOnly),
        Ran::Failed => {
            batch.db.execute_batch("ROLLBACK TO work")?;
            batch.bytes.truncate(before.0);
            batch.records.truncate(before.1);
            batch.entries.truncate(before.2);
            batch.next_lsn = before.3;
        }
    }
    batch.db.execute_batch("RELEASE work")?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use coffer_format::{OrgId, VaultId};

    use super::*;
    use crate::disk::CrashDisk;
    use crate::{BoxKey, ManualClock, Opener, Options, RecoveryKey};

    fn limit_pages(vault: &Vault, pages: u64) {
        let meta = vault.meta.lock().unwrap();
        meta.db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
    }

    /// SQLite rolls the whole transaction back by itself where a statement finds no room.
    #[test]
    fn a_catalog_without_room_refuses_a_batch_and_goes_on() {
        let (disk, dir) = (Arc::new(CrashDisk::new()), tempfile::tempdir().unwrap());
        let clock = Arc::new(ManualClock::at(1));
        let (key, recovery) = (BoxKey::generate().unwrap(), RecoveryKey::generate().unwrap().1);
        let (id, org) = (VaultId([7; 16]), OrgId([8; 16]));
        Vault::create(&*disk, dir.path(), id, org, [9; 32], &key, &recovery, &*clock).unwrap();
        let options = Options { reserve_bytes: 0 };
        let open = |disk: Arc<CrashDisk>| {
            Vault::open(disk, dir.path(), Opener::Box(key.clone()), clock.clone(), options.clone()).unwrap()
        };
        let vault = open(disk.clone());
        limit_pages(&vault, 1);
        let (mut kept, mut refused) = (Vec::new(), 0);
        for number in 0..400 {
            let what = format!("{number} {}", "x".repeat(3000));
            match vault.audit("test", &what) {
                Ok(()) => kept.push(what),
                Err(error) => {
                    assert!(error.is_disk_full(), "{error}");
                    refused += 1;
                    if refused % 3 == 0 {
                        limit_pages(&vault, 1 << 30);
                        vault.audit("test", "there's room again").unwrap();
                        kept.push("there's room again".into());
                        limit_pages(&vault, 1);
                    }
                }
            }
            assert!(!vault.is_read_only());
        }
        assert!(refused > 100 && kept.len() > 30, "{refused} were refused, {} kept", kept.len());
        limit_pages(&vault, 1 << 30);
        let told = |vault: &Vault| -> Vec<String> {
            let log = vault.reading().audit_log(1000).unwrap();
            log.into_iter().filter(|one| one.who == "test").map(|one| one.what).collect()
        };
        kept.reverse();
        assert_eq!(told(&vault), kept);
        drop(vault);
        std::fs::remove_file(dir.path().join("catalog.sqlite")).unwrap();
        assert_eq!(told(&open(Arc::new(disk.reboot()))), kept);
    }
}
