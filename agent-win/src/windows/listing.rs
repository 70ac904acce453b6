//! Reading the records of a directory listing (`FILE_ID_BOTH_DIR_INFORMATION`, MS-FSCC 2.4.17, and `FILE_ID_EXTD_DIR_INFO` of
//! winbase.h). Pure, and bounded by the buffer: the records come from a file system driver, maybe another's than Microsoft's.

use std::io;

use super::stat::Facts;
use crate::scan::narrowed;
use crate::wtf8;

/// Where the fields are.
const ATTRIBUTES: usize = 56;
const NAME_LEN: usize = 60;

/// Where the two kinds of records differ.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    tag: usize,
    id: usize,
    id_len: usize,
    name: usize,
}

/// With numbers of 64 bits; the tag's in the place of what extended attributes are long.
pub(super) const BOTH: Layout = Layout { tag: 64, id: 96, id_len: 8, name: 104 };
/// With numbers of 128 bits.
pub(super) const EXTENDED: Layout = Layout { tag: 68, id: 72, id_len: 16, name: 88 };

/// An entry as it's listed. How many links a file has isn't told.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) name: Vec<u8>,
    pub(super) facts: Facts,
}

/// All records of a buffer but `.` and `..`; `device` is their directory's.
pub(super) fn records(buffer: &[u8], layout: Layout, device: u64) -> io::Result<Vec<Record>> {
    let mut found = Vec::new();
    let mut rest = buffer;
    loop {
        let record = read(rest, layout, device).ok_or_else(broken)?;
        if !matches!(&record.name[..], b"." | b"..") {
            found.push(record);
        }
        let next = u32_at(rest, 0).ok_or_else(broken)? as usize;
        if next == 0 {
            return Ok(found);
        }
        rest = rest.get(next..).filter(|_| next >= layout.name).ok_or_else(broken)?;
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the file system gave a listing that makes no sense")
}

fn read(record: &[u8], layout: Layout, device: u64) -> Option<Record> {
    let name_len = u32_at(record, NAME_LEN)? as usize;
    let name = record.get(layout.name..layout.name.checked_add(name_len)?)?;
    let wide: Vec<u16> = name.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let facts = Facts {
        attributes: u32_at(record, ATTRIBUTES)?,
        tag: u32_at(record, layout.tag)?,
        created: u64_at(record, 8)? as i64,
        written: u64_at(record, 24)? as i64,
        changed: u64_at(record, 32)? as i64,
        size: u64_at(record, 40)?,
        allocated: u64_at(record, 48)?,
        device,
        inode: narrowed(number(record.get(layout.id..layout.id + layout.id_len)?)),
        links: 0,
    };
    Some(Record { name: wtf8::from_wide(&wide), facts })
}

/// Little endian, of 8 bytes or 16.
fn number(bytes: &[u8]) -> u128 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record_of(layout: Layout, name: &str, next: u32) -> Vec<u8> {
        let wide: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut bytes = vec![0; layout.name];
        bytes[..4].copy_from_slice(&next.to_le_bytes());
        bytes[NAME_LEN..NAME_LEN + 4].copy_from_slice(&(wide.len() as u32).to_le_bytes());
        bytes[layout.id] = 7;
        bytes.extend(wide);
        bytes.resize(bytes.len().max(next as usize), 0);
        bytes
    }

    fn record(name: &str, next: u32) -> Vec<u8> {
        record_of(BOTH, name, next)
    }

    #[test]
    fn records_follow_one_another_up_to_the_last() {
        let buffer = [record(".", 120), record("häuser", 128), record("b", 0)].concat();
        let found = records(&buffer, BOTH, 3).unwrap();
        let names: Vec<_> = found.iter().map(|record| &record.name[..]).collect();
        assert_eq!(names, ["häuser".as_bytes(), b"b"]);
        assert_eq!((found[0].facts.inode, found[0].facts.device), (7, 3));
    }

    #[test]
    fn a_number_of_128_bits_is_another_where_its_upper_half_is() {
        let mut buffer = [record_of(EXTENDED, "a", 96), record_of(EXTENDED, "b", 0)].concat();
        buffer[EXTENDED.id + 8] = 1;
        let found = records(&buffer, EXTENDED, 3).unwrap();
        let numbers: Vec<u64> = found.iter().map(|record| record.facts.inode).collect();
        assert_eq!(numbers, [narrowed(1 << 64 | 7), 7]);
        // None at all, for either.
        let mut none = record("a", 0);
        none[BOTH.id..BOTH.id + 8].fill(0xff);
        assert_eq!(records(&none, BOTH, 3).unwrap()[0].facts.inode, 0);
    }

    #[test]
    fn a_record_that_points_outside_is_refused() {
        for layout in [BOTH, EXTENDED] {
            let record = |name: &str, next: u32| record_of(layout, name, next);
            let mut short = record("abc", 0);
            short.truncate(layout.name + 3);
            assert!(records(&short, layout, 0).is_err());
            assert!(records(&record("a", 4000)[..200], layout, 0).is_err());
            assert!(records(&record("a", 1), layout, 0).is_err());
        }
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            for layout in [BOTH, EXTENDED] {
                let _any = records(&bytes, layout, 0).map(|found| found.len());
            }
        }
    }
}
