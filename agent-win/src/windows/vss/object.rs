//! An object of vssapi.dll, given back when it's no longer wanted.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::ffi::c_void;
use std::ptr::{NonNull, null_mut};

use super::table::UnknownTable;
use crate::vss::Code;

/// Points to an object whose table is a `T`. Stays on the thread that made it.
#[derive(Debug)]
pub(super) struct Object<T>(NonNull<*const T>);

impl<T> Object<T> {
    /// Takes the object that a function gives.
    ///
    /// # Safety
    /// Where `make` succeeds, it must have written the address of an object whose table is a `T`, and have counted us.
    pub(super) unsafe fn made(make: impl FnOnce(*mut *mut c_void) -> i32) -> Result<Object<T>, Code> {
        let mut this = null_mut();
        checked(make(&raw mut this))?;
        NonNull::new(this.cast()).map(Object).ok_or(Code::UNEXPECTED)
    }

    /// What each function takes first.
    pub(super) fn this(&self) -> *mut c_void {
        self.0.as_ptr().cast()
    }

    pub(super) fn table(&self) -> &T {
        // SAFETY: the object lives until it's released in `drop`, and its table as long as the library.
        unsafe { &**self.0.as_ptr() }
    }
}

impl<T> Drop for Object<T> {
    fn drop(&mut self) {
        // SAFETY: every table begins with those three functions; the object is ours and isn't used again.
        unsafe {
            let table = (*self.0.as_ptr()).cast::<UnknownTable>();
            ((*table).release)(self.this());
        }
    }
}

pub(super) fn checked(code: i32) -> Result<(), Code> {
    if code < 0 { Err(Code(code as u32)) } else { Ok(()) }
}
