//! What tells one object of a file system from all others, as long as it's there.

/// A volume and a number on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ObjectId {
    pub(crate) device: u64,
    pub(crate) number: u64,
}

impl ObjectId {
    /// Two numbers, with a space between and after them.
    pub(crate) fn line_head(self) -> String {
        format!("{} {} ", self.device, self.number)
    }

    /// The object, and what comes after it in a line.
    pub(crate) fn from_line(line: &[u8]) -> Option<(ObjectId, &[u8])> {
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let mut number = || str::from_utf8(parts.next()?).ok()?.parse().ok();
        let id = ObjectId { device: number()?, number: number()? };
        Some((id, parts.next()?))
    }
}
