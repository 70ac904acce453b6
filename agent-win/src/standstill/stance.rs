//! What a capture stands on.

use std::sync::Arc;

use coffer_format::entry::ReportLine;

use super::{Claim, Enclosures, View};

/// How the files were made ready. By itself: nothing was done, and they're read as they are.
#[derive(Debug, Clone)]
pub struct Stance<'a> {
    pub view: Arc<View>,
    pub claim: Claim,
    /// For the point's report.
    pub said: Vec<ReportLine>,
    /// Written and sent where there's a new point.
    pub enclosures: Option<&'a Enclosures>,
}

impl Default for Stance<'_> {
    fn default() -> Self {
        Stance { view: Arc::default(), claim: Claim::None, said: Vec::new(), enclosures: None }
    }
}
