//! Whether a file is a whole hive. Pure, and bounded by the file. Source: M. Suhanov, "Windows registry file format
//! specification", base block and hive bins.

use std::io::{self, Read};

/// The base block, at the file's start.
const BASE: usize = 4096;
const CHECKSUM_AT: usize = 0x1FC;
const BIN_HEAD: usize = 32;
const BIN_STEP: u64 = 4096;

/// What a file lacks to be a hive that Windows can load without anything else.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    #[error("it isn't a hive of the registry; take the files of the folder `registry` from a restore point")]
    NoHive,
    #[error("its head is damaged; restore it once more, or from another point")]
    Head,
    #[error(
        "it was being written to when it was copied, and its log would be needed; take the files of the folder `registry` from \
         a restore point"
    )]
    Dirty,
    #[error("it's damaged or cut off at byte {0}; restore it once more, or from another point")]
    Bins(u64),
    #[error("it can't be read ({0}); restore it once more")]
    Read(io::Error),
}

impl From<io::Error> for Damage {
    fn from(error: io::Error) -> Damage {
        Damage::Read(error)
    }
}

/// Reads all of it.
pub fn check(mut hive: impl Read) -> Result<(), Damage> {
    let mut base = [0; BASE];
    match hive.read_exact(&mut base) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Damage::NoHive),
        read => read?,
    }
    let bins_len = bins_len(&base)?;
    let mut at = 0;
    while at < bins_len {
        at += bin(&mut hive, at, bins_len)?;
    }
    Ok(())
}

/// How many bytes of bins follow, by a head that's sound.
fn bins_len(base: &[u8; BASE]) -> Result<u64, Damage> {
    if &base[..4] != b"regf" {
        return Err(Damage::NoHive);
    }
    let number = |at: usize| u32::from_le_bytes([base[at], base[at + 1], base[at + 2], base[at + 3]]);
    if checksum(base) != number(CHECKSUM_AT) {
        return Err(Damage::Head);
    }
    // How often it was begun to be written, and how often that was done.
    if number(4) != number(8) {
        return Err(Damage::Dirty);
    }
    let (major, kind, format, root) = (number(20), number(28), number(32), number(36));
    let len = u64::from(number(40));
    let is_known = (major, kind, format) == (1, 0, 1);
    let is_sound = len > 0 && len % BIN_STEP == 0 && u64::from(root) < len;
    if is_known && is_sound { Ok(len) } else { Err(Damage::Head) }
}

/// Of the 127 words before it; neither nothing nor all ones.
fn checksum(base: &[u8; BASE]) -> u32 {
    let words = base[..CHECKSUM_AT].chunks_exact(4);
    let sum = words.fold(0, |sum, word| sum ^ u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    match sum {
        0 => 1,
        u32::MAX => u32::MAX - 1,
        sum => sum,
    }
}

/// Reads a bin and gives its length.
fn bin(hive: &mut impl Read, at: u64, bins_len: u64) -> Result<u64, Damage> {
    let damaged = || Damage::Bins(BASE as u64 + at);
    let mut head = [0; BIN_HEAD];
    match hive.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(damaged()),
        read => read?,
    }
    let number =
        |at: usize| u64::from(u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
    let len = number(8);
    let fits = len > 0 && len % BIN_STEP == 0 && len <= bins_len - at;
    if &head[..4] != b"hbin" || number(4) != at || !fits {
        return Err(damaged());
    }
    let rest = len - BIN_HEAD as u64;
    match io::copy(&mut hive.take(rest), &mut io::sink())? {
        read if read == rest => Ok(len),
        _ => Err(damaged()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A hive with bins of so many pages.
    pub(crate) fn hive(pages: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0; BASE];
        bytes[..4].copy_from_slice(b"regf");
        let len = pages.iter().sum::<u32>() * 4096;
        for (at, number) in
            [(4, 7u32), (8, 7), (20, 1), (24, 5), (28, 0), (32, 1), (36, 32), (40, len), (44, 1)]
        {
            bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        let mut at = 0;
        for pages in pages {
            let mut bin = vec![0; *pages as usize * 4096];
            bin[..4].copy_from_slice(b"hbin");
            bin[4..8].copy_from_slice(&u32::to_le_bytes(at));
            bin[8..12].copy_from_slice(&(pages * 4096).to_le_bytes());
            at += pages * 4096;
            bytes.extend(bin);
        }
        summed(bytes)
    }

    /// The same with the right checksum.
    fn summed(mut bytes: Vec<u8>) -> Vec<u8> {
        let sum = checksum(bytes[..BASE].try_into().unwrap());
        bytes[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn with(mut bytes: Vec<u8>, at: usize, new: &[u8]) -> Vec<u8> {
        bytes[at..at + new.len()].copy_from_slice(new);
        bytes
    }

    #[test]
    fn whole_hives_are_taken_and_what_follows_the_last_bin_does_not_matter() {
        check(&hive(&[1])[..]).unwrap();
        check(&hive(&[1, 3, 2])[..]).unwrap();
        check(&[hive(&[2]), vec![9; 5000]].concat()[..]).unwrap();
    }

    #[test]
    fn each_kind_of_damage_is_told_apart() {
        let good = || hive(&[1, 2]);
        for no_hive in
            [b"[HKEY_LOCAL_MACHINE]\n".to_vec(), Vec::new(), with(good(), 0, b"hbin"), vec![0; 9000]]
        {
            assert!(matches!(check(&no_hive[..]), Err(Damage::NoHive)));
        }
        assert!(matches!(check(&with(good(), 100, b"x")[..]), Err(Damage::Head)));
        for (at, number) in [(20, 2u32), (28, 1), (32, 0), (36, 12288), (40, 0), (40, 4097)] {
            let strange = summed(with(good(), at, &number.to_le_bytes()));
            assert!(matches!(check(&strange[..]), Err(Damage::Head)), "{at}: {number}");
        }
        assert!(matches!(check(&summed(with(good(), 4, &[8]))[..]), Err(Damage::Dirty)));
        let bins = [
            (8192, with(good(), 8192, &[0; 8])),
            (8192, with(good(), 8196, &[0; 4])),
            (4096, with(good(), 4104, &16384u32.to_le_bytes())),
            (4096, with(good(), 4104, &0u32.to_le_bytes())),
            (8192, good()[..8192].to_vec()),
            (8192, good()[..good().len() - 1].to_vec()),
        ];
        for (place, damaged) in bins {
            let found = check(&damaged[..]);
            assert!(matches!(&found, Err(Damage::Bins(at)) if *at == place), "{place}: {found:?}");
        }
    }

    #[test]
    fn a_sum_of_nothing_and_one_of_all_ones_are_written_otherwise() {
        let mut base = [0; BASE];
        assert_eq!(checksum(&base), 1);
        base[..4].copy_from_slice(&[0xFF; 4]);
        assert_eq!(checksum(&base), 0xFFFF_FFFE);
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_never_panic_nor_hang(at in 0usize..12_000, new in prop::collection::vec(any::<u8>(), 1..64)) {
            let damaged = with(hive(&[1, 2]), at.min(12_288 - 64), &new);
            let _any = (check(&damaged[..]).is_ok(), check(&summed(damaged)[..]).is_ok());
        }
    }
}
