//! Saving the registry's hives as files that Windows can load again.

use std::io;
use std::path::Path;

use windows_sys::Win32::Foundation::ERROR_FILE_NOT_FOUND;

use super::failure::has_code;
use super::registry::{Key, Root, names};
use crate::hives::{BOOT, LackingHive, MACHINE, SYSTEM_SID};

/// Hives of users who are logged on that are kept at most; each user has two.
const USERS_MAX: usize = 200;
/// Those that are counted at most.
const COUNTED_MAX: u32 = 20_000;

/// Saves all hives to `folder`; what couldn't be saved.
pub(crate) fn save_hives(folder: &Path) -> io::Result<Vec<LackingHive>> {
    let mut lacking = Vec::new();
    for (name, key) in MACHINE.map(|key| (key, key)).into_iter().chain([BOOT]) {
        lacking.extend(save(Root::Machine, key, folder, name));
    }
    // Everybody whose hive is loaded now.
    let (users, left_out) = kept(names(Root::Users, COUNTED_MAX)?);
    for user in users {
        let name = format!("USER {}", user.trim_start_matches('.'));
        lacking.extend(save(Root::Users, &user, folder, &name));
    }
    lacking.extend(left_out);
    Ok(lacking)
}

/// Those that are saved, and what's said of the others.
fn kept(mut users: Vec<String>) -> (Vec<String>, Option<LackingHive>) {
    // The same as `.DEFAULT`.
    users.retain(|user| user != SYSTEM_SID);
    let left_out = users.len().saturating_sub(USERS_MAX);
    users.truncate(USERS_MAX);
    (users, LackingHive::beyond(left_out, USERS_MAX))
}

/// What's said where it can't be saved.
fn save(root: Root, key: &str, folder: &Path, name: &str) -> Option<LackingHive> {
    match Key::open_for_backup(root, key).and_then(|key| key.save(&folder.join(name))) {
        Ok(()) => None,
        // A computer that starts in the old way has no BCD, and a user has logged off.
        Err(error) if has_code(&error, &[ERROR_FILE_NOT_FOUND]) => None,
        Err(error) => Some(LackingHive::failed(name, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hive_becomes_a_file_of_its_own() {
        super::super::prepare();
        let folder = tempfile::tempdir().unwrap();
        let lacking = save_hives(folder.path()).unwrap();
        assert_eq!(lacking, []);
        let saved = std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap);
        let saved: Vec<_> = saved.map(|file| (file.file_name().into_string().unwrap(), file)).collect();
        for name in ["SOFTWARE", "SYSTEM", "USER Default"] {
            let is_there = saved.iter().any(|(saved, _)| saved.eq_ignore_ascii_case(name));
            assert!(is_there, "{name} isn't among {saved:?}");
        }
        for (name, file) in saved {
            assert!(file.metadata().unwrap().len() > 0, "{name} is empty");
        }
    }

    #[test]
    fn a_hive_that_cannot_be_saved_is_named_and_the_others_are_saved() {
        super::super::prepare();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("SYSTEM")).unwrap();
        let lacking = save_hives(folder.path()).unwrap();
        let names: Vec<&str> = lacking.iter().map(|lacking| &*lacking.name).collect();
        assert_eq!(names, ["SYSTEM"], "{lacking:?}");
        assert!(folder.path().join("SOFTWARE").is_file());
    }

    #[test]
    fn how_many_are_not_kept_is_said() {
        let of = |count: usize| (0..count).map(|number| format!("S-1-5-21-{number}")).collect::<Vec<_>>();
        assert_eq!(kept(of(200)), (of(200), None));
        let (users, lacking) = kept([of(203), vec![SYSTEM_SID.to_owned()]].concat());
        assert_eq!(users, of(200));
        let what = lacking.unwrap().what;
        assert!(what.starts_with("3 more hives of users who are logged on aren't in this point"), "{what}");
    }
}
