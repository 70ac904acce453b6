//! What a restore begins at: the paths that were named, each once, and those that aren't there.

use std::collections::BTreeSet;

use coffer_format::wire::{LeftOut, LeftOutWhy, RefusalCode};

use super::Wanted;
use crate::browse::{NodeAt, components, not_there};
use crate::reading::Reading;
use crate::{Result, VaultError};

/// Paths with their nodes, and those that nothing has.
pub(super) type Tops = (Vec<(Vec<u8>, NodeAt)>, Vec<LeftOut>);

/// Fails where none of the paths is there.
pub(super) fn tops(reading: &Reading, wanted: &Wanted) -> Result<Tops> {
    let (mut found, mut missing, mut refused) = (Vec::new(), Vec::new(), None);
    for path in outermost(&wanted.paths) {
        match reading.lookup(wanted.config, wanted.point, &path) {
            Ok(node) => found.push((path, node)),
            Err(error @ VaultError::Refused { code: RefusalCode::NoSuchPath, .. }) => {
                let what = not_there(reading.is_doubtful(wanted.config, wanted.point)?);
                missing.push(LeftOut { index: None, path: path.into(), why: LeftOutWhy::NotThere, what });
                refused = refused.or(Some(error));
            }
            Err(error) => return Err(error),
        }
    }
    match refused {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok((found, missing)),
    }
}

/// The paths without those that lie below another one, in the order they came; the root where there's none.
fn outermost(paths: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let normal: Vec<Vec<u8>> =
        paths.iter().map(|path| components(path).collect::<Vec<_>>().join(&b'/')).collect();
    if normal.iter().any(Vec::is_empty) || normal.is_empty() {
        return vec![Vec::new()];
    }
    let all: BTreeSet<&[u8]> = normal.iter().map(Vec::as_slice).collect();
    let is_below = |path: &[u8]| {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        ends.into_iter().any(|end| all.contains(&path[..end]))
    };
    let mut taken = BTreeSet::new();
    let first = normal.iter().filter(|path| !is_below(path) && taken.insert(path.as_slice()));
    first.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::outermost;

    #[test]
    fn what_is_named_twice_or_below_another_is_taken_once() {
        let paths = |paths: &[&str]| paths.iter().map(|path| path.as_bytes().to_vec()).collect::<Vec<_>>();
        let found = outermost(&paths(&["a/b", "/a", "ab", "a/", "./c//d", "c/d/e"]));
        assert_eq!(found, paths(&["a", "ab", "c/d"]));
        assert_eq!(outermost(&[]), paths(&[""]));
        assert_eq!(outermost(&paths(&["a", "/"])), paths(&[""]));
    }
}
