//! Answers one device's commands, on a thread of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use coffer_tape::scsi::{Data, ScsiReply, ScsiTransport, Sense, status};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::ring::{Command, Ring};

/// A device's timeouts are its initiator's business.
const TIMEOUT_MS: u32 = u32::MAX;
/// SAM-5 5.3.1.
const TASK_ABORTED: u8 = 0x40;

/// A running thread.
pub(super) struct Server {
    /// Closing it is the order to stop.
    stop: UnixStream,
    thread: JoinHandle<Result<()>>,
}

impl Server {
    /// `uio` is the device's directory in sysfs.
    pub(super) fn start(uio: &Path, device: Box<dyn ScsiTransport + Send>) -> Result<Server> {
        let size = std::fs::read_to_string(uio.join("maps/map0/size")).context("read the mapping's size")?;
        let size = usize::from_str_radix(size.trim().trim_start_matches("0x"), 16)?;
        let node = Path::new("/dev").join(uio.file_name().context("a uio device has a name")?);
        let file = File::options().read(true).write(true).open(&node);
        let file = file.with_context(|| format!("open {}", node.display()))?;
        let ring = Ring::map(&file, size)?;
        let (stop, stopped) = UnixStream::pair()?;
        let mut worker = Worker { file, ring, device, stopped };
        let thread = std::thread::Builder::new().name("tcmu".to_owned()).spawn(move || worker.serve())?;
        Ok(Server { stop, thread })
    }

    pub(super) fn stop(self) -> Result<()> {
        drop(self.stop);
        self.thread.join().map_err(|_| anyhow!("a device's thread panicked"))?
    }
}

struct Worker {
    file: File,
    ring: Ring,
    device: Box<dyn ScsiTransport + Send>,
    stopped: UnixStream,
}

impl Worker {
    fn serve(&mut self) -> Result<()> {
        loop {
            let mut answered = false;
            while let Some(command) = self.ring.next()? {
                self.execute(command)?;
                answered = true;
            }
            if answered {
                // Any four bytes: look at the ring.
                self.file.write_all(&[0; 4]).context("tell the kernel of answers")?;
            }
            if self.wait()? == Woken::ToStop {
                return Ok(());
            }
        }
    }

    fn wait(&mut self) -> Result<Woken> {
        let mut fds = [
            PollFd::new(self.file.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.stopped.as_fd(), PollFlags::POLLIN),
        ];
        poll(&mut fds, PollTimeout::NONE)?;
        if fds[1].any() == Some(true) {
            return Ok(Woken::ToStop);
        }
        let mut count = [0; 4];
        self.file.read_exact(&mut count).context("read the count of interrupts")?;
        Ok(Woken::ToServe)
    }

    fn execute(&mut self, command: Command) -> Result<()> {
        let len = command.data_len();
        let (answer, given) = if len == 0 {
            (self.device.execute(&command.cdb, Data::None, TIMEOUT_MS), Vec::new())
        } else if sends_data(command.cdb[0]) {
            let sent = self.ring.gather(&command)?;
            (self.device.execute(&command.cdb, Data::Out(&sent), TIMEOUT_MS), Vec::new())
        } else {
            let mut buffer = vec![0; len];
            let answer = self.device.execute(&command.cdb, Data::In(&mut buffer), TIMEOUT_MS);
            buffer.truncate(answer.as_ref().map_or(0, |reply| given_len(reply, len)));
            (answer, buffer)
        };
        self.ring.answer(command, &told(answer), &given)
    }
}

/// The answer as far as the kernel can be told. It has no words for a device that isn't there or doesn't answer; an aborted
/// command is what comes closest.
fn told(answer: std::io::Result<ScsiReply>) -> ScsiReply {
    let lost = || ScsiReply { status: TASK_ABORTED, ..ScsiReply::default() };
    answer.ok().filter(|reply| reply.host_status == 0).unwrap_or_else(lost)
}

/// How much of a buffer of `len` bytes a device filled. A command that wasn't done gives nothing, one that was done with a
/// remark (a block of another length) gives what it has.
fn given_len(reply: &ScsiReply, len: usize) -> usize {
    let done = match reply.status {
        status::GOOD => true,
        status::CHECK_CONDITION => Sense::parse(&reply.sense).is_some_and(|sense| sense.is_done()),
        _ => false,
    };
    if done { reply.transferred(len) } else { 0 }
}

#[derive(PartialEq, Eq)]
enum Woken {
    ToServe,
    ToStop,
}

/// Whether a command's data goes to the device: the ring doesn't say. LOG SELECT, MODE SELECT, PERSISTENT RESERVE OUT,
/// SECURITY PROTOCOL OUT, SEND DIAGNOSTIC, SET TIMESTAMP, WRITE, WRITE ATTRIBUTE, WRITE BUFFER, SEND VOLUME TAG.
fn sends_data(operation: u8) -> bool {
    matches!(operation, 0x0a | 0x15 | 0x1d | 0x3b | 0x4c | 0x55 | 0x5f | 0x8a | 0x8d | 0xa4 | 0xb5 | 0xb6)
}
