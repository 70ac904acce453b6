//! Parts of a file.

/// Bytes from `at` up to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRun {
    pub at: u64,
    pub end: u64,
}
