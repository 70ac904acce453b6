//! What nothing leads to any more: where the metadata that says how folders are called is missing, what lies in them is given in a folder
//! of its own, each by its number.

use std::collections::BTreeSet;

use coffer_format::node::NodeKind;
use coffer_format::{ConfigId, Lsn, NodeId, PointSeq};
use rusqlite::{Connection, OptionalExtension, params};

use crate::Result;
use crate::browse::{Listing, NodeAt};
use crate::catalog;

/// The folder at the root of a point. `#N` in it is a folder, or something in none, whose name is lost; N is its number as a node.
pub const NAME: &str = "coffer-lost+found";
/// Stands for that folder. A node of that number is never looked for in the catalog.
pub(crate) const NODE: NodeId = NodeId(u64::MAX);

/// Whether a folder is given that no record tells of: that one, or one whose own record is missing.
pub(crate) fn is_stand_in(node: &NodeAt) -> bool {
    node.node == NODE
        || node.kind == NodeKind::Directory && node.since == PointSeq(0) && node.node != NodeId::ROOT
}

/// The folder itself, where a point has it.
pub(crate) fn folder(db: &Connection, config: ConfigId, point: PointSeq) -> Result<Option<Listing>> {
    let is_there = !strays(db, config, point)?.is_empty();
    Ok(is_there.then(|| stray(NAME.to_owned(), NODE, NodeId::ROOT)))
}

/// What is in it. Looks at all names and versions of the point where metadata from before it is missing; elsewhere nothing is.
pub(crate) fn strays(db: &Connection, config: ConfigId, point: PointSeq) -> Result<Vec<Listing>> {
    if !is_doubtful(db, config, point)? {
        return Ok(Vec::new());
    }
    let numbers = |sql: &str| -> Result<BTreeSet<u64>> {
        let mut query = db.prepare_cached(sql)?;
        let rows = query.query_map(params![config.0, point.0], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    };
    let mut nameless =
        numbers("SELECT DISTINCT parent FROM files WHERE config = ?1 AND since <= ?2 AND until > ?2")?;
    nameless
        .append(&mut numbers("SELECT node FROM versions WHERE config = ?1 AND since <= ?2 AND until > ?2")?);
    nameless.remove(&NodeId::ROOT.0);
    let mut named =
        db.prepare_cached("SELECT node FROM files WHERE config = ?1 AND since <= ?2 AND until > ?2")?;
    let mut rows = named.query(params![config.0, point.0])?;
    while let Some(row) = rows.next()? {
        nameless.remove(&row.get(0)?);
    }
    nameless.into_iter().map(|node| stray_of(db, config, point, NodeId(node))).collect()
}

/// Whether metadata from before a point is missing that its computer hasn't compared everything without.
pub(crate) fn is_doubtful(db: &Connection, config: ConfigId, point: PointSeq) -> Result<bool> {
    let mut query = db.prepare_cached("SELECT lsn FROM points WHERE config = ?1 AND point = ?2")?;
    let lsn = query.query_row(params![config.0, point.0], |row| Ok(Lsn(row.get(0)?))).optional()?;
    lsn.map_or(Ok(false), |lsn| catalog::goes_by_others(db, config, lsn))
}

fn stray_of(db: &Connection, config: ConfigId, point: PointSeq, node: NodeId) -> Result<Listing> {
    let name = format!("#{}", node.0);
    let mut query = db.prepare_cached(
        "SELECT kind, size, mtime_ns, since FROM versions WHERE config = ?1 AND node = ?2 AND since <= ?3 AND until > ?3",
    )?;
    let found = query.query_row(params![config.0, node.0, point.0], |row| {
        Ok(Listing {
            kind: NodeKind::from_code(row.get(0)?).unwrap_or(NodeKind::File),
            size: row.get(1)?,
            mtime_ns: row.get(2)?,
            since: row.get(3)?,
            ..stray(name.clone(), node, NODE)
        })
    });
    Ok(found.optional()?.unwrap_or_else(|| stray(name.clone(), node, NODE)))
}

/// A folder of which nothing but its number is known.
fn stray(path: String, node: NodeId, parent: NodeId) -> Listing {
    Listing {
        name: path.clone().into_bytes(),
        path,
        kind: NodeKind::Directory,
        size: 0,
        mtime_ns: 0,
        node,
        since: 0,
        parent,
        linked: PointSeq(0),
        harm: None,
    }
}
