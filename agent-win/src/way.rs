//! The way to a path: over links, and in the names that the file system itself has.

use crate::path::split;

/// Most links on the way to one path, as Linux' kernel has it (ELOOP).
const LINKS_MAX: usize = 40;

/// What's found under a name.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// The name that the file system has; `None` where it's as it was asked for.
    pub(crate) own_name: Option<Vec<u8>>,
    /// Where a link leads, in path bytes: from the root where it begins with a slash, otherwise from the folder that the link
    /// is in.
    pub(crate) target: Option<Vec<u8>>,
}

/// What must be captured so that a path is: each link on the way to it, and where they lead. A path without links is itself.
/// What isn't there, and a way that goes in circles, stays as it is.
pub(crate) fn with_links(path: &[u8], look: impl Fn(&[u8]) -> Step) -> Vec<Vec<u8>> {
    let mut links = Vec::new();
    let mut waiting: Vec<Vec<u8>> = names(path).rev().map(<[u8]>::to_vec).collect();
    let mut reached = Vec::new();
    while let Some(name) = waiting.pop() {
        if name == b".." {
            reached.truncate(split(&reached).map_or(0, |(parent, _)| parent.len()));
            continue;
        }
        let parent = reached.len();
        push(&mut reached, &name);
        let Step { own_name, target } = look(&reached);
        if let Some(own_name) = own_name {
            reached.truncate(parent);
            push(&mut reached, &own_name);
        }
        let Some(target) = target else { continue };
        if links.len() == LINKS_MAX {
            return vec![path.to_vec()];
        }
        links.push(reached.clone());
        reached.truncate(if target.starts_with(b"/") { 0 } else { parent });
        waiting.extend(names(&target).rev().map(<[u8]>::to_vec));
    }
    links.push(reached);
    links
}

fn push(path: &mut Vec<u8>, name: &[u8]) {
    path.push(b'/');
    path.extend_from_slice(name);
}

fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Windows in which `Documents and Settings` leads to `Users`, a volume's folder to another drive, and `Data` has a short
    /// name.
    fn look(path: &[u8]) -> Step {
        let named = |name: &str| Step { own_name: Some(name.as_bytes().to_vec()), target: None };
        let leads =
            |name: &str, target: &str| Step { target: Some(target.as_bytes().to_vec()), ..named(name) };
        match &path.to_ascii_lowercase()[..] {
            b"/c:" => named("C:"),
            b"/c:/docume~1" | b"/c:/documents and settings" => leads("Documents and Settings", "/C:/USERS"),
            b"/c:/users" => named("Users"),
            b"/c:/users/bob" => leads("Bob", "../moved/bob"),
            b"/c:/moved" => leads("Moved", "/D:"),
            b"/c:/round" => leads("round", "/C:/round"),
            b"/d:/bob" => named("Bob"),
            _ => Step::default(),
        }
    }

    fn way(path: &str) -> Vec<String> {
        let way = with_links(path.as_bytes(), look);
        way.into_iter().map(|path| String::from_utf8(path).unwrap()).collect()
    }

    #[test]
    fn links_are_followed_and_names_are_the_file_systems_own() {
        assert_eq!(way("/c:/USERS/none"), ["/C:/Users/none"]);
        assert_eq!(way("/C:/DOCUME~1/none"), ["/C:/Documents and Settings", "/C:/Users/none"]);
        assert_eq!(
            way("/C:/Documents and Settings/bob/x"),
            ["/C:/Documents and Settings", "/C:/Users/Bob", "/C:/Moved", "/D:/Bob/x"]
        );
        assert_eq!(way("/C:/round/x"), ["/C:/round/x"]);
        assert_eq!(way("/"), [""]);
    }
}
