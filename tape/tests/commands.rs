//! What goes over the wire: addresses past 2^32, and what is done where a form isn't known.
#![allow(clippy::unwrap_used, reason = "all of this runs in tests")]

mod common;

use std::io;
use std::sync::{Arc, Mutex};

use coffer_tape::drive::{LocateOutcome, SpaceOutcome, Support};
use coffer_tape::scsi::{Answer, Data, Device, ScsiReply, ScsiTransport, cdb, status};
use coffer_tape::{BlockAddress, Drive, NoWaiter, TapeError};

const FAR: u64 = 5 << 32;

type Sent = Arc<Mutex<Vec<Vec<u8>>>>;
type Reply = Box<dyn FnMut(&[u8], &mut Data<'_>) -> ScsiReply + Send>;

/// A device that is a closure, and a list of what was sent to it.
struct Scripted {
    reply: Reply,
    sent: Sent,
}

impl ScsiTransport for Scripted {
    fn name(&self) -> String {
        "scripted".to_owned()
    }
    fn execute(&mut self, cdb: &[u8], mut data: Data<'_>, _timeout_ms: u32) -> io::Result<ScsiReply> {
        self.sent.lock().unwrap().push(cdb.to_vec());
        Ok((self.reply)(cdb, &mut data))
    }
}

fn scripted(
    reply: impl FnMut(&[u8], &mut Data<'_>) -> ScsiReply + Send + 'static,
) -> (Box<dyn ScsiTransport + Send>, Sent) {
    let sent = Sent::default();
    (Box::new(Scripted { reply: Box::new(reply), sent: sent.clone() }), sent)
}

fn check(key: u8, asc: u8, ascq: u8) -> ScsiReply {
    let mut sense = vec![0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, asc, ascq];
    sense.resize(18, 0);
    ScsiReply { status: status::CHECK_CONDITION, sense, driver_status: 8, ..ScsiReply::default() }
}

fn fill(data: &mut Data<'_>, page: &[u8]) -> ScsiReply {
    if let Data::In(buffer) = data {
        let len = page.len().min(buffer.len());
        buffer[..len].copy_from_slice(&page[..len]);
    }
    ScsiReply::default()
}

/// A drive that stands far behind what 32 bits can say.
fn far_drive(cdb: &[u8], data: &mut Data<'_>) -> ScsiReply {
    match (cdb[0], cdb[1] & 0x1f) {
        (0x12, 0) => fill(data, b"\x01\x80\x06\x02\x1f\0\0\0COFFER  FAR             0001"),
        (0x34, 0x00) => {
            fill(data, &[0x02, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        }
        (0x34, 0x06) => {
            let mut page = vec![0; 8];
            page.extend(FAR.to_be_bytes());
            page.resize(32, 0);
            fill(data, &page)
        }
        (0x34, _) => check(5, 0x24, 0),
        (0x12 | 0x1a | 0x5a | 0x4d | 0x44 | 0x8c | 0xa3, _) => check(5, 0x20, 0),
        _ => ScsiReply::default(),
    }
}

#[test]
fn addresses_past_32_bits_go_by_the_long_forms() {
    let (transport, sent) = scripted(far_drive);
    let mut drive = Drive::open(transport, Arc::new(NoWaiter)).unwrap();
    drive.prepare().unwrap();
    assert_eq!(drive.locate(BlockAddress(FAR)).unwrap(), LocateOutcome::Done);
    assert_eq!(drive.position().unwrap(), Some(BlockAddress(FAR)));
    assert_eq!(drive.space_blocks(1i64 << 33).unwrap(), SpaceOutcome::Done);
    let sent = sent.lock().unwrap();
    let find = |opcode: u8| sent.iter().find(|cdb| cdb[0] == opcode).unwrap();
    assert_eq!(find(0x92)[4..12], FAR.to_be_bytes());
    assert_eq!(find(0x91)[4..12], (1u64 << 33).to_be_bytes());
    assert!(!sent.iter().any(|cdb| cdb[0] == 0x2b), "LOCATE(10) can't say it");
}

#[test]
fn without_long_forms_far_ways_are_wound_in_steps_and_far_addresses_arent_gone_to() {
    let (transport, sent) = scripted(|cdb, data| match cdb[0] {
        0x91 | 0x92 => check(5, 0x20, 0),
        _ => far_drive(cdb, data),
    });
    let mut drive = Drive::open(transport, Arc::new(NoWaiter)).unwrap();
    drive.prepare().unwrap();
    assert_eq!(drive.locate(BlockAddress(FAR)).unwrap(), LocateOutcome::Unsupported);
    assert_eq!(drive.locate(BlockAddress(7)).unwrap(), LocateOutcome::Done);
    assert_eq!(drive.features().locate_16, Support::No);
    assert_eq!(drive.space_blocks(20_000_000).unwrap(), SpaceOutcome::Done);
    let steps = sent.lock().unwrap().iter().filter(|cdb| cdb[0] == 0x11).count();
    assert_eq!(steps, 3, "of at most 2^23 - 1 blocks");
}

#[test]
fn a_unit_attention_is_absorbed_once_and_told() {
    let mut attentions = vec![(0x28, 0x00), (0x29, 0x00)];
    let (transport, sent) = scripted(move |_, _| match attentions.pop() {
        Some((asc, ascq)) => check(6, asc, ascq),
        None => ScsiReply::default(),
    });
    let mut device = Device::new(transport, Arc::new(NoWaiter));
    device.done(&cdb::test_unit_ready(), Data::None).unwrap();
    assert_eq!(sent.lock().unwrap().len(), 3);
    let told: Vec<String> = device.take_told().iter().map(ToString::to_string).collect();
    assert_eq!(told, ["the device was reset (sense 6/29/00)", "the medium may have changed (sense 6/28/00)"]);
    assert!(device.take_told().is_empty());
}

#[test]
fn a_device_that_never_stops_its_attentions_is_given_up() {
    let (transport, sent) = scripted(|_, _| check(6, 0x29, 0));
    let mut device = Device::new(transport, Arc::new(NoWaiter));
    let answer = device.run(&cdb::test_unit_ready(), Data::None).unwrap();
    assert!(matches!(answer, Answer::Check { sense, .. } if sense.key == 6));
    assert_eq!(sent.lock().unwrap().len(), 8);
}

#[test]
fn a_timeout_that_looks_good_is_no_success() {
    for (host_status, driver_status) in [(3, 0), (1, 0), (0, 6), (7, 8)] {
        let (transport, _) =
            scripted(move |_, _| ScsiReply { host_status, driver_status, ..ScsiReply::default() });
        let mut device = Device::new(transport, Arc::new(NoWaiter));
        let error = device.done(&cdb::rewind(), Data::None).unwrap_err();
        assert!(matches!(error, TapeError::Link { .. }), "{error}");
    }
}

#[test]
fn every_command_has_a_timeout_that_fits_it() {
    let minutes = |cdb: cdb::Cdb| cdb.timeout_ms / 60_000;
    assert_eq!(minutes(cdb::test_unit_ready()), 5);
    assert_eq!(minutes(cdb::write(1)), 10);
    assert_eq!(minutes(cdb::rewind()), 30);
    assert_eq!(minutes(cdb::load()), 150);
    assert_eq!(minutes(cdb::erase(true)), 16 * 60);
}
