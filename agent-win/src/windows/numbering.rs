//! What the numbers of an open file's volume are worth.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::fs::File;
use std::io;
use std::os::windows::io::AsRawHandle;

use windows_sys::Wdk::Storage::FileSystem::{
    FS_INFORMATION_CLASS, FileFsAttributeInformation, FileFsDeviceInformation, NtQueryVolumeInformationFile,
};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;

use crate::scan::FileNumbers;

/// In the second word of `FILE_FS_DEVICE_INFORMATION`: another computer's.
const REMOTE_DEVICE: u32 = 0x10;
/// Attributes, longest name, length of the file system's name in bytes, and that (`FILE_FS_ATTRIBUTE_INFORMATION`).
const NAME: usize = 12;
const NAME_MAX: usize = 64;

/// A file system that doesn't say what it is has numbers that nobody knows the worth of.
pub(super) fn of(file: &File) -> FileNumbers {
    match (file_system(file), is_remote(file)) {
        (Ok(name), Ok(is_remote)) => FileNumbers::of(&name, is_remote),
        _ => FileNumbers::Unknown,
    }
}

fn file_system(file: &File) -> io::Result<String> {
    let mut words = [0u32; (NAME + NAME_MAX) / 4];
    ask(file, FileFsAttributeInformation, &mut words)?;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let name = bytes.get(NAME..NAME + words[2] as usize).ok_or(io::ErrorKind::InvalidData)?;
    let wide: Vec<u16> = name.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    Ok(String::from_utf16_lossy(&wide))
}

fn is_remote(file: &File) -> io::Result<bool> {
    let mut words = [0u32; 2];
    ask(file, FileFsDeviceInformation, &mut words)?;
    Ok(words[1] & REMOTE_DEVICE != 0)
}

fn ask(file: &File, class: FS_INFORMATION_CLASS, words: &mut [u32]) -> io::Result<()> {
    let (len, mut block) = (size_of_val(words) as u32, IO_STATUS_BLOCK::default());
    // SAFETY: the handle is open and synchronous, the buffer as long as said and aligned to 4.
    let status = unsafe {
        NtQueryVolumeInformationFile(
            file.as_raw_handle(),
            &raw mut block,
            words.as_mut_ptr().cast(),
            len,
            class,
        )
    };
    if status < 0 { Err(io::Error::other(format!("status {status:#x}"))) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::stat::open_to_describe;
    use super::*;

    #[test]
    fn the_volume_of_windows_says_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let folder = open_to_describe(dir.path()).unwrap();
        assert_eq!((file_system(&folder).unwrap().as_str(), is_remote(&folder).unwrap()), ("NTFS", false));
        assert_eq!(of(&folder), FileNumbers::Short);
    }
}
