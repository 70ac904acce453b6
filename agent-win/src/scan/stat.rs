//! What a file system says of one object, in our terms.

use coffer_format::node::{NodeKind, NodeMeta};

/// Identity and metadata of an object as it was a moment ago. Times in nanoseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub kind: NodeKind,
    pub size: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
    /// 0 where the file system doesn't know it.
    pub btime_ns: i64,
    pub device: u64,
    pub inode: u64,
    pub rdev: u64,
    pub links: u64,
    /// Bytes that are really kept on the disk.
    pub kept_bytes: u64,
}

impl Stat {
    /// Whether it's the same object (not merely the same place): an inode's number is used again, its birth time isn't.
    pub fn is_same_object(&self, other: &Stat) -> bool {
        (self.device, self.inode, self.kind) == (other.device, other.inode, other.kind)
            && self.btime_ns == other.btime_ns
    }

    /// Whether the bytes may have changed between the two.
    pub fn bytes_differ(&self, other: &Stat) -> bool {
        (self.size, self.mtime_ns, self.ctime_ns) != (other.size, other.mtime_ns, other.ctime_ns)
    }

    pub fn is_sparse(&self) -> bool {
        self.kind == NodeKind::File && self.kept_bytes < self.size
    }

    /// As metadata of a version; attributes are the caller's to add.
    pub fn meta(&self) -> NodeMeta {
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
