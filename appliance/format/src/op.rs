//! What a capture changes in a tree: steps as an agent sends them, operations as a vault keeps them.

use crate::codec::bounded;
use crate::manifest::Map;
use crate::node::NodeMeta;
use crate::{Blob, Decode, DecodeError, Encode, Locator, Lsn, NodeId, Reader, Writer, limits};

kinds! {
    /// The bytes of a node, as an agent says them: against the version it sent before.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum StepContent {
        /// No bytes: a directory, link or device.
        0 = None,
        /// The bytes are those of the version before.
        1 = Same,
        /// All of the file (a full map).
        2 = Whole { map: Map },
        /// A delta on the version before.
        3 = Change { map: Map },
    }
}

kinds! {
    /// One step of an agent. Names are single path components; `/` and NUL can't be in them, `.` and `..` aren't names.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Step {
        1 = Put { node: NodeId, meta: NodeMeta, content: StepContent },
        2 = Link { parent: NodeId, name: Name, node: NodeId },
        3 = Unlink { parent: NodeId, name: Name },
    }
}

kinds! {
    /// Where a vault keeps a map: here, or (when long) in page records.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum MapBody {
        1 = Inline { map: Map },
        2 = Pages { size: u64, pages: Vec<Lsn> },
    }
}

kinds! {
    /// The bytes of a node, as a vault keeps them.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Content {
        0 = None,
        /// The bytes of an earlier version, whose map is there.
        1 = Same { map_at: Locator },
        /// Number `ordinal` of its chain; a delta on `base`, or full where there's none.
        2 = Map { ordinal: u32, base: Option<Locator>, body: MapBody },
    }
}

kinds! {
    /// One kept operation.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Op {
        1 = Put { node: NodeId, meta: NodeMeta, content: Content },
        2 = Link { parent: NodeId, name: Name, node: NodeId },
        3 = Unlink { parent: NodeId, name: Name },
    }
}

/// A single path component that is safe to join to a directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Blob);

impl Name {
    /// Takes `bytes` as a name if they can be one.
    pub fn new(bytes: &[u8]) -> Result<Name, DecodeError> {
        bounded("name", bytes.len() as u64, limits::NAME_MAX as u64)?;
        let unsafe_name = matches!(bytes, b"" | b"." | b"..") || bytes.iter().any(|b| matches!(b, 0 | b'/'));
        if unsafe_name { Err(DecodeError::Invalid { what: "name" }) } else { Ok(Name(bytes.into())) }
    }
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
impl Encode for Name {
    fn encode(&self, w: &mut Writer) {
        self.0.encode(w);
    }
}
impl Decode for Name {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Name::new(&r.get::<Blob>()?)
    }
}
