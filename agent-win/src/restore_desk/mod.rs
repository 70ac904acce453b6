//! Restores that the box asks for. Each goes over a line of its own, so that it begins at once and captures go on beside
//! it; one after another, since two would only slow each other down. Where the line breaks, it goes on over the next.

mod asked_restore;
mod consent;
mod report;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use coffer_format::wire::Message;

use crate::restore::{Goal, Specials, WaitingFiles};
use crate::session::Session;
use crate::work::WorkError;
use asked_restore::AskedRestore;
pub(crate) use consent::Consent;

/// Most restores that wait; the box asks for one at a time.
const WAITING_MAX: usize = 4;
const POLL: Duration = Duration::from_millis(200);

/// Where the main line puts what the box asks for.
pub(crate) type Inbox = SyncSender<Message>;

/// Makes a line for one restore.
type Connect<'a> = dyn Fn() -> Result<Session, WorkError> + Sync + 'a;

/// Restores what is asked for while `work` goes on; whatever ends that ends a restore as well.
pub(crate) fn beside<R>(
    connect: &Connect<'_>,
    waits: WaitingFiles,
    stop: &AtomicBool,
    work: impl FnOnce(&Inbox) -> R,
) -> R {
    let (asked, waiting) = sync_channel(WAITING_MAX);
    std::thread::scope(|scope| {
        scope.spawn(|| Desk { asked: waiting, connect, waits, stop, last: None }.serve());
        let done = work(&asked);
        stop.store(true, Ordering::Relaxed);
        done
    })
}

/// Works on what is asked.
struct Desk<'a> {
    asked: Receiver<Message>,
    connect: &'a Connect<'a>,
    waits: WaitingFiles,
    stop: &'a AtomicBool,
    /// The one that was taken last: the box asks again when the main line comes back.
    last: Option<u64>,
}

impl Desk<'_> {
    /// Until there's nobody left to ask, or the agent stops.
    fn serve(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            match self.asked.recv_timeout(POLL) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn take(&mut self, message: Message) {
        let Message::RestoreAsked { job, config, point, paths, to, replace, ask_user } = message else {
            return;
        };
        if self.last == Some(job) {
            return;
        }
        self.last = Some(job);
        tracing::info!(job, %config, %point, "the box asks for a restore");
        let paths = paths.into_iter().map(|path| path.0).collect();
        let goal = Goal::of_agent(None, replace, Specials::LeaveOff, self.waits.clone());
        let job = AskedRestore::new(job, (config, point, paths), to.map(|to| to.0), goal, ask_user);
        job.run(self.connect, self.stop);
    }
}
