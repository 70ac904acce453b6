//! The records that `FSCTL_READ_USN_JOURNAL` gives: `USN_RECORD_V2`, `_V3` and `_V4` (winioctl.h, MS-FSCC 2.3.64). Little
//! endian; each record says its own length, and lies at a multiple of 8.

use crate::wtf8;

/// 128 bits; an id of 64 bits (version 2) is the lower half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileId(pub(crate) u128);

/// What happened to a file (`USN_REASON_*`), as a set of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reason(pub(crate) u32);

impl Reason {
    pub(crate) const DATA_OVERWRITE: Reason = Reason(0x1);
    pub(crate) const DATA_EXTEND: Reason = Reason(0x2);
    pub(crate) const DATA_TRUNCATION: Reason = Reason(0x4);
    /// Nobody has the file open any more, or somebody had the journal brought up to date.
    pub(crate) const CLOSE: Reason = Reason(0x8000_0000);
    /// The file's bytes.
    const DATA: Reason = Reason(0x7);

    /// Reasons gather until a file is closed: more may be written after this record than the next one tells of.
    pub(crate) fn is_of_open_data(self) -> bool {
        self.is_of_data() && !self.has(Reason::CLOSE)
    }

    pub(crate) fn is_of_data(self) -> bool {
        self.has(Reason::DATA)
    }

    pub(crate) fn has(self, other: Reason) -> bool {
        self.0 & other.0 != 0
    }
}

/// A run of bytes that was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) at: u64,
    pub(crate) len: u64,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// Versions 2 and 3: something happened to `name` in the directory `parent`.
    Name { file: FileId, parent: FileId, reason: Reason, name: Vec<u8> },
    /// Version 4: these parts of a file were written to; `remaining` more extents come in records after this one.
    Ranges { file: FileId, reason: Reason, remaining: u32, extents: Vec<Extent> },
    /// A version from the future: something happened, and nobody knows what.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("the change journal ends in the middle of a record")]
    Short,
    #[error("a record of the change journal points outside itself")]
    Outside,
}

type Result<T> = std::result::Result<T, RecordError>;

/// Most extents that one record is believed to hold: its length allows no more.
const EXTENT_LEN: usize = 16;

/// One answer of the system's: the number of the record to ask for next, and the records before it.
pub(crate) fn read_batch(answer: &[u8]) -> Result<(u64, Vec<Record>)> {
    let next = u64_at(answer, 0)?;
    let mut records = Vec::new();
    let mut rest = &answer[8..];
    while !rest.is_empty() {
        let len = u32_at(rest, 0)? as usize;
        let record = rest.get(..len).filter(|_| len >= 8).ok_or(RecordError::Short)?;
        records.push(read(record)?);
        rest = rest.get(len.next_multiple_of(8)..).unwrap_or_default();
    }
    Ok((next, records))
}

fn read(record: &[u8]) -> Result<Record> {
    match u16_at(record, 4)? {
        2 => Ok(Record::Name {
            file: FileId(u64_at(record, 8)?.into()),
            parent: FileId(u64_at(record, 16)?.into()),
            reason: Reason(u32_at(record, 40)?),
            name: name(record, 56)?,
        }),
        3 => Ok(Record::Name {
            file: FileId(u128_at(record, 8)?),
            parent: FileId(u128_at(record, 24)?),
            reason: Reason(u32_at(record, 56)?),
            name: name(record, 72)?,
        }),
        4 => Ok(Record::Ranges {
            file: FileId(u128_at(record, 8)?),
            reason: Reason(u32_at(record, 48)?),
            remaining: u32_at(record, 56)?,
            extents: extents(record)?,
        }),
        _ => Ok(Record::Unknown),
    }
}

/// Length and offset of the name lie at `field`.
fn name(record: &[u8], field: usize) -> Result<Vec<u8>> {
    let (len, start) = (usize::from(u16_at(record, field)?), usize::from(u16_at(record, field + 2)?));
    let bytes = record.get(start..start + len).ok_or(RecordError::Outside)?;
    let wide: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    Ok(wtf8::from_wide(&wide))
}

fn extents(record: &[u8]) -> Result<Vec<Extent>> {
    const FIRST: usize = 64;
    let (count, size) = (usize::from(u16_at(record, 60)?), usize::from(u16_at(record, 62)?));
    if count > 0 && size < EXTENT_LEN {
        return Err(RecordError::Outside);
    }
    let all = record.get(FIRST..FIRST + count * size).ok_or(RecordError::Outside)?;
    let extent = |bytes: &[u8]| Ok(Extent { at: u64_at(bytes, 0)?, len: u64_at(bytes, 8)? });
    all.chunks_exact(size.max(1)).map(extent).collect()
}

fn taken<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    bytes.get(at..at + N).and_then(|part| part.try_into().ok()).ok_or(RecordError::Short)
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    taken(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    taken(bytes, at).map(u32::from_le_bytes)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Result<u64> {
    taken(bytes, at).map(u64::from_le_bytes)
}

fn u128_at(bytes: &[u8], at: usize) -> Result<u128> {
    taken(bytes, at).map(u128::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A record as NTFS of Windows 10 writes it for `a.txt` (closed after it was written), byte by byte.
    const V2: [u8; 72] = [
        0x48, 0, 0, 0, 2, 0, 0, 0, 0x27, 0x4b, 1, 0, 0, 0, 0x0a, 0, 5, 0, 0, 0, 0, 0, 5, 0, 0xb8, 0x11, 0x22,
        1, 0, 0, 0, 0, 0x80, 0x3e, 0xd5, 0xde, 0xb1, 0x9d, 0xda, 1, 2, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0,
        0x20, 0, 0, 0, 10, 0, 60, 0, b'a', 0, b'.', 0, b't', 0, b'x', 0, b't', 0, 0, 0,
    ];

    #[test]
    fn a_recorded_record_is_read() {
        let answer = [&9000u64.to_le_bytes()[..], &V2].concat();
        let (next, records) = read_batch(&answer).unwrap();
        assert_eq!(next, 9000);
        let Record::Name { file, parent, reason, name } = &records[0] else { panic!("{records:?}") };
        assert_eq!((file.0, parent.0), (0x000a_0000_0001_4b27, 0x0005_0000_0000_0005));
        assert!(reason.has(Reason::DATA_EXTEND) && !reason.has(Reason::DATA_OVERWRITE));
        assert_eq!(name, b"a.txt");
    }

    #[test]
    fn records_that_point_outside_are_refused() {
        let with = |at: usize, byte: u8| {
            let mut record = V2;
            record[at] = byte;
            read_batch(&[&[0; 8][..], &record].concat())
        };
        assert_eq!(with(56, 200), Err(RecordError::Outside));
        assert_eq!(with(58, 70), Err(RecordError::Outside));
        assert_eq!(with(0, 0x50), Err(RecordError::Short));
        assert_eq!(with(0, 0), Err(RecordError::Short));
        assert_eq!(with(4, 9).unwrap().1, [Record::Unknown]);
        assert_eq!(read_batch(&[0; 7]), Err(RecordError::Short));
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), version in 2u8..5) {
            let _any = read_batch(&bytes);
            let mut record = bytes;
            record.resize(record.len().max(8).next_multiple_of(8), 0);
            let len = record.len() as u32;
            record[..4].copy_from_slice(&len.to_le_bytes());
            record[4..6].copy_from_slice(&[version, 0]);
            let _any = read_batch(&[&[0; 8][..], &record].concat());
        }
    }
}
