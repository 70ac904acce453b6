//! Saving the registry's hives as files that Windows can load again.

use std::io;
use std::path::Path;

use windows_sys::Win32::Foundation::ERROR_FILE_NOT_FOUND;

use super::failure::has_code;
use super::registry::{Key, Root, names};

/// Hives of the computer: the file's name, and the key below `HKEY_LOCAL_MACHINE`.
const MACHINE: [(&str, &str); 5] = [
    ("SYSTEM", "SYSTEM"),
    ("SOFTWARE", "SOFTWARE"),
    ("SAM", "SAM"),
    ("SECURITY", "SECURITY"),
    ("BCD", "BCD00000000"),
];
/// Users who are logged on at most; each has two hives.
const USERS_MAX: u32 = 200;

/// Saves all hives to `folder`; the names of the files.
pub(crate) fn save_hives(folder: &Path) -> io::Result<Vec<String>> {
    let mut saved = Vec::new();
    for (name, key) in MACHINE {
        match save(Root::Machine, key, &folder.join(name)) {
            Ok(()) => saved.push(name.to_owned()),
            // A computer that starts in the old way has no BCD.
            Err(error) if has_code(&error, &[ERROR_FILE_NOT_FOUND]) => {}
            Err(error) => return Err(error),
        }
    }
    // Everybody whose hive is loaded now.
    for user in names(Root::Users, USERS_MAX)? {
        let name = format!("USER {}", user.trim_start_matches('.'));
        save(Root::Users, &user, &folder.join(&name))?;
        saved.push(name);
    }
    Ok(saved)
}

fn save(root: Root, key: &str, path: &Path) -> io::Result<()> {
    Key::open_for_backup(root, key)?.save(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hive_becomes_a_file_of_its_own() {
        super::super::prepare();
        let folder = tempfile::tempdir().unwrap();
        let saved = save_hives(folder.path()).unwrap();
        assert!(saved.iter().any(|name| name == "SOFTWARE"), "{saved:?}");
        for name in &saved {
            assert!(folder.path().join(name).metadata().unwrap().len() > 0, "{name} is empty");
        }
    }
}
