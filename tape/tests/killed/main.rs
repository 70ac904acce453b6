//! Kill −9, for real: another process does the job and is killed at its n-th command. On its own, as a process about to
//! begin holds for a moment what all the others' tests have locked.
#![allow(clippy::unwrap_used, reason = "all of this runs in tests")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../faults/world.rs"]
#[allow(dead_code, reason = "only its world is used here")]
mod world;

use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use coffer_tape::scsi::{Data, ScsiReply, ScsiTransport};
use coffer_tape::simulator::Simulated;
use coffer_tape::{Library, NoWaiter};

use crate::common::{append, barcode};
use crate::world::World;

const DIR: &str = "COFFER_TAPE_KILLED_IN";
/// What the other process says before each command.
const TELL: &str = "command";
/// Commands between two places to be killed at.
const STRIDE: usize = 7;

/// Says that a command comes, then sends it.
struct Telling(Box<dyn ScsiTransport + Send>);

impl ScsiTransport for Telling {
    fn name(&self) -> String {
        self.0.name()
    }
    fn execute(&mut self, cdb: &[u8], data: Data<'_>, timeout_ms: u32) -> io::Result<ScsiReply> {
        let mut out = io::stdout().lock();
        writeln!(out, "{TELL}")?;
        out.flush()?;
        drop(out);
        self.0.execute(cdb, data, timeout_ms)
    }
}

/// Only does something as the other process of the test below.
#[test]
fn the_process_that_is_killed() {
    let Ok(dir) = std::env::var(DIR).map(PathBuf::from) else { return };
    let simulated = Simulated::open(dir.join("library")).unwrap();
    let telling = |device| Box::new(Telling(device)) as Box<dyn ScsiTransport + Send>;
    let drives = simulated.drives().into_iter().map(telling).collect();
    let mut library = Library::open(telling(simulated.changer()), drives, Arc::new(NoWaiter)).unwrap();
    library.keep_journal(dir.join("robot.json")).unwrap();
    let index = library.load(&barcode(1)).unwrap();
    append(library.drive(index).unwrap(), 3..=4).unwrap();
    library.unload(index).unwrap();
}

#[test]
fn a_program_killed_at_any_command_leaves_all_that_was_recorded() {
    for number in (1..).step_by(STRIDE) {
        let name = format!("killed at command {number}");
        let mut finished = false;
        let mut world = World::new().leave_to(|dir| finished = kill_at(dir, number));
        world.recover(&name);
        world.check(&name);
        if finished {
            assert!(number > 50, "the job takes more than {number} commands");
            return;
        }
    }
}

/// Whether the process came to its end before that command.
fn kill_at(dir: &Path, number: usize) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_process_that_is_killed", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = lines.filter(|line| line.as_ref().unwrap().ends_with(TELL)).take(number).count();
    if told == number {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    assert!(told == number || status.success(), "the process failed by itself");
    told < number
}
