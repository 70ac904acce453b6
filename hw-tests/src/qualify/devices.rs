//! Which of this machine's devices are the library's, or a sentence that helps.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use coffer_tape::discovery::Devices;
use coffer_tape::scsi::{ScsiTransport, SgIo};
use coffer_tape::{SystemWaiter, Waiter};

/// Opens a device for this program alone.
pub(super) fn open(path: &Path) -> Result<Box<dyn ScsiTransport + Send>> {
    open_device(path).with_context(|| {
        let path = path.display();
        format!("{path} can't be opened: check its name, run this as root, and stop what else uses it")
    })
}

/// The one changer of this machine.
pub(super) fn only_changer() -> Result<PathBuf> {
    let mut changers = Devices::default().changers()?;
    match (changers.pop(), changers.is_empty()) {
        (Some(changer), true) => Ok(changer),
        (None, _) => {
            bail!("no changer is connected: check cable and power, then load the sg module (modprobe sg)")
        }
        (Some(last), false) => {
            changers.push(last);
            bail!("there are several changers: name one with --changer ({})", listed(&changers))
        }
    }
}

/// The drives in a changer. A drive that can't be asked could be one of them, so that it isn't passed over.
pub(super) fn drives_of(changer: &Path) -> Result<Vec<PathBuf>> {
    let waiter: Arc<dyn Waiter> = Arc::new(SystemWaiter);
    let mut found = Devices::default().drives_of(changer, &open_device, &waiter)?;
    if let Some(error) = found.unreached.pop() {
        return Err(error).context("a drive can't be asked: run this as root, and stop what else uses it");
    }
    let told = if found.names.is_empty() { "no names".to_owned() } else { found.names.join(", ") };
    ensure!(
        !found.drives.is_empty(),
        "the changer has {} drives ({told}) and none of those connected is known to be one ({}): check the drives' own \
         cables, or name the drives with --drive",
        found.elements,
        listed(&found.connected)
    );
    Ok(found.drives)
}

fn open_device(path: &Path) -> io::Result<Box<dyn ScsiTransport + Send>> {
    Ok(Box::new(SgIo::open(path)?))
}

fn listed(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}
