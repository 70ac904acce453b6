//! Folds one durable entry into the catalog. The same code runs at commit, after a crash, and in a rebuild.

use coffer_format::entry::{Body, Entry, PointEnd};
use coffer_format::event::{CartridgeState, DropReason, Event, Place, Whereabouts};
use coffer_format::{ConfigId, FileHash, Locator, Lsn, PartNo, PointSeq, to_bytes};
use rusqlite::{Connection, params};

use super::damage::{DamageKind, Stretch, clear_damage, put_damage};
use super::{ALIVE, set_applied, tree};
use crate::Result;

/// What follows the barcode in a place on tape: container and block.
const PLACE_ON_TAPE_LEN: usize = 4 + 8;

/// Applies the entry at `lsn`. Entries are applied in order of their Lsn, each once.
pub(crate) fn apply_entry(db: &Connection, lsn: Lsn, entry: &Entry) -> Result<()> {
    let now = entry.vault_ms;
    match &entry.body {
        Body::Part { config, point, part, ops } => {
            db.prepare_cached(
                "INSERT INTO points (config, point, parts, lsn) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (config, point) DO UPDATE SET parts = ?3",
            )?
            .execute(params![config.0, point.0, part.0 + 1, lsn.0])?;
            db.prepare_cached("INSERT OR REPLACE INTO parts VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![config.0, point.0, part.0, lsn.0])?;
            for (op, operation) in ops.iter().enumerate() {
                tree::apply_op(db, *config, *point, Locator { lsn, op: op as u32 }, operation)?;
            }
        }
        Body::PointClosedV1 { .. } | Body::PointClosed { .. } => {
            if let Some(end) = entry.body.point_end() {
                close_point(db, lsn, now, &end)?;
            }
        }
        Body::MapPage { .. } => {}
        Body::Event { event } => {
            apply_event(db, lsn, now, event)?;
            if matches!(
                event,
                Event::ComputerAdded { .. } | Event::ComputerRevoked { .. } | Event::ConfigSet { .. }
            ) {
                super::schema::sum_orders(db)?;
            }
        }
    }
    set_applied(db, lsn)
}

fn close_point(db: &Connection, lsn: Lsn, now: u64, end: &PointEnd) -> Result<()> {
    let PointEnd { config, point, parts, captured_ms, consistency, stats, data, remarks } = end;
    if !has_parts(db, *config, *point, *parts)? {
        tracing::error!(%config, %point, "a part of this point is damaged, so the point isn't shown");
        return Ok(());
    }
    db.prepare_cached(
        "INSERT INTO points (config, point, parts, closed_ms, captured_ms, consistency, files, bytes, sent, stored,
           fresh_segment, fresh_bytes, bulk_segment, bulk_bytes, lsn, report_lines)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
         ON CONFLICT (config, point) DO UPDATE SET parts = ?3, closed_ms = ?4, captured_ms = ?5, consistency = ?6,
           files = ?7, bytes = ?8, sent = ?9, stored = ?10, fresh_segment = ?11, fresh_bytes = ?12,
           bulk_segment = ?13, bulk_bytes = ?14, lsn = ?15, report_lines = ?16",
    )?
    .execute(params![
        config.0,
        point.0,
        parts.0,
        now,
        captured_ms,
        to_bytes(consistency)[0],
        stats.files,
        stats.bytes,
        stats.sent,
        stats.stored,
        data.fresh.segment.0,
        data.fresh.bytes,
        data.bulk.segment.0,
        data.bulk.bytes,
        lsn.0,
        remarks.len() as u64
    ])?;
    Ok(())
}

/// Whether every part of a point was applied; one is missing only where its record is damaged.
pub(crate) fn has_parts(db: &Connection, config: ConfigId, point: PointSeq, parts: PartNo) -> Result<bool> {
    let mut query =
        db.prepare_cached("SELECT COUNT(*) FROM parts WHERE config = ?1 AND point = ?2 AND part < ?3")?;
    let found: u32 = query.query_row(params![config.0, point.0, parts.0], |row| row.get(0))?;
    Ok(found == parts.0)
}

