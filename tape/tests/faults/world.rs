//! A small library with one cartridge that holds data, and a job on it that meets a fault.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coffer_tape::container::{read_segment, scan_cartridge};
use coffer_tape::inventory::Whereabouts;
use coffer_tape::library::Recovered;
use coffer_tape::simulator::{Fault, FaultPlan, Simulated};
use coffer_tape::{Library, NoWaiter, TapeError};

use crate::common::{append, barcode, labelled, listed, recorded, segment, shape};

/// What happens after the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// The same program goes on.
    GoesOn,
    /// The program was killed; the next one finds what is there.
    Killed,
}

/// What the job came to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expect {
    Done,
    /// The error's sentence has this in it.
    Fails(&'static str),
    /// Anything but a wrong "done": checked by what is on the cartridge.
    Anything,
}

/// One line of the matrix.
pub(crate) struct Case {
    /// What happens, and what is expected of it, in a sentence.
    pub(crate) name: &'static str,
    pub(crate) faults: Vec<Fault>,
    pub(crate) expect: Expect,
}

pub(crate) struct World {
    dir: tempfile::TempDir,
    pub(crate) simulated: Simulated,
    pub(crate) library: Library,
    /// Segments that were recorded.
    safe: BTreeSet<u64>,
}

impl World {
    /// Cartridge 1 is labelled and holds segments 1 and 2.
    pub(crate) fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let simulated = Simulated::create(dir.path().join("library"), shape()).unwrap();
        let library = open(&simulated, dir.path().join("robot.json"));
        let mut world = World { dir, simulated, library, safe: BTreeSet::new() };
        let index = labelled(&mut world.library, 1);
        let receipt = append(world.library.drive(index).unwrap(), 1..=2).unwrap();
        world.safe.extend(recorded(&receipt));
        world.library.unload(index).unwrap();
        world
    }

    pub(crate) fn plan(&self, faults: &[Fault]) {
        self.simulated.plan_faults(|plan| plan.faults.extend(faults)).unwrap();
    }

    /// Loads cartridge 1, appends segments 3 and 4, unloads it.
    pub(crate) fn job(&mut self) -> Result<(), TapeError> {
        let index = self.library.load(&barcode(1))?;
        let receipt = append(self.library.drive(index)?, 3..=4)?;
        self.safe.extend(recorded(&receipt));
        self.library.unload(index).map(drop)
    }

    /// The trouble is over.
    pub(crate) fn mend(&self) {
        self.simulated.plan_faults(|plan| *plan = FaultPlan::default()).unwrap();
    }

    /// All that was in memory is gone.
    pub(crate) fn kill(self) -> World {
        self.leave_to(|_| {})
    }

    /// Another program has the library meanwhile.
    pub(crate) fn leave_to(self, other: impl FnOnce(&Path)) -> World {
        let World { dir, simulated, library, safe } = self;
        drop((library, simulated));
        other(dir.path());
        let simulated = Simulated::open(dir.path().join("library")).unwrap();
        let library = open(&simulated, dir.path().join("robot.json"));
        World { dir, simulated, library, safe }
    }

    /// Recovers; everything must be in a slot afterwards.
    pub(crate) fn recover(&mut self, name: &str) -> Recovered {
        let recovered = self.library.recover().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(recovered.left, 0, "{name}: {recovered:?}");
        let inventory = self.library.inventory().unwrap();
        assert!(inventory.hands.is_empty(), "{name}: {inventory:?}");
        for number in 1..=4 {
            let found = inventory.find(&barcode(number));
            assert!(matches!(found, Some(Whereabouts::Slot(_))), "{name}: tape {number} is at {found:?}");
        }
        recovered
    }

    /// Nothing recorded is lost, nothing else was written to, and the cartridge can be used on.
    pub(crate) fn check(&mut self, name: &str) {
        for number in 2..=4 {
            let file = self.simulated.cartridge_file(&barcode(number));
            assert_eq!(std::fs::metadata(file).unwrap().len(), 0, "{name}: tape {number} was written to");
        }
        let index = self.library.load(&barcode(1)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let drive = self.library.drive(index).unwrap();
        let contents = scan_cartridge(drive).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found: BTreeSet<u64> = listed(&contents).into_iter().collect();
        assert!(found.is_superset(&self.safe), "{name}: {:?} were recorded, {found:?} are there", self.safe);
        for place in contents.places() {
            let mut bytes = Vec::new();
            let read = read_segment(drive, &contents.label, &place, &mut bytes);
            assert!(read.is_ok(), "{name}: {read:?}");
            assert_eq!(bytes, segment(place.entry.segment.0), "{name}");
        }
        let receipt = append(drive, 9..=9).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(recorded(&receipt), [9], "{name}");
        self.library.unload(index).unwrap();
    }
}

/// Runs a case: the fault, then what happens next.
pub(crate) fn run(case: &Case, then: Then) {
    let name = format!(
        "{}, and the program {}",
        case.name,
        match then {
            Then::GoesOn => "goes on",
            Then::Killed => "is killed",
        }
    );
    let mut world = World::new();
    world.plan(&case.faults);
    let result = world.job();
    match (&result, case.expect) {
        (_, Expect::Anything) | (Ok(()), Expect::Done) => {}
        (Err(error), Expect::Fails(part)) if error.to_string().contains(part) => {}
        _ => panic!("{name}: {result:?}"),
    }
    if then == Then::Killed {
        world = world.kill();
    }
    world.mend();
    world.recover(&name);
    world.check(&name);
}

/// Runs each case both ways.
pub(crate) fn run_all(cases: &[Case]) {
    for case in cases {
        run(case, Then::GoesOn);
        run(case, Then::Killed);
    }
}

pub(crate) fn open(simulated: &Simulated, journal: PathBuf) -> Library {
    let mut library = Library::open(simulated.changer(), simulated.drives(), Arc::new(NoWaiter)).unwrap();
    library.keep_journal(journal).unwrap();
    library
}
