//! What the newest point had to say. Single paths are looked at again, whatever else is, so that no point that says nothing of
//! them follows one that did; what was said of applications, commands and snapshots is compared with what's said next.

use std::collections::BTreeSet;

use coffer_format::entry::{Remark, RemarkKind};
use coffer_format::{from_bytes, to_bytes};
use rusqlite::{Transaction, params};

use super::{JournalError, JournalReader};

/// Paths, and what was said of each.
pub(crate) type Remarked = BTreeSet<(Vec<u8>, SaidOf)>;

/// What a remark says, to be compared: the code of its kind, and above that four bytes of its words' hash. Journals from before have the
/// code alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SaidOf(i64);

impl SaidOf {
    fn of(remark: &Remark) -> SaidOf {
        let mut words = [0; 4];
        words.copy_from_slice(&blake3::hash(remark.what.as_bytes()).as_bytes()[..4]);
        SaidOf(i64::from(u32::from_le_bytes(words)) << 8 | i64::from(code(remark.kind)))
    }

    /// What's missing is looked for in any case.
    pub(crate) fn is_looked_at_again(self) -> bool {
        self.0 as u8 != code(RemarkKind::Missing)
    }
}

fn code(kind: RemarkKind) -> u8 {
    to_bytes(&kind)[0]
}

/// Those among a report's lines that stay until something about their path is different.
pub(crate) fn remarked(lines: &[Remark]) -> Remarked {
    // Where very many are alike, the first is named, whichever that is.
    let stays = |line: &&Remark| !line.path.0.is_empty() && line.kind != RemarkKind::Elsewhere;
    lines.iter().filter(stays).map(|line| (line.path.0.to_vec(), SaidOf::of(line))).collect()
}

/// Whether two say the same, but for what a program said: that may differ each time.
pub(crate) fn are_alike(one: &[Remark], other: &[Remark]) -> bool {
    let told = |remark: &Remark| {
        let what = remark.what.split(':').next().unwrap_or_default().to_owned();
        (to_bytes(&remark.kind), remark.path.0.to_vec(), what)
    };
    let all = |remarks: &[Remark]| remarks.iter().map(told).collect::<BTreeSet<_>>();
    all(one) == all(other)
}

impl JournalReader {
    /// What the newest point had to say of applications, commands and snapshots.
    pub(crate) fn said_before(&self) -> Result<Vec<Remark>, JournalError> {
        let read = self.connection().prepare_cached("SELECT remark FROM said").and_then(|mut query| {
            let rows = query.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        });
        Ok(self.said(read)?.iter().filter_map(|remark| from_bytes(remark).ok()).collect())
    }

    pub(crate) fn remarked(&self) -> Result<Remarked, JournalError> {
        let read =
            self.connection().prepare_cached("SELECT path, kind FROM remarks").and_then(|mut query| {
                let rows = query.query_map([], |row| Ok((row.get(0)?, SaidOf(row.get(1)?))))?;
                rows.collect::<rusqlite::Result<_>>()
            });
        self.said(read)
    }
}

pub(super) fn put(transaction: &Transaction<'_>, remarked: &Remarked) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM remarks")?.execute([])?;
    let mut insert = transaction.prepare_cached("INSERT INTO remarks VALUES (?, ?)")?;
    remarked.iter().try_for_each(|(path, said)| insert.execute(params![path, said.0]).map(drop))
}

pub(super) fn put_said(transaction: &Transaction<'_>, said: &[Remark]) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM said")?.execute([])?;
    let mut insert = transaction.prepare_cached("INSERT INTO said VALUES (?)")?;
    said.iter().try_for_each(|remark| insert.execute([to_bytes(remark)]).map(drop))
}
