//! Which of this machine's SCSI devices are a library's: changers and tape drives by what the kernel says of them, a
//! changer's drives by serial number, never by order.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::changer::Changer;
use crate::scsi::{ElementKind, Inquiry, ScsiTransport};
use crate::{Drive, TapeError, Waiter};

/// Opens a device by its path.
pub type OpenDevice<'a> = dyn Fn(&Path) -> io::Result<Box<dyn ScsiTransport + Send>> + 'a;

/// The drives of a changer, as far as they were found, and what they were found by.
#[derive(Debug)]
pub struct ChangersDrives {
    pub drives: Vec<PathBuf>,
    /// How many drives the changer has.
    pub elements: usize,
    /// What it calls them, as far as it tells.
    pub names: Vec<String>,
    /// All tape drives of this machine.
    pub connected: Vec<PathBuf>,
    /// Those of them that couldn't be asked.
    pub unreached: Vec<TapeError>,
}

/// Where the kernel lists its SCSI devices.
#[derive(Debug, Clone)]
pub struct Devices {
    sysfs: PathBuf,
    dev: PathBuf,
}

impl Default for Devices {
    fn default() -> Devices {
        Devices::under("/sys/class/scsi_generic", "/dev")
    }
}

impl Devices {
    pub fn under(sysfs: impl Into<PathBuf>, dev: impl Into<PathBuf>) -> Devices {
        Devices { sysfs: sysfs.into(), dev: dev.into() }
    }

    /// All changers, in order of their numbers; none if there is no such kernel module.
    pub fn changers(&self) -> io::Result<Vec<PathBuf>> {
        self.of_type(Inquiry::CHANGER)
    }

    pub fn tape_drives(&self) -> io::Result<Vec<PathBuf>> {
        self.of_type(Inquiry::TAPE)
    }

    /// The drives in a changer, found by the serial numbers that it tells and that they tell themselves. Where it doesn't
    /// name all of them, and there are just as many as it has, they are its own. Drives that another program holds
    /// aren't found.
    pub fn drives_of(
        &self,
        changer: &Path,
        open: &OpenDevice<'_>,
        waiter: &Arc<dyn Waiter>,
    ) -> Result<ChangersDrives, TapeError> {
        let cannot = |path: &Path| {
            let device = path.display().to_string();
            move |source| TapeError::Transport { device, command: "INQUIRY", source }
        };
        let opened = open(changer).map_err(cannot(changer))?;
        let mut robot = Changer::open(opened, waiter.clone())?;
        let elements = robot.status(ElementKind::Drive)?;
        let connected = self.tape_drives().map_err(cannot(&self.sysfs))?;
        let names: Vec<String> = elements.iter().filter_map(|element| element.device_id.clone()).collect();
        let (mut drives, mut unreached) = (Vec::new(), Vec::new());
        for path in &connected {
            let drive =
                open(path).map_err(cannot(path)).and_then(|device| Drive::open(device, waiter.clone()));
            match drive {
                Ok(drive) if names.iter().any(|name| drive.is_called(name)) => drives.push(path.clone()),
                Ok(_) => {}
                Err(error) => unreached.push(error),
            }
        }
        let elements = elements.len();
        if drives.len() < elements && connected.len() == elements {
            drives.clone_from(&connected);
        }
        Ok(ChangersDrives { drives, elements, names, connected, unreached })
    }

    fn of_type(&self, wanted: u8) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.sysfs) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("sg")?.parse::<u32>().ok());
            // One that goes away meanwhile has no type any more.
            let kind = fs::read_to_string(entry.path().join("device/type")).unwrap_or_default();
            if let (Some(number), Ok(kind)) = (number, kind.trim().parse::<u8>())
                && kind == wanted
            {
                numbers.push(number);
            }
        }
        numbers.sort_unstable();
        Ok(numbers.into_iter().map(|number| self.dev.join(format!("sg{number}"))).collect())
    }
}
