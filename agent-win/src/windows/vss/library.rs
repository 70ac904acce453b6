//! vssapi.dll, loaded when it's needed: a system without it runs the agent all the same.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::ffi::{CStr, c_void};

use super::object::Object;
use super::table::{BackupTable, SnapshotProperties};
use crate::vss::{Step, VssError};
use crate::windows::system_library::{Function, SystemLibrary};

type Create = unsafe extern "system" fn(*mut *mut c_void) -> i32;
type FreeProperties = unsafe extern "system" fn(*mut SnapshotProperties);

#[derive(Debug, Clone, Copy)]
pub(super) struct Library {
    create: Create,
    free_properties: FreeProperties,
}

impl Library {
    pub(super) fn load() -> Result<Library, VssError> {
        let library = SystemLibrary::load("vssapi.dll").ok_or(VssError::NotHere)?;
        let function = |name: &CStr| library.function(name).ok_or(VssError::NotHere);
        let create = function(c"CreateVssBackupComponentsInternal")?;
        let free = function(c"VssFreeSnapshotPropertiesInternal")?;
        // SAFETY: these are the two functions' forms (vsbackup.h).
        Ok(unsafe {
            Library {
                create: std::mem::transmute::<Function, Create>(create),
                free_properties: std::mem::transmute::<Function, FreeProperties>(free),
            }
        })
    }

    pub(super) fn create(&self) -> Result<Object<BackupTable>, VssError> {
        // SAFETY: the function gives an `IVssBackupComponents` that's counted for us.
        unsafe { Object::made(|this| (self.create)(this)) }.map_err(|code| Step::Start.failed(code))
    }

    /// Gives back what lies in properties that Windows filled in.
    pub(super) fn free(&self, properties: &mut SnapshotProperties) {
        // SAFETY: the texts in them are Windows' and aren't used again.
        unsafe { (self.free_properties)(properties) };
    }
}
