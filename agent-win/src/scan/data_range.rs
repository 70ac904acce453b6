//! Where a file has bytes.

/// A run of bytes that may hold something, from `at` to `end`; between runs there are holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DataRange {
    pub(crate) at: u64,
    pub(crate) end: u64,
}
