//! Running as a service: what the system calls, and what it's told.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::ffi::c_void;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use windows_sys::Win32::Foundation::{ERROR_CALL_NOT_IMPLEMENTED, ERROR_SERVICE_SPECIFIC_ERROR, NO_ERROR};
use windows_sys::Win32::System::Services::{
    RegisterServiceCtrlHandlerExW, SERVICE_ACCEPT_PRESHUTDOWN, SERVICE_ACCEPT_STOP,
    SERVICE_CONTROL_INTERROGATE, SERVICE_CONTROL_PRESHUTDOWN, SERVICE_CONTROL_SHUTDOWN, SERVICE_CONTROL_STOP,
    SERVICE_RUNNING, SERVICE_STATUS, SERVICE_STATUS_CURRENT_STATE, SERVICE_STOP_PENDING, SERVICE_STOPPED,
    SERVICE_TABLE_ENTRYW, SERVICE_WIN32_OWN_PROCESS, SetServiceStatus, StartServiceCtrlDispatcherW,
};

use super::{NAME, control};
use crate::windows::wide::wide;

/// What the service does until the flag is set; gives its exit code.
pub type Work = Box<dyn FnOnce(Arc<AtomicBool>) -> u32 + Send>;

/// How long stopping may take, as the system is told.
const STOP_HINT_MS: u32 = 30_000;

/// The system calls a bare function without any word of ours, so what to do waits for it here.
static WORK: Mutex<Option<Work>> = Mutex::new(None);

/// Serves the system until the service is stopped. Fails at once where the system didn't start this process as one.
pub fn run(work: Work) -> io::Result<()> {
    *WORK.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
    let mut name = wide(NAME);
    let table = [
        SERVICE_TABLE_ENTRYW { lpServiceName: name.as_mut_ptr(), lpServiceProc: Some(service_main) },
        SERVICE_TABLE_ENTRYW::default(),
    ];
    // SAFETY: the table ends with an empty entry and lives, as the name does, until the call returns with the service's
    // end; `service_main` has the form that's asked for.
    let done = unsafe { StartServiceCtrlDispatcherW(table.as_ptr()) };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What handler and service share.
struct Shared {
    stop: Arc<AtomicBool>,
    status: AtomicPtr<c_void>,
}

unsafe extern "system" fn service_main(_count: u32, _words: *mut windows_sys::core::PWSTR) {
    let Some(work) = WORK.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    // Lives as long as the process: the system may call the handler until the very end.
    let shared: &'static Shared =
        Box::leak(Box::new(Shared { stop: Arc::default(), status: AtomicPtr::new(std::ptr::null_mut()) }));
    let name = wide(NAME);
    // SAFETY: the name ends with a zero, the handler has the form that's asked for, and its context is never freed.
    let status = unsafe {
        RegisterServiceCtrlHandlerExW(
            name.as_ptr(),
            Some(on_control),
            std::ptr::from_ref(shared).cast::<c_void>(),
        )
    };
    shared.status.store(status, Ordering::Release);
    tell(shared, SERVICE_RUNNING, 0);
    control::describe_own();
    let code = work(shared.stop.clone());
    tell(shared, SERVICE_STOPPED, code);
}

unsafe extern "system" fn on_control(
    control: u32,
    _kind: u32,
    _data: *mut c_void,
    context: *mut c_void,
) -> u32 {
    // SAFETY: the context is what `service_main` gave: a `Shared` that lives as long as the process.
    let shared: &Shared = unsafe { &*context.cast_const().cast::<Shared>() };
    match control {
        SERVICE_CONTROL_STOP | SERVICE_CONTROL_SHUTDOWN | SERVICE_CONTROL_PRESHUTDOWN => {
            tell(shared, SERVICE_STOP_PENDING, 0);
            shared.stop.store(true, Ordering::Relaxed);
            NO_ERROR
        }
        SERVICE_CONTROL_INTERROGATE => NO_ERROR,
        _ => ERROR_CALL_NOT_IMPLEMENTED,
    }
}

fn tell(shared: &Shared, state: SERVICE_STATUS_CURRENT_STATE, code: u32) {
    let status = SERVICE_STATUS {
        dwServiceType: SERVICE_WIN32_OWN_PROCESS,
        dwCurrentState: state,
        dwControlsAccepted: if state == SERVICE_RUNNING {
            SERVICE_ACCEPT_STOP | SERVICE_ACCEPT_PRESHUTDOWN
        } else {
            0
        },
        dwWin32ExitCode: if code == 0 { NO_ERROR } else { ERROR_SERVICE_SPECIFIC_ERROR },
        dwServiceSpecificExitCode: code,
        dwCheckPoint: 0,
        dwWaitHint: if state == SERVICE_STOP_PENDING { STOP_HINT_MS } else { 0 },
    };
    // SAFETY: the handle is the one that registering gave (or null, which is refused); the structure lives until after
    // the call.
    let done = unsafe { SetServiceStatus(shared.status.load(Ordering::Acquire), &raw const status) };
    if done == 0 {
        tracing::warn!(error = %io::Error::last_os_error(), "the system wasn't told the service's state");
    }
}
