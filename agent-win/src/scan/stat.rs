//! What a file system says of one object, in our terms.

use std::io;

use coffer_format::node::{NodeKind, NodeMeta};

use super::ObjectId;
use crate::platform::IS_BIRTH_FIXED;

/// Identity and metadata of an object as it was a moment ago. Times in nanoseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) kind: NodeKind,
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime_ns: i64,
    pub(crate) ctime_ns: i64,
    /// 0 where the file system doesn't know it.
    pub(crate) btime_ns: i64,
    pub(crate) device: u64,
    /// 0 where there's none that tells this object from others for as long as it's there.
    pub(crate) inode: u64,
    pub(crate) rdev: u64,
    /// 0 where a listing doesn't tell it.
    pub(crate) links: u64,
    /// Bytes that are really kept on the disk.
    pub(crate) kept_bytes: u64,
}

/// One entry of a directory, described; or why it couldn't be.
#[derive(Debug)]
pub(crate) struct ListedEntry {
    pub(crate) name: Vec<u8>,
    pub(crate) stat: io::Result<Stat>,
}

impl ListedEntry {
    /// Whether it's known to be a file, and neither a folder nor a link.
    pub(crate) fn is_file(&self) -> bool {
        self.stat.as_ref().is_ok_and(|stat| stat.kind == NodeKind::File)
    }
}

/// A file whose bytes would have to be fetched first.
#[derive(Debug, thiserror::Error)]
#[error("its bytes lie in a cloud or archive and aren't fetched for a backup; keep it on this computer")]
pub(crate) struct Elsewhere;

pub(crate) fn is_elsewhere(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Elsewhere>())
}

impl Stat {
    pub(crate) fn object(&self) -> ObjectId {
        ObjectId { device: self.device, number: self.inode }
    }

    /// Whether it's the same object (not merely the same place): an inode's number is used again, its birth time isn't.
    pub(crate) fn is_same_object(&self, other: &Stat) -> bool {
        (self.device, self.inode, self.kind) == (other.device, other.inode, other.kind)
            && self.fixed_birth() == other.fixed_birth()
    }

    /// Whether it may be one object with other names.
    pub(crate) fn may_have_names(&self) -> bool {
        self.kind != NodeKind::Directory && self.links > 1 && self.inode != 0
    }

    /// The same, with a number only where `listed` has one: a listing knows what its file system's numbers are worth.
    pub(crate) fn numbered_as(self, listed: &Stat) -> Stat {
        if listed.inode == 0 { self.without_number() } else { self }
    }

    pub(crate) fn without_number(self) -> Stat {
        Stat { inode: 0, ..self }
    }

    /// The birth time where it tells two objects with the same number apart; elsewhere 0.
    pub(crate) fn fixed_birth(&self) -> i64 {
        if IS_BIRTH_FIXED { self.btime_ns } else { 0 }
    }

    /// Whether the bytes may have changed between the two.
    pub(crate) fn bytes_differ(&self, other: &Stat) -> bool {
        (self.size, self.mtime_ns, self.ctime_ns) != (other.size, other.mtime_ns, other.ctime_ns)
    }

    pub(crate) fn is_sparse(&self) -> bool {
        self.kind == NodeKind::File && self.kept_bytes < self.size
    }

    /// As a version's metadata has it: how many names it has, and how much of it is kept, isn't in there.
    pub(crate) fn of_meta(meta: &NodeMeta) -> Stat {
        Stat {
            kind: meta.kind,
            size: meta.size,
            mode: meta.mode,
            uid: meta.uid,
            gid: meta.gid,
            mtime_ns: meta.mtime_ns,
            ctime_ns: meta.ctime_ns,
            btime_ns: meta.btime_ns,
            device: meta.device,
            inode: meta.inode,
            rdev: meta.rdev,
            links: 0,
            kept_bytes: 0,
        }
    }

    /// As metadata of a version; attributes are the caller's to add.
    pub(crate) fn meta(&self) -> NodeMeta {
        NodeMeta {
            kind: self.kind,
            size: if self.kind == NodeKind::File { self.size } else { 0 },
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            mtime_ns: self.mtime_ns,
            ctime_ns: self.ctime_ns,
            btime_ns: self.btime_ns,
            device: self.device,
            inode: self.inode,
            rdev: self.rdev,
            sparse: self.is_sparse(),
            attrs: Vec::new(),
        }
    }
}
