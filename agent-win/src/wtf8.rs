//! Windows' names as bytes: WTF-8 (Simon Sapin, "The WTF-8 encoding"). It's UTF-8 in which a surrogate without its
//! partner has three bytes of its own, so that every name that NTFS can hold comes back as it was.

const LONE_LEN: usize = 3;

/// From UTF-16, whether its surrogates are paired or not.
pub(crate) fn from_wide(wide: &[u16]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(wide.len());
    for unit in char::decode_utf16(wide.iter().copied()) {
        match unit {
            Ok(character) => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(lone) => bytes.extend_from_slice(&of_lone(lone.unpaired_surrogate())),
        }
    }
    bytes
}

/// To UTF-16; `None` where the bytes aren't WTF-8.
pub(crate) fn to_wide(mut bytes: &[u8]) -> Option<Vec<u16>> {
    let mut wide = Vec::with_capacity(bytes.len());
    loop {
        let valid = match std::str::from_utf8(bytes) {
            Ok(text) => {
                wide.extend(text.encode_utf16());
                return Some(wide);
            }
            Err(error) => error.valid_up_to(),
        };
        wide.extend(std::str::from_utf8(&bytes[..valid]).ok()?.encode_utf16());
        wide.push(lone(bytes.get(valid..valid + LONE_LEN)?)?);
        bytes = &bytes[valid + LONE_LEN..];
    }
}

fn of_lone(surrogate: u16) -> [u8; LONE_LEN] {
    let low = |shift: u32| 0x80 | (surrogate >> shift & 0x3f) as u8;
    [0xe0 | (surrogate >> 12) as u8, low(6), low(0)]
}

fn lone(bytes: &[u8]) -> Option<u16> {
    let [0xed, second @ 0xa0..=0xbf, third @ 0x80..=0xbf] = bytes else { return None };
    Some(0xd000 | u16::from(second & 0x3f) << 6 | u16::from(third & 0x3f))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_name_comes_back(wide in prop::collection::vec(any::<u16>(), 0..80)) {
            prop_assert_eq!(to_wide(&from_wide(&wide)), Some(wide));
        }

        #[test]
        fn surrogates_come_back_however_they_meet(wide in prop::collection::vec(0xd7fe..0xe002u16, 0..40)) {
            prop_assert_eq!(to_wide(&from_wide(&wide)), Some(wide));
        }

        #[test]
        fn bytes_of_any_kind_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(wide) = to_wide(&bytes) {
                prop_assert!(wide.len() <= bytes.len());
            }
        }
    }

    #[test]
    fn text_is_utf_8() {
        assert_eq!(from_wide(&"Grüße 𝄞".encode_utf16().collect::<Vec<_>>()), "Grüße 𝄞".as_bytes());
        assert_eq!(from_wide(&[0xd834]), [0xed, 0xa0, 0xb4]);
        assert_eq!(to_wide(b"\xff"), None);
        assert_eq!(to_wide(b"\xed\xa0"), None);
    }
}
