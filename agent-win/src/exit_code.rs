//! With which code the program ends for which error.

use coffer_agent::capture::CaptureError;
use coffer_agent::find::FindError;
use coffer_agent::line::LineError;
use coffer_agent::restore::RestoreError;
use coffer_agent::state::StateError;
use coffer_agent::wire::WireError;
use coffer_agent::work::WorkError;
use coffer_format::wire::{Refusal, RefusalCode};
use coffer_link::LinkError;

/// Not all of what was asked for.
pub(super) const PARTLY: u8 = 3;
/// What's in use is replaced when the computer next starts.
pub(super) const AT_RESTART: u8 = 14;

/// All that the box could give is restored.
pub(super) const LEFT_OUT: u8 = 15;

/// See README.md.
pub(super) fn exit_code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<WireError>() {
            return of_wire(error);
        }
        if let Some(code) = cause.downcast_ref::<LinkError>().map(of_link) {
            return code;
        }
        match cause.downcast_ref::<WorkError>() {
            Some(WorkError::NoConfig(_)) => return 6,
            Some(WorkError::Config { .. }) => return 7,
            Some(WorkError::Link(error)) => return of_link(error),
            Some(WorkError::Wire(error)) => return of_wire(error),
            Some(WorkError::State(StateError::InUse(_))) => return 8,
            Some(WorkError::State(_)) => return 9,
            Some(WorkError::Capture(error)) => return of_capture(error),
            Some(WorkError::Restore(RestoreError::Target(..) | RestoreError::Full(_))) => return 13,
            Some(WorkError::Restore(RestoreError::Wire(error))) => return of_wire(error),
            None => {}
        }
        match cause.downcast_ref::<LineError>() {
            Some(LineError::Link(error)) => return of_link(error),
            Some(LineError::Find(FindError::Link(error))) => return of_link(error),
            Some(LineError::Find(_)) => return 4,
            Some(LineError::State(_)) => return 9,
            None => {}
        }
        match cause.downcast_ref::<StateError>() {
            Some(StateError::InUse(_)) => return 8,
            Some(_) => return 9,
            None => {}
        }
    }
    1
}

fn of_wire(error: &WireError) -> u8 {
    match error {
        WireError::Refused(refusal) => of_refusal(refusal),
        WireError::Lost => 4,
        WireError::Unexpected(_) => 12,
    }
}

fn of_capture(error: &CaptureError) -> u8 {
    match error {
        CaptureError::Wire(error) => of_wire(error),
        CaptureError::Stopped => 5,
        CaptureError::Journal(_)
        | CaptureError::Memory(..)
        | CaptureError::Key(_)
        | CaptureError::KeyInDoubt(_) => 9,
        _ => 1,
    }
}

fn of_link(error: &LinkError) -> u8 {
    match error {
        LinkError::Refused(refusal) => of_refusal(refusal),
        LinkError::Unreachable { .. }
        | LinkError::HandshakeTimeout { .. }
        | LinkError::Cut { .. }
        | LinkError::Io { .. } => 4,
        LinkError::WrongClock { .. } => 10,
        LinkError::OtherBox { .. } | LinkError::OtherRole { .. } | LinkError::NotTrusted { .. } => 11,
        LinkError::Identity(_) => 9,
        _ => 12,
    }
}

fn of_refusal(refusal: &Refusal) -> u8 {
    match refusal.code {
        RefusalCode::WrongCode => 20,
        RefusalCode::NotAllowed | RefusalCode::NoSuchComputer => 21,
        RefusalCode::WrongClock => 10,
        RefusalCode::OtherBox | RefusalCode::OtherOrganisation => 11,
        RefusalCode::DiskFull | RefusalCode::ReadOnly => 22,
        RefusalCode::Busy => 23,
        RefusalCode::Version => 12,
        _ => 24,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_that_is_not_understood_is_told_apart_from_one_that_is_lost() {
        let code = |error: WorkError| exit_code(&error.into());
        let unexpected = || WireError::Unexpected("something");
        assert_eq!(code(WorkError::Wire(unexpected())), 12);
        assert_eq!(code(WorkError::Capture(CaptureError::Wire(unexpected()))), 12);
        assert_eq!(code(WorkError::Wire(WireError::Lost)), 4);
        assert_eq!(code(WorkError::Capture(CaptureError::Stopped)), 5);
    }
}
