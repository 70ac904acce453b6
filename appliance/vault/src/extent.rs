//! How many files restore points hold, and how many bytes: what a restore of each would bring.

use std::collections::BTreeMap;

use coffer_format::entry::Body;
use coffer_format::node::NodeKind;
use coffer_format::op::Op;
use coffer_format::{ConfigId, Locator, Lsn, NodeId, PointSeq, to_bytes};
use rusqlite::{Connection, OptionalExtension, params};

use crate::Result;
use crate::provable::readable;
use crate::reading::Reading;

/// Files of a restore point, and their sizes together in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    pub files: u64,
    pub bytes: u64,
}

/// Most links that lead from one to the next.
const LINKS_MAX: usize = 40;

/// What a restore point has at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    Nothing,
    File,
    /// Whether there's no file in it, nor in any folder below it.
    Folder {
        is_empty: bool,
    },
    /// A device and the like, or a link that leads nowhere in the point.
    Other,
}

impl Held {
    /// Whether there's any file.
    pub fn has_file(self) -> bool {
        matches!(self, Held::File | Held::Folder { is_empty: false })
    }
}

enum Found {
    Held(Held),
    Link(NodeId),
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

    /// Of what kind that is which a restore point has at a path. Links aren't followed.
    pub fn kind_at(&self, config: ConfigId, point: PointSeq, path: &[u8]) -> Result<Option<NodeKind>> {
        self.readers.with(|db| Ok(At { db, config, point }.find(path)?.map(|(_, kind)| kind)))
    }

    /// What a restore point has at a path. Where that's a link, what that leads to counts, as long as the point has it.
    pub fn held_at(&self, config: ConfigId, point: PointSeq, path: &[u8]) -> Result<Held> {
        let mut path = path.to_vec();
        for followed in 0..LINKS_MAX {
            let found = self.readers.with(|db| At { db, config, point }.held(&path))?;
            let node = match found {
                Found::Held(Held::Nothing) if followed > 0 => return Ok(Held::Other),
                Found::Held(held) => return Ok(held),
                Found::Link(node) => node,
            };
            match readable(self.link_target(config, point, node))?.flatten() {
                Some(target) => path = led(&path, &target),
                None => break,
            }
        }
        Ok(Held::Other)
    }

    /// Where a link leads to, as its record says.
    fn link_target(&self, config: ConfigId, point: PointSeq, node: NodeId) -> Result<Option<Vec<u8>>> {
        let at = self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT lsn, op FROM versions WHERE config = ?1 AND node = ?2 AND since <= ?3 AND until > ?3",
            )?;
            let row = query.query_row(params![config.0, node.0, point.0], |row| {
                Ok(Locator { lsn: Lsn(row.get(0)?), op: row.get(1)? })
            });
            Ok(row.optional()?)
        })?;
        let Some((entry, op)) = at.map(|at| self.op(at)).transpose()? else { return Ok(None) };
        let Body::Part { ops, .. } = &entry.body else { return Ok(None) };
        Ok(match &ops[op] {
            Op::Put { meta, .. } => meta.link_target().map(<[u8]>::to_vec),
            _ => None,
        })
    }
}

/// Where a link at `path` leads to.
fn led(path: &[u8], target: &[u8]) -> Vec<u8> {
    let above = if target.starts_with(b"/") { &b""[..] } else { path };
    let mut names: Vec<&[u8]> = above.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
    names.pop();
    for name in target.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    [&b"/"[..], &names.join(&b'/')].concat()
}

/// The tree of a restore point.
struct At<'d> {
    db: &'d Connection,
    config: ConfigId,
    point: PointSeq,
}

impl At<'_> {
    /// Looks no further than to the first file.
    fn held(&self, path: &[u8]) -> Result<Found> {
        let Some((node, kind)) = self.find(path)? else { return Ok(Found::Held(Held::Nothing)) };
        Ok(match kind {
            NodeKind::Symlink => Found::Link(node),
            NodeKind::File => Found::Held(Held::File),
            NodeKind::Directory => Found::Held(Held::Folder { is_empty: !self.has_file_below(node)? }),
            _ => Found::Held(Held::Other),
        })
    }

    fn has_file_below(&self, folder: NodeId) -> Result<bool> {
        let mut folders = vec![folder];
        while let Some(folder) = folders.pop() {
            if self.children(folder, NodeKind::File, 1)?.next().is_some() {
                return Ok(true);
            }
            folders.extend(self.children(folder, NodeKind::Directory, i64::MAX)?);
        }
        Ok(false)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_from_the_folder_that_it_lies_in() {
        for (path, target, leads) in [
            ("/a/b", "/c/d", "/c/d"),
            ("/a/b", "c/./d", "/a/c/d"),
            ("/a/b", "../c//d", "/c/d"),
            ("/a/b", "../../../c", "/c"),
            ("/a", ".", "/"),
        ] {
            assert_eq!(led(path.as_bytes(), target.as_bytes()), leads.as_bytes(), "{path} {target}");
        }
    }
}
