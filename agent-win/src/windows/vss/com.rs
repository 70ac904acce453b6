//! COM, which vssapi.dll talks to the applications through.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::marker::PhantomData;
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{RPC_E_CHANGED_MODE, RPC_E_TOO_LATE};
use windows_sys::Win32::System::Com::{
    COINIT_MULTITHREADED, CoInitializeEx, CoInitializeSecurity, CoUninitialize, EOAC_DYNAMIC_CLOAKING,
    RPC_C_AUTHN_LEVEL_PKT_PRIVACY, RPC_C_IMP_LEVEL_IDENTIFY,
};

use super::object::checked;
use crate::vss::{Step, VssError};

/// COM at work on this thread, until it's dropped there.
#[derive(Debug)]
pub(super) struct Com {
    is_ours: bool,
    _stays_on_its_thread: PhantomData<*const ()>,
}

impl Com {
    pub(super) fn start() -> Result<Com, VssError> {
        // SAFETY: takes nothing that could be wrong.
        let code = unsafe { CoInitializeEx(null(), COINIT_MULTITHREADED as u32) };
        // The thread has COM of another kind already: that will do, and isn't ours to end.
        let is_ours = code != RPC_E_CHANGED_MODE;
        if is_ours {
            checked(code).map_err(|code| Step::Start.failed(code))?;
        }
        let com = Com { is_ours, _stays_on_its_thread: PhantomData };
        secure()?;
        Ok(com)
    }
}

impl Drop for Com {
    fn drop(&mut self) {
        if self.is_ours {
            // SAFETY: this thread began it; every object is gone by now.
            unsafe { CoUninitialize() };
        }
    }
}

/// Lets the applications' writers, which run as other users, call back ("Security Considerations for Requesters").
fn secure() -> Result<(), VssError> {
    // SAFETY: nothing is passed but numbers; -1 leaves the choice of services to COM.
    let code = unsafe {
        CoInitializeSecurity(
            null_mut(),
            -1,
            null(),
            null(),
            RPC_C_AUTHN_LEVEL_PKT_PRIVACY,
            RPC_C_IMP_LEVEL_IDENTIFY,
            null(),
            EOAC_DYNAMIC_CLOAKING as u32,
            null(),
        )
    };
    // Once for a process; who came first has said it.
    if code == RPC_E_TOO_LATE {
        return Ok(());
    }
    checked(code).map_err(|code| Step::Start.failed(code))
}
