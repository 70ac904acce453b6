//! A library's devices among all of a machine's.
#![allow(clippy::unwrap_used, reason = "all of this runs in tests")]

mod common;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use coffer_tape::discovery::Devices;
use coffer_tape::scsi::ScsiTransport;
use coffer_tape::simulator::{DriveNames, LibraryShape, Quirks, Simulated};
use coffer_tape::{NoWaiter, Waiter};
use common::shape;

/// sg0 is a disk, sg1 and sg2 are drives of another library, sg3 its changer, sg10 and sg11 drives, sg12 their changer.
fn kernel_list(dir: &Path) -> Devices {
    for (number, kind) in [(0, 0), (1, 1), (2, 1), (3, 8), (10, 1), (11, 1), (12, 8)] {
        let device = dir.join(format!("sg{number}/device"));
        fs::create_dir_all(&device).unwrap();
        fs::write(device.join("type"), format!("{kind}\n")).unwrap();
    }
    Devices::under(dir, "/dev")
}

fn found(names: DriveNames) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let devices = kernel_list(&dir.path().join("sys"));
    let quirks = Quirks { drive_names: names, ..Quirks::default() };
    let ours = Simulated::create(dir.path().join("ours"), LibraryShape { quirks, ..shape() }).unwrap();
    let open = |path: &Path| -> io::Result<Box<dyn ScsiTransport + Send>> {
        let device = match path.to_str().unwrap() {
            "/dev/sg12" => Some(ours.changer()),
            // In the other order than the changer's.
            "/dev/sg10" => ours.drive(1),
            "/dev/sg11" => ours.drive(0),
            // Held by another program.
            _ => None,
        };
        device.ok_or_else(|| io::ErrorKind::ResourceBusy.into())
    };
    let waiter: Arc<dyn Waiter> = Arc::new(NoWaiter);
    let drives = devices.drives_of(Path::new("/dev/sg12"), &open, &waiter).unwrap().drives;
    drives.iter().map(|path| path.display().to_string()).collect()
}

#[test]
fn changers_and_drives_are_listed_by_number() {
    let dir = tempfile::tempdir().unwrap();
    let devices = kernel_list(dir.path());
    let text = |paths: Vec<std::path::PathBuf>| {
        paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(text(devices.changers().unwrap()), ["/dev/sg3", "/dev/sg12"]);
    assert_eq!(text(devices.tape_drives().unwrap()), ["/dev/sg1", "/dev/sg2", "/dev/sg10", "/dev/sg11"]);
    assert!(Devices::under(dir.path().join("none"), "/dev").changers().unwrap().is_empty());
}

#[test]
fn a_changers_drives_are_found_by_serial_number_among_others() {
    for names in [DriveNames::Serial, DriveNames::Whole, DriveNames::Apart] {
        assert_eq!(found(names), ["/dev/sg10", "/dev/sg11"], "{names:?}");
    }
    assert!(found(DriveNames::Never).is_empty(), "four drives could be two: nothing is guessed");
}
