//! Reading what `ReadDirectoryChangesW` gives (`FILE_NOTIFY_INFORMATION`). Pure and bounded; records may lie anywhere.

use crate::wtf8;

const HEAD: usize = 12;

/// Paths in which something happened, below the watched folder, with slashes; `None` where the records make no sense.
pub(super) fn paths(buffer: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let mut rest = buffer;
    loop {
        let name_len = number(rest, 8)?;
        let name = rest.get(HEAD..HEAD.checked_add(name_len)?)?;
        let units = name.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        let slashes = units.map(|unit| if unit == u16::from(b'\\') { u16::from(b'/') } else { unit });
        found.push(wtf8::from_wide(&slashes.collect::<Vec<_>>()));
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

    fn record(name: &str, is_last: bool) -> Vec<u8> {
        let wide: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let next = if is_last { 0 } else { HEAD + wide.len() };
        let mut bytes = (next as u32).to_le_bytes().to_vec();
        bytes.extend(3u32.to_le_bytes());
        bytes.extend((wide.len() as u32).to_le_bytes());
        bytes.extend(wide);
        bytes
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(names in prop::collection::vec("[a-zA-Zäé𝄞]{1,20}", 1..20)) {
            let last = names.len() - 1;
            let buffer: Vec<u8> =
                names.iter().enumerate().flat_map(|(at, name)| record(name, at == last)).collect();
            let expected: Vec<Vec<u8>> = names.into_iter().map(String::into_bytes).collect();
            prop_assert_eq!(paths(&buffer), Some(expected));
        }

        #[test]
        fn bytes_of_any_kind_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _any = paths(&bytes);
        }
    }

    #[test]
    fn names_of_folders_are_parted_by_slashes() {
        assert_eq!(paths(&record(r"a\b\c.txt", true)), Some(vec![b"a/b/c.txt".to_vec()]));
        assert_eq!(paths(&record("a", true)[..13]), None);
        assert_eq!(paths(&[]), None);
    }
}
