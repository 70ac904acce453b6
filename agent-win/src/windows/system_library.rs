//! A library of the system's own, loaded when it's needed: a system that lacks it, or one of its functions, runs the agent
//! all the same.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::ffi::CStr;
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::HMODULE;
use windows_sys::Win32::System::LibraryLoader::{
    GetProcAddress, LOAD_LIBRARY_SEARCH_SYSTEM32, LoadLibraryExW,
};

use super::wide::wide;

/// It's never unloaded: loading it again gives the same.
pub(super) struct SystemLibrary(HMODULE);

/// Whoever calls it gives it its own form first.
pub(super) type Function = unsafe extern "system" fn() -> isize;

impl SystemLibrary {
    /// `None` where the system has none of this name.
    pub(super) fn load(name: &str) -> Option<SystemLibrary> {
        let name = wide(name);
        // SAFETY: the name ends with a zero; only the system's own folder is looked into.
        let module = unsafe { LoadLibraryExW(name.as_ptr(), null_mut(), LOAD_LIBRARY_SEARCH_SYSTEM32) };
        (!module.is_null()).then_some(SystemLibrary(module))
    }

    /// `None` where the library of this system hasn't got it.
    pub(super) fn function(&self, name: &CStr) -> Option<Function> {
        // SAFETY: the library is loaded, the name ends with a zero.
        unsafe { GetProcAddress(self.0, name.as_ptr().cast()) }
    }
}
