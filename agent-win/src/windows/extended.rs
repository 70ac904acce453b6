//! Extended attributes, as `NtQueryEaFile` lists them.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::fs::File;
use std::io;
use std::os::windows::io::AsRawHandle;

use windows_sys::Wdk::Storage::FileSystem::NtQueryEaFile;
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;

/// NTFS keeps at most 64 KiB of them with a file.
const LIST_MAX: usize = 64 << 10;
/// Any warning or error but "there's more", which the buffer rules out: there are none, or the file system has none.
const SUCCESS: i32 = 0;

/// The whole list; `None` where there's none.
pub(super) fn read(file: &File) -> io::Result<Option<Vec<u8>>> {
    // Aligned to 4, as the call wants it.
    let mut buffer = vec![0u32; LIST_MAX / 4];
    let mut block = IO_STATUS_BLOCK::default();
    // SAFETY: the handle is open and synchronous, the buffer as long as said, no names are asked for.
    let status = unsafe {
        NtQueryEaFile(
            file.as_raw_handle(),
            &raw mut block,
            buffer.as_mut_ptr().cast(),
            LIST_MAX as u32,
            false,
            std::ptr::null(),
            0,
            std::ptr::null(),
            true,
        )
    };
    let len = block.Information.min(LIST_MAX);
    if status != SUCCESS || len == 0 {
        return Ok(None);
    }
    Ok(Some(buffer.iter().flat_map(|word| word.to_le_bytes()).take(len).collect()))
}
