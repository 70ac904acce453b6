//! Writing the journal: what one committed part changed, all of it or nothing.

use std::io;
use std::path::{Path, PathBuf};

use coffer_format::entry::Remark;
use coffer_format::op::Name;
use coffer_format::wire::Recalled;
use coffer_format::{ChunkId, NodeId, VaultId};
use coffer_link::make_own_folder;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::known::{Known, MemoryKind, Settled, attrs_hash};
use super::position::{Position, Totals};
use super::signatures::{ChangedPages, PageSignatures};
use super::{JournalError, JournalReader, PartAt, Remarked, absent, remarks, schema, volumes};
use crate::scan::Stat;

/// Stands for no attributes that a node could have: whatever it has now is news.
const NO_ATTRS: [u8; 16] = [0xff; 16];

/// What is remembered of a node's bytes, to know later which of them changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Memory {
    /// As before.
    Kept,
    None,
    /// Lengths and ids of all chunks, in order.
    Chunks(Vec<(u32, ChunkId)>),
    /// The pages that changed, in order, and the size of the version.
    Pages {
        changed: ChangedPages,
        size: u64,
    },
}

/// A node as it was sent, and what is remembered of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) known: Known,
    pub(crate) memory: Memory,
}

/// One change of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JournalChange {
    Put(Box<Remembered>),
    Link {
        parent: NodeId,
        name: Name,
        node: NodeId,
    },
    Unlink {
        parent: NodeId,
        name: Name,
    },
    /// Something that belongs to the node couldn't be captured: it's looked at again, whatever its times say.
    Distrust {
        node: NodeId,
    },
    /// A volume is mounted there, and is captured.
    Mounted {
        path: Vec<u8>,
    },
    /// Which volume is mounted there.
    Volume {
        path: Vec<u8>,
        identity: String,
    },
    /// Where another volume is mounted than the one that was captured, and the configuration's revision when that was first seen.
    Strangers {
        strangers: Vec<(Vec<u8>, u32)>,
    },
    /// What's read from time to time though nothing tells that it has changed was read, up to this day (since 1970-01-01).
    Reread {
        day: u64,
    },
    /// What was mounted there isn't asked for any more.
    Unwanted {
        path: Vec<u8>,
    },
    /// All that isn't there though it's asked for, and since when.
    Absent {
        paths: Vec<(Vec<u8>, u64)>,
    },
    /// All places where what's missing is kept below a folder that got another name, and the include that it's asked for by.
    Carried {
        carried: Vec<(Vec<u8>, Vec<u8>)>,
    },
    /// What the point has to say of single paths.
    Remarked {
        remarked: Remarked,
    },
    /// What the point has to say of applications, commands and snapshots.
    Said {
        said: Vec<Remark>,
    },
}

/// The journal of one configuration, open for writing.
#[derive(Debug)]
pub struct Journal {
    connection: Connection,
    path: PathBuf,
    pages: PathBuf,
}

impl Journal {
    /// Opens or makes the journal in `folder`.
    pub fn open(folder: &Path) -> Result<Journal, JournalError> {
        make_own_folder(folder).map_err(|error| JournalError::Folder(folder.to_owned(), error))?;
        let path = folder.join("journal.db");
        let connection = schema::open(&path).map_err(|error| JournalError::Database(path.clone(), error))?;
        Ok(Journal { connection, path, pages: folder.join("pages") })
    }

    /// Removes a damaged journal: the next one is recalled from the box.
    pub(crate) fn remove(self) {
        let path = self.path.clone();
        drop(self);
        schema::remove(&path);
    }

    /// Whether what it says of names and numbers is what was written; an error of damage where it isn't. Reads all of that.
    pub(crate) fn check(&self) -> Result<(), JournalError> {
        schema::check(&self.connection).map_err(|error| self.failed(error))
    }

