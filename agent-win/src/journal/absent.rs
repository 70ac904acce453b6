//! Where volumes were mounted, and what isn't there though it's asked for. It's no part of what the box has, and stays where
//! that's recalled.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Transaction, params};

use super::{JournalError, JournalReader};

impl JournalReader {
    /// Where volumes were mounted that were captured.
    pub(crate) fn mounts(&self) -> Result<BTreeSet<Vec<u8>>, JournalError> {
        let read = self.connection().prepare_cached("SELECT path FROM mounts").and_then(|mut query| {
            let rows = query.query_map([], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<_>>()
        });
        self.said(read)
    }

    /// What the newest point says isn't there, and since when.
    pub(crate) fn absent(&self) -> Result<BTreeMap<Vec<u8>, u64>, JournalError> {
        let read =
            self.connection().prepare_cached("SELECT path, since_ms FROM absent").and_then(|mut query| {
                let rows = query.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?;
                rows.collect::<rusqlite::Result<_>>()
            });
        self.said(read)
    }

    /// Where what's missing is kept below a folder that got another name, and the include that it's asked for by.
    pub(crate) fn carried(&self) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, JournalError> {
        let read =
            self.connection().prepare_cached("SELECT path, include FROM carried").and_then(|mut query| {
                let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                rows.collect::<rusqlite::Result<_>>()
            });
        self.said(read)
    }
}

pub(super) fn put_mount(transaction: &Transaction<'_>, path: &[u8]) -> rusqlite::Result<()> {
    transaction.prepare_cached("INSERT OR IGNORE INTO mounts VALUES (?)")?.execute([path]).map(drop)
}

pub(super) fn remove_mount(transaction: &Transaction<'_>, path: &[u8]) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM volumes WHERE path = ?")?.execute([path])?;
    transaction.prepare_cached("DELETE FROM mounts WHERE path = ?")?.execute([path]).map(drop)
}

pub(super) fn put(transaction: &Transaction<'_>, paths: &[(Vec<u8>, u64)]) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM absent")?.execute([])?;
    let mut insert = transaction.prepare_cached("INSERT INTO absent VALUES (?, ?)")?;
    paths.iter().try_for_each(|(path, since_ms)| insert.execute(params![path, *since_ms as i64]).map(drop))
}

pub(super) fn put_carried(
    transaction: &Transaction<'_>,
    carried: &[(Vec<u8>, Vec<u8>)],
) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM carried")?.execute([])?;
    let mut insert = transaction.prepare_cached("INSERT INTO carried VALUES (?, ?)")?;
    carried.iter().try_for_each(|(path, include)| insert.execute(params![path, include]).map(drop))
}
