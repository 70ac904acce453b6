//! A vault that is open for writing: what it holds open, and how it's created, opened and closed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use coffer_format::entry::{DataUpTo, Watermark};
use coffer_format::segment::{SegmentHeader, Stream};
use coffer_format::{ChunkId, FileHash, Lsn, OrgId, SegmentId, VaultId};
use nix::fcntl::{Flock, FlockArg};
use rusqlite::Connection;

use crate::catalog::{self, ChunkLocation, SegmentRow};
use crate::commit::Work;
use crate::disk::{Disk, DiskFile, Named, OF_FILES_ALONE, ReadOnlyDisk, RealDisk};
use crate::identity::{read_or_mend_identity, write_identity};
use crate::intake::Accepted;
use crate::keys::{BoxKey, Opener, RecoveryPublic, VaultKeys};
use crate::placing::{WrittenAgain, make_folder, set_aside};
use crate::reading::Reading;
use crate::segment::{FileForm, OpenSegment, SegmentFiles, segment_path, segments_dir};
use crate::takeover::Begun;
use crate::{Clock, Result, VaultError, rebuild};

/// What an operator may set.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of the disk that intake leaves free, so that bookkeeping and restores still work.
    pub reserve_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { reserve_bytes: 512 << 20 }
    }
}

/// An open vault. Cheap to share; every method may be called from any thread.
pub struct Vault {
    pub(crate) reading: Arc<Reading>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Options,
    pub(crate) identity: SegmentHeader,
    pub(crate) data: Mutex<DataState>,
    pub(crate) meta: Mutex<MetaState>,
    pub(crate) queue: Mutex<VecDeque<Box<dyn Work>>>,
    pub(crate) in_flight: Mutex<Vec<Weak<Mutex<Accepted>>>>,
    pub(crate) begun: Begun,
    pub(crate) written_again: Mutex<WrittenAgain>,
    /// What happened in a batch and is audited after it.
    pub(crate) to_audit: Mutex<Vec<String>>,
    /// Batches since the catalog's journal was last folded.
    pub(crate) unfolded: AtomicU32,
    /// Held for reading while a session looks chunks up and names them; for writing while a segment is dropped.
    pub(crate) gate: std::sync::RwLock<()>,
    next_segment: AtomicU64,
    read_only: AtomicBool,
    /// Whether everything that is written goes to a layer over the disk.
    pub(crate) is_layered: bool,
    _lock: Option<Flock<std::fs::File>>,
}

/// The streams that packs go to.
#[derive(Default)]
pub(crate) struct DataState {
    fresh: Option<OpenSegment>,
    bulk: Option<OpenSegment>,
    /// Chunks that the catalog doesn't list yet, with the generation of the sync that will cover them.
    pub(crate) pending: HashMap<ChunkId, (u64, ChunkLocation)>,
    closed: Vec<(u64, SegmentRow, Arc<dyn DiskFile>)>,
    generation: u64,
}

/// The metadata stream, and the only connection that writes the catalog.
pub(crate) struct MetaState {
    pub(crate) db: Connection,
    pub(crate) open: Option<OpenSegment>,
    pub(crate) next_lsn: Lsn,
    pub(crate) unsynced: Vec<(SegmentRow, Arc<dyn DiskFile>)>,
}

/// What a sync of the packs covered.
pub(crate) struct Synced {
    pub(crate) generation: u64,
    pub(crate) chunks: Vec<(ChunkId, ChunkLocation)>,
    pub(crate) segments: Vec<SegmentRow>,
    pub(crate) data: DataUpTo,
}

/// A segment as tape and HQ see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct SegmentState {
    #[serde(serialize_with = "crate::vault::as_number")]
    pub segment: SegmentId,
    #[serde(skip)]
    pub stream: Stream,
    pub closed: bool,
    /// Bytes that are durable.
    pub bytes: u64,
    #[serde(skip)]
    pub hash: Option<FileHash>,
    pub on_disk: bool,
}

pub(crate) fn as_number<S: serde::Serializer>(
    segment: &SegmentId,
    to: S,
) -> std::result::Result<S::Ok, S::Error> {
    to.serialize_u64(segment.0)
}

