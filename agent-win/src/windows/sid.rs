//! Who somebody is to Windows: security identifiers, as text and as names. Source: MS-DTYP 2.4.2.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::ptr::null;

use windows_sys::Win32::Security::LookupAccountSidW;

use super::aligned::aligned;

/// Longest name of an account or a domain, in units of UTF-16.
const NAME_MAX: usize = 256;
/// Sub-authorities at most.
const PARTS_MAX: usize = 15;

/// As it's written, such as `S-1-5-18`; `None` where it isn't whole.
pub(super) fn text(sid: &[u8]) -> Option<String> {
    let (&revision, &count) = (sid.first()?, sid.get(1)?);
    let count = usize::from(count);
    if revision != 1 || count > PARTS_MAX {
        return None;
    }
    let authority = sid.get(2..8)?.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let parts = sid.get(8..8 + 4 * count)?.chunks_exact(4);
    let parts = parts.map(|part| format!("-{}", u32::from_le_bytes([part[0], part[1], part[2], part[3]])));
    Some(format!("S-1-{authority}{}", parts.collect::<String>()))
}

/// What a person calls them: the account's name, or the text where there's none.
pub(super) fn name(sid: &[u8]) -> String {
    let Some(text) = text(sid) else { return "nobody that Windows knows".to_owned() };
    let (mut name, mut domain) = ([0u16; NAME_MAX], [0u16; NAME_MAX]);
    let (mut name_len, mut domain_len, mut kind) = (NAME_MAX as u32, NAME_MAX as u32, 0);
    // Aligned as Windows wants it.
    let words = aligned(sid);
    // SAFETY: `text` has seen to it that the identifier is whole; both buffers are as long as said.
    let done = unsafe {
        LookupAccountSidW(
            null(),
            words.as_ptr().cast_mut().cast(),
            name.as_mut_ptr(),
            &raw mut name_len,
            domain.as_mut_ptr(),
            &raw mut domain_len,
            &raw mut kind,
        )
    };
    if done == 0 {
        return text;
    }
    let of = |units: &[u16], len: u32| String::from_utf16_lossy(&units[..units.len().min(len as usize)]);
    match of(&domain, domain_len) {
        domain if domain.is_empty() => of(&name, name_len),
        domain => format!(r"{domain}\{}", of(&name, name_len)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMINISTRATORS: [u8; 16] = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0];

    #[test]
    fn identifiers_read_as_windows_writes_them() {
        assert_eq!(text(&ADMINISTRATORS).as_deref(), Some("S-1-5-32-544"));
        assert_eq!(text(&[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0]).as_deref(), Some("S-1-5-18"));
        assert_eq!(text(&ADMINISTRATORS[..15]), None);
        assert_eq!(text(&[1, 200, 0, 0, 0, 0, 0, 5]), None);
        assert_eq!(text(&[]), None);
    }

    #[test]
    fn who_has_a_name_is_called_by_it() {
        assert!(name(&ADMINISTRATORS).ends_with(r"\Administrators"), "{}", name(&ADMINISTRATORS));
        assert_eq!(name(&[1, 1, 0, 0, 0, 0, 0, 77, 9, 0, 0, 0]), "S-1-77-9");
    }
}
