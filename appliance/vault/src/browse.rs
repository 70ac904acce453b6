//! Looking at history: points, directories at a point, versions of a path, finding names.

use coffer_format::entry::{self, RemarkKind};
use coffer_format::node::NodeKind;
use coffer_format::wire::RefusalCode;
use coffer_format::{ConfigId, Lsn, NodeId, PointSeq, limits, to_bytes};
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use crate::catalog::ALIVE;
use crate::lost_found;
use crate::marking::Harm;
use crate::reading::Reading;
use crate::{Result, VaultError};

/// A closed restore point. Times are milliseconds since 1970-01-01 UTC; `closed_ms` is the vault's clock.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    pub config: u32,
    pub point: u64,
    pub closed_ms: u64,
    pub captured_ms: u64,
    pub consistency: &'static str,
    pub files: u64,
    /// Bytes that changed, were sent (compressed), and were stored (sealed, after deduplication).
    pub bytes: u64,
    pub sent: u64,
    pub stored: u64,
    pub report_lines: u64,
    /// When the last of what its restore needs was read back; `None` where some of it wasn't yet.
    pub read_back_ms: Option<u64>,
}

/// One thing that a capture had to say of a path; an empty path: of all.
#[derive(Debug, Clone, Serialize)]
pub struct Remark {
    /// What it's about: `missing`, `unread`, `locked`, `changed`, `partial`, `application`, `no_snapshot`, `elsewhere`, `more`, or `other`.
    pub kind: &'static str,
    pub path: String,
    pub what: String,
}

/// One name in a directory at a point. Size in bytes.
#[derive(Debug, Clone, Serialize)]
pub struct Listing {
    pub path: String,
    #[serde(skip)]
    pub name: Vec<u8>,
    #[serde(serialize_with = "as_name")]
    pub kind: NodeKind,
    pub size: u64,
    pub mtime_ns: i64,
    #[serde(skip)]
    pub node: NodeId,
    /// The point that made this version.
    pub since: u64,
    /// The folder it's in, and the point that put it there under this name.
    #[serde(skip)]
    pub parent: NodeId,
    #[serde(skip)]
    pub linked: PointSeq,
    /// What known damage does to it, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub harm: Option<Harm>,
}

/// A version of a path, from point `since` on (until `until`, if it isn't so any more).
#[derive(Debug, Clone, Serialize)]
pub struct Version {
    pub since: u64,
    pub until: Option<u64>,
    pub closed_ms: u64,
    pub kind: &'static str,
    pub size: u64,
    pub mtime_ns: i64,
    #[serde(skip)]
    pub node: NodeId,
    /// What known damage does to it, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub harm: Option<Harm>,
}

/// What is kept of a node at a point.
#[derive(Debug, Clone, Copy)]
pub struct NodeAt {
    pub node: NodeId,
    pub kind: NodeKind,
    pub size: u64,
    pub mtime_ns: i64,
    pub since: PointSeq,
    /// The folder it was found in, and the point that put it there under that name.
    pub parent: NodeId,
    pub linked: PointSeq,
}

impl From<&Listing> for NodeAt {
    fn from(of: &Listing) -> NodeAt {
        let Listing { node, kind, size, mtime_ns, since, parent, linked, .. } = *of;
        NodeAt { node, kind, size, mtime_ns, since: PointSeq(since), parent, linked }
    }
}

fn as_name<S: serde::Serializer>(kind: &NodeKind, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(kind_name(*kind))
}

pub(crate) fn kind_name(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::File => "file",
        NodeKind::Directory => "directory",
        NodeKind::Symlink => "symlink",
        NodeKind::Fifo => "fifo",
        NodeKind::Socket => "socket",
        NodeKind::CharDevice => "character device",
        NodeKind::BlockDevice => "block device",
    }
}

fn consistency_name(code: u8) -> &'static str {
    match code {
        1 => "application",
        2 => "crash",
        4 => "quiet",
        _ => "per file",
    }
}

/// Splits a path into its names.
pub fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".")
}

