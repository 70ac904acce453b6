//! Installing and removing the service.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{
    ERROR_SERVICE_ALREADY_RUNNING, ERROR_SERVICE_CANNOT_ACCEPT_CTRL, ERROR_SERVICE_DOES_NOT_EXIST,
    ERROR_SERVICE_EXISTS, ERROR_SERVICE_NOT_ACTIVE,
};
use windows_sys::Win32::System::Services::{
    ChangeServiceConfig2W, ChangeServiceConfigW, CloseServiceHandle, ControlService, CreateServiceW,
    DeleteService, OpenSCManagerW, OpenServiceW, QueryServiceStatus, SC_ACTION, SC_ACTION_RESTART, SC_HANDLE,
    SC_MANAGER_ALL_ACCESS, SERVICE_ALL_ACCESS, SERVICE_AUTO_START, SERVICE_CONFIG_DESCRIPTION,
    SERVICE_CONFIG_FAILURE_ACTIONS, SERVICE_CONFIG_FAILURE_ACTIONS_FLAG, SERVICE_CONTROL_STOP,
    SERVICE_DESCRIPTIONW, SERVICE_ERROR_NORMAL, SERVICE_FAILURE_ACTIONS_FLAG, SERVICE_FAILURE_ACTIONSW,
    SERVICE_STATUS, SERVICE_STOPPED, SERVICE_WIN32_OWN_PROCESS, StartServiceW,
};

use super::{DESCRIPTION, DISPLAY_NAME, NAME, event_log};
use crate::windows::failure::{has_code, said};
use crate::windows::wide::wide;

/// How long a service that's asked to stop may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// After a crash the service starts again, each time later; a day without one makes it forget.
const RESTART_MS: [u32; 3] = [5_000, 60_000, 600_000];
const FORGET_AFTER_S: u32 = 86_400;

