//! Whether a name is one that a record gave: a restore writes nothing under a name that only the catalog knows.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use coffer_format::entry::Body;
use coffer_format::op::Op;
use coffer_format::{ConfigId, Lsn, NodeId, PointSeq};
use rusqlite::params;

use crate::Result;
use crate::provable::readable;
use crate::reading::Reading;

/// Parts whose names are kept at hand.
const PARTS_MAX: usize = 32;

/// A name, and what it names.
pub(super) struct Link<'a> {
    pub(super) parent: NodeId,
    pub(super) name: &'a [u8],
    pub(super) node: NodeId,
}

/// The names that parts give.
#[derive(Default)]
pub(super) struct Names {
    points: HashMap<PointSeq, Parts>,
    /// What each part links, as numbers that stand for it; nothing where it can't be read.
    links: VecDeque<(Lsn, Option<HashSet<u64>>)>,
}

/// The parts of a point, in order, and which of them had the last name.
struct Parts {
    all: Arc<Vec<Lsn>>,
    last: usize,
}

impl Names {
    /// Whether a part of that point gives that name; `None` where a part that may do so can't be read. It's looked for at `near` first.
    pub(super) fn is_linked(
        &mut self,
        reading: &Arc<Reading>,
        config: ConfigId,
        point: PointSeq,
        near: Lsn,
        link: &Link<'_>,
    ) -> Result<Option<bool>> {
        let (all, last) = match self.points.get(&point) {
            Some(parts) => (Arc::clone(&parts.all), parts.last),
            None => (Arc::new(parts(reading, config, point)?), 0),
        };
        let first = all.binary_search(&near).unwrap_or(last);
        let wanted = number_of(link.parent, link.name, link.node);
        let (mut is_unreadable, mut found) = (false, None);
        // What belongs together lies together: from there on and round.
        for at in (first..all.len()).chain(0..first.min(all.len())) {
            match self.links_of(reading, all[at])? {
                Some(links) if links.contains(&wanted) => {
                    found = Some(at);
                    break;
                }
                Some(_) => {}
                None => is_unreadable = true,
            }
        }
        self.points.insert(point, Parts { all, last: found.unwrap_or(last) });
        Ok(if found.is_some() || !is_unreadable { Some(found.is_some()) } else { None })
    }

    fn links_of(&mut self, reading: &Arc<Reading>, lsn: Lsn) -> Result<Option<&HashSet<u64>>> {
        let at = match self.links.iter().position(|(of, _)| *of == lsn) {
            Some(at) => {
                let found = self.links.remove(at).expect("position is in range");
                self.links.push_back(found);
                self.links.len() - 1
            }
            None => {
                if self.links.len() >= PARTS_MAX {
                    self.links.pop_front();
                }
                self.links.push_back((lsn, read_links(reading, lsn)?));
                self.links.len() - 1
            }
        };
        Ok(self.links[at].1.as_ref())
    }
}

fn parts(reading: &Reading, config: ConfigId, point: PointSeq) -> Result<Vec<Lsn>> {
    reading.readers.with(|db| {
        let mut query =
            db.prepare_cached("SELECT lsn FROM parts WHERE config = ?1 AND point = ?2 ORDER BY part")?;
        let rows = query.query_map(params![config.0, point.0], |row| Ok(Lsn(row.get(0)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    })
}

fn read_links(reading: &Arc<Reading>, lsn: Lsn) -> Result<Option<HashSet<u64>>> {
    let Some(entry) = readable(reading.entry(lsn))? else { return Ok(None) };
    let Body::Part { ops, .. } = &entry.body else { return Ok(Some(HashSet::new())) };
    let links = ops.iter().filter_map(|op| match op {
        Op::Link { parent, name, node } => Some(number_of(*parent, name.as_bytes(), *node)),
        _ => None,
    });
    Ok(Some(links.collect()))
}

/// Stands for a name: two that differ have the same number as rarely as chance has it.
fn number_of(parent: NodeId, name: &[u8], node: NodeId) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&parent.0.to_le_bytes()).update(&node.0.to_le_bytes()).update(name);
    let mut number = [0; 8];
    number.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(number)
}
