//! The security descriptor of what's for the agent alone: the system, administrators, and whoever made it.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::io;

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::PSECURITY_DESCRIPTOR;

use super::failure::said;
use super::wide::wide;

/// Protected from what the folder above hands down; handed down to everything below. SY the system, BA administrators,
/// OW the owner.
const FOR_US_ALONE: &str = "D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;OW)";

/// In memory of the system's.
pub(super) struct Descriptor(PSECURITY_DESCRIPTOR);

impl Descriptor {
    pub(super) fn for_us_alone() -> io::Result<Descriptor> {
        let sddl = wide(FOR_US_ALONE);
        let mut descriptor: PSECURITY_DESCRIPTOR = std::ptr::null_mut();
        // SAFETY: the text ends with a zero; the system gives memory that's freed when this is dropped.
        said(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                sddl.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                std::ptr::null_mut(),
            )
        })?;
        Ok(Descriptor(descriptor))
    }

    /// As long as this lives.
    pub(super) fn pointer(&self) -> PSECURITY_DESCRIPTOR {
        self.0
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: the system gave it to us, to be freed so, and nobody uses it any more.
        unsafe { LocalFree(self.0) };
    }
}
