//! A vault as HQ has it: the same segments, byte for byte, in whatever order and however far they've come, and a
//! catalog over what is whole. A mirror never writes a record of its own.
//!
//! HQ keeps longer than the branch: what the branch's retention and reclaim gave up stays here.
//!
//! Locks are taken in this order: what was looked at, tails, what the box told, catalog, what is here.

mod append;
mod comparing;
mod held;
mod lacking;
mod left;
mod of_box;
mod place;
mod rest;
mod stock;
mod take;
mod whole;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use coffer_format::segment::{SegmentHeader, Stream};
use coffer_format::wire::SegmentHas;
use coffer_format::{FileHash, Lsn, OrgId, SegmentId, VaultId};
use nix::fcntl::Flock;
use rusqlite::Connection;

use self::append::Tail;
use self::lacking::Looked;
use self::left::Left;
use self::of_box::Told;
use crate::catalog;
use crate::disk::{Disk, ReadOnlyDisk, file_len};
use crate::identity::{read_identity, read_or_mend_identity, replace_identity};
use crate::keys::{Opener, RecoveryKey, VaultKeys};
use crate::placing::make_folder;
use crate::reading::Reading;
use crate::segment::{self, FileForm, SegmentFiles, segment_path, segments_dir};
use crate::vault::{catalog_path, lock, take_along};
use crate::verify::{Damage, Report, Verdict};
use crate::{Result, VaultError};

pub(crate) use self::whole::Due;
pub use self::whole::Whole;

/// A branch's vault at HQ.
pub struct Mirror {
    pub(crate) reading: Arc<Reading>,
    identity: SegmentHeader,
    tails: Mutex<HashMap<SegmentId, Tail>>,
    db: Mutex<Connection>,
    here: Mutex<BTreeMap<SegmentId, Here>>,
    /// Segments that had come whole and are damaged or missing here, until they're whole again.
    damaged: Mutex<BTreeSet<SegmentId>>,
    /// The folder with all segments isn't where it was.
    is_gone: AtomicBool,
    told: Mutex<Told>,
    looked: Mutex<Option<Looked>>,
    /// When the catalog was last made anew, and how long that took.
    made_anew: Mutex<Option<(Instant, Duration)>>,
    /// How often it was.
    times_made: AtomicU64,
    /// What is here, or what can be restored from here, isn't what the box was told.
    has_news: AtomicBool,
    /// After the disk failed to make something durable: nothing more is taken until the mirror is reopened.
    failed: AtomicBool,
    /// Another mirror is opened in its place.
    is_left: AtomicBool,
    lock: Option<Flock<std::fs::File>>,
    _scratch: Option<Box<dyn AsRef<Path> + Send + Sync>>,
}

/// What is here of one segment.
#[derive(Debug, Clone, Copy, Default)]
struct Here {
    /// Durable bytes that can be read here.
    bytes: u64,
    /// Once the segment is whole and hashes to what its trailer says.
    hash: Option<FileHash>,
    /// The branch has given it up and will not send (more of) it.
    forgotten: bool,
    /// It's left with damage in it.
    left: Option<Left>,
}

impl Here {
    /// Bytes of its beginning that are as they came: the box goes on behind them. All there is of what it has given up.
    fn due(&self) -> u64 {
        self.left.filter(|_| !self.forgotten).map_or(self.bytes, |left| left.from)
    }
}