impl Reading {
    /// Closed points of a configuration that retention keeps, newest first.
    pub fn points(&self, config: ConfigId) -> Result<Vec<Point>> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT point, closed_ms, captured_ms, consistency, files, bytes, sent, stored, report_lines, ms
                 FROM points LEFT JOIN point_dates USING (config, point) WHERE config = ?1 AND closed_ms IS NOT NULL AND expired_ms IS NULL ORDER BY point DESC",
            )?;
            let rows = query.query_map([config.0], |row| {
                Ok(Point {
                    config: config.0,
                    point: row.get(0)?,
                    closed_ms: row.get(1)?,
                    captured_ms: row.get(2)?,
                    consistency: consistency_name(row.get(3)?),
                    files: row.get(4)?,
                    bytes: row.get(5)?,
                    sent: row.get(6)?,
                    stored: row.get(7)?,
                    report_lines: row.get(8)?,
                    read_back_ms: row.get(9)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// What the vault's clock showed when the newest record was written; 0 where there's none that can be read.
    pub fn newest_record_ms(&self) -> Result<u64> {
        let newest = self.readers.with(crate::catalog::applied)?;
        match self.entry(newest) {
            Ok(entry) => Ok(entry.vault_ms),
            Err(VaultError::Damaged { .. } | VaultError::NotOnDisk(_) | VaultError::Decode(_)) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Whether the newest point of a configuration holds any file.
    pub fn holds_files(&self, config: ConfigId) -> Result<bool> {
        self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT 1 FROM versions WHERE config = ?1 AND kind = ?2 AND until = ?3 LIMIT 1",
            )?;
            Ok(query.exists(params![config.0, to_bytes(&NodeKind::File)[0], ALIVE])?)
        })
    }

    /// What a point's capture had to say: at most as many lines as an agent may send.
    pub fn report(&self, config: ConfigId, point: PointSeq) -> Result<Vec<Remark>> {
        self.check_point(config, point)?;
        let lsn = self.readers.with(|db| {
            let mut query = db.prepare_cached("SELECT lsn FROM points WHERE config = ?1 AND point = ?2")?;
            Ok(query.query_row(params![config.0, point.0], |row| Ok(Lsn(row.get(0)?)))?)
        })?;
        let entry = self.entry(lsn)?;
        let Some(end) = entry.body.point_end() else { return Ok(Vec::new()) };
        let remark = |one: entry::Remark| Remark {
            kind: remark_name(one.kind),
            path: String::from_utf8_lossy(&one.path.0).into_owned(),
            what: one.what,
        };
        let mut remarks = end.remarks;
        // What is missing altogether first.
        remarks.sort_by_key(|one| one.kind);
        Ok(remarks.into_iter().map(remark).collect())
    }

    /// The point to show for a time: the newest that was closed then; `None` asks for the newest of all.
    pub fn point_at(&self, config: ConfigId, at_ms: Option<u64>) -> Result<PointSeq> {
        let points = self.points(config)?;
        let found = points.iter().find(|point| at_ms.is_none_or(|at| point.closed_ms <= at));
        let none = if points.is_empty() {
            "there's no restore point yet"
        } else {
            "there's no restore point that early"
        };
        found.map(|point| PointSeq(point.point)).ok_or_else(|| no_point(none))
    }

    /// Fails unless that point is closed and kept.
    pub fn check_point(&self, config: ConfigId, point: PointSeq) -> Result<()> {
        let known = self.readers.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT 1 FROM points WHERE config = ?1 AND point = ?2 AND closed_ms IS NOT NULL AND expired_ms IS NULL",
            )?;
            Ok(query.exists(params![config.0, point.0])?)
        })?;
        if known {
            Ok(())
        } else {
            Err(no_point(&format!("point {point} doesn't exist or is no longer kept")))
        }
    }

    /// The node that a path is at a point.
    pub fn lookup(&self, config: ConfigId, point: PointSeq, path: &[u8]) -> Result<NodeAt> {
        self.readers.with(|db| {
            let not_there = || match lost_found::is_doubtful(db, config, point) {
                Ok(is_doubtful) => no_path(path, is_doubtful),
                Err(error) => error,
            };
            let (mut node, mut parent, mut linked) = (NodeId::ROOT, NodeId::ROOT, PointSeq(0));
            let mut stray = None;
            for name in components(path) {
                if let Some((next, since)) = named_in(db, config, point, node, name)? {
                    (parent, node, linked, stray) = (node, next, since, None);
                    continue;
                }
                let found = stray_in(db, config, point, node, name)?.ok_or_else(not_there)?;
                (parent, node, linked) = (node, found.node, found.linked);
                stray = Some(NodeAt::from(&found));
            }
            let found = match stray {
                Some(stray) => stray,
                None => node_at(db, config, point, node)?.ok_or_else(not_there)?,
            };
            Ok(NodeAt { parent, linked, ..found })
        })
    }

    /// What is in a directory at a point, by name.
    pub fn list(&self, config: ConfigId, point: PointSeq, directory: NodeId) -> Result<Vec<Listing>> {
        self.readers.with(|db| {
            if directory == lost_found::NODE {
                return lost_found::strays(db, config, point);
            }
            let mut query = db.prepare_cached(
                "SELECT files.name, files.node, kind, size, mtime_ns, versions.since, files.since FROM files
                 LEFT JOIN versions ON versions.config = files.config AND versions.node = files.node
                   AND versions.since <= ?3 AND versions.until > ?3
                 WHERE files.config = ?1 AND parent = ?2 AND files.since <= ?3 AND files.until > ?3 ORDER BY files.name",
            )?;
            let rows = query.query_map(params![config.0, directory.0, point.0], |row| {
                let name: Vec<u8> = row.get(0)?;
                // A name whose version can't be found is a name all the same: whoever wants it must hear that it can't be had.
                let kind = row.get::<_, Option<u8>>(2)?.and_then(NodeKind::from_code);
                Ok(Listing {
                    path: String::from_utf8_lossy(&name).into_owned(),
                    name,
                    node: NodeId(row.get(1)?),
                    kind: kind.unwrap_or(NodeKind::File),
                    size: row.get::<_, Option<u64>>(3)?.unwrap_or(0),
                    mtime_ns: row.get::<_, Option<i64>>(4)?.unwrap_or(0),
                    since: row.get::<_, Option<u64>>(5)?.unwrap_or(0),
                    parent: directory,
                    linked: PointSeq(row.get(6)?),
                    harm: None,
                })
            })?;
            let mut listed: Vec<Listing> = rows.collect::<rusqlite::Result<_>>()?;
            if directory == NodeId::ROOT && listed.iter().all(|one| one.path != lost_found::NAME) {
                listed.extend(lost_found::folder(db, config, point)?);
            }
            Ok(listed)
        })
    }

    /// Calls `visit` for everything below a directory, parents before children. Depth is bounded by the length of a path.
    pub fn walk(
        &self,
        config: ConfigId,
        point: PointSeq,
        from: NodeId,
        visit: &mut dyn FnMut(&[u8], &Listing) -> Result<()>,
    ) -> Result<()> {
        let mut waiting = vec![(from, Vec::new())];
        while let Some((directory, path)) = waiting.pop() {
            for listing in self.list(config, point, directory)? {
                let mut below: Vec<u8> = path.clone();
                if !below.is_empty() {
                    below.push(b'/');
                }
                below.extend_from_slice(&listing.name);
                visit(&below, &listing)?;
                if listing.kind == NodeKind::Directory && below.len() < limits::PATH_MAX {
                    waiting.push((listing.node, below));
                }
            }
        }
        Ok(())
    }

    /// All versions of a path in kept points, newest first, also where the path was something else for a while.
    pub fn versions(&self, config: ConfigId, path: &[u8]) -> Result<Vec<Version>> {
        self.readers.with(|db| {
            let mut spans = vec![(NodeId::ROOT, 0, ALIVE)];
            for name in components(path) {
                spans = spans_below(db, config, &spans, name)?;
            }
            let mut versions = Vec::new();
            for (node, from, to) in spans {
                versions_in(db, config, node, from, to, &mut versions)?;
            }
            if versions.is_empty() {
                return Err(no_path(path, false));
            }
            versions.sort_by_key(|version| std::cmp::Reverse(version.since));
            Ok(versions)
        })
    }
}

