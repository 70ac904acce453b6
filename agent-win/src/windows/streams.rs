//! Alternate data streams: small ones are kept with their file, large ones beside it (`capture/streams.rs`).

use std::fs::File;
use std::io;

use windows_sys::Win32::Foundation::{ERROR_HANDLE_EOF, ERROR_MORE_DATA};
use windows_sys::Win32::Storage::FileSystem::FileStreamInfo;

use super::failure::has_code;
use super::open_below::{Purpose, open_below};
use super::positional::read_exact_at;
use super::query;
use crate::wtf8;
use coffer_format::limits::ATTR_MAX;

/// Bytes of a listing, in units of 8: enough for a few hundred streams.
const LISTING: usize = (64 << 10) / 8;
/// Bytes of all streams of one file together.
const ALL_MAX: u64 = 4 << 20;

/// One stream of a file beside its own bytes.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) name: Vec<u8>,
    pub(super) kept: Kept,
}

#[derive(Debug)]
pub(super) enum Kept {
    Bytes(Vec<u8>),
    /// It's too large for that.
    Apart,
    Failed(io::Error),
}

/// All streams of an open file but its own bytes.
pub(super) fn read(file: &File) -> io::Result<Vec<Stream>> {
    let mut buffer = vec![0u64; LISTING];
    match query::entries(file, FileStreamInfo, &mut buffer) {
        // A directory without streams has no entries.
        Err(error) if has_code(&error, &[ERROR_HANDLE_EOF]) => return Ok(Vec::new()),
        Err(error) if has_code(&error, &[ERROR_MORE_DATA]) => {
            return Err(io::Error::other("the file has more streams than can be listed; remove some"));
        }
        listed => listed?,
    }
    let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut left = ALL_MAX;
    let mut streams = Vec::new();
    for (name, size) in listed(&bytes) {
        let kept = if size > left.min(ATTR_MAX as u64) {
            Kept::Apart
        } else {
            left -= size;
            content(file, &name, size).map_or_else(Kept::Failed, Kept::Bytes)
        };
        streams.push(Stream { name, kept });
    }
    Ok(streams)
}

fn content(file: &File, name: &[u8], size: u64) -> io::Result<Vec<u8>> {
    let stream = open_below(file, &[b":", name].concat(), Purpose::Read)?;
    let mut bytes = vec![0; size as usize];
    read_exact_at(&stream, &mut bytes, 0)?;
    Ok(bytes)
}

/// Names and sizes out of a listing (`FILE_STREAM_INFORMATION`, MS-FSCC 2.4.44). Pure, and bounded by the buffer.
fn listed(buffer: &[u8]) -> Vec<(Vec<u8>, u64)> {
    let number =
        |bytes: &[u8], at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    let mut found = Vec::new();
    let mut rest = buffer;
    loop {
        let Some((next, len)) = number(rest, 0).zip(number(rest, 4)) else { return found };
        let size = rest.get(8..16).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
        if let Some(name) = rest.get(24..24 + len).and_then(stream_name) {
            found.push((name, size));
        }
        match rest.get(next..) {
            Some(after) if next >= 24 => rest = after,
            _ => return found,
        }
    }
}

/// `:name:$DATA` has a name; `::$DATA` is the file's own bytes.
fn stream_name(bytes: &[u8]) -> Option<Vec<u8>> {
    let wide: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let name = wtf8::from_wide(&wide);
    let name = name.strip_prefix(b":")?.strip_suffix(b":$DATA")?;
    (!name.is_empty()).then(|| name.to_vec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(name: &str, size: u64, is_last: bool) -> Vec<u8> {
        let wide: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let len = (24 + wide.len()).next_multiple_of(8);
        let mut bytes = (if is_last { 0 } else { len as u32 }).to_le_bytes().to_vec();
        bytes.extend((wide.len() as u32).to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend(wide);
        bytes.resize(len, 0);
        bytes
    }

    #[test]
    fn the_files_own_bytes_are_no_stream() {
        let buffer = [entry("::$DATA", 99, false), entry(":Zone.Identifier:$DATA", 26, true)].concat();
        assert_eq!(listed(&buffer), [(b"Zone.Identifier".to_vec(), 26)]);
        assert_eq!(listed(&[0; 64]), []);
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _any = listed(&bytes);
        }
    }
}
