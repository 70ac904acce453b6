//! The slow, obvious model: every version of every file whole in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use coffer_format::NodeId;
use coffer_format::node::NodeKind;

/// One object of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) kind: NodeKind,
    pub(crate) bytes: Arc<Vec<u8>>,
    pub(crate) mtime_ns: i64,
}

/// A whole tree at one instant. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tree {
    pub(crate) objects: BTreeMap<NodeId, Object>,
    pub(crate) names: BTreeMap<(NodeId, Vec<u8>), NodeId>,
}

/// What a restore of a tree must give: for each path its object and the number of its node.
pub(crate) type Paths = BTreeMap<Vec<u8>, (NodeId, Object)>;

impl Tree {
    pub(crate) fn paths(&self) -> Paths {
        let mut paths = Paths::new();
        let mut waiting = vec![(NodeId::ROOT, Vec::new())];
        while let Some((directory, above)) = waiting.pop() {
            let inside = self.names.range((directory, Vec::new())..(NodeId(directory.0 + 1), Vec::new()));
            for ((_, name), node) in inside {
                let mut path: Vec<u8> = above.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(name);
                let object = self.objects[node].clone();
                if object.kind == NodeKind::Directory {
                    waiting.push((*node, path.clone()));
                }
                paths.insert(path, (*node, object));
            }
        }
        paths
    }

    pub(crate) fn of_kind(&self, kind: NodeKind) -> Vec<NodeId> {
        self.objects.iter().filter(|(_, object)| object.kind == kind).map(|(node, _)| *node).collect()
    }

    pub(crate) fn names_of(&self, node: NodeId) -> Vec<(NodeId, Vec<u8>)> {
        self.names.iter().filter(|(_, of)| **of == node).map(|(name, _)| name.clone()).collect()
    }

    /// Whether `node` is `directory` or lies somewhere below it.
    pub(crate) fn is_below(&self, node: NodeId, directory: NodeId) -> bool {
        let mut at = node;
        while at != directory {
            match self.names.iter().find(|(_, of)| **of == at) {
                Some(((parent, _), _)) => at = *parent,
                None => return false,
            }
        }
        true
    }
}
