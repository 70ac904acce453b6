//! Which volumes were captured where, and where others are mounted in their place.

use std::collections::BTreeMap;

use rusqlite::{Transaction, params};

use super::{JournalError, JournalReader};

impl JournalReader {
    /// By mount point, what tells each volume that was captured from others.
    pub(crate) fn volumes(&self) -> Result<BTreeMap<Vec<u8>, String>, JournalError> {
        let read =
            self.connection().prepare_cached("SELECT path, identity FROM volumes").and_then(|mut query| {
                let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                rows.collect::<rusqlite::Result<_>>()
            });
        self.said(read)
    }

    /// Where another volume is mounted than the one that was captured, and the configuration's revision when that was first seen.
    pub(crate) fn strangers(&self) -> Result<BTreeMap<Vec<u8>, u32>, JournalError> {
        let read =
            self.connection().prepare_cached("SELECT path, revision FROM strangers").and_then(|mut query| {
                let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                rows.collect::<rusqlite::Result<_>>()
            });
        self.said(read)
    }
}

pub(super) fn put(transaction: &Transaction<'_>, path: &[u8], identity: &str) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO volumes VALUES (?, ?)";
    transaction.prepare_cached(sql)?.execute(params![path, identity]).map(drop)
}

pub(super) fn put_strangers(
    transaction: &Transaction<'_>,
    strangers: &[(Vec<u8>, u32)],
) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM strangers")?.execute([])?;
    let mut insert = transaction.prepare_cached("INSERT INTO strangers VALUES (?, ?)")?;
    strangers.iter().try_for_each(|(path, revision)| insert.execute(params![path, revision]).map(drop))
}
