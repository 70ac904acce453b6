//! The kernel's side, by configfs: a store for each device (`core/user_0`), and a host adapter of them (`loopback`).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::tell;

const ROOT: &str = "/sys/kernel/config/target";
/// A name for the host adapter, of the form the kernel wants.
const ADAPTER: &str = "naa.500140500c0ffe00";
const INITIATOR: &str = "naa.500140500c0ffe01";

/// One device as the target core sees it.
pub(super) struct Backstore {
    dir: PathBuf,
    name: String,
}

impl Backstore {
    pub(super) fn create(number: usize) -> Result<Backstore> {
        let name = format!("coffer{number}");
        let dir = Path::new(ROOT).join("core/user_0").join(&name);
        make(&dir)?;
        let backstore = Backstore { dir, name };
        // The size is nothing to a tape, but must be given; no answer over netlink is waited for.
        let control = format!("dev_config=coffer/{},dev_size=1048576,nl_reply_supported=-1", backstore.name);
        tell(&backstore.dir.join("control"), &control)?;
        tell(&backstore.dir.join("enable"), "1")?;
        // A tape command may take as long as it takes; reservations are the device's own business.
        tell(&backstore.dir.join("attrib/cmd_time_out"), "0")?;
        tell(&backstore.dir.join("attrib/pgr_support"), "0")?;
        Ok(backstore)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory under `/sys/class/uio` that is this device's.
    pub(super) fn uio(&self) -> Result<PathBuf> {
        let end = format!("/{}/coffer/{}", self.name, self.name);
        for entry in fs::read_dir("/sys/class/uio").context("list /sys/class/uio")? {
            let path = entry?.path();
            if fs::read_to_string(path.join("name"))?.trim_end().ends_with(&end) {
                return Ok(path);
            }
        }
        bail!("the kernel made no uio device for {}", self.name)
    }

    pub(super) fn destroy(self) -> Result<()> {
        unmake(&self.dir)
    }
}

/// A host adapter in the same machine.
pub(super) struct Target {
    group: PathBuf,
    links: Vec<PathBuf>,
}

impl Target {
    pub(super) fn create() -> Result<Target> {
        let group = Path::new(ROOT).join("loopback").join(ADAPTER).join("tpgt_1");
        make(&group)?;
        tell(&group.join("nexus"), INITIATOR)?;
        Ok(Target { group, links: Vec::new() })
    }

    /// Adds a logical unit; the kernel asks it who it is before this returns.
    pub(super) fn add(&mut self, lun: usize, store: &Path) -> Result<()> {
        let dir = self.group.join(format!("lun/lun_{lun}"));
        make(&dir)?;
        let link = dir.join("store");
        symlink(store, &link).with_context(|| format!("link {}", link.display()))?;
        self.links.push(link);
        Ok(())
    }

    pub(super) fn sg(&self, lun: usize) -> Result<PathBuf> {
        let dir = self.device(lun)?.join("scsi_generic");
        let mut entries = fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))?;
        let entry = entries.next().with_context(|| format!("{} is empty", dir.display()))??;
        Ok(Path::new("/dev").join(entry.file_name()))
    }

    pub(super) fn remove(&self, lun: usize) -> Result<()> {
        tell(&self.device(lun)?.join("delete"), "1")
    }

    pub(super) fn destroy(self) -> Result<()> {
        for link in &self.links {
            fs::remove_file(link).with_context(|| format!("unlink {}", link.display()))?;
            unmake(link.parent().context("a link lies in a directory")?)?;
        }
        unmake(&self.group)?;
        unmake(self.group.parent().context("a group lies in a directory")?)
    }

    /// Where the kernel describes the device it made of a logical unit.
    fn device(&self, lun: usize) -> Result<PathBuf> {
        let address = self.group.join("address");
        let address = fs::read_to_string(&address).with_context(|| format!("read {}", address.display()))?;
        Ok(PathBuf::from(format!("/sys/class/scsi_device/{}:{lun}/device", address.trim())))
    }
}

fn make(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("make {}: are the modules loaded?", dir.display()))
}

fn unmake(dir: &Path) -> Result<()> {
    fs::remove_dir(dir).with_context(|| format!("remove {}", dir.display()))
}
