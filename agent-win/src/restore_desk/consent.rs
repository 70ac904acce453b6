//! What the person at the computer says when asked before a restore.

/// An answer, or why there's none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(windows), allow(dead_code, reason = "only Windows has somebody to ask"))]
pub(crate) enum Consent {
    Given,
    Denied,
    NoAnswer,
    /// There's nobody to ask, with a sentence.
    Nobody(String),
}

impl Consent {
    /// Why nothing is restored; `None` where it may be.
    pub(crate) fn refusal(self) -> Option<String> {
        match self {
            Consent::Given => None,
            Consent::Denied => Some("the person at the computer doesn't want it now; talk to them first".to_owned()),
            Consent::NoAnswer => Some(
                "the person at the computer didn't answer within 5 minutes; talk to them, or restore without asking"
                    .to_owned(),
            ),
            Consent::Nobody(sentence) => Some(sentence),
        }
    }
}
