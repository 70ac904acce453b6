//! Which of this machine's devices are the library's.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use coffer_tape::changer::Changer;
use coffer_tape::scsi::{ElementKind, Inquiry, ScsiTransport, SgIo};
use coffer_tape::{Drive, SystemWaiter};

const SYSFS: &str = "/sys/class/scsi_generic";

/// Opens a device for this program alone.
pub(super) fn open(path: &Path) -> Result<Box<dyn ScsiTransport + Send>> {
    let device = SgIo::open(path).with_context(|| {
        let path = path.display();
        format!("{path} can't be opened: check its name, run this as root, and stop what else uses it")
    })?;
    Ok(Box::new(device))
}

/// The one changer of this machine.
pub(super) fn only_changer() -> Result<PathBuf> {
    let mut changers = of_type(Inquiry::CHANGER)?;
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

/// The drives in a changer, found by the serial numbers that it tells (READ ELEMENT STATUS with DVCID) and that they tell
/// themselves (VPD pages 80h and 83h). Where it doesn't name all, and there are just as many as it has, they're its own.
pub(super) fn drives_of(changer: &Path) -> Result<Vec<PathBuf>> {
    let mut robot = Changer::open(open(changer)?, Arc::new(SystemWaiter))?;
    let elements = robot.status(ElementKind::Drive)?;
    let names: Vec<String> = elements.iter().filter_map(|element| element.device_id.clone()).collect();
    let connected = of_type(Inquiry::TAPE)?;
    let mut found = Vec::new();
    for path in &connected {
        let drive = Drive::open(open(path)?, Arc::new(SystemWaiter))?;
        if names.iter().any(|name| drive.is_called(name)) {
            found.push(path.clone());
        }
    }
    if found.len() < elements.len() && connected.len() == elements.len() {
        return Ok(connected);
    }
    let told = if names.is_empty() { "no names".to_owned() } else { names.join(", ") };
    ensure!(
        !found.is_empty(),
        "the changer has {} drives ({told}) and none of those connected is known to be one ({}): check the drives' own \
         cables, or name the drives with --drive",
        elements.len(),
        listed(&connected)
    );
    Ok(found)
}

/// All devices of a SCSI type, in order of their numbers.
fn of_type(wanted: u8) -> Result<Vec<PathBuf>> {
    let mut numbers = Vec::new();
    let entries = match fs::read_dir(SYSFS) {
        Ok(entries) => entries,
        Err(_) => return Ok(Vec::new()),
    };
    for entry in entries {
        let entry = entry?;
        let kind = fs::read_to_string(entry.path().join("device/type")).unwrap_or_default();
        let name = entry.file_name().into_string().unwrap_or_default();
        let number = name.strip_prefix("sg").and_then(|number| number.parse::<u32>().ok());
        if let (Ok(kind), Some(number)) = (kind.trim().parse::<u8>(), number)
            && kind == wanted
        {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers.into_iter().map(|number| PathBuf::from(format!("/dev/sg{number}"))).collect())
}

fn listed(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}
