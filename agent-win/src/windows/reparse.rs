//! Where a link leads, out of a reparse point (`REPARSE_DATA_BUFFER`, MS-FSCC 2.1.2). Pure and bounded.

use crate::wtf8;

/// Longest reparse point (`MAXIMUM_REPARSE_DATA_BUFFER_SIZE`).
pub(super) const REPARSE_MAX: usize = 16 << 10;
const SYMLINK: u32 = 0xa000_000c;
const MOUNT_POINT: u32 = 0xa000_0003;
const HEAD: usize = 8;

/// The target as it's shown to people, with slashes; `None` for other reparse points.
pub(super) fn target(buffer: &[u8]) -> Option<Vec<u8>> {
    let names = match u32::from_le_bytes(buffer.get(..4)?.try_into().ok()?) {
        SYMLINK => HEAD + 12,
        MOUNT_POINT => HEAD + 8,
        _ => return None,
    };
    let print = name(buffer, names, HEAD + 4)?;
    let shown = if print.is_empty() { name(buffer, names, HEAD)? } else { print };
    let slashes = shown.into_iter().map(|unit| if unit == u16::from(b'\\') { u16::from(b'/') } else { unit });
    Some(wtf8::from_wide(&slashes.collect::<Vec<_>>()))
}

/// Where the system goes from there, in path bytes: from the top, or (without a slash) from the link's own folder; `None` for
/// other reparse points, and for what's neither.
pub(super) fn way_on(buffer: &[u8]) -> Option<Vec<u8>> {
    let names = match u32::from_le_bytes(buffer.get(..4)?.try_into().ok()?) {
        SYMLINK => HEAD + 12,
        MOUNT_POINT => HEAD + 8,
        _ => return None,
    };
    let way = wtf8::from_wide(&name(buffer, names, HEAD)?);
    let is_backslash = |byte: &u8| *byte == b'\\';
    let slashed =
        |way: &[u8]| way.iter().map(|byte| if is_backslash(byte) { b'/' } else { *byte }).collect::<Vec<_>>();
    match way.strip_prefix(br"\??\") {
        Some(way) => Some([b"/", &slashed(way)[..]].concat()),
        None if way.first().is_none_or(is_backslash) => None,
        None => Some(slashed(&way)),
    }
}

/// Offset and length of a name lie at `field`.
fn name(buffer: &[u8], names: usize, field: usize) -> Option<Vec<u16>> {
    let number = |at: usize| Some(usize::from(u16::from_le_bytes(buffer.get(at..at + 2)?.try_into().ok()?)));
    let start = names + number(field)?;
    let bytes = buffer.get(start..start + number(field + 2)?)?;
    Some(bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn symlink(substitute: &str, print: &str) -> Vec<u8> {
        let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let (substitute, print) = (wide(substitute), wide(print));
        let mut buffer = SYMLINK.to_le_bytes().to_vec();
        buffer.extend([0; 4]);
        for number in [0, substitute.len(), substitute.len(), print.len()] {
            buffer.extend((number as u16).to_le_bytes());
        }
        buffer.extend(1u32.to_le_bytes());
        [buffer, substitute, print].concat()
    }

    #[test]
    fn a_link_leads_where_people_see_it_lead() {
        assert_eq!(target(&symlink(r"\??\C:\a\b", r"C:\a\b")), Some(b"C:/a/b".to_vec()));
        assert_eq!(target(&symlink(r"..\b", "")), Some(b"../b".to_vec()));
        let mut short = symlink("abc", "abc");
        short.pop();
        assert_eq!(target(&short), None);
    }

    #[test]
    fn the_system_goes_where_the_other_name_says() {
        let way = |substitute| way_on(&symlink(substitute, r"C:\shown"));
        assert_eq!(way(r"\??\C:\a\b"), Some(b"/C:/a/b".to_vec()));
        assert_eq!(way(r"..\b"), Some(b"../b".to_vec()));
        assert_eq!(way(r"\??\Volume{7}\"), Some(b"/Volume{7}/".to_vec()));
        assert_eq!((way(r"\b"), way("")), (None, None));
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _any = target(&[&SYMLINK.to_le_bytes(), &bytes[..]].concat());
            let _any = way_on(&[&SYMLINK.to_le_bytes(), &bytes[..]].concat());
            let _any = target(&[&MOUNT_POINT.to_le_bytes(), &bytes[..]].concat());
        }
    }
}
