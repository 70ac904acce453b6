//! How much of something a configuration captures.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coverage {
    Whole,
    Part,
    Nothing,
}

impl Coverage {
    /// Of several things together; of none it's whole.
    #[cfg_attr(
        not(windows),
        allow(dead_code, reason = "only Windows has such applications; tested everywhere")
    )]
    pub(crate) fn of_all(parts: impl Iterator<Item = Coverage>) -> Coverage {
        parts.reduce(|one, other| if one == other { one } else { Coverage::Part }).unwrap_or(Coverage::Whole)
    }
}
