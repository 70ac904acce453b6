//! A box that offers, an agent that takes or refuses; replacements cut off after every step.

use std::fs;
use std::io;
use std::sync::{Arc, Mutex};

use coffer_format::update::Release;
use coffer_link::ReleaseSigner;
use tempfile::TempDir;

use super::super::notes::TRIALS_MAX;
use super::super::swap::Step;
use super::super::swapper::{Service, ServiceState};
use super::*;

const OLD: &[u8] = b"the program that works";
const NEW: &[u8] = b"the program of the next version";

/// A computer with a program, and a vendor that it trusts.
struct Computer {
    dir: TempDir,
    vendor: ReleaseSigner,
    launched: Arc<Mutex<u32>>,
}

impl Computer {
    fn new() -> Computer {
        let (dir, vendor) = (tempfile::tempdir().unwrap(), ReleaseSigner::from_seed(&[7; 32]));
        fs::create_dir(dir.path().join("state")).unwrap();
        fs::write(dir.path().join("agent.exe"), OLD).unwrap();
        fs::write(dir.path().join("release.keys"), vendor.key().to_string()).unwrap();
        Computer { dir, vendor, launched: Arc::default() }
    }

    fn program(&self) -> PathBuf {
        self.dir.path().join("agent.exe")
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn updater(&self) -> Updater {
        let launched = self.launched.clone();
        let launch = move |_: &Path, _: &Path| {
            *launched.lock().unwrap() += 1;
            Ok(())
        };
        Updater::open(&self.program(), &self.state(), Box::new(launch)).unwrap()
    }

    fn release(&self, version: &str) -> Release {
        let (target, version) = (TARGET.parse().unwrap(), version.parse().unwrap());
        let (len, hash) = (NEW.len() as u64, FileHash(*blake3::hash(NEW).as_bytes()));
        Release { target, version, trial_s: 10, len, hash }
    }

    fn offer(&self, version: &str) -> Message {
        Message::UpdateOffered { head: self.vendor.sign(self.release(version)).unwrap() }
    }
}

/// What the agent told last.
fn told(answers: &[Message]) -> &UpdateReport {
    let mut reports = answers.iter().filter_map(|message| match message {
        Message::UpdateState { report } => Some(report),
        _ => None,
    });
    reports.next_back().unwrap()
}

fn wanted(answers: &[Message]) -> Option<u64> {
    answers.iter().find_map(|message| match message {
        Message::UpdateWanted { from, .. } => Some(*from),
        _ => None,
    })
}

/// A box that gives what's asked for, a few bytes at a time.
fn give(updater: &mut Updater, program: &[u8], mut answers: Vec<Message>) -> Vec<Message> {
    while let Some(from) = wanted(&answers) {
        let piece = &program[from as usize..];
        let bytes = Blob(piece[..piece.len().min(7)].to_vec());
        answers = updater.take(Message::UpdateBytes { at: from, bytes });
    }
    answers
}

#[test]
fn a_signed_newer_program_is_fetched_and_handed_over() {
    let computer = Computer::new();
    let mut updater = computer.updater();
    assert_eq!(told(&[updater.welcomed()]).progress, UpdateProgress::Current);
    let offered = updater.take(computer.offer("9.0.0"));
    assert_eq!(wanted(&offered), Some(0));
    let done = give(&mut updater, NEW, offered);
    assert_eq!(told(&done).progress, UpdateProgress::Installing);
    assert_eq!(*computer.launched.lock().unwrap(), 1);
    assert_eq!(fs::read(computer.program()).unwrap(), OLD, "replaced while it runs");
    assert_eq!(fs::read(computer.dir.path().join("agent.new.exe")).unwrap(), NEW);
}

#[test]
fn a_broken_line_costs_only_what_was_on_it() {
    let computer = Computer::new();
    let mut updater = computer.updater();
    updater.take(computer.offer("9.0.0"));
    updater.take(Message::UpdateBytes { at: 0, bytes: Blob(NEW[..10].to_vec()) });
    updater.welcomed();
    assert_eq!(wanted(&updater.take(computer.offer("9.0.0"))), Some(10));
    drop(updater);
    assert_eq!(wanted(&computer.updater().take(computer.offer("9.0.0"))), Some(10), "after a restart");
}

#[test]
fn whatever_is_wrong_is_refused_with_a_sentence_and_nothing_is_touched() {
    let computer = Computer::new();
    let sign = |change: fn(&mut Release)| {
        let mut release = computer.release("9.0.0");
        change(&mut release);
        computer.vendor.sign(release).unwrap()
    };
    let mut forged = sign(|_| {});
    forged.release.version.major = 10;
    let refused = [
        (forged, "isn't signed"),
        (ReleaseSigner::from_seed(&[8; 32]).sign(computer.release("9.0.0")).unwrap(), "isn't signed"),
        (sign(|release| release.target = "another-system".parse().unwrap()), "another-system"),
        (sign(|release| release.version = "0.0.1".parse().unwrap()), "older than"),
    ];
    for (head, sentence) in refused {
        let mut updater = computer.updater();
        let answers = updater.take(Message::UpdateOffered { head });
        let report = told(&answers);
        assert_eq!(report.progress, UpdateProgress::Failed);
        assert!(report.sentence.contains(sentence), "{}", report.sentence);
        assert_eq!(wanted(&answers), None, "fetched for nothing");
    }
    let mut updater = computer.updater();
    let offered = updater.take(computer.offer("9.0.0"));
    let other = vec![b'x'; NEW.len()];
    let answers = give(&mut updater, &other, offered);
    assert!(told(&answers).sentence.contains("aren't those that were signed"), "{answers:?}");
    let offered = updater.take(computer.offer("9.0.0"));
    let answers = give(&mut updater, &NEW[..20], offered);
    assert!(told(&answers).sentence.contains("only 20 of the 31 bytes"), "{answers:?}");
    assert_eq!(*computer.launched.lock().unwrap(), 0);
    assert!(!computer.dir.path().join("agent.new.exe").exists());
}

/// A box that offers what runs already is up to date, as is an agent that's offered it again.
#[test]
fn the_version_that_runs_is_not_fetched_again() {
    let computer = Computer::new();
    let mut updater = computer.updater();
    let answers = updater.take(computer.offer(&built_version().to_string()));
    assert_eq!(told(&answers).progress, UpdateProgress::Current);
    assert_eq!(wanted(&answers), None);
}

/// How a new program turns out.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Turns {
    Out,
    /// It starts and never reaches the box.
    Silent,
    /// It doesn't even start.
    Broken,
}

