//! How an application's writer is, and what it means where it isn't well.

use std::fmt;

use super::{Code, Guid};

/// What a writer said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) writer: String,
    pub(crate) instance: Guid,
    pub(crate) state: WriterState,
    /// Why it failed; 0 where it didn't.
    pub(crate) failure: Code,
}

impl Status {
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        (self.state.has_failed() || self.failure.0 >> 31 == 1).then(|| {
            let sentence = format!("it {}; {}", self.state, self.failure.sentence());
            Refusal { writer: self.writer.clone(), code: self.failure, sentence }
        })
    }
}

/// An application whose files in the snapshot aren't what it would have liked them to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) writer: String,
    pub(crate) code: Code,
    /// What's wrong and what to do, without the name and the code.
    pub(crate) sentence: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({}): {}", self.writer, self.code, self.sentence)
    }
}

/// `VSS_WRITER_STATE` (vss.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WriterState(pub(crate) i32);

impl WriterState {
    pub(crate) fn has_failed(self) -> bool {
        (6..=15).contains(&self.0)
    }
}

impl fmt::Display for WriterState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.0 {
            6 => "couldn't say what it has",
            7 => "failed while it prepared for the backup",
            8 => "failed while it prepared for the snapshot",
            9 => "failed while it held still for the snapshot",
            10 => "failed as it went on after the snapshot",
            11 => "failed after the snapshot",
            12 => "failed when the backup was done",
            15 => "failed when the backup was put away",
            13 | 14 => "failed at a restore",
            _ => "isn't well",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: i32, failure: u32) -> Status {
        let writer = "SqlServerWriter".to_owned();
        Status { writer, instance: Guid::NONE, state: WriterState(state), failure: Code(failure) }
    }

    #[test]
    fn a_writer_that_failed_is_named_with_what_to_do() {
        let refusal = status(9, 0x8004_23F4).refusal().unwrap();
        assert_eq!(
            refusal.to_string(),
            "SqlServerWriter (0x800423F4): it failed while it held still for the snapshot; the application failed, and \
             would again; see its own log and the event log under VSS"
        );
    }

    #[test]
    fn a_writer_that_is_well_or_waits_is_no_matter() {
        for state in [1, 2, 3, 4, 5] {
            assert_eq!(status(state, 0).refusal(), None);
        }
        assert!(status(1, 0x8004_2409).refusal().is_some(), "a failure counts whatever the state says");
    }
}
