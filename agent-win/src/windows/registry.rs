//! The registry: keys, what's below them, and their values.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::io;
use std::path::Path;
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{ERROR_NO_MORE_ITEMS, ERROR_SUCCESS};
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, HKEY_USERS, KEY_READ, KEY_WRITE, REG_LATEST_FORMAT, REG_MULTI_SZ,
    REG_OPTION_BACKUP_RESTORE, REG_OPTION_NON_VOLATILE, REG_SZ, RRF_RT_REG_SZ, RegCloseKey, RegCreateKeyExW,
    RegDeleteKeyW, RegEnumKeyExW, RegEnumValueW, RegGetValueW, RegOpenKeyExW, RegReplaceKeyW, RegSaveKeyExW,
    RegSetValueExW,
};

use super::wide::{wide, wide_path};

/// Longest name of a key, and of a value that's looked for, in units of UTF-16.
const KEY_NAME_MAX: usize = 256;
const VALUE_NAME_MAX: usize = 512;
/// Longest text, and longest list of texts, in units of UTF-16.
const TEXT_MAX: usize = 256;
const TEXTS_MAX: usize = 32 << 10;

/// Where a path begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Root {
    Machine,
    Users,
}

/// An open key.
pub(super) struct Key(HKEY);

impl Key {
    /// Opens a key for reading.
    pub(super) fn open(root: Root, path: &str) -> io::Result<Key> {
        let (path, mut opened) = (wide(path), null_mut());
        // SAFETY: the path ends with a zero, the result is written.
        said(unsafe { RegOpenKeyExW(root.key(), path.as_ptr(), 0, KEY_READ, &raw mut opened) })?;
        Ok(Key(opened))
    }

    /// Opens a key by the right to back up, whatever its own permissions say. One that isn't there isn't made.
    pub(super) fn open_for_backup(root: Root, path: &str) -> io::Result<Key> {
        opened_or_made(root, path, REG_OPTION_BACKUP_RESTORE, KEY_READ)
    }

    /// Makes a key where there's none, and opens it for writing.
    pub(super) fn create(root: Root, path: &str) -> io::Result<Key> {
        opened_or_made(root, path, REG_OPTION_NON_VOLATILE, KEY_WRITE)
    }

    /// Saves it and all below it to a file that isn't there yet. For keys that are open for backup.
    pub(super) fn save(&self, path: &Path) -> io::Result<()> {
        let path = wide_path(path);
        // SAFETY: the key is open, the path ends with a zero, nobody else needs access to the file.
        said(unsafe { RegSaveKeyExW(self.0, path.as_ptr(), null(), REG_LATEST_FORMAT) })
    }

    /// Its values that are lists of texts, each with its name; at most `max` values are looked at.
    pub(super) fn lists(&self, max: u32) -> io::Result<Vec<(String, Vec<String>)>> {
        self.values(REG_MULTI_SZ, max)
    }

    /// The same of those that are one text.
    pub(super) fn texts(&self, max: u32) -> io::Result<Vec<(String, String)>> {
        let all = self.values(REG_SZ, max)?;
        Ok(all.into_iter().map(|(name, texts)| (name, texts.concat())).collect())
    }

    fn values(&self, wanted: u32, max: u32) -> io::Result<Vec<(String, Vec<String>)>> {
        let (mut found, mut units) = (Vec::new(), vec![0u16; TEXTS_MAX]);
        for index in 0..max {
            match self.value(index, &mut units)? {
                None => break,
                Some((kind, name, len)) if kind == wanted => found.push((name, texts(&units[..len]))),
                Some(_) => {}
            }
        }
        Ok(found)
    }

    /// The keys right below it, at most so many.
    pub(super) fn names(&self, max: u32) -> io::Result<Vec<String>> {
        names_below(self.0, max)
    }

    pub(super) fn set(&self, name: &str, kind: u32, value: &[u8]) -> io::Result<()> {
        let name = wide(name);
        // SAFETY: the key is open, the name ends with a zero, the value is as long as said.
        said(unsafe { RegSetValueExW(self.0, name.as_ptr(), 0, kind, value.as_ptr(), value.len() as u32) })
    }

    /// Kind and name of a value, and how many units of it were read; `None` after the last.
    fn value(&self, index: u32, units: &mut [u16]) -> io::Result<Option<(u32, String, usize)>> {
        let mut name = [0u16; VALUE_NAME_MAX];
        let (mut name_len, mut len_bytes) = (name.len() as u32, size_of_val(units) as u32);
        let mut kind = 0;
        // SAFETY: the key is open, both buffers are as long as said; nothing is asked for in the reserved place.
        let code = unsafe {
            let (name_at, units_at) = (name.as_mut_ptr(), units.as_mut_ptr().cast());
            let (name_len, len_bytes) = (&raw mut name_len, &raw mut len_bytes);
            RegEnumValueW(self.0, index, name_at, name_len, null(), &raw mut kind, units_at, len_bytes)
        };
        if code == ERROR_NO_MORE_ITEMS {
            return Ok(None);
        }
        said(code)?;
        let name = String::from_utf16_lossy(&name[..name_len as usize]);
        Ok(Some((kind, name, len_bytes as usize / 2)))
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: the key is ours and isn't used again.
        unsafe { RegCloseKey(self.0) };
    }
}

