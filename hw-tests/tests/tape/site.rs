//! A simulated library, reached directly or, with `COFFER_THROUGH_KERNEL` set, as devices of the kernel.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use coffer_format::SegmentId;
use coffer_tape::conformance::{planned, scratch_label, scratch_segment};
use coffer_tape::container::{
    ContainerReceipt, ContainerWriter, LabelPolicy, PlannedSegment, label_cartridge, read_segment,
};
use coffer_tape::scsi::{Data, ScsiReply, ScsiTransport, SgIo};
use coffer_tape::simulator::{Fault, LibraryShape, Simulated};
use coffer_tape::{Barcode, Drive, Library, NoWaiter, TapeError};
use hw_tests::tcmu::Served;

pub(crate) const THROUGH_KERNEL: &str = "COFFER_THROUGH_KERNEL";
/// A changer and its drives, in place of the simulated ones: paths with commas between.
pub(crate) const DEVICES: &str = "COFFER_DEVICES";

/// One kernel has one host adapter: tests that go through it take turns.
static TURN: Mutex<()> = Mutex::new(());

/// The devices behind the sockets: the changer, then the drives.
type Devices = Arc<Mutex<Vec<Option<Box<dyn ScsiTransport + Send>>>>>;

pub(crate) struct Site {
    devices: Devices,
    simulated: Option<Simulated>,
    served: Option<Served>,
    dir: tempfile::TempDir,
    _turn: Option<MutexGuard<'static, ()>>,
}

impl Site {
    /// Two drives, four cartridges of `capacity_mib`.
    pub(crate) fn start(capacity_mib: u64) -> Site {
        let through_kernel = std::env::var_os(THROUGH_KERNEL).is_some();
        let turn = through_kernel.then(|| TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        let dir = tempfile::tempdir().unwrap();
        let shape = LibraryShape {
            slots: 6,
            drives: 2,
            mail_slots: 1,
            cartridges: 4,
            capacity_bytes: capacity_mib << 20,
            ..LibraryShape::default()
        };
        let simulated = Simulated::create(dir.path().join("library"), shape).unwrap();
        let devices = Arc::new(Mutex::new(devices_of(&simulated)));
        let mut site = Site { devices, simulated: Some(simulated), served: None, dir, _turn: turn };
        if through_kernel {
            site.served = Some(Served::start(site.sockets()).unwrap());
        }
        site
    }

    /// The library as a program opens it.
    pub(crate) fn library(&self) -> Library {
        let mut devices = match &self.served {
            None => self.sockets(),
            Some(served) => served.paths().unwrap().into_iter().map(open).collect(),
        };
        let changer = devices.remove(0);
        Library::open(changer, devices, Arc::new(NoWaiter)).unwrap()
    }

    pub(crate) fn simulated(&self) -> &Simulated {
        self.simulated.as_ref().unwrap()
    }

    /// Has something go wrong.
    pub(crate) fn plan(&self, fault: Fault) {
        self.simulated().plan_faults(|plan| plan.faults.push(fault)).unwrap();
    }

    /// Pulls a drive's cable.
    pub(crate) fn unplug_drive(&self, number: usize) {
        match &self.served {
            Some(served) => served.remove(number + 1).unwrap(),
            None => self.devices.lock().unwrap()[number + 1] = None,
        }
    }

    /// After a power cut: the library finds itself as it was left, and nothing goes wrong any more.
    pub(crate) fn power_on(&mut self) {
        self.simulated().plan_faults(|plan| plan.faults.clear()).unwrap();
        self.devices.lock().unwrap().clear();
        self.simulated = None;
        let simulated = Simulated::open(self.dir.path().join("library")).unwrap();
        *self.devices.lock().unwrap() = devices_of(&simulated);
        self.simulated = Some(simulated);
    }

    fn sockets(&self) -> Vec<Box<dyn ScsiTransport + Send>> {
        let count = self.devices.lock().unwrap().len();
        let socket = |number| Box::new(Socket { devices: self.devices.clone(), number }) as Box<_>;
        (0..count).map(socket).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let stopped = self.served.take().map_or(Ok(()), Served::stop);
        if !std::thread::panicking() {
            stopped.unwrap();
        }
    }
}

/// The library of the devices named, if any are.
pub(crate) fn named_library() -> Option<Library> {
    let names = std::env::var(DEVICES).ok()?;
    let mut devices = names.split(',').map(|name| open(name.into()));
    let changer = devices.next().unwrap();
    Some(Library::open(changer, devices.collect(), Arc::new(NoWaiter)).unwrap())
}

fn open(path: PathBuf) -> Box<dyn ScsiTransport + Send> {
    Box::new(SgIo::open(path).unwrap())
}

fn devices_of(simulated: &Simulated) -> Vec<Option<Box<dyn ScsiTransport + Send>>> {
    [simulated.changer()].into_iter().chain(simulated.drives()).map(Some).collect()
}

/// What a device is plugged into: devices come and go.
struct Socket {
    devices: Devices,
    number: usize,
}

impl ScsiTransport for Socket {
    fn name(&self) -> String {
        format!("device {}", self.number)
    }

    fn execute(&mut self, cdb: &[u8], data: Data<'_>, timeout_ms: u32) -> io::Result<ScsiReply> {
        let mut devices = self.devices.lock().unwrap();
        match devices.get_mut(self.number) {
            Some(Some(device)) => device.execute(cdb, data, timeout_ms),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

pub(crate) fn barcode(number: u32) -> Barcode {
    format!("COF{number:03}L6").parse().unwrap()
}

pub(crate) fn segment(number: u64) -> Vec<u8> {
    scratch_segment(SegmentId(number), 600_000 + number as usize)
}

pub(crate) fn plan(numbers: impl IntoIterator<Item = u64>) -> Vec<PlannedSegment> {
    numbers.into_iter().map(|number| planned(SegmentId(number), &segment(number))).collect()
}

/// Loads a cartridge and labels it.
pub(crate) fn labelled(library: &mut Library, number: u32) -> coffer_tape::DriveIndex {
    let index = library.load(&barcode(number)).unwrap();
    let label = scratch_label(&barcode(number), number);
    label_cartridge(library.drive(index).unwrap(), &label, LabelPolicy::OnlyBlank).unwrap();
    index
}

pub(crate) fn append(
    drive: &mut Drive,
    numbers: impl IntoIterator<Item = u64>,
) -> Result<ContainerReceipt, TapeError> {
    let open = &mut |wanted: SegmentId| Ok(Box::new(io::Cursor::new(segment(wanted.0))) as Box<dyn io::Read>);
    ContainerWriter::open(drive)?.write(&plan(numbers), open)
}

/// Reads all that a receipt names and compares it.
pub(crate) fn read_back(drive: &mut Drive, number: u32, receipt: &ContainerReceipt) -> Result<(), TapeError> {
    let label = scratch_label(&barcode(number), number);
    for recorded in &receipt.recorded {
        let mut bytes = Vec::new();
        read_segment(drive, &label, &receipt.place(recorded), &mut bytes)?;
        assert!(bytes == segment(recorded.entry.segment.0), "segment {} is another", recorded.entry.segment);
    }
    Ok(())
}

pub(crate) fn recorded(receipt: &ContainerReceipt) -> Vec<u64> {
    receipt.recorded.iter().map(|recorded| recorded.entry.segment.0).collect()
}
