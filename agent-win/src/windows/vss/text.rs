//! Texts to and from vssapi.dll.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::ptr::null;

use windows_sys::Win32::Foundation::{SysFreeString, SysStringLen};

use super::object::checked;
use super::table::Text;
use crate::vss::Code;

/// Longest document that's taken, in units of UTF-16.
const LEN_MAX: usize = 64 << 20;
/// Longest path that Windows has, in units of UTF-16.
const PATH_MAX: usize = 32 << 10;

/// The text that a function gives; `None` where it's empty.
///
/// # Safety
/// Where `give` succeeds, what it wrote must be null or a text that's the caller's to free.
pub(super) unsafe fn given(give: impl FnOnce(*mut Text) -> i32) -> Result<Option<String>, Code> {
    let mut text = null();
    let done = checked(give(&raw mut text));
    // SAFETY: as the caller promises; a failure leaves null.
    let taken = unsafe { copied(text) };
    // SAFETY: the text is ours, or null, and isn't used again.
    unsafe { SysFreeString(text) };
    done.and(taken)
}

/// What a text says, without taking it.
///
/// # Safety
/// `text` is null or a text of the system's.
pub(super) unsafe fn copied(text: Text) -> Result<Option<String>, Code> {
    // SAFETY: null has no length.
    let len = unsafe { SysStringLen(text) } as usize;
    match len {
        0 => Ok(None),
        1..=LEN_MAX => {
            // SAFETY: a text has as many units as it says.
            let units = unsafe { std::slice::from_raw_parts(text, len) };
            Ok(Some(String::from_utf16_lossy(units)))
        }
        _ => Err(Code::CORRUPT_DOCUMENT),
    }
}

/// A path that ends with a zero.
///
/// # Safety
/// `text` is null, or points to units of which one is zero.
pub(super) unsafe fn until_zero(text: *const u16) -> Vec<u16> {
    let mut units = Vec::new();
    while !text.is_null() && units.len() < PATH_MAX {
        // SAFETY: no zero has come yet.
        let unit = unsafe { *text.add(units.len()) };
        if unit == 0 {
            break;
        }
        units.push(unit);
    }
    units
}