    /// A second connection, for the thread that compares.
    pub(crate) fn reader(&self) -> Result<JournalReader, JournalError> {
        let connection = schema::open_reader(&self.path).map_err(|error| self.failed(error))?;
        Ok(JournalReader::new(connection, self.path.clone(), self.pages.clone()))
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    pub(super) fn failed(&self, error: rusqlite::Error) -> JournalError {
        JournalError::Database(self.path.clone(), error)
    }

    /// How far it has come; `None` for a new one.
    pub fn position(&self) -> Result<Option<Position>, JournalError> {
        let sql = "SELECT vault, point, part, closed FROM position";
        let read = self.connection.query_row(sql, [], |row| {
            let at = PartAt {
                point: coffer_format::PointSeq(row.get::<_, i64>(1)? as u64),
                part: coffer_format::PartNo(row.get(2)?),
            };
            Ok(Position { vault: VaultId(row.get(0)?), at, closed: row.get(3)? })
        });
        read.optional().map_err(|error| self.failed(error))
    }

    /// What the open draft has cost so far.
    pub(crate) fn totals(&self) -> Result<Totals, JournalError> {
        let read = self.connection.query_row(
            "SELECT files, bytes, sent FROM position WHERE closed = 0",
            [],
            |row| {
                let number = |column| row.get::<_, i64>(column).map(|value| value as u64);
                Ok(Totals { files: number(0)?, bytes: number(1)?, sent: number(2)? })
            },
        );
        Ok(read.optional().map_err(|error| self.failed(error))?.unwrap_or_default())
    }

    /// Forgets everything: it will be recalled from the box.
    pub(crate) fn clear(&mut self) -> Result<(), JournalError> {
        let sql = "DELETE FROM position; DELETE FROM nodes; DELETE FROM links; DELETE FROM chunks; DELETE FROM unlinked; DELETE FROM looked; DELETE FROM committed;";
        self.connection
            .execute_batch(&format!("BEGIN; {sql} COMMIT;"))
            .map_err(|error| self.failed(error))?;
        let emptied = make_own_folder(&self.pages).and_then(|()| std::fs::remove_dir_all(&self.pages));
        match emptied {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(JournalError::Folder(self.pages.clone(), error))
            }
            _ => Ok(()),
        }
    }

    /// Takes over what the part at `position` changed. Page signatures first: they name their part themselves.
    pub(crate) fn commit(
        &mut self,
        position: Position,
        totals: Totals,
        changes: &[JournalChange],
    ) -> Result<(), JournalError> {
        for change in changes {
            if let JournalChange::Put(put) = change {
                self.advance_pages(put)?;
            }
        }
        let gone = self.write(changes, Some((position, totals))).map_err(|error| self.failed(error))?;
        self.forget_pages(&gone)
    }

    /// Takes over changes that the box needn't know of.
    pub(crate) fn note(&mut self, changes: &[JournalChange]) -> Result<(), JournalError> {
        self.write(changes, None).map(|_| ()).map_err(|error| self.failed(error))
    }

