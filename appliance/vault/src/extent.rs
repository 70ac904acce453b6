//! How many files restore points hold, and how many bytes: what a restore of each would bring.

use std::collections::BTreeMap;

use coffer_format::node::NodeKind;
use coffer_format::{ConfigId, PointSeq, to_bytes};
use rusqlite::params;

use crate::Result;
use crate::reading::Reading;

/// Files of a restore point, and their sizes together in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    pub files: u64,
    pub bytes: u64,
}

impl Reading {
    /// The extents of these points of a configuration. Walks all of its versions once.
    pub fn extents(&self, config: ConfigId, points: &[PointSeq]) -> Result<BTreeMap<PointSeq, Extent>> {
        let mut extents: BTreeMap<_, _> = points.iter().map(|point| (*point, Extent::default())).collect();
        self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT since, until, COUNT(*), SUM(size) FROM versions WHERE config = ?1 AND kind = ?2 GROUP BY since, until",
            )?;
            let mut rows = query.query(params![config.0, to_bytes(&NodeKind::File)[0]])?;
            while let Some(row) = rows.next()? {
                let (since, until) = (PointSeq(row.get(0)?), PointSeq(row.get(1)?));
                let (files, bytes): (u64, u64) = (row.get(2)?, row.get(3)?);
                if since >= until {
                    continue;
                }
                for (_, extent) in extents.range_mut(since..until) {
                    extent.files += files;
                    extent.bytes = extent.bytes.saturating_add(bytes);
                }
            }
            Ok(())
        })?;
        Ok(extents)
    }
}