impl Vault {
    /// Makes an empty vault in `dir`. Its keys are wrapped for the box and for the organisation.
    #[expect(clippy::too_many_arguments, reason = "each is a different type, and a vault is made once")]
    pub fn create(
        disk: &dyn Disk,
        dir: &Path,
        vault: VaultId,
        org: OrgId,
        chunk_key: [u8; 32],
        box_key: &BoxKey,
        recovery: &RecoveryPublic,
        clock: &dyn Clock,
    ) -> Result<()> {
        disk.create_dir(&segments_dir(dir)).map_err(VaultError::io("create", dir))?;
        let keys = VaultKeys::generate(box_key, recovery, chunk_key)?;
        let identity = keys.header(vault, org, SegmentId(0), Stream::Meta, clock.now_ms())?;
        write_identity(disk, dir, &identity)
    }

    /// Whether a key opens the vault in `dir`: an error says why it doesn't.
    pub fn check_key(disk: &dyn Disk, dir: &Path, opener: &Opener) -> Result<()> {
        let (identity, _) = read_or_mend_identity(disk, dir, opener)?;
        VaultKeys::open(opener, &identity.keys).map(drop)
    }

    /// Opens a vault: finishes what a power cut left unfinished and brings the catalog up to the segments.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        opener: Opener,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Vault> {
        let lock = lock(dir)?;
        let parts = Parts { disk, dir, catalog: catalog_path(dir), lock };
        let (vault, notes) = Vault::open_parts(parts, opener, clock, options)?;
        for note in notes {
            tracing::warn!(note, "when the vault was opened");
            vault.audit("box", &note)?;
        }
        Ok(vault)
    }

    /// Opens a vault whose disk takes no writes: it can be read, verified and restored from. What opening has to write goes to
    /// `scratch`, an empty folder on another disk.
    pub fn open_read_only(
        dir: &Path,
        opener: Opener,
        clock: Arc<dyn Clock>,
        options: Options,
        scratch: &Path,
    ) -> Result<Vault> {
        let lock = lock_read_only(dir)?;
        let (from, catalog) = (catalog_path(dir), scratch.join("catalog.sqlite"));
        for suffix in ["", "-wal"] {
            take_along(&beside(&from, suffix), &beside(&catalog, suffix));
        }
        let disk = Arc::new(ReadOnlyDisk::new(scratch));
        let parts = Parts { disk, dir, catalog, lock };
        let (mut vault, notes) = Vault::open_parts(parts, opener, clock, options)?;
        vault.is_layered = true;
        notes.iter().for_each(|note| tracing::warn!(note, "when the vault was opened for reading"));
        vault.poison();
        Ok(vault)
    }

    /// The vault, and what a person should know of how it was found.
    fn open_parts(
        parts: Parts<'_>,
        opener: Opener,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<(Vault, Vec<String>)> {
        let Parts { disk, dir, catalog, lock } = parts;
        let (identity, mended) = read_or_mend_identity(&*disk, dir, &opener)?;
        let keys = VaultKeys::open(&opener, &identity.keys)?;
        let files = SegmentFiles::new(disk.clone(), dir.into(), opener, keys);
        let opened = catalog::open_writer(&catalog)?;
        let reading = Arc::new(Reading::new(disk, dir, files, &catalog));
        let (db, found) = rebuild::bring_up(&reading, opened, &catalog)?;
        let vault = Vault {
            reading,
            clock,
            options,
            identity,
            data: Mutex::default(),
            meta: Mutex::new(MetaState { db, open: None, next_lsn: found.next_lsn, unsynced: Vec::new() }),
            queue: Mutex::default(),
            in_flight: Mutex::default(),
            begun: Begun::default(),
            written_again: Mutex::default(),
            to_audit: Mutex::default(),
            unfolded: AtomicU32::new(0),
            gate: std::sync::RwLock::default(),
            next_segment: AtomicU64::new(found.next_segment.0),
            read_only: AtomicBool::new(false),
            is_layered: false,
            _lock: lock,
        };
        vault.watch_catalog(&*vault.meta.lock().map_err(|_| VaultError::ReadOnly)?)?;
        let lost = if found.is_new { vault.note_lost()? } else { None };
        let lost = lost.map(|lost| format!("the catalog was made again from the segments: {lost}"));
        let notes = mended.into_iter().chain(found.notes).chain(lost).collect();
        Ok((vault, notes))
    }

    /// From here on whatever somebody else writes to the catalog is noticed.
    pub(crate) fn watch_catalog(&self, meta: &MetaState) -> Result<()> {
        let readers = &self.reading.readers;
        catalog::fold_by_hand(&meta.db)?;
        if let Err(error) = readers.fold(&meta.db) {
            tracing::warn!(%error, "the catalog's journal could not be folded in; it's tried again");
        }
        readers.close_seal();
        Ok(())
    }

    pub fn id(&self) -> VaultId {
        self.identity.vault
    }
    pub fn org(&self) -> OrgId {
        self.identity.org
    }
    /// Who this vault is, as `vault.id` has it.
    pub fn identity(&self) -> &SegmentHeader {
        &self.identity
    }
    /// The key that chunks are named with; computers of the organisation get it when they enrol.
    pub fn chunk_key(&self) -> [u8; 32] {
        self.reading.files.keys().chunk
    }
    /// Everything that can be read.
    pub fn reading(&self) -> &Arc<Reading> {
        &self.reading
    }
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }
    /// The highest segment number that was given out.
    pub fn newest_number(&self) -> Result<SegmentId> {
        let listed = self.reading.readers.with(catalog::newest_number)?;
        Ok(listed.max(SegmentId(self.next_segment.load(Ordering::SeqCst) - 1)))
    }
    pub fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::SeqCst)
    }

    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.is_read_only() { Err(VaultError::ReadOnly) } else { Ok(()) }
    }
    pub(crate) fn poison(&self) {
        self.read_only.store(true, Ordering::SeqCst);
    }

    /// Refuses intake while the disk takes no writes, which is said whatever is free of it, or while less than the reserve is free.
    pub(crate) fn check_intake(&self) -> Result<()> {
        self.check_writable()?;
        let free = self.free_bytes()?;
        let reserve = self.options.reserve_bytes;
        if free < reserve { Err(VaultError::Full { free, reserve }) } else { Ok(()) }
    }

    /// Bytes free on the vault's disk.
    pub fn free_bytes(&self) -> Result<u64> {
        let reading = &self.reading;
        reading.disk.free_bytes(&reading.dir).map_err(VaultError::io("ask the size of", &reading.dir))
    }

    pub(crate) fn create_segment(&self, stream: Stream) -> Result<OpenSegment> {
        let segment = self.next_free_number()?;
        let keys = self.reading.files.keys();
        let header =
            keys.header(self.identity.vault, self.identity.org, segment, stream, self.clock.now_ms())?;
        OpenSegment::create(&*self.reading.disk, &self.reading.dir, &keys, header)
    }

    /// A number whose name nothing has: what lies there and is no file may have been put in the place of a segment that nobody
    /// knows of any more.
    fn next_free_number(&self) -> Result<SegmentId> {
        loop {
            let segment = SegmentId(self.next_segment.fetch_add(1, Ordering::SeqCst));
            let path = segment_path(&self.reading.dir, segment, FileForm::Whole);
            match self.reading.disk.look_up(&path).map_err(VaultError::io("look at", &path))? {
                Named::Other(what) => {
                    tracing::warn!(?path, what, "its number isn't given to a segment")
                }
                Named::Nothing | Named::File(_) => return Ok(segment),
            }
        }
    }

    pub(crate) fn sync_file(&self, file: &dyn DiskFile) -> Result<()> {
        file.sync().map_err(|error| {
            tracing::error!(%error, "the disk could not make data durable; the vault is read-only now");
            self.poison();
            VaultError::ReadOnly
        })
    }

    /// Makes all packs so far durable, in files that are found by their names. Packs may go on coming in meanwhile.
    pub(crate) fn sync_data(&self) -> Result<Synced> {
        let (synced, files) = {
            let mut data = self.data.lock().map_err(|_| VaultError::ReadOnly)?;
            let mut files: Vec<_> = data.closed.iter().map(|(_, _, file)| file.clone()).collect();
            let mut segments: Vec<_> = data.closed.iter().map(|(_, row, _)| *row).collect();
            let next = SegmentId(self.next_segment.load(Ordering::SeqCst));
            let mut mark = |open: &Option<OpenSegment>| match open {
                None => Watermark { segment: next, bytes: 0 },
                Some(open) => {
                    files.push(open.file.clone());
                    segments.push(open_row(open));
                    Watermark { segment: open.id(), bytes: open.len }
                }
            };
            let up_to = DataUpTo { fresh: mark(&data.fresh), bulk: mark(&data.bulk) };
            let chunks = data.pending.iter().map(|(id, (_, at))| (*id, *at)).collect();
            let generation = data.generation;
            data.generation += 1;
            (Synced { generation, chunks, segments, data: up_to }, files)
        };
        files.iter().try_for_each(|file| self.sync_file(&**file))?;
        self.keep_data_in_place()?;
        Ok(synced)
    }

    /// The catalog has everything up to that sync.
    pub(crate) fn forget_pending(&self, generation: u64) {
        let Ok(mut data) = self.data.lock() else { return };
        data.pending.retain(|_, (of, _)| *of > generation);
        data.closed.retain(|(of, _, _)| *of > generation);
    }

    pub(crate) fn close_meta(&self, meta: &mut MetaState) -> Result<()> {
        if let Some(open) = meta.open.as_mut() {
            let closed = open.close()?;
            meta.unsynced.push((closed_row(&closed, open.header.created_ms), open.file.clone()));
            meta.open = None;
        }
        Ok(())
    }

    /// Segments that are being written, or whose end isn't listed yet.
    pub(crate) fn growing(&self, meta: &MetaState) -> Result<HashSet<SegmentId>> {
        let data = self.data.lock().map_err(|_| VaultError::ReadOnly)?;
        let open = [&data.fresh, &data.bulk, &meta.open].into_iter().flatten().map(OpenSegment::id);
        let closed = data.closed.iter().map(|(_, row, _)| row.segment);
        Ok(open.chain(closed).chain(meta.unsynced.iter().map(|(row, _)| row.segment)).collect())
    }

    /// Closes every segment that is open and makes it durable; nothing of it is listed yet.
    pub(crate) fn close_all(&self, meta: &mut MetaState) -> Result<()> {
        {
            let mut data = self.data.lock().map_err(|_| VaultError::ReadOnly)?;
            data.close(Stream::Fresh)?;
            data.close(Stream::Bulk)?;
        }
        self.sync_data()?;
        self.close_meta(meta)?;
        meta.unsynced.iter().try_for_each(|(_, file)| self.sync_file(&**file))?;
        self.keep_meta_in_place(meta)
    }

    /// Numbers below that one are never given out again.
    pub(crate) fn go_on_from(&self, segment: SegmentId) {
        self.next_segment.fetch_max(segment.0, Ordering::SeqCst);
    }

    /// Closes the open segments, so that all that is durable now can be copied elsewhere.
    pub fn roll(&self) -> Result<()> {
        self.check_writable()?;
        {
            let mut data = self.data.lock().map_err(|_| VaultError::ReadOnly)?;
            self.poison_unless_full(data.close(Stream::Fresh).and_then(|()| data.close(Stream::Bulk)))?;
        }
        // What the data streams held is listed first; then the metadata stream that lists it is closed.
        self.transact(|_| Ok(()))?;
        let mut meta = self.meta.lock().map_err(|_| VaultError::ReadOnly)?;
        let closed = self.close_meta(&mut meta).and_then(|()| self.sync_closed_meta(&mut meta));
        self.poison_unless_full(closed)
    }

    /// After an error of the disk nothing is taken in any more; a full disk only has to be waited for.
    pub(crate) fn poison_unless_full<T>(&self, outcome: Result<T>) -> Result<T> {
        if let Err(error @ (VaultError::Io { .. } | VaultError::ReadOnly | VaultError::Catalog(_))) = &outcome
            && !error.is_disk_full()
        {
            self.poison();
        }
        outcome
    }

    /// Makes closed metadata segments durable, then lists them as closed.
    pub(crate) fn sync_closed_meta(&self, meta: &mut MetaState) -> Result<()> {
        for (row, file) in &mut meta.unsynced {
            self.sync_file(&**file)?;
            self.keep(row.segment, file, row.bytes)?;
            catalog::put_segment(&meta.db, row)?;
        }
        meta.unsynced.clear();
        Ok(())
    }
}

