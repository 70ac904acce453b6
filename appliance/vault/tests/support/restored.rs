//! What a restore gives, put together as an agent would, and compared with the model.

use std::collections::BTreeMap;
use std::sync::Arc;

use coffer_format::chunk::{ChunkEntry, Compression};
use coffer_format::node::NodeKind;
use coffer_format::wire::{LeftOut, LeftOutWhy, Message};
use coffer_format::{Blob, ChunkId, ConfigId, NodeId, PointSeq, SegmentId};
use coffer_vault::restore::Wanted;
use coffer_vault::{Reading, Result, VaultError};

use super::tree::{Object, Paths};

/// A restored object by its path; `link` is the path of an earlier name of the same file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restored {
    pub(crate) kind: NodeKind,
    pub(crate) bytes: Vec<u8>,
    pub(crate) mtime_ns: i64,
    pub(crate) link: Option<Vec<u8>>,
}

/// All of it, or an error where anything is left out.
pub(crate) fn restore(reading: &Arc<Reading>, wanted: &Wanted) -> Result<BTreeMap<Vec<u8>, Restored>> {
    let (found, left_out) = restore_all_there_is(reading, wanted)?;
    match left_out.into_values().next() {
        None => Ok(found),
        Some(one) if one.why == LeftOutWhy::Away => Err(VaultError::NotOnDisk(Vec::new())),
        Some(one) => Err(VaultError::Damaged { segment: SegmentId(0), offset: 0, what: one.what }),
    }
}

/// What comes, and what's left out, by path.
pub(crate) type Come = (BTreeMap<Vec<u8>, Restored>, BTreeMap<Vec<u8>, LeftOut>);

/// As much as can be had.
pub(crate) fn restore_all_there_is(reading: &Arc<Reading>, wanted: &Wanted) -> Result<Come> {
    let mut left_out = BTreeMap::new();
    let mut gone: Vec<u32> = Vec::new();
    let mut paths: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    let mut found: BTreeMap<Vec<u8>, Restored> = BTreeMap::new();
    let done = reading.restore(wanted, &mut |message| {
        match message {
            Message::RestoreNodes { nodes } => {
                for node in nodes {
                    let is_next = paths.last_key_value().is_none_or(|(last, _)| *last < node.index);
                    assert!(is_next, "nodes are numbered in order");
                    let link = node.hard_link_to.map(|index| paths[&index].clone());
                    let bytes = match &link {
                        Some(link) => found[link].bytes.clone(),
                        None => vec![0; node.meta.size as usize],
                    };
                    let one = Restored { kind: node.meta.kind, bytes, mtime_ns: node.meta.mtime_ns, link };
                    assert!(found.insert(node.path.0.clone(), one).is_none(), "a path comes once");
                    paths.insert(node.index, node.path.0);
                }
            }
            Message::RestorePack { compression, raw_len, placements, payload } => {
                let raw = unpacked(compression, raw_len, payload);
                for place in placements {
                    let part = &raw[place.offset as usize..(place.offset + place.len) as usize];
                    let file = found.get_mut(&paths[&place.index]).unwrap();
                    file.bytes[place.at as usize..][..part.len()].copy_from_slice(part);
                }
            }
            Message::RestoreLeftOut { files } => {
                for one in files {
                    gone.extend(one.index);
                    assert!(left_out.insert(one.path.0.clone(), one).is_none(), "a path is left out once");
                }
            }
            Message::RestoreBatchEnd => {}
            other => panic!("a restore sent {other:?}"),
        }
        Ok(())
    })?;
    for index in &gone {
        found.remove(&paths[index]);
    }
    assert_eq!(done.nodes as usize, paths.len() - gone.len());
    assert_eq!(done.left_out as usize, left_out.len());
    // A later name may have been sent before its bytes were: links share them at the end.
    let links: Vec<_> =
        found.iter().filter_map(|(path, one)| Some((path.clone(), one.link.clone()?))).collect();
    for (path, link) in links {
        match found.get(&link).map(|first| first.bytes.clone()) {
            Some(bytes) => found.get_mut(&path).unwrap().bytes = bytes,
            None => drop(found.remove(&path)),
        }
    }
    Ok((found, left_out))
}

fn unpacked(compression: Compression, raw_len: u32, payload: Blob) -> Vec<u8> {
    let raw = match compression {
        Compression::Raw => payload.0,
        Compression::Zstd => zstd::bulk::decompress(&payload, raw_len as usize).unwrap(),
    };
    assert_eq!(raw.len(), raw_len as usize);
    assert!(raw.len() <= coffer_format::limits::PACK_RAW_MAX);
    raw
}

/// Everything of a point.
pub(crate) fn everything(config: ConfigId, point: PointSeq) -> Wanted {
    Wanted { config, point, paths: Vec::new(), trusted: true }
}

/// Restores a point both ways (for the operator and for a computer) and each file by itself; all must equal the model.
pub(crate) fn check_point(
    reading: &Arc<Reading>,
    config: ConfigId,
    point: PointSeq,
    model: &Paths,
) -> Result<()> {
    for trusted in [true, false] {
        let found = restore(reading, &Wanted { trusted, ..everything(config, point) })?;
        check_same(&found, model, point);
    }
    for (path, (node, object)) in model.iter().filter(|(_, (_, object))| object.kind == NodeKind::File) {
        let at = reading.lookup(config, point, path)?;
        assert_eq!((at.node, at.size), (*node, object.bytes.len() as u64), "{}", show(path));
        assert_eq!(read(reading, config, point, *node)?, *object.bytes, "{} at {point}", show(path));
    }
    Ok(())
}

pub(crate) fn read(
    reading: &Arc<Reading>,
    config: ConfigId,
    point: PointSeq,
    node: NodeId,
) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reading.read_file(config, point, node, &mut |part| {
        bytes.extend_from_slice(part);
        Ok::<(), VaultError>(())
    })?;
    Ok(bytes)
}

fn check_same(found: &BTreeMap<Vec<u8>, Restored>, model: &Paths, point: PointSeq) {
    let names: Vec<_> = found.keys().map(|path| show(path)).collect();
    let expected: Vec<_> = model.keys().map(|path| show(path)).collect();
    assert_eq!(names, expected, "names at point {point}");
    for (path, (node, object)) in model {
        let Object { kind, bytes, mtime_ns } = object;
        let one = &found[path];
        assert_eq!((one.kind, one.mtime_ns), (*kind, *mtime_ns), "{} at point {point}", show(path));
        assert!(one.bytes == **bytes, "bytes of {} at point {point}", show(path));
        if let Some(link) = &one.link {
            assert_eq!(model[link].0, *node, "{} is linked to another file", show(path));
        }
    }
}

fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// A pack of those chunks, compressed if that helps.
pub(crate) fn pack_of(key: &[u8; 32], chunks: &[Vec<u8>]) -> (coffer_format::chunk::Pack, Vec<ChunkId>) {
    let ids: Vec<_> = chunks.iter().map(|bytes| coffer_format::chunk_id(key, bytes)).collect();
    let entries =
        ids.iter().zip(chunks).map(|(id, raw)| ChunkEntry { id: *id, raw_len: raw.len() as u32 }).collect();
    let raw = chunks.concat();
    let packed = zstd::bulk::compress(&raw, 1).unwrap();
    let (compression, payload) =
        if packed.len() < raw.len() { (Compression::Zstd, packed) } else { (Compression::Raw, raw) };
    (coffer_format::chunk::Pack { chunks: entries, compression, payload }, ids)
}
