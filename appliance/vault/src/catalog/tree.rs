//! How the operations of a part change names and versions. `point` is the part's point.

use coffer_format::node::NodeMeta;
use coffer_format::op::{Content, MapBody, Op};
use coffer_format::{ConfigId, Locator, Lsn, NodeId, PointSeq};
use rusqlite::{Connection, OptionalExtension, params};

use super::ALIVE;
use crate::Result;

/// The newest version of a node, drafts included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) size: u64,
    pub(crate) chain: Option<ChainEnd>,
}

/// Where a version's map is, and its place in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChainEnd {
    pub(crate) at: Locator,
    pub(crate) ordinal: u32,
    /// Ranges in the full map that the chain starts from.
    pub(crate) full_ranges: u64,
}

pub(crate) fn find_head(db: &Connection, config: ConfigId, node: NodeId) -> Result<Option<Head>> {
    let mut query = db.prepare_cached(
        "SELECT size, map_lsn, map_op, ordinal, full_ranges FROM versions
         WHERE config = ?1 AND node = ?2 ORDER BY since DESC LIMIT 1",
    )?;
    let head = query.query_row(params![config.0, node.0], |row| {
        let chain = match row.get::<_, Option<u64>>(1)? {
            None => None,
            Some(lsn) => Some(ChainEnd {
                at: Locator { lsn: Lsn(lsn), op: row.get(2)? },
                ordinal: row.get(3)?,
                full_ranges: row.get(4)?,
            }),
        };
        Ok(Head { size: row.get(0)?, chain })
    });
    Ok(head.optional()?)
}

pub(super) fn apply_op(
    db: &Connection,
    config: ConfigId,
    point: PointSeq,
    at: Locator,
    op: &Op,
) -> Result<()> {
    match op {
        Op::Put { node, meta, content } => put(db, config, point, at, *node, meta, content),
        Op::Link { parent, name, node } => {
            unlink(db, config, point, *parent, name.as_bytes())?;
            db.prepare_cached("INSERT OR REPLACE INTO files VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
                .execute(params![config.0, parent.0, name.as_bytes(), point.0, ALIVE, node.0])?;
            // A node that lost its last name earlier in this point lives on: it was moved. Only its newest version
            // does: one that a later step of this point replaced has ended.
            db.prepare_cached(
                "UPDATE versions SET until = ?4 WHERE config = ?1 AND node = ?2 AND until = ?3
                 AND since = (SELECT MAX(since) FROM versions WHERE config = ?1 AND node = ?2)",
            )?
            .execute(params![config.0, node.0, point.0, ALIVE])?;
            Ok(())
        }
        Op::Unlink { parent, name } => unlink(db, config, point, *parent, name.as_bytes()),
    }
}

fn unlink(db: &Connection, config: ConfigId, point: PointSeq, parent: NodeId, name: &[u8]) -> Result<()> {
    let mut find = db.prepare_cached(
        "SELECT since, node FROM files WHERE config = ?1 AND parent = ?2 AND name = ?3 AND until = ?4",
    )?;
    let found =
        find.query_row(params![config.0, parent.0, name, ALIVE], |row| Ok((row.get(0)?, row.get(1)?)));
    let Some((since, node)) = found.optional()?.map(|(since, node): (u64, u64)| (since, node)) else {
        return Ok(());
    };
    let sql = match since == point.0 {
        true => "DELETE FROM files WHERE config = ?1 AND parent = ?2 AND name = ?3 AND since = ?4",
        false => "UPDATE files SET until = ?5 WHERE config = ?1 AND parent = ?2 AND name = ?3 AND since = ?4",
    };
    let mut end = db.prepare_cached(sql)?;
    match since == point.0 {
        true => end.execute(params![config.0, parent.0, name, since])?,
        false => end.execute(params![config.0, parent.0, name, since, point.0])?,
    };
    let mut other =
        db.prepare_cached("SELECT 1 FROM files WHERE config = ?1 AND node = ?2 AND until = ?3 LIMIT 1")?;
    if !other.exists(params![config.0, node, ALIVE])? {
        db.prepare_cached("UPDATE versions SET until = ?3 WHERE config = ?1 AND node = ?2 AND until = ?4")?
            .execute(params![config.0, node, point.0, ALIVE])?;
    }
    Ok(())
}

fn put(
    db: &Connection,
    config: ConfigId,
    point: PointSeq,
    at: Locator,
    node: NodeId,
    meta: &NodeMeta,
    content: &Content,
) -> Result<()> {
    let chain = chain_end(db, config, node, at, content)?;
    db.prepare_cached(
        "UPDATE versions SET until = ?3 WHERE config = ?1 AND node = ?2 AND until = ?4 AND since < ?3",
    )?
    .execute(params![config.0, node.0, point.0, ALIVE])?;
    db.prepare_cached(
        "INSERT OR REPLACE INTO versions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?
    .execute(params![
        config.0,
        node.0,
        point.0,
        ALIVE,
        meta.kind.code(),
        meta.size,
        meta.mtime_ns,
        at.lsn.0,
        at.op,
        chain.map(|chain| chain.at.lsn.0),
        chain.map(|chain| chain.at.op),
        chain.map(|chain| chain.ordinal),
        chain.map(|chain| chain.full_ranges),
    ])?;
    Ok(())
}

/// Where the version that `content` makes has its map.
fn chain_end(
    db: &Connection,
    config: ConfigId,
    node: NodeId,
    at: Locator,
    content: &Content,
) -> Result<Option<ChainEnd>> {
    Ok(match content {
        Content::None => None,
        Content::Same { .. } => find_head(db, config, node)?.and_then(|head| head.chain),
        Content::Map { ordinal: 0, body, .. } => {
            let full_ranges = match body {
                MapBody::Inline { map } => map.ranges.len() as u64,
                MapBody::Pages { pages, .. } => (pages.len() * coffer_format::limits::PAGE_RANGES_MAX) as u64,
            };
            Some(ChainEnd { at, ordinal: 0, full_ranges })
        }
        Content::Map { ordinal, .. } => {
            let full_ranges =
                find_head(db, config, node)?.and_then(|head| head.chain).map_or(0, |chain| chain.full_ranges);
            Some(ChainEnd { at, ordinal: *ordinal, full_ranges })
        }
    })
}
