//! What is known of a file, directory or other object apart from its bytes.

use crate::codec::bounded;
use crate::{Blob, Decode, DecodeError, Encode, Reader, Writer, limits};

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeKind {
    File,
    Directory,
    Symlink,
    Fifo,
    Socket,
    CharDevice,
    BlockDevice,
}

impl NodeKind {
    /// The number in formats and in the catalog.
    pub fn code(self) -> u8 {
        self as u8 + 1
    }
    pub fn from_code(code: u8) -> Option<NodeKind> {
        use NodeKind::*;
        [File, Directory, Symlink, Fifo, Socket, CharDevice, BlockDevice]
            .get(code.wrapping_sub(1) as usize)
            .copied()
    }
}
impl Encode for NodeKind {
    fn encode(&self, w: &mut Writer) {
        w.bytes(&[self.code()]);
    }
}
impl Decode for NodeKind {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = r.get::<u8>()?;
        NodeKind::from_code(code).ok_or(DecodeError::UnknownKind { what: "node", found: code.into() })
    }
}

/// Which piece of metadata an attribute is. Linux uses the first two; the others are NTFS's places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttrKind {
    /// Target of a symbolic link or reparse point as the system gave it.
    LinkTarget,
    /// Extended attribute `name` (POSIX ACLs are `system.posix_acl_access` and `…_default`).
    Xattr,
    /// Security descriptor, self-relative.
    NtSecurity,
    /// EA list as NtQueryEaFile gives it.
    NtEa,
    NtObjectId,
    NtReparse,
    NtShortName,
    /// An alternate data stream small enough to lie here. A larger one is a file node of its own beside its file, called
    /// `file:stream`, with this as its only attribute: the stream's name, and no bytes.
    NtStream,
    /// Without bytes: those of the node are the file's encrypted form (EFS), as ReadEncryptedFileRaw gives it.
    NtEfsRaw,
    /// See [`crate::nt_basic::NtBasic`].
    NtBasic,
}

const ATTR_KINDS: [AttrKind; 10] = [
    AttrKind::LinkTarget,
    AttrKind::Xattr,
    AttrKind::NtSecurity,
    AttrKind::NtEa,
    AttrKind::NtObjectId,
    AttrKind::NtReparse,
    AttrKind::NtShortName,
    AttrKind::NtStream,
    AttrKind::NtEfsRaw,
    AttrKind::NtBasic,
];

impl Encode for AttrKind {
    fn encode(&self, w: &mut Writer) {
        (*self as u16 + 1).encode(w);
    }
}
impl Decode for AttrKind {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = r.get::<u16>()?;
        let kind = ATTR_KINDS.get(usize::from(code.wrapping_sub(1))).copied();
        kind.ok_or(DecodeError::UnknownKind { what: "attribute", found: code.into() })
    }
}

/// One attribute. `name` is empty where the kind allows only one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attr {
    pub kind: AttrKind,
    pub name: Blob,
    pub value: Blob,
}

impl Encode for Attr {
    fn encode(&self, w: &mut Writer) {
        self.kind.encode(w);
        self.name.encode(w);
        self.value.encode(w);
    }
}
impl Decode for Attr {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let attr = Attr { kind: r.get()?, name: r.get()?, value: r.get()? };
        bounded("name of an attribute", attr.name.len() as u64, limits::NAME_MAX as u64)?;
        bounded("attribute", attr.value.len() as u64, limits::ATTR_MAX as u64)?;
        Ok(attr)
    }
}

layout! {
    /// Metadata of one version. Times are nanoseconds since 1970-01-01 UTC, as the file's own machine gave them:
    /// data, never policy.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct NodeMeta {
        pub kind: NodeKind,
        /// Size of a file in bytes; 0 for everything else.
        pub size: u64,
        /// Permission bits (07777), without the file type.
        pub mode: u32,
        pub uid: u32,
        pub gid: u32,
        pub mtime_ns: i64,
        /// Change time at the source: lets an agent that lost its journal know an unchanged file.
        pub ctime_ns: i64,
        pub btime_ns: i64,
        /// Identity at the source, for the same purpose.
        pub device: u64,
        pub inode: u64,
        /// Device number of a device node.
        pub rdev: u64,
        /// True where the file had holes.
        pub sparse: bool,
        pub attrs: Vec<Attr>,
    }
}

impl NodeMeta {
    /// Metadata of this kind with everything else zero.
    pub fn new(kind: NodeKind) -> NodeMeta {
        NodeMeta {
            kind,
            size: 0,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime_ns: 0,
            ctime_ns: 0,
            btime_ns: 0,
            device: 0,
            inode: 0,
            rdev: 0,
            sparse: false,
            attrs: Vec::new(),
        }
    }

    /// The target of a symbolic link.
    pub fn link_target(&self) -> Option<&[u8]> {
        self.attrs.iter().find(|attr| attr.kind == AttrKind::LinkTarget).map(|attr| &attr.value.0[..])
    }
}