/// What a folder has under a name, and the point that put it there.
fn named_in(
    db: &Connection,
    config: ConfigId,
    point: PointSeq,
    folder: NodeId,
    name: &[u8],
) -> Result<Option<(NodeId, PointSeq)>> {
    if folder == lost_found::NODE {
        return Ok(None);
    }
    let mut query = db.prepare_cached(
        "SELECT node, since FROM files WHERE config = ?1 AND parent = ?2 AND name = ?3 AND since <= ?4 AND until > ?4",
    )?;
    let found = query.query_row(params![config.0, folder.0, name, point.0], |row| {
        Ok((NodeId(row.get(0)?), PointSeq(row.get(1)?)))
    });
    Ok(found.optional()?)
}

/// The same of what nothing leads to any more.
fn stray_in(
    db: &Connection,
    config: ConfigId,
    point: PointSeq,
    folder: NodeId,
    name: &[u8],
) -> Result<Option<Listing>> {
    Ok(match folder {
        NodeId::ROOT if name == lost_found::NAME.as_bytes() => lost_found::folder(db, config, point)?,
        lost_found::NODE => {
            lost_found::strays(db, config, point)?.into_iter().find(|stray| stray.name == name)
        }
        _ => None,
    })
}

fn node_at(db: &Connection, config: ConfigId, point: PointSeq, node: NodeId) -> Result<Option<NodeAt>> {
    let mut query = db.prepare_cached(
        "SELECT kind, size, mtime_ns, since FROM versions WHERE config = ?1 AND node = ?2 AND since <= ?3 AND until > ?3",
    )?;
    let found = query.query_row(params![config.0, node.0, point.0], |row| {
        let kind = NodeKind::from_code(row.get(0)?).unwrap_or(NodeKind::File);
        let since = PointSeq(row.get(3)?);
        let (parent, linked) = (NodeId::ROOT, PointSeq(0));
        Ok(NodeAt { node, kind, size: row.get(1)?, mtime_ns: row.get(2)?, since, parent, linked })
    });
    // The root needs no version of its own.
    let root = NodeAt {
        node,
        kind: NodeKind::Directory,
        size: 0,
        mtime_ns: 0,
        since: PointSeq(0),
        parent: NodeId::ROOT,
        linked: PointSeq(0),
    };
    Ok(found.optional()?.or_else(|| (node == NodeId::ROOT).then_some(root)))
}

