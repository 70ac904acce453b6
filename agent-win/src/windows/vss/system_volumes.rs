//! The volumes of this computer and where they're mounted.

#![allow(unsafe_code, reason = "calls of Windows")]

use windows_sys::Win32::Foundation::{ERROR_MORE_DATA, GetLastError, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Storage::FileSystem::{
    FindFirstVolumeW, FindNextVolumeW, FindVolumeClose, GetVolumeNameForVolumeMountPointW,
    GetVolumePathNamesForVolumeNameW,
};

use crate::vss::{Code, Step, Volume, Volumes, VssError};
use crate::windows::drives;
use crate::windows::wide::wide;

/// `\\?\Volume{...}\` and a zero has 50.
const NAME_MAX: usize = 64;
/// Longest list of the places of one volume, in units of UTF-16.
const PLACES_MAX: usize = 1 << 20;
const VOLUMES_MAX: usize = 4096;

pub(super) fn all() -> Result<Volumes, VssError> {
    let mut volumes: Vec<Volume> = Vec::new();
    for name in names()? {
        let mounts = places(&name);
        volumes.push(Volume { name, mounts });
    }
    // A drive that the list leaves out may still have a volume's name.
    for letter in drives::names() {
        let root = format!(r"{}\", String::from_utf8_lossy(&letter));
        if volumes.iter().any(|volume| volume.mounts.iter().any(|mount| mount.eq_ignore_ascii_case(&root))) {
            continue;
        }
        if let Some(name) = name_at(&root) {
            match volumes.iter_mut().find(|volume| volume.name == name) {
                Some(volume) => volume.mounts.push(root),
                None => volumes.push(Volume { name, mounts: vec![root] }),
            }
        }
    }
    Ok(Volumes::new(volumes))
}

/// One place that a volume is mounted at.
pub(super) fn place_of(name: &str) -> Option<String> {
    places(name).into_iter().next()
}

fn names() -> Result<Vec<String>, VssError> {
    let mut name = [0u16; NAME_MAX];
    // SAFETY: the buffer is as long as said.
    let search = unsafe { FindFirstVolumeW(name.as_mut_ptr(), NAME_MAX as u32) };
    if search == INVALID_HANDLE_VALUE {
        // SAFETY: reads a number of this thread's.
        let code = unsafe { GetLastError() };
        return Err(Step::Volumes.failed(Code(0x8007_0000 | code & 0xffff)));
    }
    let mut names = vec![shown(&name)];
    // SAFETY: the search is open, the buffer as long as said.
    while names.len() < VOLUMES_MAX
        && unsafe { FindNextVolumeW(search, name.as_mut_ptr(), NAME_MAX as u32) } != 0
    {
        names.push(shown(&name));
    }
    // SAFETY: the search is open and isn't used again.
    unsafe { FindVolumeClose(search) };
    Ok(names)
}

/// Drive letters and folders of a volume; none where Windows doesn't say.
fn places(name: &str) -> Vec<String> {
    let name = wide(name);
    let mut list = vec![0u16; 512];
    loop {
        let (mut needed, units) = (0, list.len() as u32);
        // SAFETY: the name ends with a zero, the buffer is as long as said, `needed` is written.
        let done = unsafe {
            GetVolumePathNamesForVolumeNameW(name.as_ptr(), list.as_mut_ptr(), units, &raw mut needed)
        };
        if done != 0 {
            let texts = list.split(|unit| *unit == 0).filter(|text| !text.is_empty());
            return texts.map(String::from_utf16_lossy).collect();
        }
        // SAFETY: reads a number of this thread's.
        let is_short = unsafe { GetLastError() } == ERROR_MORE_DATA;
        if !is_short || needed as usize <= list.len() || needed as usize > PLACES_MAX {
            return Vec::new();
        }
        list = vec![0; needed as usize];
    }
}

fn name_at(root: &str) -> Option<String> {
    let (root, mut name) = (wide(root), [0u16; NAME_MAX]);
    // SAFETY: the path ends with a zero and a backslash before it, the buffer is as long as said.
    let done =
        unsafe { GetVolumeNameForVolumeMountPointW(root.as_ptr(), name.as_mut_ptr(), NAME_MAX as u32) };
    (done != 0).then(|| shown(&name))
}

fn shown(text: &[u16]) -> String {
    let len = text.iter().position(|unit| *unit == 0).unwrap_or(text.len());
    String::from_utf16_lossy(&text[..len])
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_drive_of_windows_has_a_volume() {
        let volumes = super::all().unwrap();
        let volume = volumes.of(r"C:\windows").unwrap();
        assert!(volume.name.starts_with(r"\\?\Volume{") && volume.name.ends_with(r"}\"), "{volume:?}");
        assert!(volume.mounts.iter().any(|mount| mount.eq_ignore_ascii_case(r"C:\")), "{volume:?}");
    }
}
