//! What the numbers of files on Windows are worth, and how those of 128 bits become ours.

/// How a file system there numbers its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileNumbers {
    /// With 64 bits, as long as the file is there.
    Short,
    /// With 128 bits. The 64 that it gives to older programs aren't unique.
    Long,
    /// With none that are known to be unique and lasting: names alone count.
    Unknown,
}

/// Where a listing has no number (MS-FSCC 2.1.9: it must be ignored).
const NONE: u128 = u64::MAX as u128;

impl FileNumbers {
    /// By the name that the file system gives itself. FAT and exFAT tell the place of the directory entry, which moves; a share
    /// says what the other computer likes.
    pub(crate) fn of(file_system: &str, is_remote: bool) -> FileNumbers {
        match file_system {
            _ if is_remote => FileNumbers::Unknown,
            "NTFS" => FileNumbers::Short,
            "ReFS" => FileNumbers::Long,
            _ => FileNumbers::Unknown,
        }
    }
}

/// Whether more than 64 bits are used.
pub(crate) fn is_long(number: u128) -> bool {
    !matches!(number, u128::MAX) && number >> 64 != 0
}

/// A number of 64 bits that stands for it; 0 where it's none. One of 64 bits stays what it is.
pub(crate) fn narrowed(number: u128) -> u64 {
    match number {
        NONE | u128::MAX => 0,
        number if !is_long(number) => number as u64,
        number => {
            let mut narrow = [0; 8];
            narrow.copy_from_slice(&blake3::hash(&number.to_le_bytes()).as_bytes()[..8]);
            // No number is told from this one.
            u64::from_le_bytes(narrow).clamp(1, u64::MAX - 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_numbers_are_known_to_last_they_count() {
        assert_eq!(FileNumbers::of("NTFS", false), FileNumbers::Short);
        assert_eq!(FileNumbers::of("ReFS", false), FileNumbers::Long);
        for name in ["FAT", "FAT32", "exFAT", "UDF", "CDFS", "CSVFS", "MyFS", ""] {
            assert_eq!(FileNumbers::of(name, false), FileNumbers::Unknown, "{name}");
        }
        // A share names the file system that's behind it.
        assert_eq!(FileNumbers::of("NTFS", true), FileNumbers::Unknown);
    }

    #[test]
    fn long_numbers_stay_apart_and_short_ones_stay_what_they_are() {
        assert_eq!(narrowed(0x0005_0000_0000_0005), 0x0005_0000_0000_0005);
        for none in [0, u128::from(u64::MAX), u128::MAX] {
            assert_eq!(narrowed(none), 0, "{none:#x}");
        }
        // On ReFS: the folder's number, and the file's in it. The same halves in another order are another file's.
        let long: std::collections::HashSet<u64> = (0..100u128)
            .flat_map(|folder| (0..100u128).map(move |file| narrowed((0x700 + folder) << 64 | file)))
            .collect();
        assert_eq!(long.len(), 10_000);
        assert_ne!(narrowed(1 << 64 | 2), narrowed(2 << 64 | 1));
        assert!(is_long(1 << 64) && !is_long(u128::from(u64::MAX)) && !is_long(u128::MAX));
    }
}