/// Why the service couldn't be installed or removed.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error("the system's services can't be changed; run this as an administrator")]
    Manager(#[source] io::Error),
    #[error("the service {NAME} can't be installed; remove what's left of it and restart the computer")]
    Install(#[source] io::Error),
    #[error("the service {NAME} can't be started; see Windows' event log")]
    Start(#[source] io::Error),
    #[error("the service {NAME} can't be removed; stop it and try again")]
    Remove(#[source] io::Error),
    #[error("the service {NAME} didn't stop within {} s; end its process", STOP_TIMEOUT.as_secs())]
    StillRunning,
}

/// An open handle to the manager or a service.
pub(super) struct Handle(pub(super) SC_HANDLE);

impl Handle {
    fn new(handle: SC_HANDLE) -> io::Result<Handle> {
        if handle.is_null() { Err(io::Error::last_os_error()) } else { Ok(Handle(handle)) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and isn't used again.
        unsafe { CloseServiceHandle(self.0) };
    }
}

/// Installs (or updates) the service that runs `program service --state STATE`, and starts it.
pub fn install(program: &Path, state: &Path) -> Result<(), ServiceError> {
    let manager = manager()?;
    let command = wide(&format!("\"{}\" service --state \"{}\"", program.display(), state.display()));
    let service = create(&manager, NAME, DISPLAY_NAME, &command).map_err(ServiceError::Install)?;
    describe(&service).map_err(ServiceError::Install)?;
    event_log::add_source().map_err(ServiceError::Install)?;
    start(&service).map_err(ServiceError::Start)
}

pub(super) fn start(service: &Handle) -> io::Result<()> {
    // SAFETY: the service is open, and there are no words to pass.
    match said(unsafe { StartServiceW(service.0, 0, std::ptr::null()) }) {
        Err(error) if !has_code(&error, &[ERROR_SERVICE_ALREADY_RUNNING]) => Err(error),
        _ => Ok(()),
    }
}

/// Stops and removes the service, and what it changed on the computer; true where there was one.
pub fn remove() -> Result<bool, ServiceError> {
    crate::windows::firewall::forget();
    let manager = manager()?;
    let service = match open(&manager, NAME) {
        Err(error) if has_code(&error, &[ERROR_SERVICE_DOES_NOT_EXIST]) => return Ok(false),
        opened => opened.map_err(ServiceError::Remove)?,
    };
    stop(&service)?;
    delete(&service).map_err(ServiceError::Remove)?;
    event_log::remove_source().map_err(ServiceError::Remove)?;
    Ok(true)
}

/// It's gone once it has stopped.
pub(super) fn delete(service: &Handle) -> io::Result<()> {
    // SAFETY: the service is open.
    said(unsafe { DeleteService(service.0) })
}

pub(super) fn manager() -> Result<Handle, ServiceError> {
    // SAFETY: no name means this computer and its active database.
    let handle = unsafe { OpenSCManagerW(std::ptr::null(), std::ptr::null(), SC_MANAGER_ALL_ACCESS) };
    Handle::new(handle).map_err(ServiceError::Manager)
}

pub(super) fn open(manager: &Handle, name: &str) -> io::Result<Handle> {
    let name = wide(name);
    // SAFETY: the manager is open, the name ends with a zero.
    Handle::new(unsafe { OpenServiceW(manager.0, name.as_ptr(), SERVICE_ALL_ACCESS) })
}

pub(super) fn create(manager: &Handle, name: &str, shown: &str, command: &[u16]) -> io::Result<Handle> {
    let (wide_name, shown) = (wide(name), wide(shown));
    let none = std::ptr::null;
    // SAFETY: the manager is open; all texts end with a zero; what isn't named is the system's own choice (LocalSystem).
    let created = Handle::new(unsafe {
        CreateServiceW(
            manager.0,
            wide_name.as_ptr(),
            shown.as_ptr(),
            SERVICE_ALL_ACCESS,
            SERVICE_WIN32_OWN_PROCESS,
            SERVICE_AUTO_START,
            SERVICE_ERROR_NORMAL,
            command.as_ptr(),
            none(),
            std::ptr::null_mut(),
            none(),
            none(),
            none(),
        )
    });
    match created {
        Err(error) if has_code(&error, &[ERROR_SERVICE_EXISTS]) => {
            let service = open(manager, name)?;
            change(&service, command)?;
            Ok(service)
        }
        created => created,
    }
}

/// The service that's there runs this program from its next start on.
fn change(service: &Handle, command: &[u16]) -> io::Result<()> {
    let none = std::ptr::null;
    // SAFETY: the service is open; the command ends with a zero; what isn't named stays.
    said(unsafe {
        ChangeServiceConfigW(
            service.0,
            SERVICE_WIN32_OWN_PROCESS,
            SERVICE_AUTO_START,
            SERVICE_ERROR_NORMAL,
            command.as_ptr(),
            none(),
            std::ptr::null_mut(),
            none(),
            none(),
            none(),
            none(),
        )
    })
}

/// However it was installed: Windows starts it again when it ends by a mistake.
pub(super) fn describe_own() {
    let opened = manager().map_err(io::Error::other).and_then(|manager| open(&manager, NAME));
    if let Err(error) = opened.and_then(|service| describe(&service)) {
        tracing::warn!(%error, "the service isn't restarted when it ends by a mistake");
    }
}

fn describe(service: &Handle) -> io::Result<()> {
    let mut text = wide(DESCRIPTION);
    let description = SERVICE_DESCRIPTIONW { lpDescription: text.as_mut_ptr() };
    // SAFETY: the service is open, the structure is the one that this level takes, its text ends with a zero.
    said(unsafe {
        ChangeServiceConfig2W(service.0, SERVICE_CONFIG_DESCRIPTION, (&raw const description).cast())
    })?;
    let mut actions = RESTART_MS.map(|delay_ms| SC_ACTION { Type: SC_ACTION_RESTART, Delay: delay_ms });
    let failure = SERVICE_FAILURE_ACTIONSW {
        dwResetPeriod: FORGET_AFTER_S,
        cActions: actions.len() as u32,
        lpsaActions: actions.as_mut_ptr(),
        ..SERVICE_FAILURE_ACTIONSW::default()
    };
    // SAFETY: as above; there are as many actions as said, and they live until after the call.
    let restarts = said(unsafe {
        ChangeServiceConfig2W(service.0, SERVICE_CONFIG_FAILURE_ACTIONS, (&raw const failure).cast())
    });
    let flag = SERVICE_FAILURE_ACTIONS_FLAG { fFailureActionsOnNonCrashFailures: 1 };
    // SAFETY: as above.
    let always = said(unsafe {
        ChangeServiceConfig2W(service.0, SERVICE_CONFIG_FAILURE_ACTIONS_FLAG, (&raw const flag).cast())
    });
    // The service works without the two.
    for error in [restarts, always].into_iter().filter_map(Result::err) {
        tracing::warn!(%error, "the service isn't restarted when it ends by a mistake");
    }
    Ok(())
}

pub(super) fn stop(service: &Handle) -> Result<(), ServiceError> {
    let mut status = SERVICE_STATUS::default();
    // SAFETY: the service is open, `status` is written.
    match said(unsafe { ControlService(service.0, SERVICE_CONTROL_STOP, &raw mut status) }) {
        Err(error) if has_code(&error, &[ERROR_SERVICE_NOT_ACTIVE]) => return Ok(()),
        // It's stopping already.
        Err(error) if has_code(&error, &[ERROR_SERVICE_CANNOT_ACCEPT_CTRL]) => {}
        asked => asked.map_err(ServiceError::Remove)?,
    }
    let until = Instant::now() + STOP_TIMEOUT;
    while Instant::now() < until {
        // SAFETY: as above.
        said(unsafe { QueryServiceStatus(service.0, &raw mut status) }).map_err(ServiceError::Remove)?;
        if status.dwCurrentState == SERVICE_STOPPED {
            return Ok(());
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    Err(ServiceError::StillRunning)
}
