//! REPORT DENSITY SUPPORT data (SSC-4 7.10.2): which formats a drive, or its medium, can do.

use coffer_format::{DecodeError, Reader};

use super::{be16, be24, be32, byte, take_some, text};

const WHAT: &str = "density support";
const DESCRIPTOR_LEN: usize = 52;
/// Most descriptors that are looked at.
const DENSITIES_MAX: usize = 256;

/// One format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Density {
    pub code: u8,
    /// The drive can write it on the medium reported, or on one made for it.
    pub writable: bool,
    /// Bits per millimetre, tracks, and megabytes (10⁶) of one cartridge.
    pub bits_per_mm: u32,
    pub tracks: u16,
    pub capacity_mb: u32,
    pub name: String,
}

/// All descriptors in a reply.
pub fn decode_densities(bytes: &[u8]) -> Result<Vec<Density>, DecodeError> {
    let mut r = Reader::new(bytes);
    let len = usize::from(be16(&mut r, WHAT)?).saturating_sub(2);
    r.take(2, WHAT)?;
    let body = take_some(&mut r, len, WHAT)?;
    body.chunks_exact(DESCRIPTOR_LEN).take(DENSITIES_MAX).map(decode_density).collect()
}

fn decode_density(bytes: &[u8]) -> Result<Density, DecodeError> {
    const WRTOK: u8 = 0x80;
    let mut r = Reader::new(bytes);
    let code = byte(&mut r, WHAT)?;
    byte(&mut r, WHAT)?;
    let flags = byte(&mut r, WHAT)?;
    r.take(2, WHAT)?;
    let bits_per_mm = be24(&mut r, WHAT)?;
    r.take(2, WHAT)?;
    let tracks = be16(&mut r, WHAT)?;
    let capacity_mb = be32(&mut r, WHAT)?;
    r.take(8, WHAT)?;
    let name = text(r.take(8, WHAT)?);
    Ok(Density { code, writable: flags & WRTOK != 0, bits_per_mm, tracks, capacity_mb, name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn descriptors_are_read_and_a_cut_one_is_left_out() {
        let mut one = vec![0x5a, 0x5a, 0x80, 0, 0, 0, 0x3b, 0x26, 0, 127, 8, 0x80, 0, 0x26, 0x25, 0xa0];
        one.extend(b"LTO-CVE U-616   Ultrium 6/16T       ");
        let mut page = vec![0, 2 + 104, 0, 0];
        page.extend(one.iter().chain(&one));
        let found = decode_densities(&page).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].code, found[0].writable, found[0].name.as_str()), (0x5a, true, "U-616"));
        assert_eq!(decode_densities(&page[..100]).unwrap().len(), 1);
        assert!(decode_densities(&page[..3]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode_densities(&bytes);
        }
    }
}
