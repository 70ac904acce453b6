//! Giving files their size, owner, mode, attributes and times; making links and devices.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use coffer_format::node::{AttrKind, NodeKind, NodeMeta};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown};

use super::Node;

/// Finishes the nodes of a batch, whose bytes are all written, on several threads.
pub(super) fn finish_all(batch: Vec<Node>) -> Vec<(PathBuf, String)> {
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 8));
    let share = batch.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let running: Vec<_> =
            batch.chunks(share).map(|nodes| scope.spawn(move || finish_some(nodes))).collect();
        running.into_iter().flat_map(|thread| thread.join().expect("finishing doesn't panic")).collect()
    })
}

fn finish_some(nodes: &[Node]) -> Vec<(PathBuf, String)> {
    let finish = |node: &Node| match finish(node) {
        Ok(()) => None,
        Err(error) => Some((node.belongs.clone(), error.to_string())),
    };
    nodes.iter().filter_map(finish).collect()
}

fn finish(node: &Node) -> io::Result<()> {
    let meta = &node.written.meta;
    let path = &node.written.path;
    match meta.kind {
        NodeKind::File if node.written.finished.load(Ordering::SeqCst) => {}
        NodeKind::File => finish_file(path, meta)?,
        NodeKind::Symlink => symlink(OsStr::from_bytes(meta.link_target().unwrap_or_default()), path)?,
        NodeKind::Fifo => make(path, SFlag::S_IFIFO, 0)?,
        NodeKind::Socket => make(path, SFlag::S_IFSOCK, 0)?,
        NodeKind::CharDevice => make(path, SFlag::S_IFCHR, meta.rdev)?,
        NodeKind::BlockDevice => make(path, SFlag::S_IFBLK, meta.rdev)?,
        NodeKind::Directory => {}
    }
    if meta.kind != NodeKind::File {
        apply(path, meta)?;
    }
    if *path != node.belongs {
        std::fs::rename(path, &node.belongs)?;
    }
    Ok(())
}

fn make(path: &Path, kind: SFlag, device: u64) -> io::Result<()> {
    Ok(mknod(path, kind, Mode::from_bits_truncate(0o600), device)?)
}

fn finish_file(path: &Path, meta: &NodeMeta) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
    let file: File = options.open(path)?;
    file.set_len(meta.size)?;
    finish_open(&file, path, meta)
}

/// Gives an open file whose bytes are all there its metadata.
pub(super) fn finish_open(file: &File, path: &Path, meta: &NodeMeta) -> io::Result<()> {
    if nix::unistd::geteuid().is_root() {
        fchown(file, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))?;
    }
    set_attributes(path, meta)?;
    nix::sys::stat::fchmod(file, Mode::from_bits_truncate(meta.mode))?;
    let mtime = time(meta.mtime_ns);
    Ok(nix::sys::stat::futimens(file, &mtime, &mtime)?)
}

/// Metadata of what isn't a file: by its path, never through a link.
pub(super) fn apply(path: &Path, meta: &NodeMeta) -> io::Result<()> {
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::lchown(path, Some(meta.uid), Some(meta.gid))?;
    }
    if meta.kind != NodeKind::Symlink {
        set_attributes(path, meta)?;
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(meta.mode))?;
    }
    let mtime = time(meta.mtime_ns);
    Ok(utimensat(nix::fcntl::AT_FDCWD, path, &mtime, &mtime, UtimensatFlags::NoFollowSymlink)?)
}

fn set_attributes(path: &Path, meta: &NodeMeta) -> io::Result<()> {
    for attr in meta.attrs.iter().filter(|attr| attr.kind == AttrKind::Xattr) {
        xattr::set(path, OsStr::from_bytes(&attr.name), &attr.value).map_err(|error| {
            io::Error::other(format!("attribute {:?} could not be set: {error}", attr.name))
        })?;
    }
    Ok(())
}

fn time(ns: i64) -> TimeSpec {
    TimeSpec::new(ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000))
}
