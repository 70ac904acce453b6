//! Tables of a journal.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

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

/// Opens or makes the journal at `path`; one that can't be read is removed first.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    match prepared(path) {
        Ok(connection) => Ok(connection),
        Err(error) => {
            tracing::warn!(%error, "the journal is unreadable and will be recalled from the box");
            remove(path);
            prepared(path)
        }
    }
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
        return Ok(connection);
    }
    if version != 0 {
        drop(connection);
        remove(path);
        return prepared_new(path);
    }
    connection.execute_batch(&format!("BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"))?;
    Ok(connection)
}

fn prepared_new(path: &Path) -> rusqlite::Result<Connection> {
    if path.exists() {
        return Err(rusqlite::Error::InvalidPath(path.to_owned()));
    }
    prepared(path)
}

fn remove(path: &Path) {
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
