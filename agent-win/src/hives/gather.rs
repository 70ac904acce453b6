//! The files that were named, each a whole hive, or nothing.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::{Damage, Hive, HivesError, check};

/// Entries of a folder at most: a point has about 200 hives.
const FILES_MAX: usize = 10_000;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    pub hives: Vec<(PathBuf, Hive)>,
    /// Files of a named folder that aren't put back, each with why.
    pub left_alone: Vec<(PathBuf, String)>,
}

/// Looks at files, and at those in folders. All that's wrong is told at once.
pub fn gather(paths: &[PathBuf], user: Option<&str>) -> Result<Gathered, HivesError> {
    let (mut gathered, mut wrong) = (Gathered::default(), Vec::new());
    for path in paths {
        if path.is_dir() {
            for file in files(path)? {
                match of_file(&file, user) {
                    Ok(hive) => gathered.hives.push((file, hive)),
                    Err(why) => gathered.left_alone.push((file, why)),
                }
            }
        } else {
            match of_file(path, user) {
                Ok(hive) => gathered.hives.push((path.clone(), hive)),
                Err(why) => wrong.push(format!("{}: {why}", path.display())),
            }
        }
    }
    gathered.hives.sort_by(|a, b| a.1.cmp(&b.1));
    wrong.extend(gathered.hives.iter().filter_map(|(path, _)| unsound(path)));
    for pair in gathered.hives.windows(2).filter(|pair| pair[0].1 == pair[1].1) {
        let [(one, hive), (other, _)] = pair else { continue };
        let (one, other) = (one.display(), other.display());
        wrong.push(format!("{one} and {other} are both {}; name one of them", hive.file_name()));
    }
    if wrong.is_empty() && gathered.hives.is_empty() {
        wrong.push(
            "there's no hive; name the folder `registry` of a restore point, or files of it".to_owned(),
        );
    }
    if wrong.is_empty() { Ok(gathered) } else { Err(HivesError::Refused(wrong)) }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, HivesError> {
    let failed = |error| HivesError::Read(folder.to_owned(), error);
    let mut files = Vec::new();
    for entry in folder.read_dir().map_err(failed)?.take(FILES_MAX) {
        let path = entry.map_err(failed)?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn of_file(path: &Path, user: Option<&str>) -> Result<Hive, String> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    Hive::of_file(&name.unwrap_or_default(), user)
}

fn unsound(path: &Path) -> Option<String> {
    let checked = File::open(path).map_err(Damage::from).and_then(|file| check(BufReader::new(file)));
    checked.err().map(|damage| format!("{}: {damage}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::hive;
    use super::*;

    fn refusals(paths: &[PathBuf]) -> Vec<String> {
        match gather(paths, None) {
            Err(HivesError::Refused(all)) => all,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_hives_of_a_folder_are_found_and_the_rest_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["SYSTEM", "USER DEFAULT", "BCD", "notes.txt"] {
            fs::write(path(name), hive(&[1])).unwrap();
        }
        fs::create_dir(path("SAM")).unwrap();
        let gathered = gather(&[dir.path().to_owned()], None).unwrap();
        let expected = [(path("SYSTEM"), Hive::Machine("SYSTEM")), (path("USER DEFAULT"), Hive::Default)];
        assert_eq!(gathered.hives, expected);
        let left: Vec<_> = gathered.left_alone.into_iter().map(|(path, _)| path).collect();
        assert_eq!(left, [path("BCD"), path("notes.txt")]);
    }

    #[test]
    fn one_that_is_not_sound_keeps_all_of_them_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("SYSTEM"), hive(&[2])).unwrap();
        fs::write(path("SAM"), &hive(&[2])[..6000]).unwrap();
        fs::write(path("SOFTWARE"), b"text").unwrap();
        let refused = refusals(&[dir.path().to_owned(), path("none/SECURITY"), path("letter")]);
        assert_eq!(refused.len(), 4, "{refused:?}");
        for (name, sentence) in [
            ("letter", "isn't that of a hive"),
            ("SAM", "cut off at byte 4096"),
            ("SECURITY", "can't be read"),
            ("SOFTWARE", "isn't a hive of the registry"),
        ] {
            assert!(refused.iter().any(|one| one.contains(name) && one.contains(sentence)), "{refused:?}");
        }
    }

    #[test]
    fn a_hive_that_is_named_twice_and_none_at_all_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        assert!(refusals(&[dir.path().to_owned()])[0].contains("there's no hive"));
        fs::write(path("SYSTEM"), hive(&[1])).unwrap();
        fs::write(path("SYSTEM.coffer-before"), hive(&[1])).unwrap();
        assert!(refusals(&[dir.path().to_owned()])[0].contains("are both SYSTEM"));
    }
}
