//! The command after: as soon as the files may move again, once, and before the point is closed, so that the point says where
//! it failed.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::thread::Scope;

use coffer_format::entry::{Remark, RemarkKind};

use super::commands::run;

/// A command that's still to be run, if there is one.
#[derive(Debug, Default)]
pub struct After(Mutex<Option<String>>);

impl After {
    pub fn new(command: Option<String>) -> After {
        After(Mutex::new(command))
    }

    fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Runs it unless it has been; what there is to say of it.
    pub(super) fn run(&self) -> Option<Remark> {
        // What the command before did must be undone, also where somebody wants to stop.
        self.take().and_then(|command| failed("after", &command, &AtomicBool::new(false)))
    }

    /// Does the same for a thread that works in the background: by one that doesn't, for the command would be as slow.
    pub(crate) fn beside<'scope>(
        &'scope self,
        threads: &'scope Scope<'scope, '_>,
    ) -> impl FnOnce() -> Option<Remark> + Send + use<'scope> {
        let (ask, asked) = sync_channel::<()>(1);
        let (tell, told) = sync_channel(1);
        threads.spawn(move || {
            if asked.recv().is_ok() {
                // There's room for it, whether or not somebody waits.
                let _late = tell.send(self.run());
            }
        });
        move || {
            ask.send(()).ok()?;
            told.recv().ok().flatten()
        }
    }
}

/// Runs a command; what there is to say where it fails.
pub(super) fn failed(which: &str, command: &str, stop: &AtomicBool) -> Option<Remark> {
    let error = run(command, stop).err()?;
    let what = format!("the command {which} the capture failed: {error}");
    tracing::warn!(what);
    Some(Remark { kind: RemarkKind::Application, path: b""[..].into(), what })
}
