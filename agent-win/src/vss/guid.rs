//! A number of 128 bits that names a writer, one of its instances, or a snapshot.

use std::fmt;

/// Lies in memory as Windows has it (`GUID`), so that it can be handed over as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(C)]
pub(crate) struct Guid {
    pub(crate) first: u32,
    pub(crate) second: u16,
    pub(crate) third: u16,
    pub(crate) rest: [u8; 8],
}

impl Guid {
    pub(crate) const NONE: Guid = Guid { first: 0, second: 0, third: 0, rest: [0; 8] };
}

impl fmt::Display for Guid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Guid { first, second, third, rest: [a, b, rest @ ..] } = self;
        write!(out, "{{{first:08x}-{second:04x}-{third:04x}-{a:02x}{b:02x}-")?;
        rest.iter().try_for_each(|byte| write!(out, "{byte:02x}"))?;
        out.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::Guid;

    #[test]
    fn it_is_shown_as_windows_shows_it() {
        let id = Guid {
            first: 0x665c_1d5f,
            second: 0xc218,
            third: 0x414d,
            rest: [0xa0, 0x5d, 0x7f, 0xef, 0x5f, 0x9d, 0x5c, 0x86],
        };
        assert_eq!(id.to_string(), "{665c1d5f-c218-414d-a05d-7fef5f9d5c86}");
    }
}
