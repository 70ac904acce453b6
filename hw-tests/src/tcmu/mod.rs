//! The simulated library as real SCSI devices: commands sent to `/dev/sgN` are answered by this program.
//!
//! The kernel's `target_core_user` hands commands over in a ring of shared memory (`ring`), one ring for each device
//! (`server`); `tcm_loop` makes a host adapter of them (`target`). So the way through the kernel meets every fault that
//! the simulator can produce. Needs root, and the modules `target_core_user`, `tcm_loop` and `sg` loaded.

mod ring;
mod server;
mod target;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use coffer_tape::scsi::ScsiTransport;

use server::Server;
use target::{Backstore, Target};

/// Devices that this program answers for, until it's dropped.
pub struct Served {
    // In the order they're taken down: the host adapter first, which may still ask the devices.
    target: Target,
    servers: Vec<Server>,
    backstores: Vec<Backstore>,
}

impl Served {
    /// Makes a host adapter with one logical unit for each of `devices`. One at a time on a machine.
    pub fn start(devices: Vec<Box<dyn ScsiTransport + Send>>) -> Result<Served> {
        let mut backstores = Vec::new();
        let mut servers = Vec::new();
        for (number, device) in devices.into_iter().enumerate() {
            let backstore = Backstore::create(number)?;
            servers.push(Server::start(&backstore.uio()?, device)?);
            backstores.push(backstore);
        }
        let mut target = Target::create()?;
        for (lun, backstore) in backstores.iter().enumerate() {
            target.add(lun, backstore.dir()).with_context(|| format!("logical unit {lun}"))?;
        }
        Ok(Served { target, servers, backstores })
    }

    /// The `/dev/sgN` of each device, in the order given to [`Served::start`].
    pub fn paths(&self) -> Result<Vec<PathBuf>> {
        (0..self.backstores.len()).map(|lun| self.target.sg(lun)).collect()
    }

    /// Pulls a device's cable: the kernel forgets it.
    pub fn remove(&self, lun: usize) -> Result<()> {
        self.target.remove(lun)
    }

    /// Ends it all and says what went wrong on the way.
    pub fn stop(self) -> Result<()> {
        self.target.destroy()?;
        self.servers.into_iter().try_for_each(Server::stop)?;
        self.backstores.into_iter().try_for_each(Backstore::destroy)
    }
}

/// Writes to one of the kernel's own files, naming it if that fails.
fn tell(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {text:?} to {}", path.display()))
}
