//! An NTFS in a file, mounted through ntfs-3g as drive `N:` of a [`WindowsSite`]: `f.txt:s` is there a stream of `f.txt`, for
//! Linux's programs as for wine's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::WindowsSite;
use crate::support::succeed;

const IMAGE_BYTES: u64 = 256 << 20;

pub(crate) struct NtfsDrive {
    folder: PathBuf,
}

impl NtfsDrive {
    /// The site's wine must have been started before.
    pub(crate) fn mount(windows: &WindowsSite) -> NtfsDrive {
        let image = windows.site.path("ntfs.img");
        fs::File::create(&image).unwrap().set_len(IMAGE_BYTES).unwrap();
        succeed(Command::new("mkntfs").args(["-F", "-Q", "-q"]).arg(&image));
        let folder = windows.site.path("ntfs");
        fs::create_dir(&folder).unwrap();
        let mut mount = Command::new("ntfs-3g");
        succeed(mount.args(["-o", "streams_interface=windows"]).arg(&image).arg(&folder));
        let letter = windows.site.path("wine/prefix/dosdevices/n:");
        std::os::unix::fs::symlink(&folder, letter).unwrap();
        NtfsDrive { folder }
    }

    /// Where Linux has it.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for NtfsDrive {
    fn drop(&mut self) {
        // A program of wine's may be about to end still.
        drop(Command::new("umount").arg("--lazy").arg(&self.folder).status());
    }
}
