//! Patterns that can't be meant as they're written: those that match no path, and those that leave nothing of what's included.
//! Earlier versions took them without a word; what they meant by then, they go on meaning.

use super::scope::{clean, glob};

/// Names of which a pattern that matches all leaves out every other as well.
const ANY_NAMES: [&str; 3] = ["a", "Z9.tmp~", "\u{1}"];

/// Why a pattern matches nothing, and what to write instead; `None` where it may match something. A pattern of names alone
/// (`takes_names`) is compared with names as well.
pub(super) fn matches_nothing(pattern: &str, takes_names: bool) -> Option<(String, String)> {
    let whole = normal(pattern);
    let is_of_names = !whole.contains('/');
    if takes_names && is_of_names || begins_at_the_top(&whole) && !has_odd_parts(&whole) {
        return None;
    }
    let what = format!(
        "\"{pattern}\" matches nothing: patterns are compared with whole paths, from the root on, and a * stands for no /"
    );
    let parts: Vec<&str> = whole.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect();
    let rest = parts.join("/");
    let remedy = match rest.trim_matches('*') {
        "" => "Write which names, such as \"**/*.tmp\" for one in any folder, or remove it.".to_owned(),
        _ if whole.starts_with('/') => format!("Write \"/{rest}\"."),
        _ => {
            let rest = rest.strip_prefix("**").map_or(rest.clone(), |rest| format!("*{rest}"));
            format!("Write \"**/{rest}\" for that in any folder, or the whole path, such as \"/srv/{rest}\".")
        }
    };
    Some((what, remedy))
}

/// Whether a pattern without wildcards is an included path.
pub(super) fn is_included(pattern: &str, includes: &[String]) -> bool {
    let bytes = |path: &str| {
        let path = normal(path);
        let has_drive = path.as_bytes().get(2) == Some(&b':');
        clean(if has_drive { path.to_ascii_lowercase() } else { path }.as_bytes())
    };
    !pattern.contains(['*', '?', '[', '{']) && includes.iter().any(|include| bytes(include) == bytes(pattern))
}

/// Whether nothing that lies below any of the included paths would be left.
pub(super) fn leave_nothing(patterns: &[String], includes: &[String]) -> bool {
    let includes: Vec<Vec<u8>> = includes.iter().map(|include| clean(normal(include).as_bytes())).collect();
    let globs: Vec<_> = patterns.iter().filter_map(|pattern| glob(&normal(pattern)).ok()).collect();
    let is_emptied = |include: &Vec<u8>| {
        let below = |name: &str| format!("{}/{name}", String::from_utf8_lossy(include));
        let holds_another = || includes.iter().any(|other| super::scope::below(other, include));
        !holds_another()
            && globs.iter().any(|glob| {
                let matcher = glob.compile_matcher();
                ANY_NAMES.iter().all(|name| matcher.is_match(below(name)))
            })
    };
    !includes.is_empty() && includes.iter().all(is_emptied)
}

/// As it's compared, on whichever system: the box doesn't know which one a configuration is for.
fn normal(pattern: &str) -> String {
    let has_drive = pattern.as_bytes().get(1) == Some(&b':');
    let is_of_windows = has_drive || !pattern.contains('/');
    let slashes = if is_of_windows { pattern.replace('\\', "/") } else { pattern.to_owned() };
    let whole = if has_drive { format!("/{slashes}") } else { slashes };
    if whole.len() > 1 { whole.trim_end_matches('/').to_owned() } else { whole }
}

/// Whether a pattern may match a path, each of which begins with a slash.
fn begins_at_the_top(pattern: &str) -> bool {
    let begins = |pattern: &str| pattern.starts_with('/') || pattern == "**" || pattern.starts_with("**/");
    match pattern.starts_with('{') {
        true => pattern.split(['{', ',', '}']).any(begins),
        false => begins(pattern),
    }
}

/// Whether it has parts that no path has.
fn has_odd_parts(pattern: &str) -> bool {
    !pattern.contains(['[', '{']) && pattern.split('/').skip(1).any(|part| matches!(part, "" | "." | ".."))
}
