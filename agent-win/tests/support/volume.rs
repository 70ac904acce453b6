//! A volume that's mounted and unmounted, where nobody else sees it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Says in which process a test goes on in a table of mounts of its own.
const INSIDE: &str = "COFFER_TEST_OWN_MOUNTS";

/// Runs `body` where what it mounts is seen by nobody else and goes with it; where that can't be, says so and skips the test.
pub fn in_own_mounts(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let can = Command::new("unshare").args(["--mount", "true"]).output();
    if !can.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: {test} needs root and unshare(1), to mount volumes");
        return;
    }
    let itself = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(itself)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

/// Something that can be mounted.
pub struct Volume {
    what: PathBuf,
    /// Of mount(8).
    how: Vec<String>,
    is_attached: bool,
}

impl Volume {
    /// A disk of its own, in a file; which device it is changes from one mount to the next.
    pub fn disk(file: &Path) -> Volume {
        std::fs::File::create(file).unwrap().set_len(24 << 20).unwrap();
        run(Command::new("mkfs.ext4").arg("-q").arg(file));
        Volume { what: file.to_owned(), how: how("-o", "loop"), is_attached: false }
    }

    /// A disk that says it was made at that time.
    pub fn disk_of_second(file: &Path, second: u64) -> Volume {
        std::fs::File::create(file).unwrap().set_len(24 << 20).unwrap();
        let mut make = Command::new("mkfs.ext4");
        run(make.env("E2FSPROGS_FAKE_TIME", second.to_string()).arg("-q").arg(file));
        Volume { what: file.to_owned(), how: how("-o", "loop"), is_attached: false }
    }

    /// The same disk as one device for as long as it's there.
    pub fn attached(self) -> Volume {
        let device = run(Command::new("losetup").args(["--find", "--show"]).arg(&self.what));
        Volume { what: device.trim_end().into(), how: how("-o", "rw"), is_attached: true }
    }

    /// Memory.
    pub fn memory() -> Volume {
        Volume { what: "tmpfs".into(), how: how("-t", "tmpfs"), is_attached: false }
    }

    /// One folder over another; both lie in `layers`, on whatever takes an overlay.
    pub fn overlay(layers: &Path) -> Volume {
        let [lower, upper, work] = ["lower", "upper", "work"].map(|name| layers.join(name));
        [&lower, &upper, &work].into_iter().for_each(|folder| std::fs::create_dir_all(folder).unwrap());
        let folders =
            format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
        let how = [how("-t", "overlay"), how("-o", &folders)].concat();
        Volume { what: "overlay".into(), how, is_attached: false }
    }

    /// What's in a folder, as an image that never changes.
    pub fn image(folder: &Path, file: &Path) -> Volume {
        run(Command::new("mksquashfs").arg(folder).arg(file).args(["-quiet", "-no-progress"]));
        Volume { what: file.to_owned(), how: how("-o", "loop"), is_attached: false }
    }

    /// A folder that's shown elsewhere.
    pub fn folder(folder: &Path) -> Volume {
        std::fs::create_dir(folder).unwrap();
        Volume { what: folder.to_owned(), how: how("-o", "bind"), is_attached: false }
    }

    /// Whether it's on the device that its mount point is on.
    pub fn is_folder(&self) -> bool {
        self.how == how("-o", "bind")
    }

    pub fn mount(&self, at: &Path) {
        run(Command::new("mount").args(&self.how).arg(&self.what).arg(at));
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if self.is_attached {
            run(Command::new("losetup").arg("--detach").arg(&self.what));
        }
    }
}

pub fn unmount(at: &Path) {
    run(Command::new("umount").arg(at));
}

fn how(which: &str, what: &str) -> Vec<String> {
    vec![which.to_owned(), what.to_owned()]
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
