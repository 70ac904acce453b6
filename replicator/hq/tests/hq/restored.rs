//! A restore over an operator's link, put together in memory.

use std::collections::BTreeMap;

use coffer_format::chunk::Compression;
use coffer_format::wire::{Message, Refusal};
use coffer_format::{Blob, ConfigId, PointSeq};
use coffer_link::Link;
use tokio::time::timeout;

use crate::branch::{Branch, Files};
use crate::world::LONG;

pub(crate) async fn restore(
    link: &mut Link,
    config: ConfigId,
    point: u64,
    paths: &[&str],
) -> Result<Files, Refusal> {
    let restored = restore_what_can(link, config, point, paths).await?;
    assert!(restored.left_out.is_empty(), "left out: {:?}", restored.left_out);
    Ok(restored.files)
}

/// Whether all of a point comes.
pub(crate) async fn try_restore(link: &mut Link, branch: &Branch, point: u64) -> bool {
    let restored = restore_what_can(link, branch.config, point, &[]).await;
    restored.is_ok_and(|restored| restored.left_out.is_empty())
}

/// What came of a restore.
pub(crate) struct Restored {
    pub(crate) files: Files,
    /// What didn't come, or may not be all, by name.
    pub(crate) left_out: Vec<String>,
}

pub(crate) async fn restore_what_can(
    link: &mut Link,
    config: ConfigId,
    point: u64,
    paths: &[&str],
) -> Result<Restored, Refusal> {
    let paths = paths.iter().map(|path| Blob::from(*path)).collect();
    link.sender.send(Message::RestoreWanted { config, point: PointSeq(point), paths }).await.unwrap();
    let (mut names, mut restored) = (BTreeMap::new(), Restored { files: Files::new(), left_out: Vec::new() });
    loop {
        match timeout(LONG, link.receiver.recv()).await.unwrap().unwrap().unwrap() {
            Message::RestoreNodes { nodes } => {
                for node in nodes {
                    let name = String::from_utf8(node.path.0).unwrap();
                    restored.files.insert(name.clone(), vec![0; node.meta.size as usize]);
                    names.insert(node.index, name);
                }
            }
            Message::RestorePack { compression, placements, payload, .. } => {
                assert_eq!(compression, Compression::Raw, "these tests send raw packs");
                for place in placements {
                    let part = &payload[place.offset as usize..][..place.len as usize];
                    let file = restored.files.get_mut(&names[&place.index]).unwrap();
                    file[place.at as usize..][..part.len()].copy_from_slice(part);
                }
            }
            Message::RestoreBatchEnd => {}
            Message::RestoreLeftOut { files } => {
                for one in files {
                    let name = String::from_utf8(one.path.0).unwrap();
                    if one.index.is_some() {
                        restored.files.remove(&name);
                    }
                    restored.left_out.push(name);
                }
            }
            Message::RestoreEnd { nodes, failed, .. } => {
                assert!(!restored.left_out.is_empty() || nodes as usize == names.len());
                restored.left_out.extend(failed.into_iter().map(|line| format!("{line:?}")));
                return Ok(restored);
            }
            Message::Refused { refusal } => return Err(refusal),
            other => panic!("{other:?}"),
        }
    }
}
