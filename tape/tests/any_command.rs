//! A simulated library that is served as kernel devices gets commands from anybody: none of them may break it.
#![allow(clippy::unwrap_used, reason = "all of this runs in tests")]

mod common;

use coffer_tape::scsi::Data;
use coffer_tape::simulator::Simulated;
use common::simulated;
use proptest::prelude::*;

const OPCODES: [u8; 36] = [
    0x00, 0x01, 0x03, 0x05, 0x07, 0x08, 0x0a, 0x10, 0x11, 0x12, 0x15, 0x16, 0x19, 0x1a, 0x1b, 0x1e, 0x2b,
    0x34, 0x37, 0x44, 0x4d, 0x55, 0x5a, 0x5e, 0x5f, 0x80, 0x8c, 0x8d, 0x91, 0x92, 0xa2, 0xa3, 0xa5, 0xa6,
    0xb5, 0xb8,
];

/// A command that is mostly known, with small numbers in most fields, so that some of it means something.
fn command() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![9 => proptest::sample::select(OPCODES.to_vec()), 1 => any::<u8>()];
    let field = prop_oneof![6 => Just(0u8), 3 => 0u8..20, 1 => any::<u8>()];
    (opcode, proptest::collection::vec(field, 0..16))
        .prop_map(|(opcode, fields)| [vec![opcode], fields].concat())
}

/// Which device it goes to, the command, and a buffer: none, to be filled, or to be read.
fn sent() -> impl Strategy<Value = (usize, Vec<u8>, u8, Vec<u8>)> {
    (0usize..3, command(), 0u8..3, proptest::collection::vec(any::<u8>(), 0..64))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_commands_are_answered_and_no_cartridge_is_lost(commands in proptest::collection::vec(sent(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let library = simulated(dir.path());
        let before: Vec<_> = library.cartridges().into_iter().map(|(barcode, _)| barcode).collect();
        let mut devices = library.drives();
        devices.push(library.changer());
        for (device, cdb, way, mut buffer) in commands {
            let data = match way {
                0 => Data::None,
                1 => Data::In(&mut buffer),
                _ => Data::Out(&buffer),
            };
            devices[device].execute(&cdb, data, 1000).unwrap();
        }
        drop((devices, library));
        let library = Simulated::open(dir.path()).unwrap();
        let after: Vec<_> = library.cartridges().into_iter().map(|(barcode, _)| barcode).collect();
        prop_assert_eq!(before, after);
    }
}
