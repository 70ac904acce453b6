//! Reading the journal while another thread writes it: each question sees what has been committed by then.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use coffer_format::node::NodeKind;
use coffer_format::op::Name;
use coffer_format::{ChunkId, NodeId};
use rusqlite::{Connection, OptionalExtension, params};

use super::JournalError;
use super::known::{self, COLUMNS, Known, MemoryKind};
use super::signatures::PageSignatures;
use crate::path::folded;
use crate::platform::IS_CASE_SENSITIVE;
use crate::scan::Stat;

/// A journal open for reading.
#[derive(Debug)]
pub(crate) struct JournalReader {
    connection: Connection,
    path: PathBuf,
    pages: PathBuf,
}

type Result<T> = std::result::Result<T, JournalError>;

impl JournalReader {
    pub(super) fn new(connection: Connection, path: PathBuf, pages: PathBuf) -> JournalReader {
        JournalReader { connection, path, pages }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn said<T>(&self, result: rusqlite::Result<T>) -> Result<T> {
        result.map_err(|error| JournalError::Database(self.path.clone(), error))
    }

    /// Nodes that lost their last name since the last point was closed.
    pub(crate) fn nameless(&self) -> Result<Vec<NodeId>> {
        let sql =
            "SELECT node FROM unlinked u WHERE NOT EXISTS (SELECT 1 FROM links l WHERE l.node = u.node)";
        let read = self.connection.prepare_cached(sql).and_then(|mut query| {
            let rows = query.query_map([], |row| Ok(NodeId(row.get::<_, i64>(0)? as u64)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        });
        self.said(read)
    }

    /// Up to which day everything was read that's read from time to time though nothing tells that it has changed.
    pub(crate) fn reread_day(&self) -> Result<Option<u64>> {
        let read =
            self.connection.query_row("SELECT day FROM reread", [], |row| row.get::<_, i64>(0)).optional();
        Ok(self.said(read)?.map(|day| day as u64))
    }

    /// Everything that's known in a directory, by name.
    pub(crate) fn children(&self, parent: NodeId) -> Result<HashMap<Vec<u8>, Known>> {
        self.said(self.query_children(parent))
    }

    fn query_children(&self, parent: NodeId) -> rusqlite::Result<HashMap<Vec<u8>, Known>> {
        let sql = format!(
            "SELECT {COLUMNS}, l.name FROM links l JOIN nodes n ON n.node = l.node WHERE l.parent = ?"
        );
        let mut query = self.connection.prepare_cached(&sql)?;
        let rows = query.query_map([parent.0 as i64], |row| Ok((row.get(21)?, known::read(row)?)))?;
        rows.collect()
    }

    /// What's known by one name.
    pub(crate) fn child(&self, parent: NodeId, name: &[u8]) -> Result<Option<Known>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM links l JOIN nodes n ON n.node = l.node WHERE l.parent = ? AND l.name = ?"
        );
        let read = self
            .connection
            .prepare_cached(&sql)
            .and_then(|mut query| query.query_row(params![parent.0 as i64, name], known::read).optional());
        self.said(read)
    }

    pub(crate) fn node(&self, node: NodeId) -> Result<Option<Known>> {
        let sql = format!("SELECT {COLUMNS} FROM nodes n WHERE n.node = ?");
        let read = self
            .connection
            .prepare_cached(&sql)
            .and_then(|mut query| query.query_row([node.0 as i64], known::read).optional());
        self.said(read)
    }

    /// The node that this object was when it was last seen, under whatever name.
    pub(crate) fn same_object(&self, stat: &Stat) -> Result<Option<Known>> {
        Ok(self.same_objects(stat)?.into_iter().next())
    }

    /// All nodes that this object may have been: one that couldn't be read stays as what it was, though that goes on as another.
    pub(crate) fn same_objects(&self, stat: &Stat) -> Result<Vec<Known>> {
        let sql = format!("SELECT {COLUMNS} FROM nodes n WHERE n.inode = ? AND n.device = ?");
        let read = self.connection.prepare_cached(&sql).and_then(|mut query| {
            let rows = query.query_map([stat.inode as i64, stat.device as i64], known::read)?;
            rows.collect::<rusqlite::Result<Vec<Known>>>()
        });
        let mut known = self.said(read)?;
        known.retain(|known| known.stat.is_same_object(stat));
        Ok(known)
    }

    /// The path of the directory with that number on a volume.
    pub(crate) fn directory_at(&self, device: u64, inode: u64) -> Result<Option<Vec<u8>>> {
        let sql = "SELECT node FROM nodes WHERE inode = ? AND device = ? AND kind = ?";
        let code = NodeKind::Directory.code();
        let read = self.connection.prepare_cached(sql).and_then(|mut query| {
            let node =
                query.query_row(params![inode as i64, device as i64, code], |row| row.get::<_, i64>(0));
            node.optional()
        });
        match self.said(read)? {
            Some(node) => self.path(NodeId(node as u64)),
            None => Ok(None),
        }
    }

    /// All paths of whatever has that number on a volume.
    pub(crate) fn paths_at(&self, device: u64, inode: u64) -> Result<Vec<Vec<u8>>> {
        let sql = "SELECT node FROM nodes WHERE inode = ? AND device = ?";
        let read = self.connection.prepare_cached(sql).and_then(|mut query| {
            let rows = query.query_map(params![inode as i64, device as i64], |row| {
                Ok(NodeId(row.get::<_, i64>(0)? as u64))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        });
        let mut paths = Vec::new();
        for node in self.said(read)? {
            for (parent, name) in self.names(node)? {
                let folder = self.path(parent)?;
                paths.extend(folder.map(|folder| [&folder[..], b"/", name.as_bytes()].concat()));
            }
        }
        Ok(paths)
    }

    /// A path that leads to a node; `None` where no name does any more.
    pub(crate) fn path(&self, node: NodeId) -> Result<Option<Vec<u8>>> {
        // Each folder on the way up, once: names that lead in a circle lead nowhere.
        let mut met: HashMap<NodeId, Option<(NodeId, Name)>> = HashMap::new();
        let mut pending = vec![(node, None)];
        while let Some((at, below)) = pending.pop() {
            if met.contains_key(&at) {
                continue;
            }
            met.insert(at, below);
            if at == NodeId::ROOT {
                break;
            }
            let names = self.names(at)?.into_iter().rev();
            pending.extend(names.map(|(parent, name)| (parent, Some((at, name)))));
        }
        if !met.contains_key(&NodeId::ROOT) {
            return Ok(None);
        }
        let (mut path, mut at) = (Vec::new(), NodeId::ROOT);
        while let Some(Some((child, name))) = met.get(&at) {
            path.extend([b"/", name.as_bytes()].concat());
            at = *child;
        }
        Ok(Some(path))
    }

    /// Paths and volumes of files from so many bytes on that are cut in pages, the largest first.
    pub(crate) fn large_in_pages(&self, from: u64, at_most: usize) -> Result<Vec<(Vec<u8>, u64)>> {
        let sql = "SELECT node, device FROM nodes WHERE memory = ? AND size >= ? ORDER BY size DESC LIMIT ?";
        let read = self.connection.prepare_cached(sql).and_then(|mut query| {
            let rows = query
                .query_map(params![MemoryKind::Pages.code(), from as i64, at_most as i64], |row| {
                    Ok((NodeId(row.get::<_, i64>(0)? as u64), row.get::<_, i64>(1)? as u64))
                })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        });
        let mut found = Vec::new();
        for (node, device) in self.said(read)? {
            found.extend(self.path(node)?.map(|path| (path, device)));
        }
        Ok(found)
    }

    /// All names of a node.
    pub(crate) fn names(&self, node: NodeId) -> Result<Vec<(NodeId, Name)>> {
        let read = self.connection.prepare_cached("SELECT parent, name FROM links WHERE node = ?").and_then(
            |mut query| {
                let rows = query.query_map([node.0 as i64], |row| {
                    Ok((NodeId(row.get::<_, i64>(0)? as u64), row.get::<_, Vec<u8>>(1)?))
                })?;
                rows.collect::<rusqlite::Result<Vec<_>>>()
            },
        );
        let names = self.said(read)?.into_iter();
        Ok(names.filter_map(|(parent, name)| Some((parent, Name::new(&name).ok()?))).collect())
    }

    /// Names in a directory that begin with `start`.
    pub(crate) fn names_from(&self, parent: NodeId, start: &[u8]) -> Result<Vec<Vec<u8>>> {
        let mut end = start.to_vec();
        if let Some(last) = end.last_mut() {
            // No byte of a name is the largest there is.
            *last = last.saturating_add(1);
        }
        let sql = "SELECT name FROM links WHERE parent = ? AND name >= ? AND name < ?";
        let read = self.connection.prepare_cached(sql).and_then(|mut query| {
            let rows = query.query_map(params![parent.0 as i64, start, end], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<Vec<Vec<u8>>>>()
        });
        self.said(read)
    }

    /// The node at a path from the root; where names are folded, in whatever case.
    pub(crate) fn find(&self, path: &[u8]) -> Result<Option<NodeId>> {
        let mut node = NodeId::ROOT;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            let found = match self.child(node, name)? {
                None if !IS_CASE_SENSITIVE => self.child_in_another_case(node, name)?,
                found => found,
            };
            match found {
                Some(known) => node = known.node,
                None => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    fn child_in_another_case(&self, parent: NodeId, name: &[u8]) -> Result<Option<Known>> {
        let read = self.connection.prepare_cached("SELECT name FROM links WHERE parent = ?").and_then(
            |mut query| {
                let mut rows = query.query([parent.0 as i64])?;
                while let Some(row) = rows.next()? {
                    let own: Vec<u8> = row.get(0)?;
                    if folded(&own) == folded(name) {
                        return Ok(Some(own));
                    }
                }
                Ok(None)
            },
        );
        match self.said(read)? {
            Some(own) => self.child(parent, &own),
            None => Ok(None),
        }
    }

    /// Lengths and ids of a node's chunks.
    pub(crate) fn chunks(&self, node: NodeId) -> Result<Vec<(u32, ChunkId)>> {
        let read =
            self.connection.prepare_cached("SELECT list FROM chunks WHERE node = ?").and_then(|mut query| {
                query.query_row([node.0 as i64], |row| row.get::<_, Vec<u8>>(0)).optional()
            });
        let list = self.said(read)?.unwrap_or_default();
        Ok(list.chunks_exact(36).map(chunk_of).collect())
    }

    /// Page signatures of the version that was last sent; `None` where they're lost.
    pub(crate) fn pages(&self, known: &Known) -> Option<PageSignatures> {
        PageSignatures::open(&self.pages, known.node, known.content)
    }

    /// Where signature files are kept.
    pub(crate) fn pages_folder(&self) -> &Path {
        &self.pages
    }

    /// Whether there's any file among what is known.
    pub(crate) fn holds_files(&self) -> Result<bool> {
        let sql = "SELECT 1 FROM nodes n JOIN links l ON l.node = n.node WHERE n.kind = ? LIMIT 1";
        let read =
            self.connection.prepare_cached(sql).and_then(|mut query| query.exists([NodeKind::File.code()]));
        self.said(read)
    }

    /// Nodes that are known, for showing progress.
    pub(crate) fn count(&self) -> Result<u64> {
        let read =
            self.connection.query_row("SELECT max(rowid) FROM nodes", [], |row| row.get::<_, Option<i64>>(0));
        Ok(self.said(read)?.unwrap_or(0) as u64)
    }
}

fn chunk_of(bytes: &[u8]) -> (u32, ChunkId) {
    let (mut len, mut id) = ([0; 4], [0; 32]);
    len.copy_from_slice(&bytes[..4]);
    id.copy_from_slice(&bytes[4..]);
    (u32::from_le_bytes(len), ChunkId(id))
}
