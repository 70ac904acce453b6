//! Where a node goes below the target.

use crate::platform;

/// The path bytes of `relative` below `root`; `None` where a name in it could lead elsewhere. A drive's letter, which no
/// folder can be called on Windows, loses its colon.
pub(super) fn below(root: &[u8], relative: &[u8]) -> Option<Vec<u8>> {
    let mut path = root.to_vec();
    for (depth, name) in relative.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).enumerate() {
        let name = match name {
            [letter, b':'] if depth == 0 && letter.is_ascii_alphabetic() => &name[..1],
            name => name,
        };
        if matches!(name, b"." | b"..") || !platform::is_name(name) {
            return None;
        }
        path.push(b'/');
        path.extend_from_slice(name);
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn names_never_lead_outside() {
        assert_eq!(below(b"/t", b"C:/a/b"), Some(b"/t/C/a/b".to_vec()));
        assert_eq!(below(b"/t", b"/a"), Some(b"/t/a".to_vec()));
        for bad in [&b"../a"[..], b"a/../../b", b"a/\0"] {
            assert_eq!(below(b"/t", bad), None);
        }
    }
}
