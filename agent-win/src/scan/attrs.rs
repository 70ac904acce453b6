//! What's kept of an object beside its bytes.

use coffer_format::node::Attr;

/// Attributes, and sentences about what couldn't be kept.
#[derive(Debug, Default)]
pub(crate) struct Attrs {
    pub(crate) list: Vec<Attr>,
    pub(crate) lacking: Vec<String>,
    /// Names of streams that are too large to be attributes; only Windows has any.
    pub(crate) large_streams: Vec<Vec<u8>>,
}