    /// The box has lost something of these nodes: they're read again, what the box has of them is asked anew, and they're said again
    /// whatever is the same. What has no bytes (folders, links) is lost with the record that named it.
    pub(crate) fn doubt(&mut self, nodes: &[NodeId]) -> Result<(), JournalError> {
        let doubted = |connection: &mut Connection| -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            for node in nodes {
                let update = "UPDATE nodes SET memory = CASE memory WHEN ?4 THEN ?4 ELSE ?2 END, settled = ?3, attrs = ?5 WHERE node = ?1";
                transaction.prepare_cached(update)?.execute(params![
                    node.0,
                    MemoryKind::Unknown.code(),
                    Settled::No.code(),
                    MemoryKind::None.code(),
                    NO_ATTRS
                ])?;
                transaction.prepare_cached("DELETE FROM chunks WHERE node = ?1")?.execute([node.0])?;
            }
            transaction.commit()
        };
        doubted(&mut self.connection).map_err(|error| self.failed(error))?;
        self.forget_pages(nodes)
    }

    /// Takes over operations that the box recalled, up to and with the part at `position`.
    pub(crate) fn recall(&mut self, position: Position, ops: Vec<Recalled>) -> Result<(), JournalError> {
        let changes: Vec<JournalChange> = ops.into_iter().map(|op| recalled(op, position.at)).collect();
        let gone =
            self.write(&changes, Some((position, Totals::default()))).map_err(|error| self.failed(error))?;
        self.forget_pages(&gone)
    }

    fn write(
        &mut self,
        changes: &[JournalChange],
        position: Option<(Position, Totals)>,
    ) -> rusqlite::Result<Vec<NodeId>> {
        let transaction = self.connection.transaction()?;
        for change in changes {
            apply(&transaction, change)?;
        }
        let mut gone = Vec::new();
        if let Some((position, totals)) = position {
            put_position(&transaction, position, totals)?;
            if position.closed {
                gone = collect(&transaction)?;
            }
        }
        transaction.commit()?;
        Ok(gone)
    }

    fn advance_pages(&self, put: &Remembered) -> Result<(), JournalError> {
        let Memory::Pages { changed, size } = &put.memory else { return Ok(()) };
        let (node, at) = (put.known.node, put.known.content);
        let before = self.content_of(node).map_err(|error| self.failed(error))?;
        let existing = before.and_then(|before| PageSignatures::open(&self.pages, node, before));
        let advanced = match existing {
            Some(mut signatures) => signatures.advance(changed, *size, at),
            None => PageSignatures::create(&self.pages, node, *size)
                .and_then(|mut signatures| signatures.advance(changed, *size, at)),
        };
        match advanced {
            // Its file system has no files as large as that: the version is sent whole again once it changes.
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => self.forget_pages(&[node]),
            advanced => advanced.map_err(|error| JournalError::Signatures(node, error)),
        }
    }

    fn content_of(&self, node: NodeId) -> rusqlite::Result<Option<PartAt>> {
        let mut query = self.connection.prepare_cached("SELECT point, part FROM nodes WHERE node = ?")?;
        let at = query.query_row([node.0 as i64], |row| {
            let point = coffer_format::PointSeq(row.get::<_, i64>(0)? as u64);
            Ok(PartAt { point, part: coffer_format::PartNo(row.get(1)?) })
        });
        at.optional()
    }

    fn forget_pages(&self, gone: &[NodeId]) -> Result<(), JournalError> {
        gone.iter().try_for_each(|node| {
            PageSignatures::remove(&self.pages, *node).map_err(|error| JournalError::Signatures(*node, error))
        })
    }
}

fn recalled(op: Recalled, at: PartAt) -> JournalChange {
    match op {
        Recalled::Link { parent, name, node } => JournalChange::Link { parent, name, node },
        Recalled::Unlink { parent, name } => JournalChange::Unlink { parent, name },
        Recalled::Put { node, meta } => {
            let stat = Stat::of_meta(&meta);
            let known = Known {
                node,
                stat,
                attrs: attrs_hash(&meta.attrs),
                sent_size: meta.size,
                memory: MemoryKind::Unknown,
                content: at,
                settled: if meta.ctime_ns == 0 { Settled::No } else { Settled::Whole },
                done: None,
            };
            JournalChange::Put(Box::new(Remembered { known, memory: Memory::Kept }))
        }
    }
}

fn apply(transaction: &Transaction<'_>, change: &JournalChange) -> rusqlite::Result<()> {
    match change {
        JournalChange::Put(put) => apply_put(transaction, put),
        JournalChange::Link { parent, name, node } => {
            unlink(transaction, *parent, name)?;
            let mut insert =
                transaction.prepare_cached("INSERT INTO links (parent, name, node) VALUES (?, ?, ?)")?;
            insert.execute(params![parent.0 as i64, name.as_bytes(), node.0 as i64])?;
            Ok(())
        }
        JournalChange::Unlink { parent, name } => unlink(transaction, *parent, name),
        JournalChange::Distrust { node } => {
            let mut update = transaction.prepare_cached("UPDATE nodes SET settled = ? WHERE node = ?")?;
            update.execute(params![Settled::No.code(), node.0 as i64]).map(drop)
        }
        JournalChange::Mounted { path } => absent::put_mount(transaction, path),
        JournalChange::Volume { path, identity } => volumes::put(transaction, path, identity),
        JournalChange::Strangers { strangers } => volumes::put_strangers(transaction, strangers),
        JournalChange::Reread { day } => transaction
            .prepare_cached("INSERT OR REPLACE INTO reread VALUES (1, ?)")?
            .execute([*day as i64])
            .map(drop),
        JournalChange::Unwanted { path } => absent::remove_mount(transaction, path),
        JournalChange::Absent { paths } => absent::put(transaction, paths),
        JournalChange::Carried { carried } => absent::put_carried(transaction, carried),
        JournalChange::Remarked { remarked } => remarks::put(transaction, remarked),
        JournalChange::Said { said } => remarks::put_said(transaction, said),
    }
}

