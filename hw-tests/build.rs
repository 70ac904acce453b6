//! Whether this computer can mount a real NTFS: where it can't, the tests that need one are listed as ignored, with the reason,
//! and never counted as passed.

use std::fs::OpenOptions;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const FUSE: &str = "/dev/fuse";
/// Changes whenever a package comes or goes.
const PACKAGES: &str = "/var/lib/dpkg/status";

fn main() {
    println!("cargo::rustc-check-cfg=cfg(mounts_ntfs)");
    for watched in ["build.rs", FUSE, PACKAGES] {
        println!("cargo::rerun-if-changed={watched}");
    }
    match lacking() {
        None => println!("cargo::rustc-cfg=mounts_ntfs"),
        Some(what) => println!("cargo::warning=NOTHING IS TESTED ON A REAL NTFS: {what}"),
    }
}

fn lacking() -> Option<&'static str> {
    let has = |program: &str| ["/bin", "/sbin"].iter().any(|folder| Path::new(folder).join(program).exists());
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    match () {
        () if !has("mkntfs") || !has("ntfs-3g") => Some("ntfs-3g isn't installed; run .ci/setup"),
        () if OpenOptions::new().read(true).write(true).open(FUSE).is_err() => {
            Some("/dev/fuse can't be opened; allow it, or run the tests where it's there")
        }
        () if !is_root => Some("mounting an image needs root; run the tests as root"),
        () => None,
    }
}
