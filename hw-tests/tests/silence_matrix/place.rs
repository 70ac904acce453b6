//! Where a claim is made.

use crate::support::said;
use crate::world::World;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The exit code of `coffer-agent capture`, and what it prints.
    Capture,
    /// `coffer report`: the newest point's remarks.
    Report,
    /// `coffer points`: what the newest point claims to be.
    Points,
    /// `coffer status`
    Status,
    /// The status page.
    Page,
    /// `coffer computers`
    Computers,
}

impl Place {
    pub(crate) const ALL: [Place; 6] =
        [Place::Capture, Place::Report, Place::Points, Place::Status, Place::Page, Place::Computers];

    /// Whether it says what is missing, and not only that something is.
    pub(crate) fn names(self) -> bool {
        !matches!(self, Place::Points | Place::Computers)
    }

    /// What it says is wrong; none where it says that all is well.
    pub(crate) fn complaint(self, world: &World) -> Option<String> {
        match self {
            Place::Capture => {
                let output = world.last_capture();
                (!output.status.success()).then(|| said(output))
            }
            Place::Report => {
                let report = world.json(&["report", "alpha/files"]);
                (!report.as_array().unwrap().is_empty()).then(|| report.to_string())
            }
            Place::Points => {
                let point = world.site.points("alpha/files")[0].clone();
                let claims_all = point["report_lines"] == 0;
                (!claims_all).then(|| format!("{}: {} remarks", point["consistency"], point["report_lines"]))
            }
            Place::Status => {
                let sentences = world.site.status()["sentences"].as_array().unwrap().clone();
                (!sentences.is_empty()).then(|| serde_json::Value::from(sentences).to_string())
            }
            Place::Page => {
                let page = world.page();
                (!page.contains("All is well")).then_some(page)
            }
            Place::Computers => {
                let computers = world.json(&["computers"]).as_array().unwrap().clone();
                let states = computers.iter().map(|one| (&one["name"], &one["protection"]));
                let mut wrong = states.filter(|(_, state)| *state != "protected");
                wrong.next().map(|(name, state)| format!("{name} is {state}"))
            }
        }
    }
}
