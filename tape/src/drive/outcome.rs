//! How a drive's verbs end.

use std::fmt;

use serde::Serialize;

/// A block's address on the cartridge, counted by the drive from the beginning; filemarks count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct BlockAddress(pub u64);

impl fmt::Display for BlockAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What lay at the position that was read. The position is behind it, except at the end of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOutcome {
    /// A block of this many bytes, all in the buffer.
    Block(usize),
    /// A block longer than the buffer.
    TooLong,
    Filemark,
    EndOfData,
}

/// A block or filemark was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    Written,
    /// Written, and there is room for little more.
    EarlyWarning,
}

/// Where winding ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceOutcome {
    /// Where it was meant to.
    Done,
    /// Behind (or, going backward, before) a filemark that was in the way.
    Filemark,
    EndOfData,
    BeginningOfTape,
    Unsupported,
}

/// Whether a drive has a way to a block address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocateOutcome {
    Done,
    /// There is no such block: the tape stands where data ends.
    EndOfData,
    Unsupported,
}

/// Whether a device did what it may not know how to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Performed {
    Done,
    Unsupported,
}

impl Performed {
    pub(crate) fn from_known<T>(known: Option<T>) -> Performed {
        if known.is_some() { Performed::Done } else { Performed::Unsupported }
    }
}

/// How much of what lies behind the position is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erasure {
    /// Data ends here from now on: seconds.
    Mark,
    /// Every byte to the end of the medium: hours.
    Whole,
}
