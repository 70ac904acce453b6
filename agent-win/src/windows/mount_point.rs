//! Folders that another volume is mounted at.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::path::PathBuf;

use coffer_format::node::NodeKind;
use windows_sys::Win32::Storage::FileSystem::GetVolumeNameForVolumeMountPointW;

use super::as_path;
use super::stat::stat_path;
use super::wide::wide;

/// `\\?\Volume{...}\` and a zero.
const NAME_MAX: usize = 50;

/// The top of the volume that's mounted at a folder below a drive's top; `None` where there's none.
pub(crate) fn mounted_at(path: &[u8]) -> Option<PathBuf> {
    let is_link = stat_path(&as_path(path)).is_ok_and(|stat| stat.kind == NodeKind::Symlink);
    if !is_link {
        return None;
    }
    let place = std::str::from_utf8(path).ok()?.trim_start_matches('/').replace('/', r"\");
    let (place, mut name) = (wide(&format!(r"{place}\")), [0u16; NAME_MAX]);
    // SAFETY: the path ends with a zero and a backslash before it, the buffer is as long as said.
    let done =
        unsafe { GetVolumeNameForVolumeMountPointW(place.as_ptr(), name.as_mut_ptr(), NAME_MAX as u32) };
    let len = name.iter().position(|unit| *unit == 0)?;
    (done != 0 && len > 0).then(|| PathBuf::from(String::from_utf16_lossy(&name[..len])))
}