/// The keys right below a root, at most so many.
pub(super) fn names(root: Root, max: u32) -> io::Result<Vec<String>> {
    names_below(root.key(), max)
}

fn names_below(key: HKEY, max: u32) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for index in 0..max {
        let mut name = [0u16; KEY_NAME_MAX];
        let mut len = name.len() as u32;
        // SAFETY: the buffer is as long as `len` says; class and time aren't asked for.
        let code = unsafe {
            let (text, none, never) = (null_mut(), null_mut(), null_mut());
            RegEnumKeyExW(key, index, name.as_mut_ptr(), &raw mut len, null(), text, none, never)
        };
        if code == ERROR_NO_MORE_ITEMS {
            break;
        }
        said(code)?;
        names.push(String::from_utf16_lossy(&name[..len as usize]));
    }
    Ok(names)
}

/// A text of a key of the computer's; `None` where there's none, or one that's too long.
pub(super) fn text(path: &str, value: &str) -> Option<String> {
    let (path, value) = (wide(path), wide(value));
    let mut text = [0u16; TEXT_MAX];
    let mut len_bytes = size_of_val(&text) as u32;
    // SAFETY: both names end with a zero, the buffer is as long as `len_bytes` says, the kind isn't asked back.
    let code = unsafe {
        let (at, len_bytes) = (text.as_mut_ptr().cast(), &raw mut len_bytes);
        let (path, value) = (path.as_ptr(), value.as_ptr());
        RegGetValueW(HKEY_LOCAL_MACHINE, path, value, RRF_RT_REG_SZ, null_mut(), at, len_bytes)
    };
    let units = text.get(..len_bytes as usize / 2)?;
    (code == ERROR_SUCCESS).then(|| String::from_utf16_lossy(units).trim_end_matches('\0').to_owned())
}

/// When Windows next starts, `new` is the file of the hive whose key this is; its file of today is `before` from now on. Both
/// must be on its volume, and there mustn't be a `before`.
pub(super) fn replace_hive(root: Root, key: &str, new: &Path, before: &Path) -> io::Result<()> {
    let (key, new, before) = (wide(key), wide_path(new), wide_path(before));
    // SAFETY: the key's name and both paths end with a zero.
    said(unsafe { RegReplaceKeyW(root.key(), key.as_ptr(), new.as_ptr(), before.as_ptr()) })
}

/// Removes a key that has none below it.
pub(super) fn remove(root: Root, path: &str) -> io::Result<()> {
    let path = wide(path);
    // SAFETY: the path ends with a zero.
    said(unsafe { RegDeleteKeyW(root.key(), path.as_ptr()) })
}

impl Root {
    fn key(self) -> HKEY {
        match self {
            Root::Machine => HKEY_LOCAL_MACHINE,
            Root::Users => HKEY_USERS,
        }
    }
}

fn opened_or_made(root: Root, path: &str, options: u32, rights: u32) -> io::Result<Key> {
    let (path, mut opened) = (wide(path), null_mut());
    // SAFETY: the path ends with a zero, the result is written; class, security and what was done aren't asked for.
    said(unsafe {
        let (path, opened) = (path.as_ptr(), &raw mut opened);
        RegCreateKeyExW(root.key(), path, 0, null(), options, rights, null(), opened, null_mut())
    })?;
    Ok(Key(opened))
}

fn texts(units: &[u16]) -> Vec<String> {
    let texts = String::from_utf16_lossy(units);
    texts.split('\0').filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

fn said(code: u32) -> io::Result<()> {
    if code == ERROR_SUCCESS { Ok(()) } else { Err(io::Error::from_raw_os_error(code as i32)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_were_set() {
        const PATH: &str = r"SOFTWARE\Coffer registry test";
        let key = Key::create(Root::Machine, PATH).unwrap();
        let bytes = |text: &str| wide(text).into_iter().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        key.set("list", REG_MULTI_SZ, &bytes("one\0two\0")).unwrap();
        key.set("text", REG_SZ, &bytes("a text")).unwrap();
        drop(key);
        let lists = Key::open(Root::Machine, PATH).unwrap().lists(10).unwrap();
        assert_eq!(lists, [("list".to_owned(), vec!["one".to_owned(), "two".to_owned()])]);
        let one_text = Key::open(Root::Machine, PATH).unwrap().texts(10).unwrap();
        assert_eq!(one_text, [("text".to_owned(), "a text".to_owned())]);
        assert_eq!(text(PATH, "text").as_deref(), Some("a text"));
        assert_eq!((text(PATH, "list"), text(PATH, "none")), (None, None));
        remove(Root::Machine, PATH).unwrap();
        let gone = Key::open(Root::Machine, PATH).map(drop).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }
}
