//! What an application counts on.

use crate::config::FoundFiles;

/// Files that an application names: only with all of them its data can be brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFiles {
    /// Whose they are, such as `the database "PC\sales" of SqlServerWriter`.
    pub whose: String,
    pub files: Vec<FoundFiles>,
}