impl DataState {
    /// The segment that packs of a stream go to now.
    pub(crate) fn open_for(&mut self, vault: &Vault, stream: Stream) -> Result<&mut OpenSegment> {
        if self.slot(stream).as_ref().is_some_and(OpenSegment::is_full) {
            self.close(stream)?;
        }
        let slot = self.slot(stream);
        if slot.is_none() {
            *slot = Some(vault.create_segment(stream)?);
        }
        Ok(slot.as_mut().expect("made above"))
    }

    /// Of several places of a chunk the newest segment counts, as everywhere.
    pub(crate) fn add_pending(&mut self, id: ChunkId, at: ChunkLocation) {
        let known = self.pending.get(&id).map(|(_, known)| *known);
        let at = known.filter(|known| known.segment > at.segment).unwrap_or(at);
        self.pending.insert(id, (self.generation, at));
    }

    /// The file of a segment that packs go to, or went to since the last sync.
    pub(crate) fn file_of(&self, segment: SegmentId) -> Option<Arc<dyn DiskFile>> {
        let open = [&self.fresh, &self.bulk].into_iter().flatten();
        let open = open.filter(|open| open.id() == segment).map(|open| &open.file);
        let closed = self.closed.iter().filter(|(_, row, _)| row.segment == segment).map(|(_, _, file)| file);
        open.chain(closed).next().cloned()
    }

