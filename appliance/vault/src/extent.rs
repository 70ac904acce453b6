//! How many files restore points hold, and how many bytes: what a restore of each would bring.

use std::collections::BTreeMap;

use coffer_format::node::NodeKind;
use coffer_format::{ConfigId, NodeId, PointSeq, to_bytes};
use rusqlite::{Connection, OptionalExtension, params};

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

    /// Whether there's a file at that path of a restore point, or below it. `None` where nothing is. Looks no further than to the first.
    pub fn holds_file_at(&self, config: ConfigId, point: PointSeq, path: &[u8]) -> Result<Option<bool>> {
        self.readers.with(|db| {
            let at = At { db, config, point };
            let Some((node, kind)) = at.find(path)? else { return Ok(None) };
            if kind != NodeKind::Directory {
                return Ok(Some(kind == NodeKind::File));
            }
            let mut folders = vec![node];
            while let Some(folder) = folders.pop() {
                if at.children(folder, NodeKind::File, 1)?.next().is_some() {
                    return Ok(Some(true));
                }
                folders.extend(at.children(folder, NodeKind::Directory, i64::MAX)?);
            }
            Ok(Some(false))
        })
    }
}

/// The tree of a restore point.
struct At<'d> {
    db: &'d Connection,
    config: ConfigId,
    point: PointSeq,
}

impl At<'_> {
    fn find(&self, path: &[u8]) -> Result<Option<(NodeId, NodeKind)>> {
        let mut found = (NodeId::ROOT, NodeKind::Directory);
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            let mut query = self.db.prepare_cached(
                "SELECT node FROM files WHERE config = ?1 AND parent = ?2 AND name = ?3 AND since <= ?4 AND until > ?4",
            )?;
            let parent = found.0.0;
            let node: Option<u64> = query
                .query_row(params![self.config.0, parent, name, self.point.0], |row| row.get(0))
                .optional()?;
            let Some(node) = node.map(NodeId) else { return Ok(None) };
            let Some(kind) = self.kind(node)? else { return Ok(None) };
            found = (node, kind);
        }
        Ok(Some(found))
    }

    fn kind(&self, node: NodeId) -> Result<Option<NodeKind>> {
        let mut query = self.db.prepare_cached(
            "SELECT kind FROM versions WHERE config = ?1 AND node = ?2 AND since <= ?3 AND until > ?3",
        )?;
        let code: Option<u8> =
            query.query_row(params![self.config.0, node.0, self.point.0], |row| row.get(0)).optional()?;
        Ok(code.and_then(NodeKind::from_code))
    }

    /// What a folder has of one kind, at most so many.
    fn children(&self, folder: NodeId, kind: NodeKind, most: i64) -> Result<impl Iterator<Item = NodeId>> {
        let mut query = self.db.prepare_cached(
            "SELECT f.node FROM files f JOIN versions v ON v.config = f.config AND v.node = f.node AND v.since <= ?3 AND v.until > ?3
             WHERE f.config = ?1 AND f.parent = ?2 AND f.since <= ?3 AND f.until > ?3 AND v.kind = ?4 LIMIT ?5",
        )?;
        let code = kind.code();
        let rows =
            query.query_map(params![self.config.0, folder.0, self.point.0, code, most], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<Vec<u64>>>()?.into_iter().map(NodeId))
    }
}
