//! Putting what's whole in its place, in one step; and whether it may go there at all.

use std::io;
use std::path::Path;

use coffer_format::node::{NodeKind, NodeMeta};

use super::existing::Existing;
use super::waiting::{WAITING, WaitingFiles};
use crate::platform::{self, HeldEntry, HeldFolder};
use crate::scan::{ObjectId, Stat};

/// What is to happen where a node belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Put,
    /// What's there looks as the point has it; a file's bytes are to be compared.
    Alike(ObjectId),
    /// Something else is there, and isn't to be replaced.
    InTheWay,
}

/// How it was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Put {
    Now,
    /// Under this name until the computer next starts.
    AtRestart(Vec<u8>),
}

/// Whether something may go to `name`. Not by its folder, which comes to no harm: by what's there.
pub(super) fn judge(
    folder: &HeldFolder,
    name: &[u8],
    meta: &NodeMeta,
    rule: Existing,
) -> io::Result<Verdict> {
    let place = folder.place(name);
    if rule != Existing::All
        && let Ok(stat) = platform::stat_path(&place)
        && is_alike(&place, &stat, meta)
    {
        return Ok(Verdict::Alike(stat.object()));
    }
    judge_other(folder, name, rule)
}

/// The same where what's there, if anything, can't be as the point has it.
pub(super) fn judge_other(folder: &HeldFolder, name: &[u8], rule: Existing) -> io::Result<Verdict> {
    let place = folder.place(name);
    match std::fs::symlink_metadata(&place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Verdict::Put),
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    if !rule.replaces() {
        return Ok(Verdict::InTheWay);
    }
    if platform::is_folder(&place)? {
        return Err(io::Error::other("a folder is in its place; move it away and restore again"));
    }
    Ok(Verdict::Put)
}

/// Size, write time and attributes are those of the point; of a link, where it leads. The time of a device, FIFO or socket is that of its
/// last use: it's the same all the same, and who uses it goes on.
fn is_alike(place: &Path, stat: &Stat, meta: &NodeMeta) -> bool {
    if stat.kind != meta.kind {
        return false;
    }
    match meta.kind {
        NodeKind::Symlink => {
            stat.mtime_ns == meta.mtime_ns
                && platform::is_same_link(place, meta)
                && platform::has_attributes(place, meta).unwrap_or(false)
        }
        NodeKind::File => {
            (stat.size, stat.mtime_ns) == (meta.size, meta.mtime_ns)
                && platform::has_attributes(place, meta).unwrap_or(false)
        }
        _ => platform::has_attributes(place, meta).unwrap_or(false),
    }
}

/// Puts `entry`, which is whole, to `name`. Where the file there is in use, it's done when the computer next starts.
pub(super) fn put(
    entry: &mut HeldEntry,
    folder: &HeldFolder,
    name: &[u8],
    rule: Existing,
    waits: &WaitingFiles,
) -> io::Result<Put> {
    let waiting = [name, WAITING].concat();
    let replaces = rule.replaces();
    match entry.rename(name, replaces) {
        Ok(()) => {
            forget(folder, name);
            Ok(Put::Now)
        }
        Err(error) if replaces && platform::is_in_use(&error) => {
            replace_later(entry, &waiting, name, waits)?;
            Ok(Put::AtRestart(waiting))
        }
        Err(error) => Err(error),
    }
}

fn replace_later(entry: &mut HeldEntry, waiting: &[u8], name: &[u8], waits: &WaitingFiles) -> io::Result<()> {
    let arranged = entry.rename(waiting, true).and_then(|()| match entry.replace_at_restart(name)? {
        Some(place) => waits.add(entry.object()?, &place),
        None => Ok(()),
    });
    arranged.map_err(|error| {
        io::Error::other(format!(
            "is in use, and can't be replaced at the computer's next start ({error}); close the program that uses it and \
             restore again"
        ))
    })
}

/// One that waited for the next start is older than what's there now.
pub(super) fn forget(folder: &HeldFolder, name: &[u8]) {
    if !platform::REPLACES_AT_RESTART {
        return;
    }
    if let Err(error) = folder.remove(&[name, WAITING].concat())
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "a file of an earlier restore still waits for the computer's next start");
    }
}