    /// Segments that packs go to.
    pub(crate) fn open(&mut self) -> impl Iterator<Item = &mut OpenSegment> {
        [&mut self.fresh, &mut self.bulk].into_iter().flatten()
    }

    /// Files that packs go to, or went to since the last sync, and how many bytes were written to each.
    pub(crate) fn files(&mut self) -> impl Iterator<Item = (SegmentId, u64, &mut Arc<dyn DiskFile>)> {
        let open = [&mut self.fresh, &mut self.bulk].into_iter().flatten();
        let open = open.map(|open| (open.id(), open.len, &mut open.file));
        open.chain(self.closed.iter_mut().map(|(_, row, file)| (row.segment, row.bytes, file)))
    }

    fn slot(&mut self, stream: Stream) -> &mut Option<OpenSegment> {
        if stream == Stream::Bulk { &mut self.bulk } else { &mut self.fresh }
    }

    fn close(&mut self, stream: Stream) -> Result<()> {
        if let Some(open) = self.slot(stream).as_mut() {
            let closed = open.close()?;
            let (row, file) = (closed_row(&closed, open.header.created_ms), open.file.clone());
            *self.slot(stream) = None;
            self.closed.push((self.generation, row, file));
        }
        Ok(())
    }
}

pub(crate) fn open_row(open: &OpenSegment) -> SegmentRow {
    SegmentRow {
        segment: open.id(),
        stream: open.header.stream,
        closed: false,
        bytes: open.len,
        hash: None,
        created_ms: open.header.created_ms,
    }
}

