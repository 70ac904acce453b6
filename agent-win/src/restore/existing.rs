//! What a restore does where something is already.

use coffer_format::wire::ReplaceRule;

/// What a restore does where something is already. What's as the point has it is left alone in any case but the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It's replaced.
    All,
    /// It's replaced where it differs from the point in its bytes, write time or attributes.
    Changed,
    /// It stays, and is named.
    Nothing,
    /// Both: what's restored gets `.restored` added to its name.
    Beside,
}

impl Existing {
    pub(super) fn replaces(self) -> bool {
        matches!(self, Existing::All | Existing::Changed)
    }

    /// Whether what's there stays, and nothing comes beside it.
    pub(super) fn keeps(self) -> bool {
        self == Existing::Nothing
    }
}

impl From<ReplaceRule> for Existing {
    fn from(rule: ReplaceRule) -> Existing {
        match rule {
            ReplaceRule::All => Existing::All,
            ReplaceRule::Changed => Existing::Changed,
            ReplaceRule::Nothing => Existing::Nothing,
        }
    }
}
