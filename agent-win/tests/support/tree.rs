//! Comparing what the box has with what's on the disk.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::fake_box::BoxState;

pub fn assert_same(state: &BoxState, folder: &Path) {
    let node = state.find(folder).unwrap_or_else(|| panic!("{} isn't at the box", folder.display()));
    let mut names: Vec<Vec<u8>> = state
        .links
        .range((node, Vec::new())..)
        .take_while(|((parent, _), _)| *parent == node)
        .map(|((_, name), _)| name.clone())
        .collect();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        found.push(entry.file_name().as_bytes().to_vec());
        let path = entry.path();
        let metadata = entry.metadata().unwrap();
        let node = state.find(&path).unwrap_or_else(|| panic!("{} isn't at the box", path.display()));
        let meta = state.nodes[&node].meta.clone().unwrap();
        assert_eq!(meta.mode, metadata.mode() & 0o7777, "{}", path.display());
        if metadata.is_dir() {
            assert_same(state, &path);
        } else if metadata.is_symlink() {
            assert_eq!(
                meta.link_target().unwrap(),
                std::fs::read_link(&path).unwrap().as_os_str().as_bytes()
            );
        } else if metadata.is_file() {
            let same = state.file(&path).unwrap() == std::fs::read(&path).unwrap();
            assert!(same, "{} differs", path.display());
            assert_eq!(meta.mtime_ns, metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec());
        }
    }
    names.sort();
    found.sort();
    assert_eq!(names, found, "names in {}", folder.display());
}
