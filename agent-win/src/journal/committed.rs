//! When the box said it committed the last part: with the part's number this tells one line of history from another.

use rusqlite::{OptionalExtension, params};

use super::{Journal, JournalError, PartAt};

impl Journal {
    /// Keeps when that part was committed, on the vault's clock.
    pub(crate) fn keep_committed(&mut self, at: PartAt, vault_ms: u64) -> Result<(), JournalError> {
        let sql = "INSERT OR REPLACE INTO committed VALUES (1, ?, ?, ?)";
        let kept = self.connection().prepare_cached(sql).and_then(|mut insert| {
            insert.execute(params![at.point.0 as i64, at.part.0, vault_ms as i64]).map(drop)
        });
        kept.map_err(|error| self.failed(error))
    }

    /// When the box committed that part; none where it wasn't this agent who sent it.
    pub(crate) fn committed_ms(&self, at: PartAt) -> Result<Option<u64>, JournalError> {
        let sql = "SELECT vault_ms FROM committed WHERE point = ? AND part = ?";
        let read = self.connection().prepare_cached(sql).and_then(|mut query| {
            let row = query.query_row(params![at.point.0 as i64, at.part.0], |row| row.get::<_, i64>(0));
            row.optional()
        });
        read.map(|found| found.map(|ms| ms as u64)).map_err(|error| self.failed(error))
    }
}
