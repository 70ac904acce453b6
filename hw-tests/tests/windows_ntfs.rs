//! The real Windows agent, under wine, on a real NTFS (ntfs-3g). What wine doesn't tell a program of it (which streams a file
//! has, reparse points, compression, holes) isn't shown here: see agent-win/TESTED.md.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod support;
mod windows_site;

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use support::{bytes, contents};
use windows_site::{NtfsDrive, WindowsSite};

fn fill(data: &Path) {
    let deep = (0..9)
        .fold(data.to_owned(), |path, level| path.join(format!("a-folder-with-a-long-name-{level:03}")));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("beyond 260 characters.txt"), b"deep").unwrap();
    fs::write(data.join("Grüße.txt"), b"umlauts").unwrap();
    fs::write(data.join("empty.txt"), b"").unwrap();
    fs::hard_link(data.join("Grüße.txt"), data.join("the same.txt")).unwrap();
    let holes = fs::File::create(data.join("holes.bin")).unwrap();
    holes.write_all_at(&bytes(1, 70_000), 0).unwrap();
    holes.write_all_at(&bytes(2, 70_000), 9 << 20).unwrap();
    holes.set_len(20 << 20).unwrap();
}

/// A site with `N:` and a configuration over `N:\data`.
fn start() -> (NtfsDrive, WindowsSite) {
    let windows = WindowsSite::new();
    windows.run(&["cmd", "/c", "md", r"C:\data"]);
    let drive = NtfsDrive::mount(&windows);
    fs::create_dir(drive.folder().join("data")).unwrap();
    windows.enrol();
    windows.configure("include = ['N:\\data']\nwhen = \"manual\"\nopen_files = 'as they are'\n");
    (drive, windows)
}

#[test]
#[cfg_attr(not(mounts_ntfs), ignore = "no real NTFS here: see the warning that building hw-tests gave")]
fn files_on_ntfs_come_back_with_names_links_and_times() {
    let (drive, windows) = start();
    let data = drive.folder().join("data");
    fill(&data);
    let captured = windows.capture();
    assert!(captured.status.success(), "{captured:?}");
    assert_eq!(contents(&windows.restore_of("N:/data", &[])), contents(&data));

    let words = ["--config", "files", "--to", r"N:\back", "--server", &windows.site.server];
    let restored = windows.agent("restore").args(words).output().unwrap();
    assert!(restored.status.success(), "{restored:?}");
    let back = drive.folder().join("back/N/data");
    assert_eq!(contents(&back), contents(&data));
    let of = |root: &Path, name: &str| fs::metadata(root.join(name)).unwrap();
    assert_eq!(of(&back, "the same.txt").ino(), of(&back, "Grüße.txt").ino(), "they're two files now");
    for name in ["Grüße.txt", "holes.bin"] {
        let time = |root: &Path| (of(root, name).mtime(), of(root, name).mtime_nsec() / 100);
        assert_eq!(time(&back), time(&data), "{name}");
    }

    // A page of a file costs a page here as well.
    let holes = fs::File::options().write(true).open(data.join("holes.bin")).unwrap();
    holes.write_all_at(&bytes(3, 4096), 9 << 20).unwrap();
    let captured = windows.capture();
    assert!(captured.status.success(), "{captured:?}");
    assert_eq!(contents(&windows.restore_of("N:/data", &[])), contents(&data));
}

#[test]
#[cfg_attr(not(mounts_ntfs), ignore = "no real NTFS here: see the warning that building hw-tests gave")]
fn a_stream_is_written_and_read_beside_its_file_but_wine_lists_none() {
    let (drive, windows) = start();
    let file = drive.folder().join("data/f.txt");
    fs::write(&file, b"the file").unwrap();
    windows.run(&["cmd", "/c", r"echo of this> N:\data\f.txt:s1"]);
    assert_eq!(fs::read(&file).unwrap(), b"the file", "the stream went into the file");
    let stream = fs::read(drive.folder().join("data/f.txt:s1")).unwrap();
    assert_eq!(stream.trim_ascii(), b"of this");
    let names: Vec<_> = fs::read_dir(drive.folder().join("data")).unwrap().collect();
    assert_eq!(names.len(), 1, "the stream is a file of its own: this is no NTFS");
    // The day that wine lists streams, the test above must look at them.
    let table = windows.agent_plain(&["selftest", "--folder", r"N:\data", "--limit-seconds", "5"]);
    assert!(table.contains("alternate streams            no   it was written, but isn't listed"), "{table}");
}
