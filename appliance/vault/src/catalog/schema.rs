//! Tables of the catalog. Rows grow with what changes, never with what stays.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coffer_format::SegmentId;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::disk::RealDisk;
use crate::{Result, VaultError, placing};

/// Number of this layout; a catalog with another is rebuilt from the segments.
const LAYOUT: i64 = 3;

/// `until` of what is still so.
pub(crate) const ALIVE: i64 = i64::MAX;

const TABLES: &str = "
CREATE TABLE state (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO state VALUES ('applied', 0);

CREATE TABLE computers (computer INTEGER PRIMARY KEY, name TEXT NOT NULL, os TEXT NOT NULL, certificate BLOB NOT NULL,
  enrolled_ms INTEGER NOT NULL, revoked_ms INTEGER);
CREATE TABLE codes (secret BLOB PRIMARY KEY, computer_name TEXT NOT NULL, expires_ms INTEGER NOT NULL, used_by INTEGER) WITHOUT ROWID;
CREATE TABLE configurations (config INTEGER PRIMARY KEY, computer INTEGER NOT NULL, name TEXT NOT NULL,
  revision INTEGER NOT NULL, toml TEXT NOT NULL, changed_ms INTEGER NOT NULL);

-- A point without closed_ms is a draft: its parts are durable, but it can't be restored yet.
CREATE TABLE points (config INTEGER, point INTEGER, parts INTEGER NOT NULL, closed_ms INTEGER, captured_ms INTEGER,
  consistency INTEGER, files INTEGER, bytes INTEGER, sent INTEGER, stored INTEGER,
  fresh_segment INTEGER, fresh_bytes INTEGER, bulk_segment INTEGER, bulk_bytes INTEGER,
  lsn INTEGER NOT NULL, report_lines INTEGER, expired_ms INTEGER, PRIMARY KEY (config, point)) WITHOUT ROWID;
CREATE TABLE parts (config INTEGER, point INTEGER, part INTEGER, lsn INTEGER NOT NULL, PRIMARY KEY (config, point, part)) WITHOUT ROWID;

-- Names: `name` in directory `parent` was `node` at every point p with since <= p < until.
CREATE TABLE files (config INTEGER, parent INTEGER, name BLOB, since INTEGER, until INTEGER NOT NULL, node INTEGER NOT NULL,
  PRIMARY KEY (config, parent, name, since)) WITHOUT ROWID;
CREATE INDEX files_alive ON files (config, node) WHERE until = 9223372036854775807;
-- Versions of nodes, likewise. map_lsn/map_op: where the map is; ordinal: its number in its chain.
CREATE TABLE versions (config INTEGER, node INTEGER, since INTEGER, until INTEGER NOT NULL, kind INTEGER NOT NULL,
  size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, lsn INTEGER NOT NULL, op INTEGER NOT NULL,
  map_lsn INTEGER, map_op INTEGER, ordinal INTEGER, full_ranges INTEGER,
  PRIMARY KEY (config, node, since)) WITHOUT ROWID;

CREATE TABLE log (lsn INTEGER PRIMARY KEY, segment INTEGER NOT NULL, offset INTEGER NOT NULL, record_len INTEGER NOT NULL);
CREATE TABLE chunks (id BLOB PRIMARY KEY, segment INTEGER NOT NULL, offset INTEGER NOT NULL, record_len INTEGER NOT NULL,
  raw_offset INTEGER NOT NULL, raw_len INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE segments (segment INTEGER PRIMARY KEY, stream INTEGER NOT NULL, closed INTEGER NOT NULL, bytes INTEGER NOT NULL,
  hash BLOB, created_ms INTEGER NOT NULL, on_disk INTEGER NOT NULL);
CREATE TABLE dropped (segment INTEGER PRIMARY KEY);
CREATE TABLE copies (segment INTEGER, place BLOB, hash BLOB NOT NULL, recorded_ms INTEGER NOT NULL, PRIMARY KEY (segment, place)) WITHOUT ROWID;
CREATE TABLE cartridges (barcode TEXT PRIMARY KEY, state INTEGER NOT NULL, media_set TEXT NOT NULL, number INTEGER NOT NULL,
  containers INTEGER NOT NULL, written INTEGER NOT NULL, changed_ms INTEGER NOT NULL, labelled_ms INTEGER NOT NULL,
  whereabouts INTEGER NOT NULL, moved_ms INTEGER NOT NULL, loads INTEGER NOT NULL, errors INTEGER NOT NULL,
  failed_in_a_row INTEGER NOT NULL) WITHOUT ROWID;
-- failed_in_a_row: times in the drive, up to the last one, that ended with an error.
CREATE TABLE drives (serial TEXT PRIMARY KEY, loads INTEGER NOT NULL, written INTEGER NOT NULL, bytes_read INTEGER NOT NULL,
  errors INTEGER NOT NULL, failed_in_a_row INTEGER NOT NULL, cleaned_ms INTEGER) WITHOUT ROWID;
CREATE TABLE cleaners (barcode TEXT PRIMARY KEY, uses INTEGER NOT NULL) WITHOUT ROWID;
-- Stretches of segments that aren't what was written. kind: 0 changed since, 1 closed so, 2 the file is missing.
CREATE TABLE damage (segment INTEGER, offset INTEGER, len INTEGER NOT NULL, kind INTEGER NOT NULL, detail BLOB NOT NULL,
  found_ms INTEGER NOT NULL, PRIMARY KEY (segment, offset)) WITHOUT ROWID;
-- Metadata records that should be there and aren't.
CREATE TABLE gaps (first INTEGER PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE audit (lsn INTEGER PRIMARY KEY, ms INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, hash BLOB NOT NULL);
";

/// Tables that a catalog of this layout may lack: what they hold is written only since they're there.
const ADDED: &str = "
-- Cartridges of a simulated library. is_current: it wasn't labelled in another library since.
CREATE TABLE IF NOT EXISTS simulated (barcode TEXT PRIMARY KEY, is_current INTEGER NOT NULL) WITHOUT ROWID;
-- When segments were last read back, as far as bytes; and what follows for points: when all that they need had been.
CREATE TABLE IF NOT EXISTS read_back (segment INTEGER PRIMARY KEY, bytes INTEGER NOT NULL, ms INTEGER NOT NULL, is_sound INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS point_dates (config INTEGER, point INTEGER, ms INTEGER NOT NULL, PRIMARY KEY (config, point)) WITHOUT ROWID;
-- Metadata records that are listed and couldn't be read when they were to be applied: what they say isn't in the catalog.
CREATE TABLE IF NOT EXISTS unapplied (lsn INTEGER PRIMARY KEY);
-- When agents have recalled a configuration anew, and without which records: events' runs, as they're written.
CREATE TABLE IF NOT EXISTS recalls (config INTEGER, lsn INTEGER, without BLOB NOT NULL, PRIMARY KEY (config, lsn)) WITHOUT ROWID;
-- When the catalog was last compared with the segments, and when it was mended.
CREATE TABLE IF NOT EXISTS care (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
-- What the last trial restore of each computer's files showed; why: what was wrong.
CREATE TABLE IF NOT EXISTS trials (computer INTEGER PRIMARY KEY, ms INTEGER NOT NULL, config INTEGER NOT NULL, point INTEGER NOT NULL,
  path BLOB NOT NULL, why TEXT, tried INTEGER NOT NULL, right_count INTEGER NOT NULL);
-- Of a mirror: segments that had come whole and are damaged or missing, until they're whole again.
CREATE TABLE IF NOT EXISTS due_again (segment INTEGER PRIMARY KEY);
";

/// The catalog, open for writing.
pub(crate) struct Opened {
    pub(crate) db: Connection,
    /// It's new and must be filled from the segments.
    pub(crate) is_new: bool,
    /// Why it was made anew, where one was there that can't be used.
    pub(crate) why: Option<String>,
    /// Durable bytes of segments that weren't closed, as a catalog of another layout had them.
    pub(crate) durable: HashMap<SegmentId, u64>,
}

/// Opens the catalog for writing, making it where there is none, and anew where it's damaged or of another layout.
pub(crate) fn open_writer(path: &Path) -> Result<Opened> {
    clear_way(path);
    match try_open(path) {
        Ok(opened) => Ok(opened),
        // It's as good as it was, and there's no room for another.
        Err(error) if error.is_disk_full() => Err(error),
        Err(error) => {
            let why = match error {
                VaultError::Catalog(error) => error.to_string(),
                error => error.to_string(),
            };
            tracing::warn!(why, "the catalog can't be used; it's made anew from the segments");
            remake(path, why)
        }
    }
}

/// Moves aside what is in the place of the catalog's journal and of the journal's index, and is no file: the catalog itself is as good as it
/// was.
fn clear_way(path: &Path) {
    // It may be a link to a faster disk.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
    for ending in ["-wal", "-shm"] {
        let file = with_ending(&path, ending);
        if let Err(error) = placing::set_aside(&RealDisk, &file) {
            tracing::warn!(?file, %error, "what lies in the place of a file of the catalog couldn't be moved aside");
        }
    }
}

/// Keys of the state that records give values to, besides those of recalls.
pub(super) const OF_RECORDS: [&str; 5] = ["applied", "orders", "verified_ms", "verified_lost", super::ESCROW];
/// Keys of the state that nothing but the catalog knows; losing them loses nothing.
pub(super) const NOT_OF_RECORDS: [&str; 3] = [super::TOUCHED, super::SCRUB_BEGAN, "rebuild"];
/// Tables that nothing but the catalog knows.
const NOT_OF_SEGMENTS: [&str; 5] = ["read_back", "point_dates", "trials", "care", "due_again"];

/// Makes the catalog anew, empty. `why` is for a person to read.
pub(crate) fn remake(path: &Path, why: String) -> Result<Opened> {
    remove(path);
    Ok(Opened { why: Some(why), ..try_open(path)? })
}

/// An empty catalog at `path` that's never made durable.
pub(super) fn create_scratch(path: &Path) -> Result<Connection> {
    remove(path);
    let db = Connection::open(path)?;
    db.execute_batch(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8000; PRAGMA temp_store = FILE;",
    )?;
    db.set_prepared_statement_cache_capacity(64);
    keep_plans(&db)?;
    db.execute_batch(&format!("BEGIN; {TABLES} {ADDED} COMMIT;"))?;
    sum_orders(&db)?;
    Ok(db)
}

/// Makes an empty catalog beside the one at `path`, to take its place: [`put_in_place`].
pub(crate) fn create_beside(path: &Path) -> Result<Connection> {
    let beside = beside(path);
    remove(&beside);
    Ok(try_open(&beside)?.db)
}

/// Takes along what nothing but the catalog knows, as far as it can be read.
pub(crate) fn take_along(from: &Connection, to: &Connection) {
    let copy = |sql: String, into: String| -> Result<()> {
        let mut query = from.prepare(&sql)?;
        let columns = query.column_count();
        let places = vec!["?"; columns].join(", ");
        let mut insert = to.prepare(&format!("INSERT OR REPLACE INTO {into} VALUES ({places})"))?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let values: Vec<rusqlite::types::Value> =
                (0..columns).map(|column| row.get(column)).collect::<rusqlite::Result<_>>()?;
            insert.execute(rusqlite::params_from_iter(values))?;
        }
        Ok(())
    };
    let state = [super::TOUCHED, super::SCRUB_BEGAN].map(|key| format!("'{key}'")).join(", ");
    let all = NOT_OF_SEGMENTS.map(|table| (format!("SELECT * FROM {table}"), table));
    let state = (format!("SELECT * FROM state WHERE key IN ({state})"), "state");
    for (sql, into) in all.into_iter().chain([state]) {
        if let Err(error) = copy(sql, into.to_owned()) {
            tracing::warn!(into, %error, "part of what only the catalog knew is lost: it's found again by reading everything back");
        }
    }
}

/// Puts the catalog that was made beside `path` in its place. Nobody may have it open, and nobody opens one meanwhile. Ended at any
/// moment, there's one of the two or none, and none is made anew.
pub(crate) fn put_in_place(path: &Path, made: Connection) -> Result<()> {
    made.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    made.close().map_err(|(_, error)| error)?;
    let io = |source| VaultError::Io { doing: "replace", path: path.into(), source };
    let beside = beside(path);
    // The journal goes after what it belongs to: on another catalog it would be poison.
    remove(path);
    std::fs::rename(&beside, path).map_err(io)?;
    remove(&beside);
    match path.parent() {
        Some(dir) => std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(io),
        None => Ok(()),
    }
}

fn beside(path: &Path) -> PathBuf {
    with_ending(path, ".made")
}

/// The path of a file that's named after another.
fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// How long the connection that writes waits for another, which is never one that writes.
const WAITS: Duration = Duration::from_secs(5);

/// How long a commit waits for those who read the journal just now.
const FOLD_WAITS: Duration = Duration::from_millis(50);

/// From here on the journal is moved into the catalog only where that's asked for.
pub(crate) fn fold_by_hand(db: &Connection) -> Result<()> {
    Ok(db.execute_batch("PRAGMA wal_autocheckpoint = 0")?)
}

/// Moves the journal into the catalog, if nobody reads what is in it for longer.
pub(super) fn fold_journal(db: &Connection) -> Result<()> {
    db.busy_timeout(FOLD_WAITS)?;
    let folded = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    db.busy_timeout(WAITS)?;
    Ok(folded?)
}

/// From here on the connection reads its pages again.
pub(crate) fn forget_pages(db: &Connection) -> Result<()> {
    Ok(db.execute_batch("PRAGMA shrink_memory")?)
}

/// What is wrong with the catalog's pages, indexes and order, if anything is: all of it is read.
pub(crate) fn wrong_pages(db: &Connection) -> Result<Option<String>> {
    let found: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    Ok((found != "ok").then_some(found))
}

/// The same of the names alone.
pub(crate) fn wrong_names(db: &Connection) -> Result<Option<String>> {
    let found: String = db.query_row("PRAGMA integrity_check(files)", [], |row| row.get(0))?;
    Ok((found != "ok").then_some(found))
}

/// Whether an error says that the catalog isn't what was written, and not that the disk or somebody else is in the way.
pub(crate) fn is_broken(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::*;
    /// The file ended where there should be more.
    const SHORT_READ: i32 = 522;
    let is_in_the_way = |code| {
        matches!(
            code,
            DatabaseBusy
                | DatabaseLocked
                | DiskFull
                | ReadOnly
                | PermissionDenied
                | OperationInterrupted
                | OperationAborted
                | OutOfMemory
                | SystemIoFailure
                | CannotOpen
                | ConstraintViolation
        )
    };
    match error {
        rusqlite::Error::QueryReturnedNoRows => false,
        rusqlite::Error::SqliteFailure(of, _) => of.extended_code == SHORT_READ || !is_in_the_way(of.code),
        _ => true,
    }
}

/// Whether the catalog was asked to be made anew.
pub(crate) fn is_asked_for(db: &Connection) -> Result<bool> {
    Ok(db.prepare("SELECT 1 FROM state WHERE key = 'rebuild'")?.exists([])?)
}

fn try_open(path: &Path) -> Result<Opened> {
    let mut db = Connection::open(path)?;
    configure(&db)?;
    let layout: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if layout == LAYOUT {
        return match wrong(&db)? {
            None => {
                db.execute_batch(ADDED)?;
                Ok(Opened { db, is_new: false, why: None, durable: HashMap::new() })
            }
            Some(why) => {
                drop(db);
                remake(path, why)
            }
        };
    }
    let mut durable = HashMap::new();
    if layout != 0 {
        durable = open_segments(&db).unwrap_or_default();
        drop(db);
        remove(path);
        db = Connection::open(path)?;
        configure(&db)?;
    }
    db.execute_batch(&format!("BEGIN; {TABLES} {ADDED} PRAGMA user_version = {LAYOUT}; COMMIT;"))?;
    sum_orders(&db)?;
    Ok(Opened { db, is_new: true, why: None, durable })
}

/// What is wrong with a catalog: its pages, what it says of itself, or that something came back which it doesn't have.
fn wrong(db: &Connection) -> Result<Option<String>> {
    let pages: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if pages != "ok" {
        return Ok(Some(pages));
    }
    let (applied, listed): (u64, u64) = db.query_row(
        "SELECT (SELECT value FROM state WHERE key = 'applied'), (SELECT COALESCE(MAX(lsn), 0) FROM log)",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if applied != listed {
        return Ok(Some(format!("it lists {listed} metadata records and applied {applied}")));
    }
    if sum_of_orders(db)? != stored_sum(db)? {
        return Ok(Some("its list of computers and configurations isn't what was written".into()));
    }
    Ok(is_asked_for(db)?.then(|| CAME_BACK.into()))
}

/// Why a catalog is made anew that isn't damaged.
pub(crate) const CAME_BACK: &str = "metadata came back that it doesn't have";

/// A sum over what operators have set. A changed bit there would change what is backed up.
fn sum_of_orders(db: &Connection) -> Result<i64> {
    let mut hasher = blake3::Hasher::new();
    for table in ["computers", "configurations"] {
        let mut query = db.prepare_cached(&format!("SELECT * FROM {table} ORDER BY 1"))?;
        let columns = query.column_count();
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                hasher.update(format!("{:?}|", row.get_ref(column)?).as_bytes());
            }
        }
    }
    let mut sum = [0; 8];
    sum.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    Ok(i64::from_le_bytes(sum))
}

fn stored_sum(db: &Connection) -> Result<i64> {
    Ok(db.query_row("SELECT value FROM state WHERE key = 'orders'", [], |row| row.get(0))?)
}

/// Notes the sum over what operators have set; after each change of it.
pub(crate) fn sum_orders(db: &Connection) -> Result<()> {
    let sum = sum_of_orders(db)?;
    db.prepare_cached("INSERT OR REPLACE INTO state VALUES ('orders', ?1)")?.execute([sum])?;
    Ok(())
}

fn open_segments(db: &Connection) -> Result<HashMap<SegmentId, u64>> {
    let mut query = db.prepare("SELECT segment, bytes FROM segments WHERE closed = 0")?;
    let rows = query.query_map([], |row| Ok((SegmentId(row.get(0)?), row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn configure(db: &Connection) -> Result<()> {
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -8000; PRAGMA wal_autocheckpoint = 2000;
         PRAGMA temp_store = FILE; PRAGMA journal_size_limit = 16777216;",
    )?;
    db.set_prepared_statement_cache_capacity(64);
    keep_plans(db)
}

/// A statement keeps its plan whatever is bound to it. Otherwise SQLite (built with STAT4) compiles it again at every new
/// value, which cost more than running it.
fn keep_plans(db: &Connection) -> Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Deletes the catalog's files; losing them loses nothing. What somebody put in their place and is no file is moved aside.
pub(super) fn remove(path: &Path) {
    for ending in ["", "-wal", "-shm"] {
        let file = &with_ending(path, ending);
        let removed = match file.symlink_metadata() {
            Ok(found) if found.is_dir() => {
                placing::set_aside(&RealDisk, file).map(drop).map_err(|error| error.to_string())
            }
            _ => std::fs::remove_file(file).or_else(unless_gone).map_err(|error| error.to_string()),
        };
        if let Err(error) = removed {
            tracing::warn!(?file, error, "could not remove a file of the old catalog");
        }
    }
}

fn unless_gone(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

pub(crate) fn open_reader(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.execute_batch("PRAGMA cache_size = -2000; PRAGMA query_only = ON;")?;
    keep_plans(&db)?;
    db.busy_timeout(Duration::from_secs(10))?;
    Ok(db)
}
