//! A SQLite database that somebody works with while it's backed up.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;
use rusqlite::Connection;

/// Rows there are before the first copy.
const FIRST_ROWS: u64 = 20_000;

pub(super) struct LiveDatabase {
    stop: Arc<AtomicBool>,
    rows: Arc<AtomicU64>,
    writer: Option<JoinHandle<Result<()>>>,
}

impl LiveDatabase {
    pub(super) fn start(path: &Path) -> Result<LiveDatabase> {
        let mut db = Connection::open(path)?;
        db.execute_batch(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, amount INTEGER);
             CREATE TABLE totals (rows INTEGER, amount INTEGER); INSERT INTO totals VALUES (0, 0);",
        )?;
        insert(&mut db, FIRST_ROWS)?;
        let (stop, rows) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(FIRST_ROWS)));
        let (stopping, counting) = (stop.clone(), rows.clone());
        let writer = std::thread::spawn(move || {
            while !stopping.load(Ordering::SeqCst) {
                insert(&mut db, 20)?;
                counting.fetch_add(20, Ordering::SeqCst);
                // A customer's pace.
                std::thread::sleep(Duration::from_millis(40));
            }
            Ok(())
        });
        Ok(LiveDatabase { stop, rows, writer: Some(writer) })
    }

    /// Rows that are committed now.
    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::SeqCst)
    }
}

impl Drop for LiveDatabase {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => eprintln!("The demo's database stopped early: {error}"),
            Some(Err(_)) => eprintln!("The demo's database writer failed."),
            _ => {}
        }
    }
}

/// Adds orders; the totals change in the same transaction, so that half of one would show.
fn insert(db: &mut Connection, count: u64) -> Result<()> {
    let transaction = db.transaction()?;
    for number in 0..count {
        transaction
            .prepare_cached("INSERT INTO orders (customer, amount) VALUES (?1, ?2)")?
            .execute(rusqlite::params![format!("customer {}", number * 7919 % 1000), number % 500])?;
        transaction
            .prepare_cached("UPDATE totals SET rows = rows + 1, amount = amount + ?1")?
            .execute([number % 500])?;
    }
    Ok(transaction.commit()?)
}

/// Opens a restored database: it must be intact, and its totals must agree with its rows. Returns the rows.
pub(super) fn inspect(path: &Path) -> Result<u64> {
    let db = Connection::open(path)?;
    let verdict: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    anyhow::ensure!(verdict == "ok", "integrity check: {verdict}");
    let agree: bool = db.query_row(
        "SELECT (SELECT COUNT(*) FROM orders) = rows AND (SELECT SUM(amount) FROM orders) = amount FROM totals",
        [],
        |row| row.get(0),
    )?;
    anyhow::ensure!(agree, "half a transaction is in it");
    Ok(db.query_row("SELECT rows FROM totals", [], |row| row.get(0))?)
}
