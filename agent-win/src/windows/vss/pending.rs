//! Waiting for what vssapi.dll does by the way.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::object::{Object, checked};
use super::table::AsyncTable;
use crate::vss::{Code, Step, VssError};

const PENDING: i32 = 0x0004_2309;
const CANCELLED: i32 = 0x0004_230B;
/// One call waits no longer than this: so soon a wish to stop is heard.
const WAIT_MS: u128 = 1_000;
/// As soon where nothing is waited for but time.
const LOOK_UP: Duration = Duration::from_millis(200);
/// How long something that was cancelled may take to come to rest.
const CANCEL_WAIT_MS: u32 = 5_000;

/// Begins something and waits until it's done, or until the limit is over or somebody wants to stop: then it's cancelled.
///
/// # Safety
/// Where `begin` succeeds, it must have written the address of an `IVssAsync`, and have counted us.
pub(super) unsafe fn finished(
    step: Step,
    limit: Duration,
    stop: &AtomicBool,
    begin: impl FnOnce(*mut *mut c_void) -> i32,
) -> Result<(), VssError> {
    // SAFETY: as the caller promises.
    let pending: Object<AsyncTable> = unsafe { Object::made(begin) }.map_err(|code| step.failed(code))?;
    let began = Instant::now();
    loop {
        let left = limit.saturating_sub(began.elapsed());
        match waited(&pending, left).map_err(|code| step.failed(code))? {
            PENDING if stop.load(Ordering::Relaxed) => {
                cancel(&pending);
                return Err(VssError::Stopped);
            }
            PENDING if left.is_zero() => {
                cancel(&pending);
                return Err(VssError::TimedOut { step, limit });
            }
            PENDING => {}
            CANCELLED => return Err(step.failed(Code(CANCELLED as u32))),
            _ => return Ok(()),
        }
    }
}

/// Waits before something is tried again.
pub(super) fn pause(time: Duration, stop: &AtomicBool) -> Result<(), VssError> {
    let began = Instant::now();
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(VssError::Stopped);
        }
        let left = time.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::park_timeout(left.min(LOOK_UP));
    }
}

/// Waits for a while; how it is then.
fn waited(pending: &Object<AsyncTable>, left: Duration) -> Result<i32, Code> {
    let wait_ms = left.as_millis().min(WAIT_MS) as u32;
    // SAFETY: the object lives.
    checked(unsafe { (pending.table().wait)(pending.this(), wait_ms) })?;
    let mut status = 0;
    // SAFETY: the object lives, `status` is written, the other is kept for later use and must be null.
    checked(unsafe { (pending.table().query_status)(pending.this(), &raw mut status, null_mut()) })?;
    checked(status).map(|()| status)
}

/// What can't be cancelled ends by itself some time, and its snapshot when the object is given back.
fn cancel(pending: &Object<AsyncTable>) {
    // SAFETY: the object lives.
    let asked = checked(unsafe { (pending.table().cancel)(pending.this()) });
    // SAFETY: as above.
    let rested =
        asked.and_then(|()| checked(unsafe { (pending.table().wait)(pending.this(), CANCEL_WAIT_MS) }));
    if let Err(code) = rested {
        tracing::warn!(%code, "a step of a snapshot that was given up couldn't be cancelled");
    }
}
