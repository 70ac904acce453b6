//! What follows from all that was found out: whether Coffer can use the library.

use coffer_tape::conformance::{Outcome, Step};
use coffer_tape::drive::Support;
use coffer_tape::scsi::ElementAddress;
use serde::Serialize;

use super::report::DeviceReport;

/// Features whose absence is felt in daily work, by the names the tape layer gives them. What the others cost is in the
/// table, and nobody has to plan for it.
const FELT: [&str; 7] = [
    "barcodes",
    "LOCATE",
    "READ POSITION",
    "TapeAlert",
    "variable blocks",
    "error counters",
    "cartridge memory",
];

/// Whether Coffer can use the library.
#[derive(Debug, Serialize, PartialEq, Eq)]
#[serde(tag = "usable", rename_all = "snake_case")]
pub(super) enum Verdict {
    Yes,
    WithLimits {
        limits: Vec<String>,
    },
    /// Nothing speaks against it; but whether it loads, writes and reads wasn't tried.
    Untried {
        limits: Vec<String>,
    },
    No {
        why: Vec<String>,
    },
}

/// How far a library was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trial {
    /// No cartridge was given up for it.
    Asked,
    WithCartridges {
        /// Numbers of the drives that no cartridge came to.
        left_out: Vec<usize>,
    },
}

impl Verdict {
    /// `devices` are changer and drives; `unknown` are the drive elements of which the device isn't known.
    pub(super) fn of(
        devices: &[&DeviceReport],
        unknown: &[ElementAddress],
        steps: &[Step],
        trial: &Trial,
    ) -> Verdict {
        let why: Vec<String> = steps.iter().filter_map(failure).collect();
        let mut limits = missing(devices);
        limits.extend(unknown.iter().map(not_known));
        match trial {
            _ if !why.is_empty() => Verdict::No { why },
            Trial::Asked => Verdict::Untried { limits },
            Trial::WithCartridges { left_out } => {
                limits.extend(left_out.iter().map(not_tried));
                if limits.is_empty() { Verdict::Yes } else { Verdict::WithLimits { limits } }
            }
        }
    }

    /// The last words on the screen.
    pub(super) fn sentences(&self) -> Vec<String> {
        let none: &[String] = &[];
        let (head, lines) = match self {
            Verdict::Yes => ("This library can be used by Coffer: yes.", none),
            Verdict::WithLimits { limits } => {
                ("This library can be used by Coffer: yes, with these limits:", limits.as_slice())
            }
            Verdict::Untried { limits } => (
                "This library can be used by Coffer, as far as its devices tell. Nothing was moved or written: to be \
                 sure, name a tape whose data may be lost with --scratch.",
                limits.as_slice(),
            ),
            Verdict::No { why } => ("This library can be used by Coffer: no, because", why.as_slice()),
        };
        [head.to_owned()].into_iter().chain(lines.iter().map(|line| format!("  - {line}"))).collect()
    }
}

/// What is felt, each with the devices that lack it.
fn missing(devices: &[&DeviceReport]) -> Vec<String> {
    let mut lines = Vec::new();
    for name in FELT {
        let lacking = devices.iter().filter_map(|device| {
            let feature = device.features.iter().find(|feature| feature.name == name)?;
            (feature.support == Support::No).then_some((device.device.as_str(), feature.without))
        });
        let (names, costs): (Vec<&str>, Vec<&str>) = lacking.unzip();
        if let Some(cost) = costs.first() {
            lines.push(format!("no {name} ({}): {cost}", names.join(", ")));
        }
    }
    lines
}

fn not_known(element: &ElementAddress) -> String {
    format!(
        "which device is the drive in element {element} isn't known: name it with --drive, or let tapes be loaded with --scratch"
    )
}

fn not_tried(drive: &usize) -> String {
    format!("drive {drive} wasn't tried: name as many tapes with --scratch as there are drives")
}

fn failure(step: &Step) -> Option<String> {
    match &step.outcome {
        Outcome::Failed { why } => Some(format!("{} ({}): {why}", step.name, step.subject)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use coffer_tape::changer::ChangerFeatures;
    use coffer_tape::drive::{DriveFeatures, Feature};

    use super::*;

    fn device(name: &'static str, support: Support) -> DeviceReport {
        let features = vec![Feature { name, support, without: "it takes longer" }];
        let text = String::new;
        let (vendor, product, revision) = (text(), text(), text());
        DeviceReport { device: "/dev/sg1".to_owned(), vendor, product, revision, serial: None, features }
    }

    fn tried() -> Trial {
        Trial::WithCartridges { left_out: Vec::new() }
    }

    #[test]
    fn a_technician_is_told_yes_yes_with_limits_or_no() {
        let judge = |device: &DeviceReport, steps: &[Step]| Verdict::of(&[device], &[], steps, &tried());
        let words = |verdict: Verdict| verdict.sentences().join("\n");
        let whole = device("LOCATE", Support::Yes);
        assert_eq!(judge(&whole, &[]), Verdict::Yes);
        let slow = device("LOCATE", Support::No);
        assert_eq!(
            words(Verdict::of(&[&slow, &slow], &[], &[], &tried())),
            "This library can be used by Coffer: yes, with these limits:\n  - no LOCATE (/dev/sg1, /dev/sg1): it takes longer"
        );
        assert_eq!(judge(&device("list of commands", Support::No), &[]), Verdict::Yes, "nobody feels that");
        let outcome = Outcome::Failed { why: "it is stuck: call service".to_owned() };
        let failed = Step { name: "load", subject: "COF001L6".to_owned(), outcome };
        assert_eq!(
            words(judge(&whole, &[failed])),
            "This library can be used by Coffer: no, because\n  - load (COF001L6): it is stuck: call service"
        );
        let asked = Verdict::of(&[&whole], &[], &[], &Trial::Asked);
        assert_eq!(asked, Verdict::Untried { limits: Vec::new() });
    }

    #[test]
    fn drives_that_are_unknown_or_were_left_out_are_limits() {
        let trial = Trial::WithCartridges { left_out: vec![1] };
        let sentences = Verdict::of(&[], &[ElementAddress(257)], &[], &trial).sentences();
        assert!(sentences[1].contains("element 257") && sentences[2].contains("drive 1 wasn't tried"));
    }

    #[test]
    fn what_is_felt_are_features_that_exist() {
        let lines = [DriveFeatures::default().lines(), ChangerFeatures::default().lines()].concat();
        for name in FELT {
            assert!(lines.iter().any(|line| line.name == name), "no feature is called {name}");
        }
    }
}