/// The computer while a program is replaced: its service, and what that program does once it runs.
struct Machine<'a> {
    computer: &'a Computer,
    turns: Turns,
    is_running: bool,
}

impl Machine<'_> {
    fn service(&mut self, word: Service) -> io::Result<ServiceState> {
        match word {
            Service::Look => {}
            Service::Stop => self.is_running = false,
            Service::Start => self.start()?,
        }
        Ok(if self.is_running { ServiceState::Running } else { ServiceState::Stopped })
    }

    fn start(&mut self) -> io::Result<()> {
        let is_new = fs::read(self.computer.program()).unwrap() == NEW;
        if is_new && self.turns == Turns::Broken {
            return Err(io::Error::other("it doesn't start"));
        }
        self.is_running = true;
        // The program that runs says hello to the box, which welcomes it.
        if !is_new || self.turns == Turns::Out {
            self.computer.updater().welcomed();
        }
        Ok(())
    }

    /// Power is back: the system starts the service and the helper, if they can be started.
    fn boot(&mut self) {
        self.is_running = false;
        drop(self.start());
    }
}

/// Replaces the program of a new computer.
fn replace(turns: Turns, cut_after: Option<usize>) -> (Computer, usize) {
    let computer = Computer::new();
    let steps = replace_on(&computer, turns, cut_after);
    (computer, steps)
}

/// Replaces, is cut off after that many steps (or not at all), goes on after a boot. Gives the steps that were done.
fn replace_on(computer: &Computer, turns: Turns, cut_after: Option<usize>) -> usize {
    let mut updater = computer.updater();
    let offered = updater.take(computer.offer("9.0.0"));
    give(&mut updater, NEW, offered);
    let mut machine = Machine { computer, turns, is_running: true };
    let mut swapper = Swapper::open(&computer.program(), &computer.state()).unwrap();
    let mut steps = 0;
    loop {
        if cut_after == Some(steps) {
            // Half a file that was being written, too.
            fs::write(computer.dir.path().join("agent.back.part"), b"half").unwrap();
            machine.boot();
            swapper = Swapper::open(&computer.program(), &computer.state()).unwrap();
        }
        swapper.pass_trial_if(turns != Turns::Out);
        let step = swapper.step(&mut |word| machine.service(word)).unwrap();
        let program = fs::read(computer.program()).unwrap();
        assert!(program == OLD || program == NEW, "half a program after {step:?}");
        steps += 1;
        assert!(steps < 40, "never ends");
        if step == Step::End {
            assert!(machine.is_running, "the computer is left without an agent");
            return steps;
        }
    }
}

