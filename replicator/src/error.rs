//! Why segments couldn't be brought to HQ or back. Each sentence ends with what to do.

use coffer_format::SegmentId;
use coffer_format::wire::RefusalCode;
use coffer_link::LinkError;
use coffer_vault::VaultError;
use thiserror::Error;

/// An error of the WAN job.
#[derive(Debug, Error)]
pub enum WanError {
    /// As its own class says; most are mended by trying again.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// As its own class says.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Retry.
    #[error(
        "HQ has not confirmed anything for {seconds} s: the line is cut or HQ is overloaded; it is tried again"
    )]
    Stalled { seconds: u64 },
    /// Retry.
    #[error("HQ closed the connection: it is tried again")]
    Closed,
    /// Retry; a segment that this happens to again and again is left alone.
    #[error(
        "segment {segment} arrived damaged at HQ: it is sent again; if this repeats, run `coffer verify`"
    )]
    Damaged { segment: SegmentId },
    /// Retry: HQ's answer is asked for anew.
    #[error("HQ and this box disagree about segment {segment}: HQ is asked again what it has")]
    OutOfStep { segment: SegmentId },
    /// Bug or another version.
    #[error("HQ answered with an unexpected message: update both programs to the same version")]
    OutOfTurn,
    /// Operator.
    #[error("HQ doesn't have segment {segment} whole")]
    NotAtHq { segment: SegmentId },
    /// The box takes up what HQ knows by itself.
    #[error(
        "this vault was set back to an older state than the one that HQ knows: restart the box, and it takes up again what HQ has"
    )]
    SetBack,
    /// Bug.
    #[error("a part of the WAN job stopped unexpectedly: restart the box's service and report this")]
    Internal,
}

impl WanError {
    /// Whether HQ refuses this box for what it is: a person has to do something.
    pub(crate) fn is_refusal(&self) -> bool {
        use RefusalCode::{NotAllowed, OtherBox, OtherOrganisation, Version};
        match self {
            WanError::Link(LinkError::Refused(refusal)) => {
                matches!(refusal.code, NotAllowed | OtherBox | OtherOrganisation | Version)
            }
            WanError::Link(
                LinkError::NotTrusted { .. } | LinkError::OtherBox { .. } | LinkError::OtherRole { .. },
            ) => true,
            _ => false,
        }
    }

    /// Whether it's the line, and another attempt may fare better.
    pub fn is_of_line(&self) -> bool {
        use LinkError::{Cut, HandshakeTimeout, Io, Unreachable};
        matches!(
            self,
            WanError::Stalled { .. }
                | WanError::Closed
                | WanError::Link(Cut { .. } | Io { .. } | Unreachable { .. } | HandshakeTimeout { .. })
        )
    }

    /// Whether HQ was reached, and refused what was offered to it.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self, WanError::Link(LinkError::Refused(_)))
    }

    /// Whether HQ has no room for more.
    pub(crate) fn is_full_disk(&self) -> bool {
        matches!(self, WanError::Link(LinkError::Refused(refusal)) if refusal.code == RefusalCode::DiskFull)
    }

    /// What a person sees: the error with its causes.
    pub fn sentence(&self) -> String {
        let mut sentence = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            sentence.push_str(": ");
            sentence.push_str(&cause.to_string());
            source = cause.source();
        }
        sentence
    }
}
