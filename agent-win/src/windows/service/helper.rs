//! The helper that replaces the agent's program: a service of its own, there only for as long as it takes. So it outlives the
//! agent's service, and a restart of the computer.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::io;
use std::path::Path;

use windows_sys::Win32::Foundation::ERROR_SERVICE_DOES_NOT_EXIST;
use windows_sys::Win32::System::Services::{QueryServiceStatus, SERVICE_STATUS, SERVICE_STOPPED};

use super::NAME;
use super::control::{self, ServiceError};
use crate::update::{Service, ServiceState};
use crate::windows::failure::{has_code, said};
use crate::windows::wide::wide;

const HELPER_NAME: &str = "CofferAgentUpdate";
const HELPER_SHOWN: &str = "Coffer Agent (installing an update)";

/// Starts the helper from a copy of the agent's program; one that's at work goes on.
pub fn launch_helper(helper: &Path, program: &Path, state: &Path) -> Result<(), ServiceError> {
    let manager = control::manager()?;
    let (helper, program, state) = (helper.display(), program.display(), state.display());
    let command = format!("\"{helper}\" finish-update --program \"{program}\" --state \"{state}\"");
    let service = control::create(&manager, HELPER_NAME, HELPER_SHOWN, &wide(&command));
    let service = service.map_err(ServiceError::Install)?;
    control::start(&service).map_err(ServiceError::Start)
}

/// The helper is done: the system forgets it once it has ended.
pub fn remove_helper() -> Result<(), ServiceError> {
    match control::open(&control::manager()?, HELPER_NAME) {
        Err(error) if has_code(&error, &[ERROR_SERVICE_DOES_NOT_EXIST]) => Ok(()),
        opened => opened.and_then(|service| control::delete(&service)).map_err(ServiceError::Remove),
    }
}

/// Looks at the agent's service, starts or stops it; gives how it is then.
pub fn act(word: Service) -> io::Result<ServiceState> {
    let manager = control::manager().map_err(io::Error::other)?;
    let service = match control::open(&manager, NAME) {
        Err(error) if has_code(&error, &[ERROR_SERVICE_DOES_NOT_EXIST]) => return Ok(ServiceState::Gone),
        opened => opened?,
    };
    match word {
        Service::Look => {}
        Service::Start => control::start(&service)?,
        Service::Stop => control::stop(&service).map_err(io::Error::other)?,
    }
    let mut status = SERVICE_STATUS::default();
    // SAFETY: the service is open, `status` is written.
    said(unsafe { QueryServiceStatus(service.0, &raw mut status) })?;
    let is_stopped = status.dwCurrentState == SERVICE_STOPPED;
    Ok(if is_stopped { ServiceState::Stopped } else { ServiceState::Running })
}
