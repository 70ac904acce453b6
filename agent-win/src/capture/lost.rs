//! What the box has lost of files, and gets again: whatever a capture looks at besides, it looks at those.

use std::collections::BTreeSet;

use coffer_format::NodeId;

use super::Target;
use super::streams::{host_of, is_stream};
use crate::journal::{JournalError, JournalReader};

/// Nodes that are to be sent again, and the names that lead to them.
pub(crate) struct LostNodes {
    /// With the files of streams that are lost: a stream is met through its file.
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) target: Target,
}

impl LostNodes {
    /// By the names that they had when they were last sent: whether they're still there, the look shows.
    pub(crate) fn find(lost: &[NodeId], journal: &JournalReader) -> Result<LostNodes, JournalError> {
        let mut nodes: BTreeSet<NodeId> = lost.iter().copied().collect();
        let mut target = Target::nothing();
        for node in lost {
            for (parent, name) in journal.names(*node)? {
                let Some(folder) = journal.path(parent)? else { continue };
                let name = name.as_bytes();
                let file = host_of(name).filter(|_| is_stream(name)).unwrap_or(name);
                if file != name {
                    nodes.extend(journal.child(parent, file)?.map(|known| known.node));
                }
                target.notice(folder, file.to_vec());
            }
        }
        Ok(LostNodes { nodes: nodes.into_iter().collect(), target })
    }
}
