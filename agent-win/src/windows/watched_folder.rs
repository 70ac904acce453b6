//! One folder under watch: a request that's always under way, into a buffer of its own.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::path::Path;
use std::time::Duration;

use windows_sys::Win32::Foundation::{ERROR_NOTIFY_ENUM_DIR, WAIT_FAILED, WAIT_OBJECT_0, WAIT_TIMEOUT};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OVERLAPPED, FILE_LIST_DIRECTORY, FILE_NOTIFY_CHANGE_ATTRIBUTES,
    FILE_NOTIFY_CHANGE_CREATION, FILE_NOTIFY_CHANGE_DIR_NAME, FILE_NOTIFY_CHANGE_FILE_NAME,
    FILE_NOTIFY_CHANGE_LAST_WRITE, FILE_NOTIFY_CHANGE_SECURITY, FILE_NOTIFY_CHANGE_SIZE,
    ReadDirectoryChangesW,
};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Threading::{CreateEventW, WaitForMultipleObjects};

use super::failure::has_code;
use super::stat::SHARE_ALL;

/// Largest buffer that works for folders on other computers, too; in units of 4.
const BUFFER: usize = (64 << 10) / 4;
/// Most folders that can be waited for together.
pub(super) const FOLDERS_MAX: usize = 64;

const WANTED: u32 = FILE_NOTIFY_CHANGE_FILE_NAME
    | FILE_NOTIFY_CHANGE_DIR_NAME
    | FILE_NOTIFY_CHANGE_ATTRIBUTES
    | FILE_NOTIFY_CHANGE_SIZE
    | FILE_NOTIFY_CHANGE_LAST_WRITE
    | FILE_NOTIFY_CHANGE_CREATION
    | FILE_NOTIFY_CHANGE_SECURITY;

/// How deep a watch goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    Folder,
    Tree,
}

/// What a request came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Records for `changes::paths`.
    Records(Vec<u8>),
    /// More happened than could be said.
    Overflow,
}

/// A folder under watch.
pub(super) struct WatchedFolder {
    folder: File,
    event: OwnedHandle,
    depth: Depth,
    /// What the system writes to while a request is under way: at a fixed place, and freed only when it's done.
    request: Box<Request>,
}

struct Request {
    overlapped: OVERLAPPED,
    buffer: [u32; BUFFER],
    is_under_way: bool,
}

// SAFETY: the pointers in OVERLAPPED are the event's handle, which any thread may use, and nothing of the thread's own.
unsafe impl Send for WatchedFolder {}

impl WatchedFolder {
    pub(super) fn start(path: &Path, depth: Depth) -> io::Result<WatchedFolder> {
        let flags = FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OVERLAPPED;
        let mut options = OpenOptions::new();
        options.access_mode(FILE_LIST_DIRECTORY).share_mode(SHARE_ALL).custom_flags(flags);
        let folder = options.open(path)?;
        let event = new_event()?;
        let overlapped = OVERLAPPED { hEvent: event.as_raw_handle(), ..OVERLAPPED::default() };
        let request = Box::new(Request { overlapped, buffer: [0; BUFFER], is_under_way: false });
        let mut watched = WatchedFolder { folder, event, depth, request };
        watched.ask()?;
        Ok(watched)
    }

    fn ask(&mut self) -> io::Result<()> {
        let request = &mut *self.request;
        // SAFETY: buffer and OVERLAPPED are boxed, and neither moved, touched nor freed before the request is done
        // (`take` and `drop` see to that); no completion routine is named.
        let done = unsafe {
            ReadDirectoryChangesW(
                self.folder.as_raw_handle(),
                request.buffer.as_mut_ptr().cast(),
                size_of_val(&request.buffer) as u32,
                (self.depth == Depth::Tree).into(),
                WANTED,
                std::ptr::null_mut(),
                &raw mut request.overlapped,
                None,
            )
        };
        if done == 0 {
            return Err(io::Error::last_os_error());
        }
        request.is_under_way = true;
        Ok(())
    }

    /// Takes what has happened and asks for more. There must be something: see [`wait`].
    pub(super) fn take(&mut self) -> io::Result<Told> {
        let told = match self.finished() {
            // Success without a byte: the records didn't fit.
            Ok(0) => Told::Overflow,
            Ok(len) => {
                let bytes = self.request.buffer.iter().flat_map(|word| word.to_le_bytes());
                Told::Records(bytes.take(len).collect())
            }
            Err(error) if has_code(&error, &[ERROR_NOTIFY_ENUM_DIR]) => Told::Overflow,
            Err(error) => return Err(error),
        };
        self.ask()?;
        Ok(told)
    }

    /// Waits until the request is done; the number of bytes that it brought.
    fn finished(&mut self) -> io::Result<usize> {
        let mut len = 0;
        // SAFETY: the request is under way on this handle, and waits for its own event.
        let done = unsafe {
            GetOverlappedResult(
                self.folder.as_raw_handle(),
                &raw const self.request.overlapped,
                &raw mut len,
                1,
            )
        };
        self.request.is_under_way = false;
        if done == 0 { Err(io::Error::last_os_error()) } else { Ok(len as usize) }
    }
}

impl Drop for WatchedFolder {
    fn drop(&mut self) {
        if !self.request.is_under_way {
            return;
        }
        // SAFETY: the request is ours. Where it was done already there's nothing to cancel.
        unsafe { CancelIoEx(self.folder.as_raw_handle(), &raw const self.request.overlapped) };
        // The system must be done with the buffer before it's freed; that it was cancelled is what was wanted.
        let _cancelled = self.finished();
    }
}

/// Waits until something has happened in one of the folders (at most [`FOLDERS_MAX`]); which one, or `None` when the
/// time is over.
pub(super) fn wait(folders: &[WatchedFolder], timeout: Duration) -> io::Result<Option<usize>> {
    let events: Vec<RawHandle> = folders.iter().map(|folder| folder.event.as_raw_handle()).collect();
    let timeout_ms = timeout.as_millis().min(60_000) as u32;
    // SAFETY: the events are open as long as the folders live, and there are as many as said.
    match unsafe { WaitForMultipleObjects(events.len() as u32, events.as_ptr(), 0, timeout_ms) } {
        WAIT_TIMEOUT => Ok(None),
        WAIT_FAILED => Err(io::Error::last_os_error()),
        signalled => Ok(Some((signalled - WAIT_OBJECT_0) as usize).filter(|index| *index < folders.len())),
    }
}

fn new_event() -> io::Result<OwnedHandle> {
    // SAFETY: takes nothing by reference. Reset by hand, as overlapped requests want it; not set.
    let event = unsafe { CreateEventW(std::ptr::null(), 1, 0, std::ptr::null()) };
    if event.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call gave us the handle, and nobody else has it.
    Ok(unsafe { OwnedHandle::from_raw_handle(event) })
}
