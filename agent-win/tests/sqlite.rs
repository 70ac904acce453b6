//! A database that's written all the time while it's captured.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use support::Bench;

fn write_until(
    stop: Arc<AtomicBool>,
    path: std::path::PathBuf,
    mode: &'static str,
) -> std::thread::JoinHandle<u64> {
    let log = path.with_extension("db-wal");
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    connection.pragma_update(None, "journal_mode", mode).unwrap();
    connection.pragma_update(None, "wal_autocheckpoint", 50).unwrap();
    connection.execute_batch("CREATE TABLE IF NOT EXISTS t (k INTEGER PRIMARY KEY, v BLOB, w BLOB); CREATE INDEX IF NOT EXISTS i ON t (v);").unwrap();
    std::thread::spawn(move || {
        let mut rounds = 0u64;
        while !stop.load(Ordering::Relaxed) || rounds < 20 {
            connection.execute_batch("BEGIN IMMEDIATE").unwrap();
            for number in 0..40 {
                let key = (rounds * 7919 + number * 104_729) % 5000;
                connection
                    .execute(
                        "INSERT OR REPLACE INTO t VALUES (?, randomblob(40), randomblob(400))",
                        [key as i64],
                    )
                    .unwrap();
            }
            connection.execute_batch("COMMIT").unwrap();
            rounds += 1;
            wait_for_room(&connection, &log, &stop);
        }
        rounds
    })
}

/// A busy machine captures more slowly than it writes, and a log that's read can't begin anew: it doesn't grow without end.
fn wait_for_room(connection: &Connection, log: &std::path::Path, stop: &AtomicBool) {
    const LOG_MAX: u64 = 64 << 20;
    let is_long = || std::fs::metadata(log).is_ok_and(|facts| facts.len() > LOG_MAX);
    while is_long() && !stop.load(Ordering::Relaxed) {
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
}

fn captured_while_written(mode: &'static str) {
    let bench = Bench::new();
    let database = bench.path("live.db");
    let stop = Arc::new(AtomicBool::new(false));
    let writer = write_until(stop.clone(), database.clone(), mode);
    let mut whole = 0;
    for round in 0..12 {
        let outcome = bench.capture();
        let restored = tempfile::tempdir().unwrap();
        for name in ["live.db", "live.db-wal", "live.db-journal"] {
            if let Some(bytes) = bench.state().file(&bench.path(name)) {
                std::fs::write(restored.path().join(name), bytes).unwrap();
            }
        }
        let connection = Connection::open(restored.path().join("live.db")).unwrap();
        let verdict: String = connection
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap_or_else(|error| error.to_string());
        // On a busy machine the writer may come first each time: then the point says so.
        match outcome.report().is_empty() {
            true => assert_eq!(verdict, "ok", "{mode}, round {round}"),
            false => println!("{mode}, round {round}: {:?}", outcome.report()),
        }
        whole += u32::from(verdict == "ok");
    }
    assert!(whole > 6, "{mode}: only {whole} were whole");
    stop.store(true, Ordering::Relaxed);
    assert!(writer.join().unwrap() > 0);
}

#[test]
fn with_a_write_ahead_log_it_is_whole() {
    captured_while_written("wal");
}

#[test]
fn with_a_rollback_journal_it_is_whole() {
    captured_while_written("delete");
}

#[test]
fn one_that_somebody_keeps_to_himself_is_said_to_be_so() {
    let bench = Bench::new();
    let connection = Connection::open(bench.path("kept.db")).unwrap();
    connection.execute_batch("PRAGMA locking_mode = exclusive; CREATE TABLE t (a)").unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let writer = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            connection.execute_batch("INSERT INTO t VALUES (randomblob(2000))").unwrap();
        }
    });
    let outcome = bench.capture();
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    let path = bench.path("kept.db");
    let said = outcome.report().iter().any(|line| path.as_os_str().as_encoded_bytes() == &line.path.0[..]);
    assert!(said, "{:?}", outcome.report());
}

#[test]
fn nothing_is_made_beside_a_database_at_rest() {
    let bench = Bench::new();
    let connection = Connection::open(bench.path("rest.db")).unwrap();
    connection
        .execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t (a); INSERT INTO t VALUES (1);")
        .unwrap();
    drop(connection);
    bench.capture();
    let names: Vec<_> =
        std::fs::read_dir(bench.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["rest.db"]);
}

#[test]
fn one_that_is_included_by_name_is_met_though_it_was_held() {
    let mut bench = Bench::new();
    bench.only_includes = vec!["named.db".to_owned()];
    for mode in ["wal", "delete"] {
        let connection = Connection::open(bench.path("named.db")).unwrap();
        connection.pragma_update(None, "journal_mode", mode).unwrap();
        for round in 0..3 {
            connection.execute_batch("CREATE TABLE IF NOT EXISTS t (a); INSERT INTO t VALUES (1)").unwrap();
            assert_eq!(bench.capture().report(), [], "{mode}, round {round}");
        }
    }
}
