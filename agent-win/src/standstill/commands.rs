//! Commands that a configuration has run before and after its files stand still.

use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crate::platform;

/// A command that takes longer is ended.
const LIMIT: Duration = Duration::from_secs(600);
const LOOK_UP: Duration = Duration::from_millis(50);
/// How long a command's words are waited for once it has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// So much of what a command says about its failure is told.
const SAID_MAX: u64 = 500;

#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error("it can't be started ({0}); correct the configuration")]
    Start(#[source] io::Error),
    #[error("it ended with {code}{said}; run it by hand to see why")]
    Ended { code: String, said: String },
    #[error("it took longer than {} s and was ended", .0.as_secs())]
    TooLong(Duration),
    #[error(
        "the agent was asked to stop, so it was ended before it was done; the next capture runs it again"
    )]
    Stopped,
    #[error("nobody could wait for it ({0})")]
    Wait(#[source] io::Error),
}

/// Runs a command as the system's own shell does, and waits for it until it's done or somebody wants to stop.
pub(super) fn run(command: &str, stop: &AtomicBool) -> Result<(), CommandError> {
    run_within(command, LIMIT, stop)
}

fn run_within(command: &str, limit: Duration, stop: &AtomicBool) -> Result<(), CommandError> {
    let mut shell: Command = platform::shell(command);
    let shell = shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = shell.spawn().map_err(CommandError::Start)?;
    let began = Instant::now();
    let (tell, told) = sync_channel(1);
    if let Some(errors) = child.stderr.take() {
        std::thread::spawn(move || listen(errors, &tell));
    }
    loop {
        match child.try_wait().map_err(CommandError::Wait)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => {
                // Whoever it left running may keep the pipe open for ever.
                let said = told.recv_timeout(LAST_WORDS).unwrap_or_default();
                let said = if said.is_empty() { said } else { format!(" and said: {said}") };
                return Err(CommandError::Ended { code: status.to_string(), said });
            }
            None if stop.load(Ordering::Relaxed) => return Err(end(&mut child, CommandError::Stopped)),
            None if began.elapsed() >= limit => return Err(end(&mut child, CommandError::TooLong(limit))),
            None => std::thread::park_timeout(LOOK_UP),
        }
    }
}

/// Tells what's said first. The rest is of no interest, but must go somewhere: a full pipe would hold the command up.
fn listen(mut from: impl Read, tell: &SyncSender<String>) {
    let mut first = Vec::new();
    let read = from.by_ref().take(SAID_MAX).read_to_end(&mut first);
    let said = String::from_utf8_lossy(&first).split_whitespace().collect::<Vec<_>>().join(" ");
    // Nobody waits any more where the command has ended long ago.
    let _late = tell.send(said);
    if let Err(error) = read.and_then(|_| io::copy(&mut from, &mut io::sink())) {
        tracing::debug!(%error, "what a command says can't be read");
    }
}

fn end(child: &mut Child, why: CommandError) -> CommandError {
    match child.kill().and_then(|()| child.wait()) {
        Ok(_) => why,
        Err(error) => CommandError::Wait(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_says_what_it_said() {
        let stop = AtomicBool::new(false);
        assert!(run("exit 0", &stop).is_ok());
        let error = run("echo no such database 1>&2 && exit 3", &stop).unwrap_err().to_string();
        assert!(error.contains("no such database") && error.contains('3'), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn whoever_a_command_leaves_running_holds_nobody_up() {
        let began = Instant::now();
        let ended = run("sleep 30 & echo left one behind >&2; exit 1", &AtomicBool::new(false));
        assert!(matches!(ended, Err(CommandError::Ended { .. })), "{ended:?}");
        assert!(run("head -c 1000000 /dev/zero >&2", &AtomicBool::new(false)).is_ok());
        assert!(began.elapsed() < Duration::from_secs(20));
    }

    #[cfg(unix)]
    #[test]
    fn a_command_that_hangs_is_ended() {
        let began = Instant::now();
        let ended = run_within("exec sleep 60", Duration::from_millis(100), &AtomicBool::new(false));
        assert!(matches!(ended, Err(CommandError::TooLong(_))), "{ended:?}");
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[cfg(unix)]
    #[test]
    fn a_wish_to_stop_ends_a_command() {
        let began = Instant::now();
        let ended = run("exec sleep 60", &AtomicBool::new(true));
        assert!(matches!(ended, Err(CommandError::Stopped)), "{ended:?}");
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
