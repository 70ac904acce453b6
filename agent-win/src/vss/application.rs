//! An application as its writer describes it.

use std::fmt;

use super::{FileSpec, Guid};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Application {
    /// The writer's name, such as "SqlServerWriter".
    pub(crate) name: String,
    pub(crate) id: Guid,
    /// Of several writers with one id, as of several Exchange or SQL servers; new with each start of the application.
    pub(crate) instance: Guid,
    pub(crate) usage: Usage,
    pub(crate) components: Vec<Component>,
    /// What the application never wants to have captured.
    pub(crate) excluded: Vec<FileSpec>,
}

/// What the application's data are to the computer (`VSS_USAGE_TYPE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usage {
    BootableSystemState,
    SystemService,
    UserData,
    Other,
}

/// Files that make sense together alone, such as one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Component {
    pub(crate) logical_path: Option<String>,
    pub(crate) name: String,
    pub(crate) caption: Option<String>,
    pub(crate) kind: ComponentKind,
    pub(crate) selection: Selection,
    pub(crate) files: Vec<FileSpec>,
    pub(crate) logs: Vec<FileSpec>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ComponentKind {
    Database,
    FileGroup,
}

/// Whether a component can be chosen by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) for_backup: bool,
    pub(crate) for_restore: bool,
}

impl Component {
    /// Logical path and name: no other component of the writer has the same.
    pub(crate) fn full_name(&self) -> String {
        match &self.logical_path {
            Some(path) => format!(r"{path}\{}", self.name),
            None => self.name.clone(),
        }
    }

    /// Whether `other` lies below it.
    pub(crate) fn is_above(&self, other: &Component) -> bool {
        let Some(path) = &other.logical_path else { return false };
        let (path, own) = (path.to_lowercase(), self.full_name().to_lowercase());
        path.strip_prefix(&own).is_some_and(|rest| rest.is_empty() || rest.starts_with('\\'))
    }

    pub(crate) fn all_files(&self) -> impl Iterator<Item = &FileSpec> {
        self.files.iter().chain(&self.logs)
    }

    /// Whether that's its name or its full name.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.name.to_lowercase() == name || self.full_name().to_lowercase() == name
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Usage::BootableSystemState => "needed to start Windows",
            Usage::SystemService => "a service of Windows",
            Usage::UserData => "user data",
            Usage::Other => "other data",
        })
    }
}

impl fmt::Display for ComponentKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            ComponentKind::Database => "database",
            ComponentKind::FileGroup => "files",
        })
    }
}
