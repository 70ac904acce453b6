//! Why there's no snapshot.

use std::fmt;
use std::time::Duration;

use super::Code;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VssError {
    #[error(
        "this system has no volume shadow copies; files that other programs keep open can't be read until they are closed"
    )]
    NotHere,
    #[error(
        "this user may not make snapshots; run the agent as its service, or as LocalSystem or an administrator"
    )]
    NotAllowed,
    #[error("another program has been making a snapshot for {} s; let it end, or find it with `vssadmin list shadows`", .waited.as_secs())]
    Busy { waited: Duration },
    #[error("{step} took longer than {} s and was given up; see `vssadmin list writers`, and restart the service of what hangs there", .limit.as_secs())]
    TimedOut { step: Step, limit: Duration },
    #[error("the agent was asked to stop before there was one; the next capture takes one")]
    Stopped,
    #[error("{step} failed with {code}: {}", .code.sentence())]
    Failed { step: Step, code: Code },
    #[error(
        "no volume of what's captured can have a snapshot ({0}); move the data to a local NTFS or ReFS volume"
    )]
    NoVolume(String),
}

impl VssError {
    /// Whether the whole snapshot, begun once more, may well succeed.
    pub(crate) fn is_worth_another_try(&self) -> bool {
        matches!(self, VssError::Failed { code, .. } if code.is_worth_another_try())
    }
}

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Start,
    Volumes,
    Metadata,
    Choose,
    Begin,
    AddVolume,
    Prepare,
    Status,
    Snapshot,
    Properties,
    Documents,
    Succeeded,
    Complete,
    Abort,
    Delete,
}

impl Step {
    pub(crate) fn failed(self, code: Code) -> VssError {
        match code {
            Code::NOT_IMPLEMENTED => VssError::NotHere,
            Code::ACCESS_DENIED => VssError::NotAllowed,
            code => VssError::Failed { step: self, code },
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Step::Start => "setting up a snapshot",
            Step::Volumes => "listing the volumes",
            Step::Metadata => "asking the applications what they have",
            Step::Choose => "choosing what takes part in the snapshot",
            Step::Begin => "beginning the snapshot",
            Step::AddVolume => "adding a volume to the snapshot",
            Step::Prepare => "preparing the applications for the snapshot",
            Step::Status => "asking the applications how they are",
            Step::Snapshot => "making the snapshot",
            Step::Properties => "asking where the snapshot is",
            Step::Documents => "keeping the applications' descriptions",
            Step::Succeeded => "telling the applications what is safe",
            Step::Complete => "telling the applications that the backup is done",
            Step::Abort => "telling the applications that there's no backup",
            Step::Delete => "deleting the snapshot",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_can_change_has_an_error_of_its_own() {
        assert_eq!(Step::Prepare.failed(Code::ACCESS_DENIED), VssError::NotAllowed);
        assert_eq!(Step::Start.failed(Code::NOT_IMPLEMENTED), VssError::NotHere);
        let full = Step::Snapshot.failed(Code(0x8004_231F));
        assert_eq!(
            full.to_string(),
            "making the snapshot failed with 0x8004231F: there isn't enough room for a snapshot; free some on the \
             volume, or give snapshots more with `vssadmin resize shadowstorage`"
        );
        assert!(!full.is_worth_another_try());
        assert!(Step::Snapshot.failed(Code(0x8004_2314)).is_worth_another_try());
    }
}
