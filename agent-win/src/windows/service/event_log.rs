//! Windows' event log. The texts are whole sentences of ours; the message file that the system brings along
//! (`EventCreate.exe`, events 1 to 1000: "%1") shows them as they are.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::io::{self, Write};
use std::sync::Arc;

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, HANDLE};
use windows_sys::Win32::System::EventLog::{
    DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, RegisterEventSourceW, ReportEventW,
};
use windows_sys::Win32::System::Registry::{REG_DWORD, REG_EXPAND_SZ};

use super::NAME;
use crate::windows::failure::has_code;
use crate::windows::registry::{self, Key, Root};
use crate::windows::wide::wide;

const LOGS: &str = r"SYSTEM\CurrentControlSet\Services\EventLog\Application";
const MESSAGES: &str = r"%SystemRoot%\System32\EventCreate.exe";
const WORKING: u32 = 1;
const PROBLEM: u32 = 2;
/// Longest text of an entry, in characters (the system's limit is 31,839).
const TEXT_MAX: usize = 16_000;

/// The agent's own source in the log.
#[derive(Debug)]
pub struct EventLog(HANDLE);

// SAFETY: the handle may be used from any thread.
unsafe impl Send for EventLog {}
// SAFETY: as above; the system orders what's written at once.
unsafe impl Sync for EventLog {}

impl EventLog {
    pub fn open() -> io::Result<EventLog> {
        let name = wide(NAME);
        // SAFETY: the name ends with a zero; no other computer is named.
        let handle = unsafe { RegisterEventSourceW(std::ptr::null(), name.as_ptr()) };
        if handle.is_null() { Err(io::Error::last_os_error()) } else { Ok(EventLog(handle)) }
    }

    /// Something that a person may want to know.
    pub fn inform(&self, text: &str) {
        self.write(EVENTLOG_INFORMATION_TYPE, WORKING, text);
    }

    /// Something that a person must see to.
    pub fn warn(&self, text: &str) {
        self.write(EVENTLOG_ERROR_TYPE, PROBLEM, text);
    }

    fn write(&self, kind: u16, id: u32, text: &str) {
        let text: String = text.chars().take(TEXT_MAX).collect();
        let text = wide(&text);
        let texts = [text.as_ptr()];
        // SAFETY: the handle is open, there's one text, which ends with a zero and lives until after the call.
        let done = unsafe {
            let (nobody, nothing) = (std::ptr::null_mut(), std::ptr::null());
            ReportEventW(self.0, kind, 0, id, nobody, 1, 0, texts.as_ptr(), nothing)
        };
        if done == 0 {
            tracing::debug!(error = %io::Error::last_os_error(), "the event log took no entry");
        }
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and isn't used again.
        unsafe { DeregisterEventSource(self.0) };
    }
}

/// Makes an entry of everything that's written to it.
#[derive(Debug, Clone)]
pub struct EventLogWriter(pub Arc<EventLog>);

impl Write for EventLogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.warn(String::from_utf8_lossy(bytes).trim());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Says where the texts of our entries are.
pub(super) fn add_source() -> io::Result<()> {
    let key = Key::create(Root::Machine, &source())?;
    let messages: Vec<u8> = wide(MESSAGES).into_iter().flat_map(u16::to_le_bytes).collect();
    let kinds = u32::from(EVENTLOG_ERROR_TYPE | EVENTLOG_INFORMATION_TYPE).to_le_bytes();
    key.set("EventMessageFile", REG_EXPAND_SZ, &messages)?;
    key.set("TypesSupported", REG_DWORD, &kinds)
}

pub(super) fn remove_source() -> io::Result<()> {
    match registry::remove(Root::Machine, &source()) {
        Err(error) if has_code(&error, &[ERROR_FILE_NOT_FOUND]) => Ok(()),
        removed => removed,
    }
}

fn source() -> String {
    format!(r"{LOGS}\{NAME}")
}
