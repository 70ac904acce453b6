//! A SQLite database that's in use is read inside a read transaction, which keeps writers from tearing it:
//! with a write-ahead log, nothing of the log that the database may lack is overwritten; with a rollback
//! journal, nobody writes to the database at all (SQLite: "Write-Ahead Logging", "File Locking And Concurrency").
//!
//! POSIX drops all of a process's locks on a file as soon as it closes any descriptor of that file. Whoever reads
//! under a hold must therefore keep the files open until the hold is released.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

/// Writers of a database with a rollback journal wait for us at most so long.
const BLOCKING_LIMIT: Duration = Duration::from_secs(3);
/// Writers with a log don't wait; their log only grows meanwhile.
const LOGGING_LIMIT: Duration = Duration::from_secs(300);
const BUSY_TIMEOUT: Duration = Duration::from_millis(500);

const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// A read transaction, given up by itself after a while.
pub(super) struct SqliteHold {
    release: SyncSender<()>,
    /// Ends with whether the hold lasted until it was released.
    keeper: JoinHandle<bool>,
}

/// What came of asking for a hold.
pub(super) enum Asked {
    /// It isn't a database in use, or can't be held without making a file beside it.
    Needless,
    /// Somebody keeps it to themselves.
    Refused,
    Held(SqliteHold),
}

impl SqliteHold {
    /// Holds the database at `path` if it is one.
    pub(super) fn ask(path: &Path) -> Asked {
        let Some(limit) = limit(path) else { return Asked::Needless };
        let connection = match transaction(path) {
            Ok(connection) => connection,
            Err(error) => {
                tracing::debug!(%error, path = %path.display(), "the database can't be held");
                let is_busy = error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
                return if is_busy { Asked::Refused } else { Asked::Needless };
            }
        };
        let (release, released) = sync_channel(1);
        let keeper = std::thread::spawn(move || {
            let outcome = released.recv_timeout(limit);
            drop(connection);
            !matches!(outcome, Err(RecvTimeoutError::Timeout))
        });
        Asked::Held(SqliteHold { release, keeper })
    }

    /// Ends the transaction; true where it lasted until now.
    pub(super) fn release(self) -> bool {
        drop(self.release);
        self.keeper.join().unwrap_or(false)
    }
}

/// How long it may be held; `None` where it isn't a live database.
fn limit(path: &Path) -> Option<Duration> {
    let mut head = [0; 20];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head)).ok()?;
    if head[..16] != *MAGIC {
        return None;
    }
    // Offset 19, the read version: 2 is a write-ahead log.
    if head[19] != 2 {
        return Some(BLOCKING_LIMIT);
    }
    let in_use = beside(path, "-wal").exists() && beside(path, "-shm").exists();
    in_use.then_some(LOGGING_LIMIT)
}

fn transaction(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch("BEGIN")?;
    connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get::<_, i64>(0))?;
    Ok(connection)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
