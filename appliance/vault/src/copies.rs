//! What tape and HQ see of a vault: which segments there are, their bytes, and where verified copies are.

use std::collections::HashSet;

use coffer_format::event::{CartridgeState, Event, Place};
use coffer_format::segment::Stream;
use coffer_format::{FileHash, SegmentId, from_bytes};
use rusqlite::OptionalExtension;
use serde::Serialize;

use crate::reading::Reading;
use crate::vault::{SegmentState, Vault};
use crate::{Result, VaultError};

/// A cartridge as the catalog knows it.
#[derive(Debug, Clone, Serialize)]
pub struct Cartridge {
    pub barcode: String,
    #[serde(skip)]
    pub state: Option<CartridgeState>,
    pub state_name: String,
    pub set: String,
    pub number: u32,
    pub containers: u32,
    pub written: u64,
}

impl Reading {
    /// All segments of the vault, oldest first. `bytes` are durable.
    pub fn segments(&self) -> Result<Vec<SegmentState>> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT segment, stream, closed, bytes, hash, on_disk FROM segments ORDER BY segment",
            )?;
            let rows = query.query_map([], |row| {
                Ok(SegmentState {
                    segment: SegmentId(row.get(0)?),
                    stream: Stream::from_code(row.get(1)?).unwrap_or(Stream::Bulk),
                    closed: row.get(2)?,
                    bytes: row.get(3)?,
                    hash: row.get::<_, Option<[u8; 32]>>(4)?.map(FileHash),
                    on_disk: row.get(5)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Verified copies of a segment.
    pub fn copies(&self, segment: SegmentId) -> Result<Vec<Place>> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT place FROM copies JOIN segments USING (segment) WHERE segment = ?1 AND copies.hash = segments.hash",
            )?;
            let rows = query.query_map([segment.0], |row| row.get::<_, Vec<u8>>(0))?;
            rows.map(|row| Ok(from_bytes(&row?)?)).collect()
        })
    }

    /// Closed segments on disk without a verified copy that `is_there` accepts: the work list of a tape or WAN job.
    pub fn without_copy(&self, is_there: impl Fn(&Place) -> bool) -> Result<Vec<SegmentState>> {
        let mut there = HashSet::new();
        self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT segment, place FROM copies JOIN segments USING (segment) WHERE copies.hash = segments.hash",
            )?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                if is_there(&from_bytes(&row.get::<_, Vec<u8>>(1)?)?) {
                    there.insert(SegmentId(row.get(0)?));
                }
            }
            Ok(())
        })?;
        let mut without = self.segments()?;
        without.retain(|state| state.closed && state.on_disk && !there.contains(&state.segment));
        Ok(without)
    }

    /// Bytes of a segment file from an offset: those that are durable, and no more than fit in `buffer`.
    pub fn read_segment(&self, segment: SegmentId, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let durable = self.readers.with(|db| {
            let mut query = db.prepare_cached("SELECT bytes FROM segments WHERE segment = ?1")?;
            Ok(query.query_row([segment.0], |row| row.get::<_, u64>(0)).optional()?)
        })?;
        let durable = durable.ok_or_else(|| VaultError::NotOnDisk(vec![segment]))?;
        let count = (durable.saturating_sub(offset)).min(buffer.len() as u64) as usize;
        let file = self.files.get(segment)?.file;
        file.read_at(offset, &mut buffer[..count]).map_err(VaultError::io("read", "a segment"))?;
        Ok(count)
    }

    pub fn cartridges(&self) -> Result<Vec<Cartridge>> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT barcode, state, media_set, number, containers, written FROM cartridges ORDER BY barcode",
            )?;
            let rows = query.query_map([], |row| {
                let state = from_bytes::<CartridgeState>(&[row.get::<_, u8>(1)?]).ok();
                Ok(Cartridge {
                    barcode: row.get(0)?,
                    state,
                    state_name: state.map_or_else(|| "unknown".into(), |state| format!("{state:?}").to_lowercase()),
                    set: row.get(2)?,
                    number: row.get(3)?,
                    containers: row.get(4)?,
                    written: row.get(5)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}

impl Vault {
    pub fn segments(&self) -> Result<Vec<SegmentState>> {
        self.reading.segments()
    }

    /// Records copies that a medium said are durable, each with the hash of what was written.
    pub fn record_copies(&self, copies: Vec<(SegmentId, FileHash, Place)>) -> Result<()> {
        self.record(
            copies
                .into_iter()
                .map(|(segment, hash, place)| Event::CopyRecorded { segment, hash, place })
                .collect(),
        )
    }

    /// Everything in the catalog, as text, in a fixed order: two catalogs that say the same give the same.
    pub fn dump_catalog(&self) -> Result<String> {
        self.reading.readers.with(|db| {
            let mut out = String::new();
            let mut tables =
                db.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")?;
            let tables: Vec<String> =
                tables.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            for table in tables {
                let mut query = db.prepare(&format!("SELECT * FROM {table}"))?;
                let columns = query.column_count();
                let mut lines = Vec::new();
                let mut rows = query.query([])?;
                while let Some(row) = rows.next()? {
                    let values: rusqlite::Result<Vec<String>> =
                        (0..columns).map(|at| row.get_ref(at).map(|value| format!("{value:?}"))).collect();
                    lines.push(values?.join(" | "));
                }
                lines.sort();
                out.push_str(&format!("## {table}\n{}\n", lines.join("\n")));
            }
            Ok(out)
        })
    }
}
