//! Asking whoever sits at the computer: a window with two buttons, in their session.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::io;
use std::time::Duration;

use windows_sys::Win32::System::RemoteDesktop::{
    WTS_CURRENT_SERVER_HANDLE, WTSFreeMemory, WTSGetActiveConsoleSessionId, WTSQuerySessionInformationW,
    WTSSendMessageW, WTSUserName,
};
use windows_sys::Win32::UI::WindowsAndMessaging::{
    IDTIMEOUT, IDYES, MB_ICONQUESTION, MB_SETFOREGROUND, MB_YESNO,
};

use crate::restore_desk::Consent;

const TITLE: &str = "Coffer";
/// No session is at the console: it's being attached or left.
const NO_SESSION: u32 = u32::MAX;

/// Waits for the answer, for so long.
pub(crate) fn ask_user(question: &str, timeout: Duration) -> Consent {
    // SAFETY: takes nothing, gives a number.
    let session = unsafe { WTSGetActiveConsoleSessionId() };
    if session == NO_SESSION || !has_user(session) {
        return Consent::Nobody(
            "nobody is logged on at the computer who could be asked; try again later, or restore without asking"
                .to_owned(),
        );
    }
    match send(session, question, timeout) {
        Ok(IDYES) => Consent::Given,
        Ok(IDTIMEOUT) => Consent::NoAnswer,
        Ok(_) => Consent::Denied,
        Err(error) => Consent::Nobody(format!(
            "the person at the computer couldn't be asked ({error}); talk to them, and restore without asking"
        )),
    }
}

/// Whether somebody is logged on there: the logon screen is a session as well.
fn has_user(session: u32) -> bool {
    let (mut name, mut len) = (std::ptr::null_mut(), 0);
    // SAFETY: both results are written; the name is freed below.
    let done = unsafe {
        WTSQuerySessionInformationW(
            WTS_CURRENT_SERVER_HANDLE,
            session,
            WTSUserName,
            &raw mut name,
            &raw mut len,
        )
    };
    if done == 0 || name.is_null() {
        // The system doesn't say: the question itself finds out.
        return true;
    }
    // SAFETY: the system gave `len` bytes, which are a text with a zero at its end.
    let has_user = len >= 2 && unsafe { *name } != 0;
    // SAFETY: it was given to us to be freed so, and isn't used any more.
    unsafe { WTSFreeMemory(name.cast()) };
    has_user
}

fn send(session: u32, question: &str, timeout: Duration) -> io::Result<i32> {
    let title: Vec<u16> = TITLE.encode_utf16().collect();
    let text: Vec<u16> = question.encode_utf16().collect();
    let mut answer = 0;
    // SAFETY: both texts are as long as said, in bytes, and live until the call returns with the answer.
    let done = unsafe {
        WTSSendMessageW(
            WTS_CURRENT_SERVER_HANDLE,
            session,
            title.as_ptr().cast_mut(),
            (title.len() * 2) as u32,
            text.as_ptr().cast_mut(),
            (text.len() * 2) as u32,
            MB_YESNO | MB_ICONQUESTION | MB_SETFOREGROUND,
            timeout.as_secs() as u32,
            &raw mut answer,
            1,
        )
    };
    if done == 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}
