//! Who a peer is. The role is the common name of its certificate; nothing that a peer says of itself counts.

use std::fmt;
use std::str::FromStr;

use coffer_format::{ComputerId, VaultId};

use crate::IdentityError;

/// Longest name of an operator or branch, in bytes; with its prefix it fits X.520's 64 characters.
pub const ROLE_NAME_MAX: usize = 48;

/// A peer's role. `Display` and `FromStr` round-trip: `computer:7`, `operator:anna`, `branch:leeds`,
/// `box:<vault id in hex>`, `hq`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Role {
    /// A protected machine of one box.
    Computer(ComputerId),
    /// A person, at a box or at HQ.
    Operator(String),
    /// A box, as HQ knows it.
    Branch(String),
    /// A box, as its computers and operators know it.
    Box(VaultId),
    /// Headquarters.
    Hq,
}

impl Role {
    /// Refuses a role whose name couldn't be read back from a certificate.
    pub(crate) fn checked(&self) -> Result<String, IdentityError> {
        let text = self.to_string();
        match text.parse::<Role>() {
            Ok(same) if same == *self => Ok(text),
            _ => Err(IdentityError::Role { text }),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Role::Computer(id) => write!(f, "computer:{id}"),
            Role::Operator(name) => write!(f, "operator:{name}"),
            Role::Branch(name) => write!(f, "branch:{name}"),
            Role::Box(vault) => write!(f, "box:{vault}"),
            Role::Hq => f.write_str("hq"),
        }
    }
}

impl FromStr for Role {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let bad = || IdentityError::Role { text: text.to_owned() };
        if text == "hq" {
            return Ok(Role::Hq);
        }
        let (kind, name) = text.split_once(':').ok_or_else(bad)?;
        match kind {
            "computer" => number(name).map(|id| Role::Computer(ComputerId(id))).ok_or_else(bad),
            "operator" => named(name).map(Role::Operator).ok_or_else(bad),
            "branch" => named(name).map(Role::Branch).ok_or_else(bad),
            "box" => lower_hex(name).map(Role::Box).ok_or_else(bad),
            _ => Err(bad()),
        }
    }
}

/// Only the form that `Display` writes, so that one role has one spelling.
fn number(text: &str) -> Option<u32> {
    text.parse::<u32>().ok().filter(|id| id.to_string() == text)
}

fn lower_hex(text: &str) -> Option<VaultId> {
    text.parse::<VaultId>().ok().filter(|id| id.to_string() == text)
}

fn named(text: &str) -> Option<String> {
    let fits = !text.is_empty() && text.len() <= ROLE_NAME_MAX;
    let plain = text.trim() == text && !text.chars().any(char::is_control);
    (fits && plain).then(|| text.to_owned())
}

/// Which role the server at the other end must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// This one and no other.
    Exactly(Role),
    /// Any box of the authority that our identity trusts.
    AnyBox,
    /// Any box or HQ: for enrolment, where the code's pin says which.
    AnyServer,
}

impl Expect {
    pub(crate) fn accepts(&self, role: &Role) -> bool {
        match self {
            Expect::Exactly(wanted) => wanted == role,
            Expect::AnyBox => matches!(role, Role::Box(_)),
            Expect::AnyServer => matches!(role, Role::Box(_) | Role::Hq),
        }
    }
}

impl From<Role> for Expect {
    fn from(role: Role) -> Self {
        Expect::Exactly(role)
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expect::Exactly(role) => role.fmt(f),
            Expect::AnyBox => f.write_str("a box"),
            Expect::AnyServer => f.write_str("a box or HQ"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_reads_back_from_its_text() {
        let vault = VaultId([0xab; 16]);
        for role in [
            Role::Computer(ComputerId(7)),
            Role::Operator("anna".into()),
            Role::Branch("Leeds: north".into()),
            Role::Box(vault),
            Role::Hq,
        ] {
            assert_eq!(role.to_string().parse::<Role>().unwrap(), role);
            assert!(role.checked().is_ok());
        }
    }

    #[test]
    fn only_one_spelling_is_a_role() {
        for text in [
            "",
            "hq ",
            "HQ",
            "computer:",
            "computer:07",
            "computer:+7",
            "computer:-1",
            "operator:",
            "operator: anna",
        ] {
            assert!(text.parse::<Role>().is_err(), "{text:?}");
        }
        assert!(format!("box:{}", "AB".repeat(16)).parse::<Role>().is_err());
        assert!(format!("branch:{}", "x".repeat(49)).parse::<Role>().is_err());
        assert!(Role::Operator("a\nb".into()).checked().is_err());
    }
}
