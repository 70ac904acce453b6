//! Files that Windows lists as not to be backed up (the registry's `FilesNotToBackup`, and writers' exclusions), as patterns of
//! ours. Source: Microsoft, "Registry Keys and Values for Backup and Restore".

use crate::vss::expanded;

/// One entry of such a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedFiles {
    /// Who listed it.
    pub(crate) who: String,
    /// Such as `%TEMP%\* /s`: a path, a name or pattern, and whether folders below count.
    pub(crate) text: String,
}

/// Patterns that mean the same; none where it can't be said without leaving out more than was meant.
pub(crate) fn patterns(text: &str, variable: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let text = text.trim();
    let (path, is_recursive) = match text.strip_suffix("/s").or_else(|| text.strip_suffix("/S")) {
        Some(path) => (path.trim_end(), true),
        None => (text, false),
    };
    let path = expanded(&everywhere(path), variable);
    // A variable that this computer doesn't have: nothing is there to be left out.
    if path.is_empty() || path.contains('%') || path.contains("$UserProfile") {
        return Vec::new();
    }
    let path = path.replace('\\', "/");
    let Some((folder, name)) = path.rsplit_once('/') else { return Vec::new() };
    let name = if name == "*.*" { "*" } else { name };
    // A variable that stands for a drive or for nothing must not take the whole drive along.
    let is_deep = folder.trim_start_matches('/').contains('/') || folder.starts_with('/') && folder.len() > 1;
    let folder = rooted(&escaped(folder));
    match (name, is_recursive) {
        ("" | "*", true) if !is_deep => Vec::new(),
        ("", true) => vec![folder],
        ("*", true) => vec![format!("{folder}/*")],
        // Files alone, but not the folders beside them: a pattern can't tell.
        ("" | "*", false) => Vec::new(),
        (name, true) if is_deep => vec![format!("{folder}/**/{}", escaped(name))],
        (_, true) => Vec::new(),
        (name, false) => vec![format!("{folder}/{}", escaped(name))],
    }
}

/// Words of Windows' own for all users and all volumes.
fn everywhere(path: &str) -> String {
    let path = path.replace("$UserProfile$", r"%SystemDrive%\Users\*");
    path.replace("$AllVolumes$", "*:")
}

/// On every drive where none is named.
fn rooted(folder: &str) -> String {
    match folder.as_bytes() {
        [b'/', ..] => format!("/*:{folder}"),
        [] => "/*:".to_owned(),
        _ => format!("/{folder}"),
    }
}

/// Brackets and braces are themselves in Windows' patterns.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '[' | ']' | '{' | '}' => out.extend(['[', letter, ']']),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        patterns(text, |name| match name.to_ascii_lowercase().as_str() {
            "windir" => Some(r"C:\Windows".to_owned()),
            "systemdrive" => Some("C:".to_owned()),
            "temp" => Some(r"D:\Temp".to_owned()),
            "root" => Some("C:".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn what_windows_lists_becomes_patterns() {
        for (text, expected) in [
            (r"\Pagefile.sys", "/*:/Pagefile.sys"),
            (r"%windir%\softwaredistribution\*.* /s", "/C:/Windows/softwaredistribution/*"),
            (r"%TEMP%\* /s", "/D:/Temp/*"),
            (r"%windir%\Logs\CBS\*.log", "/C:/Windows/Logs/CBS/*.log"),
            (
                r"$AllVolumes$\System Volume Information\{0}\x /S",
                "/*:/System Volume Information/[{]0[}]/**/x",
            ),
            (r"$UserProfile$\index.dat", "/C:/Users/*/index.dat"),
            (r"\System Volume Information\ /s", "/*:/System Volume Information"),
        ] {
            assert_eq!(of(text), [expected], "{text}");
        }
    }

    #[test]
    fn what_would_leave_out_more_than_was_meant_is_captured() {
        for text in [
            r"C:\data\*",
            r"C:\data\*.*",
            r"%NotHere%\x /s",
            r"C:\data\",
            "",
            "/s",
            "pagefile.sys",
            r"%root%\* /s",
            r"%root%\*.tmp /s",
            r"\* /s",
        ] {
            assert!(of(text).is_empty(), "{text}: {:?}", of(text));
        }
    }

    #[test]
    fn patterns_are_ones_that_a_scope_takes() {
        for text in [r"$AllVolumes$\a[1]{2}\x /s", r"\hiberfil.sys"] {
            let pattern = &of(text)[0];
            assert!(globset::Glob::new(pattern).is_ok(), "{pattern}");
        }
    }
}
