//! Which files a component has, or which are never to be captured.

use std::fmt;

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
}
