//! Random edits: whatever is done to files, the box can reproduce them, and the cost is near the change.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt;

use proptest::prelude::*;
use support::{Bench, noise};

#[derive(Debug, Clone)]
enum Edit {
    InPlace { at: usize, len: usize },
    Insert { at: usize, len: usize },
    Remove { at: usize, len: usize },
    Truncate { to: usize },
    Append { len: usize },
    Punch { at: usize, len: usize },
}

fn edit() -> impl Strategy<Value = Edit> {
    let (at, len) = (0usize..3_000_000, 1usize..40_000);
    prop_oneof![
        (at.clone(), len.clone()).prop_map(|(at, len)| Edit::InPlace { at, len }),
        (at.clone(), len.clone()).prop_map(|(at, len)| Edit::Insert { at, len }),
        (at.clone(), len.clone()).prop_map(|(at, len)| Edit::Remove { at, len }),
        at.clone().prop_map(|to| Edit::Truncate { to }),
        len.clone().prop_map(|len| Edit::Append { len }),
        (at, len).prop_map(|(at, len)| Edit::Punch { at, len }),
    ]
}

/// Returns how many bytes are new.
fn apply(bytes: &mut Vec<u8>, edit: &Edit, seed: u64) -> usize {
    let clamp = |at: usize, len: usize, bytes: &Vec<u8>| (at.min(bytes.len()), (at + len).min(bytes.len()));
    match *edit {
        Edit::InPlace { at, len } => {
            let (from, to) = clamp(at, len, bytes);
            bytes[from..to].copy_from_slice(&noise(to - from, seed));
            to - from
        }
        Edit::Insert { at, len } => {
            let (from, _) = clamp(at, 0, bytes);
            bytes.splice(from..from, noise(len, seed));
            len
        }
        Edit::Remove { at, len } => {
            let (from, to) = clamp(at, len, bytes);
            bytes.drain(from..to);
            0
        }
        Edit::Truncate { to } => {
            bytes.truncate(to);
            0
        }
        Edit::Append { len } => {
            bytes.extend(noise(len, seed));
            len
        }
        Edit::Punch { at, len } => {
            let (from, to) = clamp(at, len, bytes);
            bytes[from..to].fill(0);
            to - from
        }
    }
}

/// Writes without the pages of zeros, so that they become holes.
fn write_sparse(path: &std::path::Path, bytes: &[u8]) {
    let file = File::create(path).unwrap();
    for (index, page) in bytes.chunks(4096).enumerate() {
        if page.iter().any(|byte| *byte != 0) {
            file.write_all_at(page, index as u64 * 4096).unwrap();
        }
    }
    file.set_len(bytes.len() as u64).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn edited_files_come_back_bit_for_bit(
        edits in prop::collection::vec(prop::collection::vec(edit(), 1..4), 1..5),
        seed in any::<u64>(),
        sparse in any::<bool>(),
    ) {
        let bench = Bench::new();
        let names = ["content.bin", "pages.mdf"];
        let mut bytes = noise(2_500_000, seed);
        if sparse {
            bytes[300_000..900_000].fill(0);
        }
        let save = |bytes: &[u8]| for name in names {
            if sparse { write_sparse(&bench.path(name), bytes) } else { std::fs::write(bench.path(name), bytes).unwrap() }
        };
        save(&bytes);
        bench.capture();
        for (round, edits) in edits.iter().enumerate() {
            let before = bench.received();
            let moves = edits.iter().any(|edit| matches!(edit, Edit::Insert { .. } | Edit::Remove { .. }));
            let new: usize = edits.iter().map(|edit| apply(&mut bytes, edit, seed ^ round as u64)).sum();
            save(&bytes);
            bench.capture();
            bench.assert_all_there();
            // A page's or two chunks' worth around each edit; an insertion shifts every page after it.
            let cost = (bench.received() - before) as usize;
            let content_limit = new + edits.len() * 3 * (256 << 10);
            let pages_limit = if moves || sparse { bytes.len() } else { new + edits.len() * 2 * 8192 };
            let content_limit = if sparse { bytes.len() } else { content_limit };
            prop_assert!(cost <= content_limit + pages_limit, "{cost} bytes for {edits:?}");
        }
    }
}
