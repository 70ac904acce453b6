//! Content-defined cutting: a rolling gear hash with normalized chunk sizes (Xia et al., "FastCDC", USENIX ATC 2016).
//! Where a file is cut depends on the 64 bytes before the cut alone, so that an insertion moves only the cuts around it.

/// Least bytes of a chunk, except the last of a file.
const MIN: usize = 16 << 10;
/// Bytes that chunks tend towards.
const TYPICAL: usize = 64 << 10;
/// Most bytes of a chunk.
pub(crate) const CONTENT_MAX: usize = 256 << 10;

// Stricter below the typical size, looser above: 18 and 14 bits. The high bits depend on the most bytes.
const STRICT: u64 = 0xffff_c000_0000_0000;
const LOOSE: u64 = 0xfffc_0000_0000_0000;

const GEAR: [u64; 256] = gear();

/// Fixed for all time: other numbers would cut every file anew. SplitMix64 from seed 0.
const fn gear() -> [u64; 256] {
    let mut table = [0; 256];
    let mut state: u64 = 0;
    let mut at = 0;
    while at < 256 {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[at] = z ^ (z >> 31);
        at += 1;
    }
    table
}

/// Length of the chunk that `data` begins with. `data` must hold [`CONTENT_MAX`] bytes or all that's left of the file.
pub(crate) fn next_cut(data: &[u8]) -> usize {
    if data.len() <= MIN {
        return data.len();
    }
    let typical = data.len().min(TYPICAL);
    let (hash, cut) = search(0, &data[..typical], MIN, STRICT);
    if let Some(cut) = cut {
        return cut;
    }
    let end = data.len().min(CONTENT_MAX);
    search(hash, &data[..end], typical, LOOSE).1.unwrap_or(end)
}

fn search(mut hash: u64, data: &[u8], from: usize, mask: u64) -> (u64, Option<usize>) {
    for (at, byte) in data[from..].iter().enumerate() {
        hash = (hash << 1).wrapping_add(GEAR[usize::from(*byte)]);
        if hash & mask == 0 {
            return (hash, Some(from + at + 1));
        }
    }
    (hash, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize, seed: u64) -> Vec<u8> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes());
        let mut out = vec![0; len];
        hasher.finalize_xof().fill(&mut out);
        out
    }

    fn lengths(mut data: &[u8]) -> Vec<usize> {
        let mut lengths = Vec::new();
        while !data.is_empty() {
            let cut = next_cut(&data[..data.len().min(CONTENT_MAX)]);
            lengths.push(cut);
            data = &data[cut..];
        }
        lengths
    }

    #[test]
    fn chunks_keep_their_bounds_and_tend_to_the_typical_size() {
        let lengths = lengths(&noise(16 << 20, 1));
        let body = &lengths[..lengths.len() - 1];
        assert!(body.iter().all(|len| (MIN..=CONTENT_MAX).contains(len)));
        let mean = body.iter().sum::<usize>() / body.len();
        assert!((48 << 10..96 << 10).contains(&mean), "mean {mean}");
    }

    #[test]
    fn an_insertion_moves_only_the_cuts_around_it() {
        let before = noise(8 << 20, 2);
        let mut after = before.clone();
        after.splice(3_000_000..3_000_000, *b"seventeen bytes!!");
        let (a, b) = (lengths(&before), lengths(&after));
        let same_front = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
        let same_back = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
        assert!(
            a.len() - same_front - same_back <= 3,
            "{} of {} chunks moved",
            a.len() - same_front - same_back,
            a.len()
        );
    }
}
