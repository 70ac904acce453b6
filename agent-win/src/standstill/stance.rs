//! What a capture stands on.

use std::sync::Arc;

use coffer_format::entry::Remark;

use super::{After, Claim, Enclosures, NamedFiles, View};

/// How the files were made ready. By itself: nothing was done, and they're read as they are.
#[derive(Debug, Clone)]
pub struct Stance<'a> {
    pub view: Arc<View>,
    pub claim: Claim,
    /// For the point's report.
    pub said: Vec<Remark>,
    /// Written and sent where there's a new point.
    pub enclosures: Option<&'a Enclosures>,
    /// Without these no point is as the applications want it.
    pub named: &'a [NamedFiles],
    /// To be run once all is read.
    pub after: Option<&'a After>,
    /// Beside points of everything: what the newest one had to say of applications still holds.
    pub is_beside: bool,
}

impl Default for Stance<'_> {
    fn default() -> Self {
        let (view, said) = (Arc::default(), Vec::new());
        Stance { view, claim: Claim::None, said, enclosures: None, named: &[], after: None, is_beside: false }
    }
}
