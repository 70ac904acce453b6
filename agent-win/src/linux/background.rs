//! Leaving the computer to its own work.

use rustix::process::{getpriority_process, setpriority_process};

/// As most things that aren't urgent. The kernel takes the priority of a thread's reads and writes from it as well
/// (ioprio_set(2): best effort, class 6 of 7).
const NICE: i32 = 10;

/// From now on this thread gets what others leave over.
pub(crate) fn work_in_background() {
    // On Linux "this process" is the thread that asks. Whoever started the agent may want it to be nicer still.
    let nicer = getpriority_process(None).and_then(|now| setpriority_process(None, now.max(NICE)));
    if let Err(error) = nicer {
        tracing::debug!(%error, "works at normal priority");
    }
}
