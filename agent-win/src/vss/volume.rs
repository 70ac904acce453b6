//! Volumes, and which of them a path lies on.

use std::collections::BTreeSet;

/// A volume with the drive letters and folders that it's mounted at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Volume {
    /// What Windows calls it, with a backslash at the end: `\\?\Volume{...}\`.
    pub(crate) name: String,
    /// `C:\`, `C:\mnt\data\`.
    pub(crate) mounts: Vec<String>,
}

/// All volumes of the computer.
#[derive(Debug, Default)]
pub(crate) struct Volumes(Vec<(Volume, Vec<Parts>)>);

/// A path's names in small letters; however it was written.
type Parts = Vec<String>;

impl Volumes {
    pub(crate) fn new(volumes: Vec<Volume>) -> Volumes {
        let known = |volume: Volume| {
            let places = volume.mounts.iter().chain([&volume.name]).map(|place| parts(place)).collect();
            (volume, places)
        };
        Volumes(volumes.into_iter().map(known).collect())
    }

    /// The volume that a path lies on: the one mounted deepest.
    pub(crate) fn of(&self, path: &str) -> Option<&Volume> {
        let path = parts(path);
        let depth = |places: &[Parts]| {
            places.iter().filter(|place| path.starts_with(place)).map(|place| place.len()).max()
        };
        let holding = self.0.iter().filter_map(|(volume, places)| Some((depth(places)?, volume)));
        holding.max_by_key(|(depth, _)| *depth).map(|(_, volume)| volume)
    }

    /// The volume that a path lies on and all that are mounted below it.
    pub(crate) fn under(&self, path: &str) -> BTreeSet<&Volume> {
        let top = parts(path);
        let is_below = |places: &[Parts]| places.iter().any(|place| place.starts_with(&top));
        let below = self.0.iter().filter(|(_, places)| is_below(places)).map(|(volume, _)| volume);
        below.chain(self.of(path)).collect()
    }
}

fn parts(path: &str) -> Parts {
    let names = path.split(['/', '\\']).filter(|name| !matches!(*name, "" | "?" | "."));
    names.map(str::to_lowercase).collect()
}

/// Whether a path leads to another computer.
pub(super) fn is_remote(path: &str) -> bool {
    path.strip_prefix(r"\\").is_some_and(|rest| match rest.strip_prefix(r"?\") {
        Some(long) => long.to_lowercase().starts_with(r"unc\"),
        None => !rest.starts_with('.'),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn computer() -> Volumes {
        let volume = |name: &str, mounts: &[&str]| Volume {
            name: name.to_owned(),
            mounts: mounts.iter().map(|mount| (*mount).to_owned()).collect(),
        };
        Volumes::new(vec![
            volume(r"\\?\Volume{c}\", &[r"C:\"]),
            volume(r"\\?\Volume{d}\", &[r"D:\", r"C:\mnt\data\"]),
            volume(r"\\?\Volume{logs}\", &[r"C:\mnt\data\logs\"]),
            volume(r"\\?\Volume{hidden}\", &[]),
        ])
    }

    fn name(volume: Option<&Volume>) -> Option<&str> {
        volume.map(|volume| volume.name.trim_start_matches(r"\\?\Volume{").trim_end_matches(r"}\"))
    }

    #[test]
    fn a_path_lies_on_the_volume_that_is_mounted_deepest() {
        let computer = computer();
        for (path, volume) in [
            ("/C:/Users", Some("c")),
            (r"c:\windows\System32", Some("c")),
            (r"\\?\C:\MNT\Data\x", Some("d")),
            ("/C:/mnt/database", Some("c")),
            (r"C:\mnt\data\logs", Some("logs")),
            (r"D:\logs", Some("d")),
            (r"\\?\Volume{HIDDEN}\EFI", Some("hidden")),
            (r"E:\", None),
            (r"\\server\share\x", None),
        ] {
            assert_eq!(name(computer.of(path)), volume, "{path}");
        }
    }

    #[test]
    fn what_is_mounted_below_belongs_to_it() {
        let computer = computer();
        let names =
            |path| computer.under(path).into_iter().map(|one| name(Some(one)).unwrap()).collect::<Vec<_>>();
        assert_eq!(names("/C:"), ["c", "d", "logs"]);
        assert_eq!(names("/C:/Users"), ["c"]);
        assert_eq!(names("/C:/mnt/data"), ["d", "logs"]);
        assert_eq!(names("/D:"), ["d"]);
        assert_eq!(names("/E:/x"), [""; 0]);
    }

    #[test]
    fn another_computers_paths_are_seen_to_be_so() {
        for path in [r"\\server\share", r"\\?\UNC\server\share"] {
            assert!(is_remote(path), "{path}");
        }
        for path in [r"C:\x", r"\\?\C:\x", r"\\?\Volume{d}\", r"\\.\PhysicalDrive0"] {
            assert!(!is_remote(path), "{path}");
        }
    }
}
