//! Sealed records: a header in clear, then ciphertext and tag. The header is authenticated with them.

use coffer_format::segment::{RecordHeader, RecordKind};
use coffer_format::{Decode, Encode, Lsn, Reader, Writer, limits};
use ring::aead::{Aad, LessSafeKey, Nonce};

use crate::keys::random;
use crate::{Result, VaultError};

/// Bytes before the plaintext in a record being built.
const HEADER: usize = RecordHeader::LEN;

/// Builds a whole record of `value`.
pub(crate) fn seal_record(
    key: &LessSafeKey,
    kind: RecordKind,
    lsn: Lsn,
    plain: impl FnOnce(&mut Writer),
) -> Result<Vec<u8>> {
    let mut record = Writer::default();
    record.zeros(HEADER);
    plain(&mut record);
    let mut bytes = record.0;
    assert!(bytes.len() - HEADER <= limits::RECORD_PLAIN_MAX, "callers cut what they seal below the limit");
    let header = RecordHeader { kind, lsn, sealed_len: (bytes.len() - HEADER + 16) as u32, nonce: random()? };
    let mut head = Writer::default();
    header.encode(&mut head);
    let nonce = Nonce::assume_unique_for_key(header.nonce);
    let tag = key
        .seal_in_place_separate_tag(nonce, Aad::from(&head.0), &mut bytes[HEADER..])
        .map_err(|_| VaultError::Key("sealing failed: the record is longer than AES-GCM allows"))?;
    bytes[..HEADER].copy_from_slice(&head.0);
    bytes.extend_from_slice(tag.as_ref());
    Ok(bytes)
}

/// Opens a whole record in place; `None` where its tag doesn't hold.
pub(crate) fn open_record<'a>(key: &LessSafeKey, record: &'a mut [u8]) -> Option<(RecordHeader, &'a [u8])> {
    if record.len() < HEADER {
        return None;
    }
    let (head, sealed) = record.split_at_mut(HEADER);
    let header = RecordHeader::decode(&mut Reader::new(head)).ok()?;
    if header.sealed_len as usize != sealed.len() {
        return None;
    }
    let nonce = Nonce::assume_unique_for_key(header.nonce);
    let plain = key.open_in_place(nonce, Aad::from(&*head), sealed).ok()?;
    Some((header, plain))
}

/// Writes a value compressed: its raw length (which is returned), then one zstd frame.
pub(crate) fn write_compressed(w: &mut Writer, value: &impl Encode) -> Result<usize> {
    let raw = coffer_format::to_bytes(value);
    let packed = zstd::bulk::compress(&raw, 3).map_err(VaultError::io("compress", "a record"))?;
    (raw.len() as u32).encode(w);
    w.bytes(&packed);
    Ok(raw.len())
}

/// Reads a value written by [`write_compressed`].
pub(crate) fn read_compressed<T: Decode>(plain: &[u8]) -> Result<T> {
    let mut r = Reader::new(plain);
    let raw_len = r.get::<u32>()? as usize;
    let too_large = coffer_format::DecodeError::TooLarge {
        what: "record",
        found: raw_len as u64,
        limit: 2 * limits::RECORD_PLAIN_MAX as u64,
    };
    if raw_len > 2 * limits::RECORD_PLAIN_MAX {
        return Err(too_large.into());
    }
    let left = r.remaining();
    let packed = r.take(left, "record")?;
    let raw = zstd::bulk::decompress(packed, raw_len)
        .map_err(|_| coffer_format::DecodeError::Invalid { what: "compressed record" })?;
    Ok(coffer_format::from_bytes(&raw)?)
}
