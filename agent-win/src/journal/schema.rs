//! Tables of a journal.

use std::path::Path;
use std::time::Duration;

use coffer_link::set_no_file_aside;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

/// Grows whenever the tables change; a journal of another version is dropped and recalled from the box.
const VERSION: i64 = 2;

const TABLES: &str = "
CREATE TABLE position (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    vault BLOB NOT NULL, point INTEGER NOT NULL, part INTEGER NOT NULL, closed INTEGER NOT NULL,
    files INTEGER NOT NULL, bytes INTEGER NOT NULL, sent INTEGER NOT NULL);
CREATE TABLE nodes (
    node INTEGER PRIMARY KEY, kind INTEGER NOT NULL, size INTEGER NOT NULL, mode INTEGER NOT NULL,
    uid INTEGER NOT NULL, gid INTEGER NOT NULL, mtime INTEGER NOT NULL, ctime INTEGER NOT NULL,
    btime INTEGER NOT NULL, device INTEGER NOT NULL, inode INTEGER NOT NULL, rdev INTEGER NOT NULL,
    links INTEGER NOT NULL, kept INTEGER NOT NULL, attrs BLOB NOT NULL, sent_size INTEGER NOT NULL,
    memory INTEGER NOT NULL, point INTEGER NOT NULL, part INTEGER NOT NULL, settled INTEGER NOT NULL, done INTEGER);
CREATE INDEX nodes_by_inode ON nodes (inode, device);
CREATE TABLE links (
    parent INTEGER NOT NULL, name BLOB NOT NULL, node INTEGER NOT NULL, PRIMARY KEY (parent, name)) WITHOUT ROWID;
CREATE INDEX links_by_node ON links (node);
CREATE TABLE chunks (node INTEGER PRIMARY KEY, list BLOB NOT NULL);
CREATE TABLE unlinked (node INTEGER PRIMARY KEY);
CREATE TABLE looked (only INTEGER PRIMARY KEY CHECK (only = 1), scope BLOB NOT NULL, whole_ms INTEGER NOT NULL);
CREATE TABLE marks (device INTEGER PRIMARY KEY, journal INTEGER NOT NULL, next INTEGER NOT NULL);
CREATE TABLE still_open (device INTEGER NOT NULL, inode INTEGER NOT NULL, PRIMARY KEY (device, inode)) WITHOUT ROWID;
CREATE TABLE owed (path BLOB PRIMARY KEY) WITHOUT ROWID;
";

/// Facts of this computer rather than of what the box has. Made where they lack, so that older journals go on.
const ADDED: &str = "
CREATE TABLE IF NOT EXISTS mounts (path BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS volumes (path BLOB PRIMARY KEY, identity TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reread (only INTEGER PRIMARY KEY CHECK (only = 1), day INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS strangers (path BLOB PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS absent (path BLOB PRIMARY KEY, since_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS carried (path BLOB PRIMARY KEY, include BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS remarks (path BLOB NOT NULL, kind INTEGER NOT NULL, PRIMARY KEY (path, kind)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS said (remark BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS committed (
    only INTEGER PRIMARY KEY CHECK (only = 1), point INTEGER NOT NULL, part INTEGER NOT NULL, vault_ms INTEGER NOT NULL);
";

/// Opens or makes the journal at `path`; a damaged one is removed first. One that can't be opened for another reason (it's in
/// use, the disk is full) stays as it is.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        if let Err(error) = set_no_file_aside(Path::new(&name)) {
            tracing::warn!(%error, ?name, "something else lies in the place of a journal's file, and can't be moved aside");
        }
    }
    match prepared(path) {
        Err(error) if is_damage(&error) => {
            tracing::warn!(%error, "the journal is damaged and will be recalled from the box");
            remove(path);
            prepared(path)
        }
        opened => opened,
    }
}

/// Whether the file itself is to blame: its pages or the values in them aren't what was written.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error;
    match error {
        Error::SqliteFailure(failure, _) => {
            matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        }
        // A table that isn't there, or a column.
        Error::SqlInputError { .. } => true,
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..)
        | Error::Utf8Error(..) => true,
        _ => false,
    }
}

/// Compares the tables that say what the box has with their indexes, which have names and numbers once more, and looks at their order. A
/// name that leads to another file's number would give it that file's bytes.
pub(super) fn check(connection: &Connection) -> rusqlite::Result<()> {
    for table in ["links", "nodes", "chunks"] {
        let sql = format!("PRAGMA integrity_check({table})");
        let found: String = connection.query_row(&sql, [], |row| row.get(0))?;
        if found != "ok" {
            let corrupt = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            return Err(rusqlite::Error::SqliteFailure(corrupt, Some(found)));
        }
    }
    Ok(())
}

/// Opens for reading beside the writer.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(Duration::from_secs(30))?;
    connection.pragma_update(None, "cache_size", -8192)?;
    connection.set_prepared_statement_cache_capacity(32);
    keep_plans(&connection)?;
    Ok(connection)
}

/// A statement keeps its plan whatever is bound to it; otherwise it's compiled again at every new value.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn prepared(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(30))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // A transaction lost in a power cut is recalled from the box; a torn one can't happen in WAL mode.
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "cache_size", -8192)?;
    connection.set_prepared_statement_cache_capacity(32);
    keep_plans(&connection)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == VERSION {
        connection.execute_batch(ADDED)?;
        return Ok(connection);
    }
    if version != 0 {
        drop(connection);
        remove(path);
        return prepared_new(path);
    }
    connection.execute_batch(&format!("BEGIN; {TABLES} {ADDED} PRAGMA user_version = {VERSION}; COMMIT;"))?;
    Ok(connection)
}

