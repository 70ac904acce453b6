//! Writes down every command a device is sent and what it answers: for whoever has to find out why a library isn't liked.

use std::io::{self, Write};
use std::time::Instant;

use coffer_tape::scsi::{Data, ScsiReply, ScsiTransport};

/// A device whose commands are told to standard error.
pub struct Traced {
    inner: Box<dyn ScsiTransport + Send>,
}

impl Traced {
    pub fn wrap(inner: Box<dyn ScsiTransport + Send>) -> Box<dyn ScsiTransport + Send> {
        Box::new(Traced { inner })
    }
}

impl ScsiTransport for Traced {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn execute(&mut self, cdb: &[u8], mut data: Data<'_>, timeout_ms: u32) -> io::Result<ScsiReply> {
        let started = Instant::now();
        let answer = self.inner.execute(cdb, data.again(), timeout_ms);
        let line = describe(&self.inner.name(), cdb, &data, &answer, started.elapsed().as_millis());
        // What can't be told isn't worth failing for.
        let _ = writeln!(io::stderr().lock(), "{line}");
        answer
    }
}

fn describe(
    name: &str,
    cdb: &[u8],
    data: &Data<'_>,
    answer: &io::Result<ScsiReply>,
    took_ms: u128,
) -> String {
    const SHOWN_MAX: usize = 32;
    let sent = format!("{name} {} [{}] {took_ms} ms", hex(cdb), data.len());
    match answer {
        Err(error) => format!("{sent}: {error}"),
        Ok(reply) => {
            let transferred = reply.transferred(data.len()).min(SHOWN_MAX);
            let given = match data {
                Data::In(buffer) => hex(&buffer[..transferred]),
                _ => String::new(),
            };
            format!(
                "{sent}: status {:02X}h host {:02X}h driver {:02X}h residual {} sense {} data {given}",
                reply.status,
                reply.host_status,
                reply.driver_status,
                reply.residual,
                hex(&reply.sense[..reply.sense.len().min(18)]),
            )
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