fn unlink(transaction: &Transaction<'_>, parent: NodeId, name: &Name) -> rusqlite::Result<()> {
    let sql = "DELETE FROM links WHERE parent = ? AND name = ? RETURNING node";
    let mut delete = transaction.prepare_cached(sql)?;
    let node: Option<i64> =
        delete.query_row(params![parent.0 as i64, name.as_bytes()], |row| row.get(0)).optional()?;
    if let Some(node) = node {
        transaction.prepare_cached("INSERT OR IGNORE INTO unlinked VALUES (?)")?.execute([node])?;
    }
    Ok(())
}

fn apply_put(transaction: &Transaction<'_>, put: &Remembered) -> rusqlite::Result<()> {
    let Known { node, stat, attrs, sent_size, memory, content, settled, done } = &put.known;
    let node = node.0 as i64;
    let sql = "INSERT OR REPLACE INTO nodes VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
    transaction.prepare_cached(sql)?.execute(params![
        node,
        stat.kind.code(),
        stat.size as i64,
        stat.mode,
        stat.uid,
        stat.gid,
        stat.mtime_ns,
        stat.ctime_ns,
        stat.btime_ns,
        stat.device as i64,
        stat.inode as i64,
        stat.rdev as i64,
        stat.links as i64,
        stat.kept_bytes as i64,
        attrs,
        *sent_size as i64,
        memory.code(),
        content.point.0 as i64,
        content.part.0,
        settled.code(),
        done.map(|done| done as i64),
    ])?;
    match (&put.memory, memory) {
        (Memory::Chunks(chunks), _) => {
            let list = chunk_list(chunks);
            transaction
                .prepare_cached("INSERT OR REPLACE INTO chunks VALUES (?, ?)")?
                .execute(params![node, list])?;
        }
        (Memory::Kept, MemoryKind::Chunks | MemoryKind::Pages) => {}
        _ => {
            transaction.prepare_cached("DELETE FROM chunks WHERE node = ?")?.execute([node])?;
        }
    }
    Ok(())
}

fn chunk_list(chunks: &[(u32, ChunkId)]) -> Vec<u8> {
    let mut list = Vec::with_capacity(chunks.len() * 36);
    for (len, id) in chunks {
        list.extend_from_slice(&len.to_le_bytes());
        list.extend_from_slice(&id.0);
    }
    list
}

fn put_position(transaction: &Transaction<'_>, position: Position, totals: Totals) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO position VALUES (1, ?, ?, ?, ?, ?, ?, ?)";
    transaction.prepare_cached(sql)?.execute(params![
        position.vault.0,
        position.at.point.0 as i64,
        position.at.part.0,
        position.closed,
        totals.files as i64,
        totals.bytes as i64,
        totals.sent as i64,
    ])?;
    Ok(())
}

/// Forgets nodes that no name leads to any more, and everything below them.
fn collect(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<NodeId>> {
    let mut gone = Vec::new();
    let next = "DELETE FROM unlinked WHERE node = (SELECT node FROM unlinked LIMIT 1) RETURNING node";
    loop {
        let node: Option<i64> =
            transaction.prepare_cached(next)?.query_row([], |row| row.get(0)).optional()?;
        let Some(node) = node else { return Ok(gone) };
        let linked =
            transaction.prepare_cached("SELECT 1 FROM links WHERE node = ? LIMIT 1")?.exists([node])?;
        if linked {
            continue;
        }
        let children = "INSERT OR IGNORE INTO unlinked SELECT node FROM links WHERE parent = ?";
        for sql in [children, "DELETE FROM links WHERE parent = ?", "DELETE FROM chunks WHERE node = ?"] {
            transaction.prepare_cached(sql)?.execute([node])?;
        }
        transaction.prepare_cached("DELETE FROM nodes WHERE node = ?")?.execute([node])?;
        gone.push(NodeId(node as u64));
    }
}
