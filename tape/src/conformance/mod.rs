//! What the rest of Coffer relies on, checked on any library: simulated, emulated or real.
//!
//! Nothing is assumed about the device but what is probed: a library may name no drives, tell no addresses, and know no
//! LOCATE or LOG SENSE; the report says what it lacks and what that costs. A step that fails doesn't end the run. Only
//! the cartridges given as scratch are moved and written to; what is on them is lost. Without any, nothing is moved at
//! all. Drives that hold other cartridges are left alone.

mod data_steps;
mod library_steps;
mod report;
mod scratch;
mod verb_steps;

pub use report::{Outcome, Report, Step};
pub use scratch::{planned, scratch_label, scratch_segment};

use coffer_format::container::Label;

use crate::{Barcode, DriveIndex, Library, TapeError};

/// How a step went, unless the library failed in it.
enum Verdict {
    Passed,
    /// It can't be done here: what that means.
    Unsupported(String),
    Failed(String),
}

/// A run: the library, and the report so far.
struct Suite<'a> {
    library: &'a mut Library,
    report: Report,
    /// What the steps are about now.
    subject: String,
}

/// One scratch cartridge in a drive.
struct Loaded {
    barcode: Barcode,
    index: DriveIndex,
    label: Label,
}

/// Runs all steps: those that move nothing, then all others with each of `scratch`, whose data is lost.
pub fn run(library: &mut Library, scratch: &[Barcode]) -> Report {
    let changer = library.changer();
    let inquiry = changer.inquiry();
    let report = Report {
        changer: changer.name().to_owned(),
        product: format!("{} {} {}", inquiry.vendor, inquiry.product, inquiry.revision),
        features: None,
        steps: Vec::new(),
    };
    let subject = report.changer.clone();
    let mut suite = Suite { library, report, subject };
    suite.look_around();
    for (number, barcode) in scratch.iter().enumerate() {
        suite.subject = barcode.to_string();
        suite.cartridge(barcode, number as u32 + 1);
    }
    if let [first, second, ..] = scratch {
        suite.subject = format!("{first}, {second}");
        suite.swap(first, second);
    }
    suite.subject = suite.report.changer.clone();
    suite.ask_features();
    suite.report
}

impl Suite<'_> {
    /// Runs one step and notes how it went. Whether it passed.
    fn step(
        &mut self,
        name: &'static str,
        work: impl FnOnce(&mut Library) -> Result<Verdict, TapeError>,
    ) -> bool {
        self.value(name, |library| Ok(((), work(library)?))).is_some()
    }

    /// As [`Suite::step`], with what it came to if it passed.
    fn value<T>(
        &mut self,
        name: &'static str,
        work: impl FnOnce(&mut Library) -> Result<(T, Verdict), TapeError>,
    ) -> Option<T> {
        tracing::info!(step = name, subject = self.subject, "trying");
        let (value, outcome) = match work(self.library) {
            Ok((value, Verdict::Passed)) => (Some(value), Outcome::Passed),
            Ok((_, Verdict::Unsupported(word))) => (None, Outcome::Unsupported { word }),
            Ok((_, Verdict::Failed(why))) => (None, Outcome::Failed { why }),
            Err(error) => (None, Outcome::Failed { why: error_chain(&error) }),
        };
        if let Outcome::Failed { why } = &outcome {
            tracing::warn!(step = name, subject = self.subject, why, "conformance");
        }
        self.report.steps.push(Step { name, subject: self.subject.clone(), outcome });
        value
    }

    /// Everything with one cartridge, which ends where it was.
    fn cartridge(&mut self, barcode: &Barcode, number: u32) {
        let label = scratch_label(barcode, number);
        let home = self.library.inventory().ok().and_then(|inventory| inventory.find(barcode));
        let loaded = self.value("load", |library| Ok((library.load(barcode)?, Verdict::Passed)));
        let Some(index) = loaded else { return self.send_home(barcode, home) };
        let loaded = Loaded { barcode: barcode.clone(), index, label };
        self.check_whereabouts(&loaded);
        self.facts(&loaded);
        if self.containers(&loaded) {
            self.winding(&loaded);
            self.verbs(&loaded);
            self.check_scan(&loaded);
        }
        self.step("unload", |library| library.unload(index).map(|_| Verdict::Passed));
        let again = self.value("load again", |library| Ok((library.load(barcode)?, Verdict::Passed)));
        if let Some(index) = again {
            let loaded = Loaded { index, ..loaded };
            self.check_scan(&loaded);
            self.last_verbs(&loaded);
            self.recovery(barcode, index);
        }
        self.mail(barcode);
        self.send_home(barcode, home);
    }
}

fn error_chain(error: &TapeError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(" ({cause})"));
        source = cause.source();
    }
    text
}

/// Passed if it holds, failed with `what` if not.
fn check(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Verdict::Passed } else { Verdict::Failed(what()) }
}

fn unsupported(word: &str) -> Verdict {
    Verdict::Unsupported(word.to_owned())
}
