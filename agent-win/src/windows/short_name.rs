//! The short name (8.3) that a file has beside its own.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::fs::File;
use std::os::windows::io::AsRawHandle;

use windows_sys::Wdk::Storage::FileSystem::{FileAlternateNameInformation, NtQueryInformationFile};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;

use crate::wtf8;

/// Length of the name in bytes, and at most twelve units of it.
const BUFFER: usize = 4 + 2 * 12 + 4;

/// `None` where it has none, or the file system knows of none.
pub(super) fn read(file: &File) -> Option<Vec<u8>> {
    let mut buffer = [0u32; BUFFER / 4];
    let mut block = IO_STATUS_BLOCK::default();
    // SAFETY: the handle is open and synchronous, the buffer as long as said and aligned to 4.
    let status = unsafe {
        NtQueryInformationFile(
            file.as_raw_handle(),
            &raw mut block,
            buffer.as_mut_ptr().cast(),
            BUFFER as u32,
            FileAlternateNameInformation,
        )
    };
    let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_le_bytes()).collect();
    let name = bytes.get(4..4 + buffer[0] as usize).filter(|name| status == 0 && !name.is_empty())?;
    let wide: Vec<u16> = name.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    Some(wtf8::from_wide(&wide))
}

/// As Windows itself tells it to programs of the eighties.
#[cfg(test)]
pub(super) fn of_path(path: &std::path::Path) -> Vec<u8> {
    use std::os::windows::ffi::OsStrExt;

    use windows_sys::Win32::Storage::FileSystem::GetShortPathNameW;

    let path: Vec<u16> = path.as_os_str().encode_wide().chain([0]).collect();
    let mut short = vec![0u16; 4096];
    // SAFETY: the path ends with a zero, the buffer is as long as said.
    let len = unsafe { GetShortPathNameW(path.as_ptr(), short.as_mut_ptr(), 4096) } as usize;
    let short = wtf8::from_wide(&short[..len]);
    short.rsplit(|byte| *byte == b'\\').next().unwrap_or_default().to_vec()
}
