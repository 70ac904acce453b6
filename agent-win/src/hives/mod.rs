//! The registry's hives: which there are, how a point names their files, and what it takes to put them back. Pure; Windows
//! itself is asked in `windows/hives.rs` and `windows/hive_put_back.rs`.

mod check;
mod gather;
mod hive;
mod lacking;
mod plan;

pub use check::{Damage, check};
pub use gather::{Gathered, gather};
pub(crate) use hive::{BEFORE, BOOT, MACHINE, SYSTEM_SID};
pub use hive::{Hive, UserPart};
pub(crate) use lacking::LackingHive;
pub use plan::{Here, Loaded, Profile, Step, plan};

#[cfg(test)]
pub(crate) use check::tests;

#[cfg(windows)]
pub use crate::windows::{Staged, hives_here, take_up_to_restore};

/// Why nothing was put back.
#[derive(Debug, thiserror::Error)]
pub enum HivesError {
    /// Each with a sentence.
    #[error("{}", .0.join("; "))]
    Refused(Vec<String>),
    #[error("{} can't be read", .0.display())]
    Read(std::path::PathBuf, #[source] std::io::Error),
    #[error("only administrators may put hives back; open the console as administrator")]
    NotAllowed(#[source] std::io::Error),
    #[error("Windows doesn't say which hives are loaded and who has a profile")]
    Unknown(#[source] std::io::Error),
    #[error("{} can't be copied to {}; see to room on that disk", .from.display(), .to)]
    Stage {
        from: std::path::PathBuf,
        to: String,
        #[source]
        error: std::io::Error,
    },
}