#[test]
fn a_program_that_reaches_its_box_stays_wherever_the_power_fails() {
    let (_, steps) = replace(Turns::Out, None);
    for cut in (0..steps).map(Some).chain([None]) {
        let (computer, _) = replace(Turns::Out, cut);
        assert_eq!(fs::read(computer.program()).unwrap(), NEW, "cut after {cut:?}");
        let updater = computer.updater();
        assert_eq!(updater.running().to_string(), "9.0.0");
        assert!(!computer.dir.path().join("agent.old.exe").exists(), "left behind");
        assert!(!computer.dir.path().join("agent.back.part").exists(), "left behind");
    }
}

#[test]
fn a_program_that_does_not_is_taken_back_wherever_the_power_fails() {
    for turns in [Turns::Silent, Turns::Broken] {
        let (_, steps) = replace(turns, None);
        for cut in (0..steps).map(Some).chain([None]) {
            let (computer, _) = replace(turns, cut);
            assert_eq!(fs::read(computer.program()).unwrap(), OLD, "{turns:?}, cut after {cut:?}");
            let mut updater = computer.updater();
            assert_eq!(updater.running(), built_version());
            let answers = updater.take(computer.offer("9.0.0"));
            if turns == Turns::Silent {
                assert_eq!(wanted(&answers), Some(0), "the box may have been away: cut after {cut:?}");
                continue;
            }
            let report = told(&answers);
            assert_eq!(report.progress, UpdateProgress::Failed, "tried again");
            assert!(report.sentence.contains("9.0.0 doesn't start"), "{}", report.sentence);
            let next = updater.take(computer.offer("9.0.1"));
            assert_eq!(wanted(&next), Some(0), "a later version has its own chance");
        }
    }
}

#[test]
fn a_box_that_was_away_during_a_trial_costs_no_update() {
    let computer = Computer::new();
    for _ in 1..TRIALS_MAX {
        replace_on(&computer, Turns::Silent, None);
        assert_eq!(fs::read(computer.program()).unwrap(), OLD);
    }
    replace_on(&computer, Turns::Out, None);
    assert_eq!(fs::read(computer.program()).unwrap(), NEW);
    assert_eq!(computer.updater().running().to_string(), "9.0.0");
}

#[test]
fn a_program_that_never_reaches_the_box_is_not_tried_for_ever() {
    let computer = Computer::new();
    for _ in 0..TRIALS_MAX {
        replace_on(&computer, Turns::Silent, None);
    }
    let mut updater = computer.updater();
    let answers = updater.take(computer.offer("9.0.0"));
    assert_eq!(told(&answers).progress, UpdateProgress::Failed, "tried again");
    assert!(told(&answers).sentence.contains("9.0.0 didn't reach the box"), "{}", told(&answers).sentence);
    let next = updater.take(computer.offer("9.0.1"));
    assert_eq!(wanted(&next), Some(0), "a later version has its own chance");
}

/// The power failed while the old program was being put back: it starts before the helper has finished.
#[test]
fn an_agent_that_saw_the_end_of_a_replacement_takes_the_next_offer() {
    let computer = Computer::new();
    let mut updater = computer.updater();
    let offered = updater.take(computer.offer("9.0.0"));
    give(&mut updater, NEW, offered);
    let mut agents = [computer.updater(), computer.updater()];
    for agent in &mut agents {
        assert_eq!(told(&[agent.welcomed()]).progress, UpdateProgress::Installing);
        assert_eq!(wanted(&agent.take(computer.offer("9.0.0"))), None, "fetched while it's being installed");
    }
    Notes::of(&computer.state()).unwrap().forget_mark().unwrap();
    let [mut offered, mut welcomed] = agents;
    assert_eq!(wanted(&offered.take(computer.offer("9.0.0"))), Some(0));
    assert_eq!(told(&[welcomed.welcomed()]).progress, UpdateProgress::Current);
}

#[test]
fn a_download_that_was_altered_after_its_check_is_not_put_in_place() {
    let computer = Computer::new();
    let (altered, notes) = (computer.state().join("altered"), Notes::of(&computer.state()).unwrap());
    fs::write(&altered, b"a program that nobody signed").unwrap();
    let before = built_version();
    let prepared =
        Swapper::prepare(&computer.program(), &notes, &altered, before, &computer.release("9.0.0"));
    assert!(matches!(prepared, Err(UpdateError::OtherBytes(_))), "{prepared:?}");
    assert!(!computer.dir.path().join("agent.new.exe").exists());
    assert!(notes.mark().unwrap().is_none(), "a replacement would begin");
}
