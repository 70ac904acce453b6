//! Files that Windows lists as not to be backed up (the registry's `FilesNotToBackup`, and writers' exclusions), as patterns of
//! ours. Source: Microsoft, "Registry Keys and Values for Backup and Restore".

use crate::config::LeavesOut::{self, Anything, Files};
use crate::vss::expanded;

/// One entry of such a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedFiles {
    /// Who listed it.
    pub(crate) who: String,
    /// Such as `%TEMP%\* /s`: a path, a name or pattern, and whether folders below count.
    pub(crate) text: String,
}

/// The pattern that means the same; none where it can't be said without leaving out more than was meant. A name is one of
/// files: a folder below is meant only where everything is.
pub(crate) fn pattern(text: &str, variable: impl Fn(&str) -> Option<String>) -> Option<(String, LeavesOut)> {
    let text = text.trim();
    let (path, is_recursive) = match text.strip_suffix("/s").or_else(|| text.strip_suffix("/S")) {
        Some(path) => (path.trim_end(), true),
        None => (text, false),
    };
    let path = expanded(&everywhere(path), variable);
    // A variable that this computer doesn't have: nothing is there to be left out.
    if path.is_empty() || path.contains('%') || path.contains("$UserProfile") {
        return None;
    }
    let path = path.replace('\\', "/");
    let (folder, name) = path.rsplit_once('/')?;
    let name = if name == "*.*" { "*" } else { name };
    // A variable that stands for a drive or for nothing must not take the whole drive along.
    let is_deep = folder.trim_start_matches('/').contains('/') || folder.starts_with('/') && folder.len() > 1;
    let folder = rooted(&escaped(folder));
    match (name, is_recursive) {
        ("", true) if is_deep => Some((folder, Anything)),
        ("*", true) if is_deep => Some((format!("{folder}/*"), Anything)),
        ("", false) => None,
        (name, true) if is_deep => Some((format!("{folder}/**/{}", escaped(name)), Files)),
        ("*", false) if !is_deep => None,
        (name, false) => Some((format!("{folder}/{}", escaped(name)), Files)),
        (_, true) => None,
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

    fn of(text: &str) -> Option<(String, LeavesOut)> {
        pattern(text, |name| match name.to_ascii_lowercase().as_str() {
            "windir" => Some(r"C:\Windows".to_owned()),
            "systemdrive" => Some("C:".to_owned()),
            "temp" => Some(r"D:\Temp".to_owned()),
            "root" => Some("C:".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn what_windows_lists_becomes_a_pattern() {
        for (text, expected, leaves_out) in [
            (r"\Pagefile.sys", "/*:/Pagefile.sys", Files),
            (r"%windir%\softwaredistribution\*.* /s", "/C:/Windows/softwaredistribution/*", Anything),
            (r"%TEMP%\* /s", "/D:/Temp/*", Anything),
            (r"%windir%\Logs\CBS\*.log", "/C:/Windows/Logs/CBS/*.log", Files),
            (r"%windir%\Logs\*.etl /s", "/C:/Windows/Logs/**/*.etl", Files),
            (
                r"$AllVolumes$\System Volume Information\{0}\x /S",
                "/*:/System Volume Information/[{]0[}]/**/x",
                Files,
            ),
            (r"$UserProfile$\index.dat", "/C:/Users/*/index.dat", Files),
            (r"\System Volume Information\ /s", "/*:/System Volume Information", Anything),
            (r"C:\data\*", "/C:/data/*", Files),
            (r"C:\data\*.*", "/C:/data/*", Files),
        ] {
            assert_eq!(of(text), Some((expected.to_owned(), leaves_out)), "{text}");
        }
    }

    #[test]
    fn what_would_leave_out_more_than_was_meant_is_captured() {
        for text in [
            r"%NotHere%\x /s",
            r"C:\data\",
            "",
            "/s",
            "pagefile.sys",
            r"%root%\* /s",
            r"%root%\*.tmp /s",
            r"%root%\*",
            r"\*",
            r"\* /s",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn patterns_are_ones_that_a_scope_takes() {
        for text in [r"$AllVolumes$\a[1]{2}\x /s", r"\hiberfil.sys"] {
            let (pattern, _) = of(text).unwrap();
            assert!(globset::Glob::new(&pattern).is_ok(), "{pattern}");
        }
    }
}
