//! Reading what `ReadDirectoryChangesW` gives (`FILE_NOTIFY_INFORMATION`). Pure and bounded; records may lie anywhere.

use crate::wtf8;

const HEAD: usize = 12;
// Actions, as `FILE_ACTION_…` has them.
const ADDED: usize = 1;
const RENAMED_NEW_NAME: usize = 5;

/// What happened to a path below the watched folder, which has slashes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) path: Vec<u8>,
    /// It came there: it's new, or was renamed to that.
    pub(super) has_arrived: bool,
}

/// All that happened, in order; `None` where the records make no sense.
pub(super) fn changes(buffer: &[u8]) -> Option<Vec<Change>> {
    let mut found = Vec::new();
    let mut rest = buffer;
    loop {
        let name_len = number(rest, 8)?;
        let name = rest.get(HEAD..HEAD.checked_add(name_len)?)?;
        let units = name.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        let slashes = units.map(|unit| if unit == u16::from(b'\\') { u16::from(b'/') } else { unit });
        let has_arrived = [ADDED, RENAMED_NEW_NAME].contains(&number(rest, 4)?);
        found.push(Change { path: wtf8::from_wide(&slashes.collect::<Vec<_>>()), has_arrived });
        match number(rest, 0)? {
            0 => return Some(found),
            next => rest = rest.get(next..).filter(|_| next >= HEAD)?,
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(name: &str, action: u32, is_last: bool) -> Vec<u8> {
        let wide: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let next = if is_last { 0 } else { HEAD + wide.len() };
        let mut bytes = (next as u32).to_le_bytes().to_vec();
        bytes.extend(action.to_le_bytes());
        bytes.extend((wide.len() as u32).to_le_bytes());
        bytes.extend(wide);
        bytes
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(names in prop::collection::vec("[a-zA-Zäé𝄞]{1,20}", 1..20)) {
            let last = names.len() - 1;
            let buffer: Vec<u8> =
                names.iter().enumerate().flat_map(|(at, name)| record(name, 3, at == last)).collect();
            let of = |name: String| Change { path: name.into_bytes(), has_arrived: false };
            let expected: Vec<Change> = names.into_iter().map(of).collect();
            prop_assert_eq!(changes(&buffer), Some(expected));
        }

        #[test]
        fn bytes_of_any_kind_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _any = changes(&bytes);
        }
    }

    #[test]
    fn names_of_folders_are_parted_by_slashes() {
        let expected = Change { path: b"a/b/c.txt".to_vec(), has_arrived: false };
        assert_eq!(changes(&record(r"a\b\c.txt", 3, true)), Some(vec![expected]));
        assert_eq!(changes(&record("a", 3, true)[..13]), None);
        assert_eq!(changes(&[]), None);
    }

    #[test]
    fn what_is_new_or_renamed_has_arrived() {
        let has_arrived = |action| changes(&record("a", action, true)).unwrap()[0].has_arrived;
        assert_eq!([1, 2, 3, 4, 5].map(has_arrived), [true, false, false, false, true]);
    }
}
