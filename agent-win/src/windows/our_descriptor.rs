//! The security descriptor of what's for the agent alone: the system, administrators, and whoever made it.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::fs::File;
use std::io;
use std::os::windows::io::AsRawHandle;

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR,
    SetKernelObjectSecurity,
};

use super::failure::said;
use super::wide::wide;

/// Protected from what the folder above hands down; handed down to everything below. SY the system, BA administrators,
/// OW the owner.
const FOR_US_ALONE: &str = "D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;OW)";

/// A descriptor that the system made of a text.
pub(super) struct OurDescriptor(PSECURITY_DESCRIPTOR);

impl OurDescriptor {
    pub(super) fn for_us_alone() -> io::Result<OurDescriptor> {
        OurDescriptor::from_text(FOR_US_ALONE)
    }

    pub(super) fn from_text(sddl: &str) -> io::Result<OurDescriptor> {
        let (sddl, mut made) = (wide(sddl), std::ptr::null_mut());
        // SAFETY: the text ends with a zero; the system gives memory that's freed with the value. Its length isn't asked for.
        said(unsafe {
            let nowhere = std::ptr::null_mut();
            let sddl = sddl.as_ptr();
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                sddl,
                SDDL_REVISION_1,
                &raw mut made,
                nowhere,
            )
        })?;
        Ok(OurDescriptor(made))
    }

    /// As long as this lives.
    pub(super) fn pointer(&self) -> PSECURITY_DESCRIPTOR {
        self.0
    }

    /// Its list, which nothing from above is added to.
    pub(super) fn apply(&self, file: &File) -> io::Result<()> {
        let wanted = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
        // SAFETY: the handle is open, and the descriptor is one of the system's own.
        said(unsafe { SetKernelObjectSecurity(file.as_raw_handle(), wanted, self.0) })
    }
}

impl Drop for OurDescriptor {
    fn drop(&mut self) {
        // SAFETY: it was given to us by the system, to be freed so, and isn't used again.
        unsafe { LocalFree(self.0) };
    }
}
