//! What's to be read: a file, or a large stream of one.

use std::io;

use coffer_format::NodeId;
use coffer_format::op::Name;

use super::streams::host_of;
use crate::journal::Known;
use crate::platform::SourceFile;
use crate::scan::Stat;
use crate::standstill::View;

/// A file to be read.
#[derive(Debug)]
pub(super) struct FileTask {
    pub(super) path: Vec<u8>,
    pub(super) node: NodeId,
    /// As it was when the directory was listed.
    pub(super) stat: Stat,
    pub(super) known: Option<Known>,
    /// A new name for it.
    pub(super) link: Option<(NodeId, Name)>,
    /// What that name was of.
    pub(super) had: Option<NodeId>,
    /// Where it was found.
    pub(super) directory: NodeId,
    /// Of a large stream, the file that it belongs to.
    pub(super) host: Option<NodeId>,
}

impl FileTask {
    pub(super) fn open(&self, view: &View) -> io::Result<SourceFile> {
        let path = view.at(&self.path);
        if self.host.is_some() { SourceFile::open_stream(&path) } else { SourceFile::open(&path) }
    }

    /// The path that's shown of it: of a stream its file's, which is what can be looked at again.
    pub(super) fn shown(&self) -> &[u8] {
        self.host.and_then(|_| host_of(&self.path)).unwrap_or(&self.path)
    }
}
