//! Snapshots of volumes (Windows' Volume Shadow Copy Service), as far as they can be thought about without Windows:
//! which volumes and which applications' components belong in one, what its codes mean, and what's worth another try.

mod application;
mod choice;
mod code;
mod error;
mod file_spec;
mod guid;
mod patience;
mod status;
mod volume;

pub(crate) use application::{Application, Component, ComponentKind, Selection, Usage};
pub(crate) use choice::{Choice, Pick, Writers, choose};
pub(crate) use code::Code;
pub(crate) use error::{Step, VssError};
pub(crate) use file_spec::{FileSpec, expanded};
pub(crate) use guid::Guid;
pub(crate) use patience::Patience;
pub(crate) use status::{Refusal, Status, WriterState};
pub(crate) use volume::{Volume, Volumes};
