//! What's mounted and is no disk (tmpfs, proc and their like): of that only what's included by its name is captured.

use std::io;

use super::Stat;
use crate::config::Scope;
use crate::path::within;
use crate::platform::{Directory, device_of};

/// What's asked for of a folder in there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    All,
    /// Only what's on the way to something that's included by its name.
    Way,
    Nothing,
}

/// Of a folder that's no disk's. What's included counts for all that lies below it on the same device; `stat` describes that.
pub(crate) fn asked_of(
    scope: &Scope,
    path: &[u8],
    directory: &Directory,
    stat: impl Fn(&[u8]) -> io::Result<Stat>,
) -> Asked {
    let device = device_of(directory);
    let is_here = |include: &[u8]| stat(include).is_ok_and(|found| Some(found.device) == device);
    match () {
        () if scope.includes().any(|include| within(path, include).is_some() && is_here(include)) => {
            Asked::All
        }
        () if scope.leads_over(path) => Asked::Way,
        () => Asked::Nothing,
    }
}
