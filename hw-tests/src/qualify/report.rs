//! What was found out about a library, and what follows from it.

use coffer_tape::conformance;
use coffer_tape::drive::{Feature, Support};
use coffer_tape::scsi::ElementAddress;
use serde::Serialize;

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

/// Everything, as `--json` gives it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) changer: DeviceReport,
    pub(super) drives: Vec<DeviceReport>,
    /// Drive elements of which the device isn't known.
    pub(super) unknown_drives: Vec<ElementAddress>,
    pub(super) slots: usize,
    pub(super) mail_slots: usize,
    pub(super) cartridges: Vec<String>,
    /// How it did what Coffer needs of any library.
    pub(super) steps: Vec<conformance::Step>,
    pub(super) verdict: Verdict,
}

/// One device: who it says it is, and what it can do.
#[derive(Debug, Serialize)]
pub(super) struct DeviceReport {
    pub(super) device: String,
    pub(super) vendor: String,
    pub(super) product: String,
    pub(super) revision: String,
    pub(super) serial: Option<String>,
    pub(super) features: Vec<Feature>,
}

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

/// Whether cartridges were given up to the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trial {
    Asked,
    WithCartridges,
}

impl Verdict {
    pub(super) fn of(
        changer: &DeviceReport,
        drives: &[DeviceReport],
        unknown: &[ElementAddress],
        steps: &[conformance::Step],
        trial: Trial,
    ) -> Verdict {
        let why: Vec<String> = steps.iter().filter_map(failure).collect();
        let felt = [changer].into_iter().chain(drives).flat_map(DeviceReport::limits);
        let limits: Vec<String> = felt.chain(unknown.iter().map(not_known)).collect();
        match trial {
            _ if !why.is_empty() => Verdict::No { why },
            Trial::Asked => Verdict::Untried { limits },
            Trial::WithCartridges if limits.is_empty() => Verdict::Yes,
            Trial::WithCartridges => Verdict::WithLimits { limits },
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

impl DeviceReport {
    fn limits(&self) -> Vec<String> {
        let felt = |feature: &&Feature| feature.support == Support::No && FELT.contains(&feature.name);
        let limit =
            |feature: &Feature| format!("{} has no {}: {}", self.device, feature.name, feature.without);
        self.features.iter().filter(felt).map(limit).collect()
    }
}

fn not_known(element: &ElementAddress) -> String {
    format!(
        "which device is the drive in element {element} isn't known: name it with --drive, or let tapes be loaded with --scratch"
    )
}

fn failure(step: &conformance::Step) -> Option<String> {
    match &step.outcome {
        conformance::Outcome::Failed { why } => Some(format!("{} ({}): {why}", step.name, step.subject)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use conformance::{Outcome, Step};

    use super::*;

    fn device(name: &'static str, support: Support) -> DeviceReport {
        let features = vec![Feature { name, support, without: "it takes longer" }];
        let text = String::new;
        let (vendor, product, revision) = (text(), text(), text());
        DeviceReport { device: "/dev/sg1".to_owned(), vendor, product, revision, serial: None, features }
    }

    #[test]
    fn a_technician_is_told_yes_yes_with_limits_or_no() {
        let whole = || device("LOCATE", Support::Yes);
        let judge =
            |drive, steps: &[Step]| Verdict::of(&whole(), &[drive], &[], steps, Trial::WithCartridges);
        assert_eq!(judge(whole(), &[]), Verdict::Yes);
        assert_eq!(
            judge(device("LOCATE", Support::No), &[]).sentences().join("\n"),
            "This library can be used by Coffer: yes, with these limits:\n  - /dev/sg1 has no LOCATE: it takes longer"
        );
        assert_eq!(judge(device("list of commands", Support::No), &[]), Verdict::Yes, "nobody feels that");
        let outcome = Outcome::Failed { why: "it is stuck: call service".to_owned() };
        let failed = Step { name: "load", subject: "COF001L6".to_owned(), outcome };
        assert_eq!(
            judge(whole(), &[failed]).sentences().join("\n"),
            "This library can be used by Coffer: no, because\n  - load (COF001L6): it is stuck: call service"
        );
        let unknown = Verdict::of(&whole(), &[whole()], &[ElementAddress(257)], &[], Trial::WithCartridges);
        assert!(unknown.sentences()[1].contains("element 257"));
        let asked = Verdict::of(&whole(), &[whole()], &[], &[], Trial::Asked);
        assert_eq!(asked, Verdict::Untried { limits: Vec::new() });
    }
}