pub(crate) fn closed_row(closed: &crate::segment::Closed, created_ms: u64) -> SegmentRow {
    SegmentRow {
        segment: closed.segment,
        stream: closed.stream,
        closed: true,
        bytes: closed.len,
        hash: Some(closed.hash),
        created_ms,
    }
}

pub(crate) fn catalog_path(dir: &Path) -> PathBuf {
    dir.join("catalog.sqlite")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What a vault is opened from.
struct Parts<'a> {
    disk: Arc<dyn Disk>,
    dir: &'a Path,
    catalog: PathBuf,
    lock: Option<Flock<std::fs::File>>,
}

/// Copies a catalog's file, if it's one. Without it the catalog is made anew from the segments, which takes longer.
pub(crate) fn take_along(from: &Path, to: &Path) {
    let copied = match RealDisk.look_up(from) {
        Ok(Named::Nothing | Named::Other(_)) => return,
        Ok(Named::File(_)) => std::fs::copy(from, to).map(drop),
        Err(error) => Err(error),
    };
    if let Err(error) = copied {
        tracing::debug!(%error, path = %from.display(), "a file of the catalog isn't taken along");
    }
}

/// Takes the vault for this process; a crash gives it back.
pub(crate) fn lock(dir: &Path) -> Result<Option<Flock<std::fs::File>>> {
    make_folder(&RealDisk, dir)?;
    let path = dir.join("lock");
    set_aside(&RealDisk, &path)?;
    let mut options = std::fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(false).custom_flags(OF_FILES_ALONE.bits());
    let file = options.open(&path).map_err(VaultError::io("create", &path))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map(Some).map_err(|_| VaultError::Locked { path })
}

/// The same on a disk that takes no writes.
fn lock_read_only(dir: &Path) -> Result<Option<Flock<std::fs::File>>> {
    let path = dir.join("lock");
    // What is no file holds nothing for anybody.
    if !matches!(RealDisk.look_up(&path), Ok(Named::File(_))) {
        return Ok(None);
    }
    let options = std::fs::OpenOptions::new().read(true).custom_flags(OF_FILES_ALONE.bits()).to_owned();
    let file = match options.open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(VaultError::io("open", &path))?,
    };
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map(Some).map_err(|_| VaultError::Locked { path })
}
