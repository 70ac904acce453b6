//! Up to where the system's record of changes has been followed. It goes with the rest of the journal: who forgets what
//! the box has must look at everything.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Journal, JournalError};
use crate::changes::Marks;
use crate::usn::Mark;

impl Journal {
    /// The marks of the last capture that followed the record.
    pub(crate) fn marks(&self) -> Result<Marks, JournalError> {
        read(self.connection()).map_err(|error| self.failed(error))
    }

    /// Keeps the marks of a capture that's done; `None`: everything must be looked at the next time.
    pub(crate) fn keep_marks(&mut self, marks: Option<&Marks>) -> Result<(), JournalError> {
        write(self.connection_mut(), marks).map_err(|error| self.failed(error))
    }
}

fn read(connection: &Connection) -> rusqlite::Result<Marks> {
    let looked = connection.query_row("SELECT scope, whole_ms FROM looked", [], |row| {
        Ok((row.get(0)?, row.get::<_, i64>(1)? as u64))
    });
    let Some((scope, whole_ms)) = looked.optional()? else { return Ok(Marks::default()) };
    let mut query = connection.prepare("SELECT device, journal, next FROM marks")?;
    let volumes = query.query_map([], |row| {
        let number = |column| row.get::<_, i64>(column).map(|value| value as u64);
        Ok((number(0)?, Mark { journal: number(1)?, next: number(2)? }))
    })?;
    let volumes = volumes.collect::<rusqlite::Result<_>>()?;
    let mut query = connection.prepare("SELECT path FROM owed")?;
    let owed = query.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut query = connection.prepare("SELECT device, inode FROM still_open")?;
    let open = query.query_map([], |row| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64)))?;
    let open = open.collect::<rusqlite::Result<_>>()?;
    Ok(Marks { scope, whole_ms, volumes, owed, open })
}

fn write(connection: &mut Connection, marks: Option<&Marks>) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction
        .execute_batch("DELETE FROM looked; DELETE FROM marks; DELETE FROM owed; DELETE FROM still_open;")?;
    if let Some(marks) = marks {
        transaction
            .execute("INSERT INTO looked VALUES (1, ?, ?)", params![marks.scope, marks.whole_ms as i64])?;
        for (device, mark) in &marks.volumes {
            let row = params![*device as i64, mark.journal as i64, mark.next as i64];
            transaction.execute("INSERT INTO marks VALUES (?, ?, ?)", row)?;
        }
        for (device, inode) in &marks.open {
            let row = params![*device as i64, *inode as i64];
            transaction.execute("INSERT INTO still_open VALUES (?, ?)", row)?;
        }
        for path in &marks.owed {
            transaction.execute("INSERT OR IGNORE INTO owed VALUES (?)", [path])?;
        }
    }
    transaction.commit()
}