type Span = (NodeId, i64, i64);

/// Which nodes a name in those directories was, and when.
fn spans_below(db: &Connection, config: ConfigId, spans: &[Span], name: &[u8]) -> Result<Vec<Span>> {
    let mut query = db.prepare_cached(
        "SELECT node, since, until FROM files WHERE config = ?1 AND parent = ?2 AND name = ?3",
    )?;
    let mut below = Vec::new();
    for (parent, from, to) in spans {
        let rows = query.query_map(params![config.0, parent.0, name], |row| {
            Ok((NodeId(row.get(0)?), row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        })?;
        for row in rows {
            let (node, since, until) = row?;
            let (since, until) = (since.max(*from), until.min(*to));
            if since < until {
                below.push((node, since, until));
            }
        }
    }
    Ok(below)
}

fn versions_in(
    db: &Connection,
    config: ConfigId,
    node: NodeId,
    from: i64,
    to: i64,
    out: &mut Vec<Version>,
) -> Result<()> {
    let mut query = db.prepare_cached(
        "SELECT MAX(v.since, ?3), v.until, v.kind, v.size, v.mtime_ns, (SELECT closed_ms FROM points
           WHERE points.config = ?1 AND points.point >= MAX(v.since, ?3) AND closed_ms IS NOT NULL AND expired_ms IS NULL
           AND points.point < MIN(v.until, ?4) ORDER BY points.point LIMIT 1)
         FROM versions v WHERE v.config = ?1 AND v.node = ?2 AND v.since < ?4 AND v.until > ?3",
    )?;
    let rows = query.query_map(params![config.0, node.0, from, to], |row| {
        let until: i64 = row.get(1)?;
        let until = until.min(to);
        let closed_ms: Option<u64> = row.get(5)?;
        Ok(closed_ms.map(|closed_ms| {
            Ok::<_, rusqlite::Error>(Version {
                since: row.get(0)?,
                until: (until != ALIVE).then_some(until as u64),
                closed_ms,
                kind: kind_name(NodeKind::from_code(row.get(2)?).unwrap_or(NodeKind::File)),
                size: row.get(3)?,
                mtime_ns: row.get(4)?,
                node,
                harm: None,
            })
        }))
    })?;
    for row in rows {
        if let Some(version) = row? {
            out.push(version?);
        }
    }
    Ok(())
}

fn no_point(sentence: &str) -> VaultError {
    VaultError::refused(RefusalCode::NoSuchPoint, format!("{sentence}: `coffer points` lists what there is"))
}

fn no_path(path: &[u8], is_doubtful: bool) -> VaultError {
    let path = String::from_utf8_lossy(path);
    VaultError::refused(RefusalCode::NoSuchPath, format!("{path} {}", not_there(is_doubtful)))
}

/// What is said of a path that a point doesn't have. `is_doubtful`: metadata from before it is missing.
pub(crate) fn not_there(is_doubtful: bool) -> String {
    let lost = format!(
        ". Metadata from before that point is missing, though, so it may have been: what nothing leads to any more is in /{}",
        lost_found::NAME
    );
    let lost = if is_doubtful { lost } else { String::new() };
    format!("isn't there at that point: `coffer ls` shows what is, `coffer versions` shows when it was{lost}")
}

fn remark_name(kind: RemarkKind) -> &'static str {
    match kind {
        RemarkKind::Missing => "missing",
        RemarkKind::Unread => "unread",
        RemarkKind::Locked => "locked",
        RemarkKind::Changed => "changed",
        RemarkKind::Partial => "partial",
        RemarkKind::Application => "application",
        RemarkKind::NoSnapshot => "no_snapshot",
        RemarkKind::Elsewhere => "elsewhere",
        RemarkKind::More => "more",
        RemarkKind::Other => "other",
    }
}