impl Mirror {
    /// Opens the mirror in `dir`, making it from the first segment header that the branch sent. After a crash of the
    /// program or a power cut it goes on with what the disk kept.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        key: RecoveryKey,
        first: Option<&SegmentHeader>,
    ) -> Result<Mirror> {
        make_folder(&*disk, dir.parent().unwrap_or(dir))?;
        let held = lock(dir)?;
        make_folder(&*disk, &segments_dir(dir))?;
        let mirror = Mirror::open_on(disk, dir, &catalog_path(dir), key, first)?;
        Ok(Mirror { lock: held, ..mirror })
    }

    /// Opens a mirror whose disk takes no writes: it can be read, verified and restored from. What opening has to write goes to
    /// `scratch`, an empty folder on another disk, which is held as long as the mirror is.
    pub fn open_to_read(
        dir: &Path,
        key: RecoveryKey,
        scratch: impl AsRef<Path> + Send + Sync + 'static,
    ) -> Result<Mirror> {
        let (from, catalog) = (catalog_path(dir), catalog_path(scratch.as_ref()));
        for ending in ["", "-wal"] {
            let named = |path: &Path| {
                let mut name = path.as_os_str().to_owned();
                name.push(ending);
                PathBuf::from(name)
            };
            take_along(&named(&from), &named(&catalog));
        }
        let disk = Arc::new(ReadOnlyDisk::new(scratch.as_ref()));
        let mirror = Mirror::open_on(disk, dir, &catalog, key, None)?;
        mirror.fail();
        Ok(Mirror { _scratch: Some(Box::new(scratch)), ..mirror })
    }

    fn open_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        catalog: &Path,
        key: RecoveryKey,
        first: Option<&SegmentHeader>,
    ) -> Result<Mirror> {
        let opener = Opener::Organisation(key);
        let identity = match (read_or_mend_identity(&*disk, dir, &opener), first) {
            (Ok((identity, mended)), _) => {
                mended
                    .iter()
                    .for_each(|note| tracing::warn!(dir = %dir.display(), note, "a branch's folder"));
                identity
            }
            // Nothing came yet: the box says whose it is.
            (Err(_), Some(header)) => {
                let identity = SegmentHeader { segment: SegmentId(0), stream: Stream::Meta, ..*header };
                replace_identity(&*disk, dir, &identity)?;
                identity
            }
            (Err(error), None) => return Err(error),
        };
        let keys = VaultKeys::open(&opener, &identity.keys)?;
        let files = SegmentFiles::new(disk.clone(), dir.into(), opener, keys);
        let db = catalog::open_writer(catalog)?.db;
        let mirror = Mirror {
            reading: Arc::new(Reading::new(disk, dir, files, catalog)),
            identity,
            tails: Mutex::default(),
            db: Mutex::new(db),
            here: Mutex::default(),
            damaged: Mutex::default(),
            is_gone: AtomicBool::new(false),
            told: Mutex::default(),
            looked: Mutex::default(),
            made_anew: Mutex::default(),
            times_made: AtomicU64::new(0),
            has_news: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            is_left: AtomicBool::new(false),
            lock: None,
            _scratch: None,
        };
        mirror.find_segments()?;
        match mirror.put_rests_back() {
            Err(error) if !error.is_of_no_writes() => {
                tracing::error!(dir = %dir.display(), %error, "a damaged segment could not be put together; it's tried again");
            }
            put_back => put_back?,
        }
        mirror.refresh()?;
        mirror.reading.readers.keep_place();
        // Nobody was told anything yet.
        mirror.take_news();
        Ok(mirror)
    }

    /// Whether `dir` holds a mirror, though it may be damaged.
    pub fn exists(disk: &dyn Disk, dir: &Path) -> bool {
        read_identity(disk, dir).is_ok() || disk.list(&segments_dir(dir)).is_ok_and(|names| !names.is_empty())
    }

    pub fn vault(&self) -> VaultId {
        self.identity.vault
    }
    pub fn org(&self) -> OrgId {
        self.identity.org
    }
    pub fn reading(&self) -> &Arc<Reading> {
        &self.reading
    }

    /// Reads all that is here back, and says whether every point can be restored from here, and what may still come. `found` is called with
    /// what is damaged before that is judged.
    pub fn inspect(&self, found: &mut dyn FnMut(&[Damage])) -> Result<Report> {
        let mut due = |damage: &[Damage]| {
            found(damage);
            self.due()
        };
        let mut report = self.reading.inspect_mirror(&mut due, &mut |_| {})?;
        report.absent = self.absent();
        if report.absent > 0 {
            report.verdict = report.verdict.max(Verdict::Heals);
            report.from_box = true;
        }
        Ok(report)
    }

    /// How much of each segment is here. What the branch gave up counts as closed: nothing more of it is due.
    pub fn has(&self) -> Vec<SegmentHas> {
        let all = self.here();
        let as_has = |(segment, here): (&SegmentId, &Here)| SegmentHas {
            segment: *segment,
            bytes: here.due(),
            closed: here.hash.is_some() || here.forgotten,
        };
        all.iter().map(as_has).collect()
    }

    /// Segments that came whole, the newest first.
    pub fn whole_segments(&self) -> Vec<SegmentId> {
        let all = self.here();
        all.iter().rev().filter(|(_, here)| here.hash.is_some()).map(|(segment, _)| *segment).collect()
    }

    /// Segments that had come whole and are damaged or missing here, as far as that was noticed.
    pub fn damaged_segments(&self) -> BTreeSet<SegmentId> {
        match self.is_gone.load(Ordering::SeqCst) {
            true => self.here().keys().copied().collect(),
            false => self.damaged().clone(),
        }
    }

    /// The same, and segments that were never whole of which something came and isn't here any more.
    pub fn not_as_they_came(&self) -> Result<BTreeSet<SegmentId>> {
        let mut segments = self.damaged_segments();
        segments
            .extend(self.here().iter().filter(|(_, here)| here.left.is_some()).map(|(segment, _)| *segment));
        segments.extend(self.reading.readers.with(catalog::cut_off)?.iter().map(|stretch| stretch.segment));
        Ok(segments)
    }

    /// The newest metadata record that ever came, as far as the catalog knows.
    pub fn newest_record(&self) -> Result<Lsn> {
        let db = self.db()?;
        Ok(catalog::applied(&db)?.max(catalog::newest_log(&db)?))
    }

    /// Whether the branch has given a segment up: it won't come again.
    pub fn is_given_up(&self, segment: SegmentId) -> Result<bool> {
        Ok(self.db()?.prepare_cached("SELECT 1 FROM dropped WHERE segment = ?1")?.exists([segment.0])?)
    }

    /// Bytes of a segment's beginning that are durable and as they came.
    pub fn bytes_of(&self, segment: SegmentId) -> u64 {
        self.here().get(&segment).map_or(0, Here::due)
    }

    /// The branch no longer has this segment, and everything that it still has is here.
    pub fn forget(&self, segment: SegmentId) -> Result<()> {
        self.db()?.execute("INSERT OR IGNORE INTO dropped VALUES (?1)", [segment.0])?;
        self.here().entry(segment).or_default().forgotten = true;
        Ok(())
    }

    /// Whether, since this was last asked, what is here turned out to be other than the box was told.
    pub fn take_news(&self) -> bool {
        self.has_news.swap(false, Ordering::SeqCst)
    }
    fn note_news(&self) {
        self.has_news.store(true, Ordering::SeqCst);
    }

    /// Nothing more is taken until the mirror is opened again.
    fn fail(&self) {
        self.failed.store(true, Ordering::SeqCst);
    }
    fn here(&self) -> MutexGuard<'_, BTreeMap<SegmentId, Here>> {
        self.here.lock().expect("nothing panics while it holds the list")
    }
    fn damaged(&self) -> MutexGuard<'_, BTreeSet<SegmentId>> {
        self.damaged.lock().expect("nothing panics while it holds the list")
    }
    /// A segment that had come whole isn't what it was: it's due again.
    fn note_damaged(&self, segment: SegmentId) -> Result<()> {
        self.damaged().insert(segment);
        let noted = self.db()?.execute("INSERT OR IGNORE INTO due_again VALUES (?1)", [segment.0]);
        unless_full(noted.map(drop).map_err(VaultError::from))
    }

    fn note_whole(&self, segment: SegmentId) -> Result<()> {
        if self.damaged().remove(&segment) {
            let db = self.db()?;
            db.execute("DELETE FROM due_again WHERE segment = ?1", [segment.0])?;
            catalog::clear_damage(&db, segment)?;
        }
        Ok(())
    }

    fn path_of(&self, segment: SegmentId) -> PathBuf {
        segment_path(&self.reading.dir, segment, FileForm::Whole)
    }

    fn db(&self) -> Result<MutexGuard<'_, Connection>> {
        self.db.lock().map_err(|_| VaultError::ReadOnly)
    }

    /// Lists what lies on the disk, and looks closely at what isn't known to be whole.
    fn find_segments(&self) -> Result<()> {
        {
            let db = self.db()?;
            let mut query = db.prepare("SELECT segment FROM due_again")?;
            let due = query.query_map([], |row| Ok(SegmentId(row.get(0)?)))?;
            self.damaged().extend(due.collect::<rusqlite::Result<Vec<_>>>()?);
        }
        let closed = self.closed_in_catalog()?;
        let dir = segments_dir(&self.reading.dir);
        for name in self.reading.disk.list(&dir).map_err(VaultError::io("list", &dir))? {
            let Some((segment, FileForm::Whole)) = segment::parse_name(&name) else { continue };
            // What was found to be damaged and couldn't be taken out of the catalog is looked at again.
            let known = closed.get(&segment).filter(|_| !self.damaged().contains(&segment));
            let here = match known {
                Some((bytes, hash)) => Here { bytes: *bytes, hash: Some(*hash), ..Here::default() },
                None => match self.settle(segment) {
                    Err(error) if !error.is_of_no_writes() => {
                        tracing::error!(%segment, %error, "a segment of a branch can't be read");
                        continue;
                    }
                    settled => settled?,
                },
            };
            self.here().insert(segment, here);
        }
        {
            let db = self.db()?;
            let mut query = db.prepare("SELECT segment FROM dropped")?;
            for segment in query.query_map([], |row| row.get(0))? {
                self.here().entry(SegmentId(segment?)).or_default().forgotten = true;
            }
        }
        // What came whole and isn't here any more, or not in that length, is due again.
        for (segment, (bytes, hash)) in closed {
            match file_len(&*self.reading.disk, &self.path_of(segment)) {
                Ok(Some(len)) if len == bytes => {}
                _ if self.damaged().contains(&segment) && self.here().contains_key(&segment) => {}
                _ => {
                    let forgotten = self.is_given_up(segment)?;
                    self.here().insert(segment, Here { bytes, hash: Some(hash), forgotten, left: None });
                    match self.lose(segment) {
                        Err(error) if !error.is_of_no_writes() => {
                            tracing::error!(%segment, %error, "a segment of a branch can't be read");
                        }
                        lost => lost?,
                    }
                }
            }
        }
        // What was never whole and isn't here any more can't be restored from here.
        let listed = take::listed(&*self.db()?)?;
        for (segment, bytes) in listed {
            let here = self.here().get(&segment).map_or(0, |here| here.bytes);
            if here < bytes {
                self.list_less(segment, here)?;
            }
        }
        for segment in self.whole_segments() {
            self.note_whole(segment)?;
        }
        Ok(())
    }

    fn closed_in_catalog(&self) -> Result<HashMap<SegmentId, (u64, FileHash)>> {
        let db = self.db()?;
        let mut query = db.prepare("SELECT segment, bytes, hash FROM segments WHERE closed = 1")?;
        let rows =
            query.query_map([], |row| Ok((SegmentId(row.get(0)?), (row.get(1)?, FileHash(row.get(2)?)))))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// On a full disk what couldn't be noted is found out again when the segment is read next.
fn unless_full(noted: Result<()>) -> Result<()> {
    match noted {
        Err(error) if error.is_disk_full() => {
            tracing::warn!(%error, "the disk is full, so a branch's catalog isn't up to date");
            Ok(())
        }
        noted => noted,
    }
}
