//! Structures of varying length as Windows wants them.

/// The bytes in memory that's aligned to 8; what's over at the end is 0.
pub(super) fn aligned(bytes: &[u8]) -> Vec<u64> {
    let word = |part: &[u8]| part.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    bytes.chunks(8).map(word).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_lie_as_they_lay() {
        assert_eq!(super::aligned(&[1, 2, 0, 0, 0, 0, 0, 0, 3]), [0x0201, 3]);
        assert!(super::aligned(&[]).is_empty());
    }
}