fn apply_event(db: &Connection, lsn: Lsn, now: u64, event: &Event) -> Result<()> {
    match event {
        Event::CodeIssued { secret, computer_name, expires_ms } => db
            .prepare_cached("INSERT OR REPLACE INTO codes VALUES (?1, ?2, ?3, NULL)")?
            .execute(params![secret.0, computer_name, expires_ms])?,
        Event::ComputerAdded { computer, name, os, certificate, secret } => {
            db.execute("UPDATE codes SET used_by = ?2 WHERE secret = ?1", params![secret.0, computer.0])?;
            db.prepare_cached("INSERT OR REPLACE INTO computers VALUES (?1, ?2, ?3, ?4, ?5, NULL)")?
                .execute(params![computer.0, name, os, certificate.0, now])?
        }
        Event::ComputerRevoked { computer } => db
            .prepare_cached("UPDATE computers SET revoked_ms = ?2 WHERE computer = ?1")?
            .execute(params![computer.0, now])?,
        Event::ConfigSet { config, computer, name, revision, toml } => db
            .prepare_cached("INSERT OR REPLACE INTO configurations VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![config.0, computer.0, name, revision, toml, now])?,
        Event::PointsExpired { config, points } => {
            let mut expire =
                db.prepare_cached("UPDATE points SET expired_ms = ?3 WHERE config = ?1 AND point = ?2")?;
            for point in points {
                expire.execute(params![config.0, point.0, now])?;
            }
            drop_unneeded_rows(db, *config)?
        }
        Event::SegmentDropped { segment, reason: DropReason::Evicted } => {
            db.execute("UPDATE segments SET on_disk = 0 WHERE segment = ?1", [segment.0])?
        }
        Event::SegmentDropped { segment, .. } => {
            db.execute("DELETE FROM chunks WHERE segment = ?1", [segment.0])?;
            db.execute("DELETE FROM copies WHERE segment = ?1", [segment.0])?;
            db.execute("DELETE FROM damage WHERE segment = ?1", [segment.0])?;
            db.execute("DELETE FROM read_back WHERE segment = ?1", [segment.0])?;
            db.execute("DELETE FROM segments WHERE segment = ?1", [segment.0])?;
            db.execute("INSERT OR REPLACE INTO dropped VALUES (?1)", [segment.0])?
        }
        Event::SegmentReturned { segment } => {
            clear_damage(db, *segment)?;
            // It came from elsewhere, or is whole again: it's read back soon.
            db.execute("DELETE FROM read_back WHERE segment = ?1", [segment.0])?;
            db.execute("UPDATE segments SET on_disk = 1 WHERE segment = ?1", [segment.0])?
        }
        Event::CopyRecorded { segment, hash, place } => db
            .prepare_cached("INSERT OR REPLACE INTO copies VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![segment.0, to_bytes(place), hash.0, now])?,
        Event::CopyLost { segment, place } => db
            .prepare_cached("DELETE FROM copies WHERE segment = ?1 AND place = ?2")?
            .execute(params![segment.0, to_bytes(place)])?,
        Event::CartridgeSet { barcode, state, set, number, containers, written } => {
            if *state == CartridgeState::Filling && *containers == 0 {
                db.execute("UPDATE simulated SET is_current = 0 WHERE barcode = ?1", [barcode])?;
            }
            db.prepare_cached(
                "INSERT INTO cartridges VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8, ?7, 0, 0, 0)
                 ON CONFLICT (barcode) DO UPDATE SET state = ?2, media_set = ?3, number = ?4, containers = ?5, written = ?6,
                   changed_ms = ?7, labelled_ms = CASE WHEN ?5 = 0 THEN ?7 ELSE labelled_ms END",
            )?
            .execute(params![
                barcode,
                to_bytes(state)[0],
                set,
                number,
                containers,
                written,
                now,
                to_bytes(&Whereabouts::Library)[0]
            ])?
        }
        Event::CopiesGone { barcode } => {
            let place = Place::Tape { barcode: barcode.clone(), container: 0, block: 0 };
            let place = to_bytes(&place);
            // All places on a cartridge begin alike: kind and barcode.
            let beginning = &place[..place.len() - PLACE_ON_TAPE_LEN];
            db.execute("DELETE FROM copies WHERE substr(place, 1, length(?1)) = ?1", [beginning])?
        }
        Event::CartridgeMoved { barcode, whereabouts } => db
            .prepare_cached("UPDATE cartridges SET whereabouts = ?2, moved_ms = ?3 WHERE barcode = ?1")?
            .execute(params![barcode, to_bytes(whereabouts)[0], now])?,
        Event::TapeUsed { barcode, drive, loads, written, read, errors } => {
            let mut cartridge = db.prepare_cached(
                "UPDATE cartridges SET loads = loads + ?2, errors = errors + ?3,
                   failed_in_a_row = CASE WHEN ?3 = 0 THEN 0 ELSE failed_in_a_row + 1 END WHERE barcode = ?1",
            )?;
            cartridge.execute(params![barcode, loads, errors])?;
            if drive.is_empty() {
                // It failed before any drive had it.
                return Ok(());
            }
            db.prepare_cached(
                "INSERT INTO drives VALUES (?1, ?2, ?3, ?4, ?5, MIN(?5, 1), NULL)
                 ON CONFLICT (serial) DO UPDATE SET loads = loads + ?2, written = written + ?3, bytes_read = bytes_read + ?4,
                   errors = errors + ?5, failed_in_a_row = CASE WHEN ?5 = 0 THEN 0 ELSE failed_in_a_row + 1 END",
            )?
            .execute(params![drive, loads, written, read, errors])?
        }
        Event::DriveCleaned { drive, cleaner } => {
            db.execute(
                "UPDATE drives SET cleaned_ms = ?2, failed_in_a_row = 0 WHERE serial = ?1",
                params![drive, now],
            )?;
            db.prepare_cached(
                "INSERT INTO cleaners VALUES (?1, 1) ON CONFLICT (barcode) DO UPDATE SET uses = uses + 1",
            )?
            .execute([cleaner])?
        }
        Event::Audit { who, what, previous } => {
            let hash = audit_hash(previous, now, who, what);
            db.prepare_cached("INSERT OR REPLACE INTO audit VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![lsn.0, now, who, what, hash.0])?
        }
        Event::RecordDamaged { segment, offset, detail } => {
            let stretch = Stretch { segment: *segment, offset: *offset, len: 1, kind: DamageKind::Changed };
            put_damage(db, &stretch, &detail.0, now)?
        }
        Event::StretchDamaged { segment, offset, len, detail } => {
            let stretch =
                Stretch { segment: *segment, offset: *offset, len: *len, kind: DamageKind::Changed };
            put_damage(db, &stretch, &detail.0, now)?
        }
        Event::CartridgeSimulated { barcode } => {
            db.execute("INSERT OR REPLACE INTO simulated VALUES (?1, 1)", [barcode])?
        }
        Event::Verified { touched, lost, .. } => {
            let mut note = db.prepare_cached("INSERT OR REPLACE INTO state VALUES (?1, ?2)")?;
            note.execute(params!["verified_ms", now])?;
            note.execute(params![super::TOUCHED, touched])?;
            note.execute(params!["verified_lost", lost])?
        }
        Event::LineLeft => db.execute(
            "INSERT OR REPLACE INTO state SELECT ?1 || config, ?2 FROM configurations",
            params![super::RECALL, lsn.0],
        )?,
        Event::JournalRecalled { config } => recalled(db, *config)?,
        Event::JournalRecalledWithout { config, records } => {
            db.prepare_cached("INSERT OR REPLACE INTO recalls VALUES (?1, ?2, ?3)")?.execute(params![
                config.0,
                lsn.0,
                to_bytes(records)
            ])?;
            recalled(db, *config)?
        }
        Event::Escrowed { .. } => db
            .prepare_cached("INSERT OR REPLACE INTO state VALUES (?1, ?2)")?
            .execute(params![super::ESCROW, lsn.0])?,
    };
    Ok(())
}

fn recalled(db: &Connection, config: ConfigId) -> Result<usize> {
    Ok(db.execute("DELETE FROM state WHERE key = ?1 || ?2", params![super::RECALL, config.0])?)
}

/// Chains an audit entry to the one before it.
pub(crate) fn audit_hash(previous: &FileHash, now: u64, who: &str, what: &str) -> FileHash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&previous.0).update(&now.to_le_bytes());
    for text in [who, what] {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    FileHash(*hasher.finalize().as_bytes())
}

/// Deletes names and versions of the past that no kept point shows. What is still so is never touched.
fn drop_unneeded_rows(db: &Connection, config: ConfigId) -> Result<usize> {
    let mut dropped = 0;
    for table in ["files", "versions"] {
        dropped += db.execute(
            &format!(
                "DELETE FROM {table} WHERE config = ?1 AND until <> ?2 AND NOT EXISTS (
                   SELECT 1 FROM points WHERE points.config = ?1 AND points.point >= {table}.since
                     AND points.point < {table}.until AND points.expired_ms IS NULL)"
            ),
            params![config.0, ALIVE],
        )?;
    }
    Ok(dropped)
}
