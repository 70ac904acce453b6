//! What was found out about a library.

use coffer_tape::conformance;
use coffer_tape::drive::Feature;
use coffer_tape::scsi::ElementAddress;
use serde::Serialize;

use super::verdict::Verdict;

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
