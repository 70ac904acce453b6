//! Names as Windows compares them: one case for all, unit by unit, so that no name is longer or shorter than another that's the
//! same.

use std::borrow::Cow;

/// The name (or path) in the case that names are compared in. Half surrogates stay as they are.
pub(crate) fn upcased(name: &[u8]) -> Cow<'_, [u8]> {
    if name.is_ascii() {
        return match name.iter().any(u8::is_ascii_lowercase) {
            true => Cow::Owned(name.to_ascii_uppercase()),
            false => Cow::Borrowed(name),
        };
    }
    let mut out = Vec::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        let upper: String = chunk.valid().chars().map(upcase).collect();
        out.extend_from_slice(upper.as_bytes());
        out.extend_from_slice(chunk.invalid());
    }
    Cow::Owned(out)
}

/// Whether a name is one of those that a pattern means, both in the case of [`upcased`]: `*` is anything, `?` one character or,
/// at a name's end, none; all else is meant as it's written. `*.*` means names without a dot as well.
pub(crate) fn is_match(pattern: &[u8], name: &[u8]) -> bool {
    if pattern == b"*.*" {
        return true;
    }
    let (pattern, name) = (String::from_utf8_lossy(pattern), String::from_utf8_lossy(name));
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut in_name) = (0, 0);
    // Where the last `*` is, and what it stood for so far.
    let mut star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match (pattern.get(at), star) {
            (Some('*'), _) => {
                star = Some((at, in_name));
                at += 1;
            }
            (Some(one), _) if *one == '?' || *one == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            (_, Some((star_at, end))) => {
                star = Some((star_at, end + 1));
                (at, in_name) = (star_at + 1, end + 1);
            }
            (_, None) => return false,
        }
    }
    pattern[at..].iter().all(|one| matches!(one, '*' | '?'))
}

/// As the table of an NTFS has it (`$UpCase`). It's older than today's Unicode and knows no letter without a way back: a dotless
/// `ı` is no `I`, and a `ß` is itself.
fn upcase(letter: char) -> char {
    let code = u32::from(letter);
    let titled = match code {
        0x1f80..=0x1f87 | 0x1f90..=0x1f97 | 0x1fa0..=0x1fa7 => char::from_u32(code + 8),
        0x1fb3 | 0x1fc3 | 0x1ff3 => char::from_u32(code + 9),
        _ => None,
    };
    if let Some(titled) = titled {
        return titled;
    }
    let only = |mut letters: std::iter::Fuse<std::char::ToUppercase>| {
        letters.next().filter(|_| letters.next().is_none())
    };
    let upper = only(letter.to_uppercase().fuse());
    let returns = |upper: &char| upper.to_lowercase().eq([letter]);
    upper.filter(|upper| code <= 0xffff && u32::from(*upper) <= 0xffff && returns(upper)).unwrap_or(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_an_ntfs_compares_them() {
        let is_same = |one: &str, other: &str| upcased(one.as_bytes()) == upcased(other.as_bytes());
        for (one, other) in [
            ("SqlData", "SQLDATA"),
            ("Bücher", "BÜCHER"),
            ("ÿ", "Ÿ"),
            ("данные", "ДАННЫЕ"),
            ("σοφία", "ΣΟΦΊΑ"),
            ("ᾳ", "ᾼ"),
            ("ǆ", "Ǆ"),
        ] {
            assert!(is_same(one, other), "{one} {other}");
        }
        // Beyond 16 bits, and where there's no way back, a letter is itself.
        for (one, other) in [
            ("ı", "I"),
            ("ſ", "S"),
            ("ß", "SS"),
            ("µ", "Μ"),
            ("ς", "Σ"),
            ("\u{212a}", "k"),
            ("ǅ", "Ǆ"),
            ("𐐨", "𐐀"),
        ] {
            assert!(!is_same(one, other), "{one} {other}");
        }
        assert_eq!(upcased(b"half-\xed\xa0\xb4-\xc3\xa9").as_ref(), b"HALF-\xed\xa0\xb4-\xc3\x89");
        assert!(matches!(upcased(b"ALREADY.TXT"), Cow::Borrowed(_)));
    }

    #[test]
    fn patterns_mean_what_windows_means_by_them() {
        for (pattern, name, is_so) in [
            ("*", "README", true),
            ("*.*", "README", true),
            ("E00*.LOG", "E0000012.LOG", true),
            ("E00*.LOG", "E0100012.LOG", false),
            ("*.MDF", "A.MDF.BAK", false),
            ("*A*B", "XAYAZB", true),
            ("*A*B", "XAYAZBC", false),
            ("E0?.CHK", "E00.CHK", true),
            ("EDB.LO?", "EDB.LO", true),
            ("E0?.CHK", "E000.CHK", false),
            ("SALES[1].MDF", "SALES[1].MDF", true),
            ("SALES[1].MDF", "SALES1.MDF", false),
            ("{A,B}*", "{A,B}.DAT", true),
            ("Ü?", "ÜÄ", true),
            ("", "A", false),
        ] {
            assert_eq!(is_match(pattern.as_bytes(), name.as_bytes()), is_so, "{pattern} {name}");
        }
    }
}
