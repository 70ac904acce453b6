//! Devices that can do less, or answer oddly: the conformance suite passes on them all the same.

mod common;

use std::io;
use std::sync::Arc;

use coffer_tape::conformance;
use coffer_tape::drive::Support;
use coffer_tape::scsi::cdb::{move_medium, test_unit_ready};
use coffer_tape::scsi::{Answer, Data, Device, ElementAddress, ScsiReply, ScsiTransport, status};
use coffer_tape::{Barcode, Library, NoWaiter, TapeError};
use common::{barcode, simulated};

type Wrapped = Box<dyn ScsiTransport + Send>;

/// Lets a closure answer instead of the device.
struct Odd<F> {
    inner: Wrapped,
    answer: F,
}

impl<F: FnMut(&[u8], &mut Data<'_>) -> Option<ScsiReply> + Send> ScsiTransport for Odd<F> {
    fn name(&self) -> String {
        self.inner.name()
    }
    fn execute(&mut self, cdb: &[u8], mut data: Data<'_>, timeout_ms: u32) -> io::Result<ScsiReply> {
        match (self.answer)(cdb, &mut data) {
            Some(reply) => Ok(reply),
            None => self.inner.execute(cdb, data, timeout_ms),
        }
    }
}

fn odd(
    inner: Wrapped,
    answer: impl FnMut(&[u8], &mut Data<'_>) -> Option<ScsiReply> + Send + 'static,
) -> Wrapped {
    Box::new(Odd { inner, answer })
}

fn check(key: u8, asc: u8, ascq: u8) -> ScsiReply {
    let mut sense = vec![0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, asc, ascq];
    sense.resize(18, 0);
    ScsiReply { status: status::CHECK_CONDITION, sense, driver_status: 8, ..ScsiReply::default() }
}

/// No LOCATE, no LOG SENSE, and READ POSITION always 0, as if it had done well.
fn poor_drive(inner: Wrapped) -> Wrapped {
    odd(inner, |cdb, data| match (cdb[0], data) {
        (0x2b | 0x4d, _) => Some(check(5, 0x20, 0)),
        (0x34, Data::In(page)) => {
            page.fill(0);
            Some(ScsiReply::default())
        }
        _ => None,
    })
}

fn poor_changer(inner: Wrapped) -> Wrapped {
    odd(inner, |cdb, _| (cdb[0] == 0xb8 && cdb[6] & 1 != 0).then(|| check(5, 0x24, 0)))
}

/// Runs the suite; everything that failed is shown.
fn conforms(library: &mut Library, scratch: &[Barcode]) -> conformance::Report {
    let report = conformance::run(library, scratch);
    assert!(report.is_conforming(), "{report}");
    report
}

#[test]
fn a_poor_library_conforms_and_says_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let drives = simulated.drives().into_iter().map(poor_drive).collect();
    let mut library = Library::open(poor_changer(simulated.changer()), drives, Arc::new(NoWaiter)).unwrap();
    assert_eq!(library.inventory().unwrap().drives[0].device, None, "not known before a load");
    let report = conforms(&mut library, &[barcode(1), barcode(2)]);
    let features = library.drive(coffer_tape::DriveIndex(0)).unwrap().features();
    assert_eq!((features.position, features.tape_alert), (Support::No, Support::No));
    assert!(report.counts()[1] > 3, "{report}");
    let names: Vec<_> =
        library.inventory().unwrap().drives.into_iter().map(|drive| drive.device.unwrap()).collect();
    assert!(names[0].ends_with("drive0") && names[1].ends_with("drive1"), "{names:?}");
}

#[test]
fn a_drive_that_cant_wind_backward_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let forward = |inner| {
        odd(inner, |cdb, _| {
            let backward = (cdb[0] == 0x11 && cdb[2] & 0x80 != 0) || (cdb[0] == 0x91 && cdb[4] & 0x80 != 0);
            backward.then(|| check(5, 0x24, 0))
        })
    };
    let drives = simulated.drives().into_iter().map(forward).collect();
    let mut library = Library::open(simulated.changer(), drives, Arc::new(NoWaiter)).unwrap();
    conforms(&mut library, &[barcode(1)]);
}

/// Lets `alter` change what a device answers to SPACE(6).
#[allow(clippy::unwrap_used, reason = "helpers of tests are test code")]
fn winding(
    number: usize,
    simulated: &coffer_tape::simulator::Simulated,
    mut alter: impl FnMut(&[u8], &mut Wrapped) -> ScsiReply + Send + 'static,
) -> Wrapped {
    let mut inner = simulated.drive(number).unwrap();
    odd(simulated.drive(number).unwrap(), move |cdb, _| (cdb[0] == 0x11).then(|| alter(cdb, &mut inner)))
}

#[test]
fn a_drive_that_tells_the_end_of_data_without_a_key_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let keyless = |cdb: &[u8], inner: &mut Wrapped| {
        let mut reply = inner.execute(cdb, Data::None, 1000).unwrap();
        if reply.sense.get(2).is_some_and(|key| key & 0x0f == 8) {
            reply.sense[2] = 0;
        }
        reply
    };
    let drives = (0..2).map(|number| winding(number, &simulated, keyless)).collect();
    let mut library = Library::open(simulated.changer(), drives, Arc::new(NoWaiter)).unwrap();
    conforms(&mut library, &[barcode(1)]);
}

