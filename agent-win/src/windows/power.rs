//! What the computer runs on.

#![allow(unsafe_code, reason = "calls of Windows")]

use windows_sys::Win32::System::Power::{GetSystemPowerStatus, SYSTEM_POWER_STATUS};

use crate::guest::Power;

/// `ACLineStatus`: the plug is out. 1 is in, 255 isn't known.
const OFFLINE: u8 = 0;

/// What the computer runs on (a UPS that says it's in use counts as a battery); where nothing tells, on mains.
pub(crate) fn power() -> Power {
    let mut status = SYSTEM_POWER_STATUS::default();
    // SAFETY: `status` is written.
    let told = unsafe { GetSystemPowerStatus(&raw mut status) } != 0;
    if told && status.ACLineStatus == OFFLINE { Power::Battery } else { Power::Mains }
}
