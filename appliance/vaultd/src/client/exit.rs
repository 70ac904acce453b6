//! Exit codes of `coffer`: one for each kind of trouble, written down in the README of this crate.

use coffer_format::wire::RefusalCode;
use coffer_link::LinkError;

use super::ClientError;

/// A kind of trouble, by its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitClass(pub u8);

impl ExitClass {
    pub const OTHER: ExitClass = ExitClass(1);
    /// Wrong words on the command line.
    pub const USAGE: ExitClass = ExitClass(2);
    pub const UNREACHABLE: ExitClass = ExitClass(3);
    pub const NOT_TRUSTED: ExitClass = ExitClass(4);
    pub const WRONG_CLOCK: ExitClass = ExitClass(5);
    pub const OTHER_BOX: ExitClass = ExitClass(6);
    /// A restore left some files alone, or couldn't write some.
    pub const PARTLY: ExitClass = ExitClass(7);
    /// Verification found damage; verified copies have all that it touches.
    pub const DAMAGE: ExitClass = ExitClass(8);
    /// A restore from cartridges left out files that lie on cartridges which couldn't be had or read.
    pub const TAPE_MISSING: ExitClass = ExitClass(9);
    /// Everything is restored, but files in use are replaced only when that computer next starts.
    pub const AT_RESTART: ExitClass = ExitClass(10);
    /// All that could be had is restored; what's damaged, missing or away was left out and is named.
    pub const LEFT_OUT: ExitClass = ExitClass(11);
    /// Something that a kept point needs is damaged or missing, and no verified copy has it.
    pub const LOST: ExitClass = ExitClass(12);
    /// Refusals: this and the refusal's number.
    const REFUSED: u8 = 20;
}

/// The class of an error.
pub fn exit_class(error: &ClientError) -> ExitClass {
    match error {
        ClientError::Link(
            LinkError::Unreachable { .. } | LinkError::HandshakeTimeout { .. } | LinkError::Cut { .. },
        ) => ExitClass::UNREACHABLE,
        ClientError::Link(LinkError::WrongClock { .. }) => ExitClass::WRONG_CLOCK,
        ClientError::Link(LinkError::OtherBox { .. } | LinkError::OtherRole { .. }) => ExitClass::OTHER_BOX,
        ClientError::Link(LinkError::NotTrusted { .. }) => ExitClass::NOT_TRUSTED,
        ClientError::Link(LinkError::Refused(refusal)) => {
            ExitClass(ExitClass::REFUSED + number(refusal.code))
        }
        _ => ExitClass::OTHER,
    }
}

fn number(code: RefusalCode) -> u8 {
    coffer_format::to_bytes(&code)[0]
}