#[test]
fn a_drive_that_winds_back_one_block_too_far_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let too_far = |cdb: &[u8], inner: &mut Wrapped| {
        let reply = inner.execute(cdb, Data::None, 1000).unwrap();
        if cdb[1] == 1 && cdb[2] & 0x80 != 0 {
            inner.execute(&[0x11, 0, 0xff, 0xff, 0xff, 0], Data::None, 1000).unwrap();
        }
        reply
    };
    let drives = (0..2).map(|number| winding(number, &simulated, too_far)).collect();
    let mut library = Library::open(simulated.changer(), drives, Arc::new(NoWaiter)).unwrap();
    let report = conforms(&mut library, &[barcode(1)]);
    assert!(!report.passed("winding backward"), "{report}");
}

#[test]
fn attentions_of_any_kind_are_taken_note_of() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    // Reported logical units have changed, mode parameters have: what others at the same device cause.
    let attentive = |inner| {
        let mut left = vec![(0x2a, 0x01), (0x3f, 0x0e)];
        odd(inner, move |cdb, _| {
            let (asc, ascq) = (cdb[0] != 0x12).then(|| left.pop())??;
            Some(check(6, asc, ascq))
        })
    };
    let drives = simulated.drives().into_iter().map(attentive).collect();
    let mut library = Library::open(attentive(simulated.changer()), drives, Arc::new(NoWaiter)).unwrap();
    conforms(&mut library, &[barcode(1)]);
}

#[test]
fn barcodes_and_drive_names_are_asked_for_apart_if_need_be() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let changer = odd(simulated.changer(), |cdb, _| {
        (cdb[0] == 0xb8 && cdb[1] & 0x10 != 0 && cdb[6] & 1 != 0).then(|| check(5, 0x24, 0))
    });
    let mut library = Library::open(changer, simulated.drives(), Arc::new(NoWaiter)).unwrap();
    assert!(library.inventory().unwrap().drives.iter().all(|drive| drive.device.is_some()));
}

#[test]
fn a_residual_that_claims_too_much_hides_no_element() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let mut inner = simulated.changer();
    let changer = odd(simulated.changer(), move |cdb, data| {
        (cdb[0] == 0xb8).then(|| {
            let mut reply = inner.execute(cdb, data.again(), 1000).unwrap();
            reply.residual += 50;
            reply
        })
    });
    let mut library = Library::open(changer, simulated.drives(), Arc::new(NoWaiter)).unwrap();
    let inventory = library.inventory().unwrap();
    assert_eq!((inventory.slots.len(), inventory.mail_slots.len(), inventory.drives.len()), (6, 1, 2));
}

#[test]
fn moves_that_cant_be_made_tell_why() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let mut robot = Device::new(simulated.changer(), Arc::new(NoWaiter));
    robot.done(&test_unit_ready(), Data::None).unwrap();
    let mut sense_of = |from, to| {
        let command = move_medium(ElementAddress(1), ElementAddress(from), ElementAddress(to));
        match robot.run(&command, Data::None).unwrap() {
            Answer::Check { sense, .. } => (sense.key, sense.asc, sense.ascq),
            Answer::Good { .. } => (0, 0, 0),
        }
    };
    assert_eq!(sense_of(4096, 999), (5, 0x21, 0x01));
    assert_eq!(sense_of(4096, 4097), (5, 0x3b, 0x0d));
    assert_eq!(sense_of(4101, 256), (5, 0x3b, 0x0e));
    assert_eq!(sense_of(4096, 256), (0, 0, 0));
}

#[test]
fn a_reset_amid_a_job_is_an_error_and_a_lost_link_is_never_success() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let mut resets = 0;
    let drive = odd(simulated.drive(0).unwrap(), move |cdb, _| {
        resets += usize::from(cdb[0] == 0x0a);
        (resets == 2).then(|| {
            resets += 1;
            check(6, 0x29, 0)
        })
    });
    let mut drives = vec![drive];
    drives.extend(simulated.drive(1));
    let mut library = Library::open(simulated.changer(), drives, Arc::new(NoWaiter)).unwrap();
    let index = common::labelled(&mut library, 1);
    let error = common::append(library.drive(index).unwrap(), 1..=1).unwrap_err();
    assert!(matches!(&error, TapeError::Sense { sense, .. } if sense.key == 6), "{error:?}");

    let lost =
        odd(simulated.drive(1).unwrap(), |_, _| Some(ScsiReply { host_status: 3, ..ScsiReply::default() }));
    let error = Device::new(lost, Arc::new(NoWaiter)).done(&test_unit_ready(), Data::None).unwrap_err();
    assert!(matches!(error, TapeError::Link { host_status: 3, .. }));
}

#[test]
fn a_device_that_never_gets_ready_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = simulated(dir.path());
    let stuck = odd(simulated.drive(0).unwrap(), |cdb, _| (cdb[0] == 0).then(|| check(2, 4, 1)));
    let error = Device::new(stuck, Arc::new(NoWaiter)).wait_ready().unwrap_err();
    assert!(matches!(error, TapeError::NeverReady { .. }));
}
