//! A restore over an operator's link, put together in memory.

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
    let paths = paths.iter().map(|path| Blob::from(*path)).collect();
    link.sender.send(Message::RestoreWanted { config, point: PointSeq(point), paths }).await.unwrap();
    let (mut names, mut files) = (Vec::new(), Files::new());
    loop {
        match timeout(LONG, link.receiver.recv()).await.unwrap().unwrap().unwrap() {
            Message::RestoreNodes { nodes } => {
                for node in nodes {
                    let name = String::from_utf8(node.path.0).unwrap();
                    files.insert(name.clone(), vec![0; node.meta.size as usize]);
                    names.push(name);
                }
            }
            Message::RestorePack { compression, placements, payload, .. } => {
                assert_eq!(compression, Compression::Raw, "these tests send raw packs");
                for place in placements {
                    let part = &payload[place.offset as usize..][..place.len as usize];
                    let file = files.get_mut(&names[place.index as usize]).unwrap();
                    file[place.at as usize..][..part.len()].copy_from_slice(part);
                }
            }
            Message::RestoreBatchEnd => {}
            Message::RestoreLeftOut { files } => panic!("left out: {files:?}"),
            Message::RestoreEnd { nodes, .. } => {
                assert_eq!(nodes as usize, names.len());
                return Ok(files);
            }
            Message::Refused { refusal } => return Err(refusal),
            other => panic!("{other:?}"),
        }
    }
}

/// Whether all of a point comes.
pub(crate) async fn try_restore(link: &mut Link, branch: &Branch, point: u64) -> bool {
    let paths: Vec<Blob> = Vec::new();
    link.sender
        .send(Message::RestoreWanted { config: branch.config, point: PointSeq(point), paths })
        .await
        .unwrap();
    let mut is_whole = true;
    loop {
        match timeout(LONG, link.receiver.recv()).await.unwrap().unwrap().unwrap() {
            Message::RestoreLeftOut { .. } => is_whole = false,
            Message::RestoreEnd { failed, .. } => return is_whole && failed.is_empty(),
            Message::Refused { .. } => return false,
            _ => {}
        }
    }
}