fn prepared_new(path: &Path) -> rusqlite::Result<Connection> {
    if path.exists() {
        return Err(rusqlite::Error::InvalidPath(path.to_owned()));
    }
    prepared(path)
}

/// Removes the journal at `path` with all that belongs to it.
pub(super) fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        if let Err(error) = std::fs::remove_file(&name)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "an old journal can't be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Journal;
    use super::*;

    #[test]
    fn a_journal_that_is_no_database_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        std::fs::write(&path, vec![0x5a; 8192]).unwrap();
        assert!(Journal::open(folder.path()).unwrap().position().unwrap().is_none());
    }

    #[test]
    fn a_journal_that_cannot_be_opened_for_another_reason_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        drop(Journal::open(folder.path()).unwrap());
        let before = std::fs::read(&path).unwrap();
        let holder = Connection::open(&path).unwrap();
        holder.execute_batch("PRAGMA locking_mode = exclusive; BEGIN EXCLUSIVE; DELETE FROM nodes;").unwrap();
        let busy = Connection::open(&path).and_then(|other| other.execute_batch("BEGIN IMMEDIATE"));
        assert!(!is_damage(&busy.unwrap_err()));
        drop(holder);
        assert_eq!(std::fs::read(&path).unwrap().len(), before.len());
    }

    #[test]
    fn a_bit_of_a_name_or_number_that_changed_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let journal = Journal::open(folder.path()).unwrap();
        let filled = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
            INSERT INTO links SELECT 1, CAST('name ' || i AS BLOB), 1000000 + i FROM n; PRAGMA wal_checkpoint(truncate);";
        journal.connection().execute_batch(filled).unwrap();
        journal.check().unwrap();
        drop(journal);
        let sound = std::fs::read(&path).unwrap();
        let at = sound.windows(8).position(|bytes| bytes == b"name 250").unwrap();
        // The last byte of the name, and of the number behind it.
        for offset in [7, 10] {
            let mut bytes = sound.clone();
            bytes[at + offset] ^= 4;
            std::fs::write(&path, bytes).unwrap();
            let error = Journal::open(folder.path()).unwrap().check().unwrap_err();
            assert!(error.is_damage(), "{error:?}");
        }
    }

    #[test]
    fn a_page_that_went_bad_is_damage_and_the_next_journal_is_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let journal = Journal::open(folder.path()).unwrap();
        let filled = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
            INSERT INTO owed SELECT randomblob(60) FROM n; INSERT INTO looked VALUES (1, zeroblob(16), 0); PRAGMA wal_checkpoint(truncate);";
        journal.connection().execute_batch(filled).unwrap();
        drop(journal);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 8192].fill(0x5a);
        std::fs::write(&path, bytes).unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        let error = journal.marks().unwrap_err();
        assert!(error.is_damage(), "{error:?}");
        journal.remove();
        assert!(Journal::open(folder.path()).unwrap().marks().is_ok());
    }
}
