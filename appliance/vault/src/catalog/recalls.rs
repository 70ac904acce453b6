//! Whether what is known of a configuration lacks metadata records. An agent that recalled everything while some were missing has
//! sent since whatever they said; one that recalled with them goes by them.

use coffer_format::event::Run;
use coffer_format::{ConfigId, Lsn, from_bytes};
use rusqlite::{Connection, OptionalExtension, params};

use super::damage::{Stretch, all_damage, cut_off, lacking};
use crate::Result;

/// After all records.
pub(crate) const NOW: Lsn = Lsn(i64::MAX as u64);

/// Whether points of a configuration that were closed at `at` go by other records than the catalog has.
pub(crate) fn goes_by_others(db: &Connection, config: ConfigId, at: Lsn) -> Result<bool> {
    let lacking = lacking(db)?.into_iter().filter(|run| run.first < at);
    let lacking: Vec<Run> =
        lacking.map(|run| Run { last: run.last.min(Lsn(at.0.saturating_sub(1))), ..run }).collect();
    Ok(lacking != recalled_without(db, config, at)?)
}

/// Whether a computer went on without records that are listed and can't be read in their segment any more: what they said can't be read, and it
/// goes by others.
pub(crate) fn lists_what_was_gone_on_without(db: &Connection) -> Result<bool> {
    let damage = all_damage(db)?.into_iter().map(|(stretch, _)| stretch);
    let unreadable: Vec<Stretch> = damage.chain(cut_off(db)?).collect();
    if unreadable.is_empty() {
        return Ok(false);
    }
    let mut is_listed = db.prepare_cached(
        "SELECT 1 FROM log WHERE lsn BETWEEN ?1 AND ?2 AND segment = ?3 AND offset < ?4 + ?5 AND offset + record_len > ?4
           AND lsn NOT IN (SELECT lsn FROM unapplied)",
    )?;
    let mut query = db.prepare_cached("SELECT without FROM recalls")?;
    for bytes in query.query_map([], |row| row.get::<_, Vec<u8>>(0))? {
        for run in from_bytes::<Vec<Run>>(&bytes?)? {
            for Stretch { segment, offset, len, .. } in &unreadable {
                if is_listed.exists(params![run.first.0, run.last.0, segment.0, offset, len])? {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

/// Whether there's anything to ask of single points: the catalog lacks a record, or did when something was recalled.
pub(crate) fn may_lack(db: &Connection) -> Result<bool> {
    let mut query = db.prepare_cached(
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM gaps) OR EXISTS (SELECT 1 FROM unapplied) OR EXISTS (SELECT 1 FROM recalls)",
    )?;
    Ok(query.exists([])?)
}

/// How many records are missing that may be of points which are newer than all that is known of a configuration.
pub(crate) fn unknown_since_newest_part(db: &Connection, config: ConfigId) -> Result<u64> {
    if !may_lack(db)? {
        return Ok(0);
    }
    let newest: Option<u64> = db
        .prepare_cached("SELECT MAX(lsn) FROM parts WHERE config = ?1")?
        .query_row([config.0], |row| row.get(0))?;
    let known = newest.unwrap_or(0);
    let since = lacking(db)?.into_iter().filter(|run| run.last.0 > known);
    Ok(since.map(|run| run.last.0 - run.first.0.max(known + 1) + 1).sum())
}

/// How often a configuration has gone on, or is about to, without records that it went by before.
pub(crate) fn times_gone_on_without(db: &Connection, config: ConfigId) -> Result<u64> {
    if !may_lack(db)? {
        return Ok(0);
    }
    let mut query = db.prepare_cached("SELECT without FROM recalls WHERE config = ?1")?;
    let all = query.query_map([config.0], |row| row.get::<_, Vec<u8>>(0))?;
    let mut times = u64::from(goes_by_others(db, config, NOW)?);
    for bytes in all {
        times += u64::from(!from_bytes::<Vec<Run>>(&bytes?)?.is_empty());
    }
    Ok(times)
}

/// The records that the catalog lacked when everything was last recalled before `at`. None where it never was.
fn recalled_without(db: &Connection, config: ConfigId, at: Lsn) -> Result<Vec<Run>> {
    let mut query = db.prepare_cached(
        "SELECT without FROM recalls WHERE config = ?1 AND lsn < ?2 ORDER BY lsn DESC LIMIT 1",
    )?;
    let bytes: Option<Vec<u8>> = query.query_row(params![config.0, at.0], |row| row.get(0)).optional()?;
    Ok(bytes.map_or(Ok(Vec::new()), |bytes| from_bytes(&bytes))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{apply_entry, open_writer, put_unapplied};
    use coffer_format::entry::{Body, Entry};
    use coffer_format::event::Event;

    #[test]
    fn records_that_were_missing_when_all_was_recalled_lack_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let db = open_writer(&dir.path().join("catalog.sqlite")).unwrap().db;
        let config = ConfigId(1);
        let doubted = |at| goes_by_others(&db, config, Lsn(at)).unwrap();
        let run = |first, last| Run { first: Lsn(first), last: Lsn(last) };
        let recall = |at, records| {
            let event = Event::JournalRecalledWithout { config, records };
            let entry = Entry { vault_ms: 1, batch: Lsn(at), body: Body::Event { event } };
            apply_entry(&db, Lsn(at), &entry).unwrap();
        };
        assert!(!doubted(5) && !doubted(50));
        put_unapplied(&db, Lsn(10)).unwrap();
        put_unapplied(&db, Lsn(11)).unwrap();
        db.execute("INSERT INTO gaps VALUES (12, 13)", []).unwrap();
        assert_eq!(lacking(&db).unwrap(), [run(10, 13)]);
        assert!(!doubted(10) && doubted(11) && doubted(20));
        recall(20, vec![run(10, 13)]);
        assert!(!doubted(10) && doubted(11) && doubted(20) && !doubted(21) && !doubted(60));
        // Another one breaks later, and is recalled in its turn.
        put_unapplied(&db, Lsn(15)).unwrap();
        assert!(!doubted(10) && doubted(21) && doubted(60));
        recall(60, vec![run(10, 13), run(15, 15)]);
        assert!(doubted(60) && !doubted(61));
        assert!(!goes_by_others(&db, ConfigId(2), Lsn(9)).unwrap());
        assert!(goes_by_others(&db, ConfigId(2), Lsn(61)).unwrap(), "another agent hasn't recalled it");
        // They come back after all.
        db.execute("DELETE FROM unapplied", []).unwrap();
        db.execute("DELETE FROM gaps", []).unwrap();
        assert!(!doubted(11) && !doubted(20) && doubted(21) && doubted(61));
        recall(70, Vec::new());
        assert!(!doubted(20) && doubted(70) && !doubted(71));
    }
}
