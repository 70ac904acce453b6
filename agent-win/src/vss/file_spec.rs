//! Which files a component has, or which are never to be captured.

use std::fmt;

use crate::config::FoundFiles;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileSpec {
    /// The folder, as Windows writes it, environment variables expanded.
    pub(crate) path: String,
    /// Names in it, with `*` and `?`.
    pub(crate) pattern: String,
    /// Whether the folders below count as well.
    pub(crate) recursive: bool,
}

impl fmt::Display for FileSpec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.path.ends_with('\\') { "" } else { "\\" };
        let below = if self.recursive { " and below" } else { "" };
        write!(out, "{}{separator}{}{below}", self.path, self.pattern)
    }
}

impl FileSpec {
    /// Path bytes of the folder, as Windows takes what's written: whatever the separators are, and without dots and spaces at the
    /// end of a name. After `\\\\?\\` names are as they're written.
    fn folder(&self) -> Vec<u8> {
        let verbatim = [r"\\?\", r"\??\", r"\\.\"].iter().find_map(|start| self.path.strip_prefix(start));
        let mut names: Vec<&str> = Vec::new();
        for name in verbatim.unwrap_or(&self.path).split(['\\', '/']) {
            match if verbatim.is_some() { name } else { bare(name) } {
                "" | "." => {}
                ".." => drop(names.pop()),
                name => names.push(name),
            }
        }
        let mut path: Vec<u8> = names.iter().flat_map(|name| ["/", name]).flat_map(str::bytes).collect();
        if path.get(2) == Some(&b':') {
            path[1].make_ascii_uppercase();
        }
        path
    }

    /// What's named, if no link and no short name is on the way.
    pub(crate) fn found(&self) -> FoundFiles {
        let (folder, pattern) = (self.folder(), bare(&self.pattern).to_owned());
        FoundFiles { folder, pattern, is_recursive: self.recursive, is_log: false }
    }
}

/// Windows drops what's at the end; of `..` all would be.
fn bare(name: &str) -> &str {
    if matches!(name, "." | "..") { name } else { name.trim_end_matches(['.', ' ']) }
}

/// With each `%NAME%` replaced by what the name stands for. What stands for nothing stays.
pub(crate) fn expanded(text: &str, variable: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let value = after.split_once('%').and_then(|(name, after)| Some((variable(name)?, after)));
        match value {
            Some((value, after)) => {
                out.push_str(&value);
                rest = after;
            }
            None => {
                out.push('%');
                rest = after;
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_and_what_looks_like_one_stays() {
        let variable = |name: &str| (name == "SystemRoot").then(|| r"C:\Windows".to_owned());
        for (text, meant) in [
            (r"%SystemRoot%\system32", r"C:\Windows\system32"),
            (r"D:\100% of %SystemRoot%", r"D:\100% of C:\Windows"),
            (r"%nothing%\x", r"%nothing%\x"),
            ("%", "%"),
        ] {
            assert_eq!(expanded(text, variable), meant);
        }
    }

    #[test]
    fn it_is_shown_as_a_path() {
        let mut spec = FileSpec { path: r"D:\".into(), pattern: "*.mdf".into(), recursive: false };
        assert_eq!(spec.to_string(), r"D:\*.mdf");
        spec = FileSpec { path: r"D:\sql".into(), recursive: true, ..spec };
        assert_eq!(spec.to_string(), r"D:\sql\*.mdf and below");
    }
    #[test]
    fn a_folder_is_taken_as_windows_takes_it() {
        for (path, folder) in [
            (r"d:\Sql", "/D:/Sql"),
            (r"D:\Sql\", "/D:/Sql"),
            (r"D:/Sql//data./ ", "/D:/Sql/data"),
            (r"D:\x\..\Sql\.", "/D:/Sql"),
            (r"\\?\D:\odd.\", "/D:/odd."),
            (r"\\?\Volume{d}\Sql", "/Volume{d}/Sql"),
            (r"D:\", "/D:"),
        ] {
            let spec = FileSpec { path: path.into(), pattern: "sales.mdf. ".into(), recursive: false };
            let found = spec.found();
            assert_eq!(String::from_utf8(found.folder).unwrap(), folder, "{path}");
            assert_eq!(found.pattern, "sales.mdf");
        }
    }
}
