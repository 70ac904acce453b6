//! What to do next about a program that's being replaced: decided from what lies there, each time anew. So whatever was
//! cut off in the middle goes on from where it is.
//!
//! ```text
//! swap:  stop the service, put the new program in the old one's place, note the trial
//! trial: start the service, wait until the new program was welcomed by the box: done
//! back:  it wasn't: stop the service, put the old program back, note what's to become of that version, start the service
//! ```
//! At every instant a whole program has the program's name: it only changes by one rename of a file that's complete.

use super::notes::Phase;
use super::swapper::ServiceState;

/// Whether the new program has proven itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    Awaited,
    Given,
    /// Its time is over, or it can't even be started.
    Missed,
}

/// What lies there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// Of the replacement under way.
    pub phase: Option<Phase>,
    /// Whether the program in place is the new one.
    pub is_new: bool,
    /// Whether the new program waits beside it, whole.
    pub waits: bool,
    /// Whether the one before lies beside it, whole.
    pub can_go_back: bool,
    pub service: ServiceState,
    pub proof: Proof,
}

/// One thing to do. Each may be cut off and done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Stop,
    PutNew,
    NoteTrial,
    Start,
    Await,
    NoteBack,
    PutBack,
    NoteFailure,
    /// Nothing is under way any more.
    Forget,
    End,
}

pub(super) fn next(seen: &Seen) -> Step {
    let stopped_then = |step| if seen.service == ServiceState::Running { Step::Stop } else { step };
    match seen.phase {
        None if seen.service == ServiceState::Stopped => Step::Start,
        None => Step::End,
        Some(Phase::Swap) if seen.is_new => Step::NoteTrial,
        Some(Phase::Swap) if seen.waits && seen.can_go_back => stopped_then(Step::PutNew),
        // Nothing was changed yet, and nothing can be.
        Some(Phase::Swap) => Step::Forget,
        // Somebody installed another program meanwhile.
        Some(Phase::Trial) if !seen.is_new => Step::Forget,
        Some(Phase::Trial) => match (seen.proof, seen.service) {
            (Proof::Given, _) | (_, ServiceState::Gone) => Step::Forget,
            (Proof::Missed, _) => Step::NoteBack,
            (Proof::Awaited, ServiceState::Stopped) => Step::Start,
            (Proof::Awaited, ServiceState::Running) => Step::Await,
        },
        Some(Phase::Back) if !seen.is_new || !seen.can_go_back => Step::NoteFailure,
        Some(Phase::Back) => stopped_then(Step::PutBack),
    }
}
