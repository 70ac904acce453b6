//! One backup as vssapi.dll knows it (`IVssBackupComponents`). It's good for one; another needs another.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::ffi::OsString;
use std::os::windows::ffi::OsStringExt;
use std::path::PathBuf;
use std::ptr::null;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::library::Library;
use super::object::{Object, checked};
use super::pending::finished;
use super::table::{BackupTable, SnapshotProperties};
use super::text;
use super::writer::{Writer, kind_number};
use crate::vss::{Code, ComponentKind, Guid, Pick, Status, Step, Volume, VssError, WriterState};
use crate::windows::wide::wide;

/// Ends with the process at the latest, and asks the applications (`VSS_CTX_BACKUP`).
const WITH_WRITERS: i32 = 0;
/// `VSS_OBJECT_SNAPSHOT_SET`.
const SNAPSHOT_SET: i32 = 2;
const WRITERS_MAX: u32 = 4096;

/// How the applications are to see the backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BackupType {
    /// `VSS_BT_FULL`: the applications may begin their logs anew afterwards.
    Full,
    /// `VSS_BT_COPY`: nothing changes for them.
    Copy,
}

/// Who takes part besides the volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Partners {
    /// The applications, those that Windows needs to start among them.
    WithSystemState(BackupType),
    Applications(BackupType),
}

/// A component as Windows wants it named.
#[derive(Debug)]
pub(super) struct ComponentName {
    pub(super) instance: Guid,
    /// All of its files are to be captured: it may be told that they are.
    pub(super) is_whole: bool,
    writer: Guid,
    kind: ComponentKind,
    logical_path: Option<Vec<u16>>,
    name: Vec<u16>,
}

impl ComponentName {
    pub(super) fn new(pick: &Pick<'_>) -> ComponentName {
        let Pick { application, component, is_whole, .. } = *pick;
        ComponentName {
            instance: application.instance,
            is_whole,
            writer: application.id,
            kind: component.kind,
            logical_path: component.logical_path.as_deref().map(wide),
            name: wide(&component.name),
        }
    }

    fn path(&self) -> *const u16 {
        self.logical_path.as_ref().map_or(null(), Vec::as_ptr)
    }
}

#[derive(Debug)]
pub(super) struct Backup {
    object: Object<BackupTable>,
    library: Library,
}

type Done = Result<(), VssError>;

impl Backup {
    pub(super) fn begin(partners: Partners) -> Result<Backup, VssError> {
        let library = Library::load()?;
        let backup = Backup { object: library.create()?, library };
        let (table, this) = (backup.object.table(), backup.object.this());
        let (system_state, backup_type) = match partners {
            Partners::WithSystemState(backup_type) => (1, backup_type),
            Partners::Applications(backup_type) => (0, backup_type),
        };
        let backup_type = match backup_type {
            BackupType::Full => 1,
            BackupType::Copy => 5,
        };
        // SAFETY: the object lives; no document means a new one.
        said(Step::Start, unsafe { (table.initialize_for_backup)(this, null()) })?;
        // SAFETY: the object lives.
        said(Step::Start, unsafe { (table.set_context)(this, WITH_WRITERS) })?;
        // SAFETY: as above. Components are chosen; parts of files aren't asked for.
        said(Step::Start, unsafe { (table.set_backup_state)(this, 1, system_state, backup_type, 0) })?;
        Ok(backup)
    }

    pub(super) fn gather_metadata(&self, limit: Duration, stop: &AtomicBool) -> Done {
        let gather = self.object.table().gather_writer_metadata;
        // SAFETY: the object lives; the function gives an `IVssAsync`.
        unsafe { finished(Step::Metadata, limit, stop, |pending| gather(self.object.this(), pending)) }
    }

    pub(super) fn writers(&self) -> Result<Vec<Writer>, VssError> {
        let (table, this) = (self.object.table(), self.object.this());
        let count = count(Step::Metadata, |count| {
            // SAFETY: the object lives, `count` is written.
            unsafe { (table.get_writer_metadata_count)(this, count) }
        })?;
        let writer = |index| {
            let mut instance = Guid::NONE;
            let get = table.get_writer_metadata;
            // SAFETY: the object lives; the function gives an `IVssExamineWriterMetadata` that's counted for us.
            unsafe { Object::made(|writer| get(this, index, &raw mut instance, writer)) }.map(Writer::new)
        };
        (0..count).map(writer).collect::<Result<_, _>>().map_err(|code| Step::Metadata.failed(code))
    }

    pub(super) fn free_metadata(&self) -> Done {
        // SAFETY: the object lives.
        said(Step::Metadata, unsafe { (self.object.table().free_writer_metadata)(self.object.this()) })
    }

    pub(super) fn can_snapshot(&self, volume: &Volume) -> bool {
        let (name, mut is_supported) = (wide(&volume.name), 0);
        let ask = self.object.table().is_volume_supported;
        // SAFETY: the object lives, the name ends with a zero, the answer is written; any provider will do.
        let code = unsafe { ask(self.object.this(), Guid::NONE, name.as_ptr(), &raw mut is_supported) };
        code >= 0 && is_supported != 0
    }

    pub(super) fn add_component(&self, name: &ComponentName) -> Done {
        let add = self.object.table().add_component;
        let (this, kind) = (self.object.this(), kind_number(name.kind));
        // SAFETY: the object lives, the names end with a zero or aren't there.
        said(Step::Choose, unsafe {
            add(this, name.instance, name.writer, kind, name.path(), name.name.as_ptr())
        })
    }

    /// Begins a set; its number.
    pub(super) fn start_set(&self) -> Result<Guid, VssError> {
        let mut set = Guid::NONE;
        let start = self.object.table().start_snapshot_set;
        // SAFETY: the object lives, `set` is written.
        said(Step::Begin, unsafe { start(self.object.this(), &raw mut set) })?;
        Ok(set)
    }

    /// Adds a volume; the number of its snapshot to be.
    pub(super) fn add_volume(&self, volume: &Volume) -> Result<Guid, VssError> {
        let (name, mut snapshot) = (wide(&volume.name), Guid::NONE);
        let add = self.object.table().add_to_snapshot_set;
        // SAFETY: the object lives, the name ends with a zero, the number is written; any provider will do.
        said(Step::AddVolume, unsafe {
            add(self.object.this(), name.as_ptr(), Guid::NONE, &raw mut snapshot)
        })?;
        Ok(snapshot)
    }

    pub(super) fn prepare(&self, limit: Duration, stop: &AtomicBool) -> Done {
        let prepare = self.object.table().prepare_for_backup;
        // SAFETY: the object lives; the function gives an `IVssAsync`.
        unsafe { finished(Step::Prepare, limit, stop, |pending| prepare(self.object.this(), pending)) }
    }

    pub(super) fn make_snapshots(&self, limit: Duration, stop: &AtomicBool) -> Done {
        let make = self.object.table().do_snapshot_set;
        // SAFETY: the object lives; the function gives an `IVssAsync`.
        unsafe { finished(Step::Snapshot, limit, stop, |pending| make(self.object.this(), pending)) }
    }

    pub(super) fn statuses(&self, limit: Duration, stop: &AtomicBool) -> Result<Vec<Status>, VssError> {
        let (table, this) = (self.object.table(), self.object.this());
        // SAFETY: the object lives; the function gives an `IVssAsync`.
        unsafe {
            finished(Step::Status, limit, stop, |pending| (table.gather_writer_status)(this, pending))
        }?;
        // SAFETY: the object lives, `count` is written.
        let count = count(Step::Status, |count| unsafe { (table.get_writer_status_count)(this, count) })?;
        let statuses = (0..count).map(|index| self.status(index)).collect();
        // SAFETY: the object lives.
        said(Step::Status, unsafe { (table.free_writer_status)(this) })?;
        statuses
    }

    fn status(&self, index: u32) -> Result<Status, VssError> {
        let (mut instance, mut id, mut state, mut failure) = (Guid::NONE, Guid::NONE, 0, 0);
        let get = self.object.table().get_writer_status;
        // SAFETY: the object lives, all are written; the text is ours.
        let name = unsafe {
            text::given(|name| {
                let this = self.object.this();
                get(this, index, &raw mut instance, &raw mut id, name, &raw mut state, &raw mut failure)
            })
        };
        let writer = name.map_err(|code| Step::Status.failed(code))?.unwrap_or_else(|| id.to_string());
        Ok(Status { writer, instance, state: WriterState(state), failure: Code(failure as u32) })
    }

    /// Where a snapshot can be read, without a backslash at the end.
    pub(super) fn device(&self, snapshot: Guid) -> Result<PathBuf, VssError> {
        // SAFETY: zeros are what the structure holds before it's filled in: numbers, and texts that aren't there.
        let mut properties: SnapshotProperties = unsafe { std::mem::zeroed() };
        let get = self.object.table().get_snapshot_properties;
        // SAFETY: the object lives, the properties are written.
        said(Step::Properties, unsafe { get(self.object.this(), snapshot, &raw mut properties) })?;
        // SAFETY: the path ends with a zero, as Windows says.
        let device = unsafe { text::until_zero(properties.device) };
        self.library.free(&mut properties);
        if device.is_empty() {
            return Err(Step::Properties.failed(Code::UNEXPECTED));
        }
        Ok(PathBuf::from(OsString::from_wide(&device)))
    }

    pub(super) fn document(&self) -> Result<String, VssError> {
        let save = self.object.table().save_as_xml;
        // SAFETY: the object lives; the function gives a text that's ours.
        let text = unsafe { text::given(|text| save(self.object.this(), text)) };
        let text = text.and_then(|text| text.ok_or(Code::CORRUPT_DOCUMENT));
        text.map_err(|code| Step::Documents.failed(code))
    }

    pub(super) fn set_succeeded(&self, name: &ComponentName, succeeded: bool) -> Done {
        let set = self.object.table().set_backup_succeeded;
        let (this, kind) = (self.object.this(), kind_number(name.kind));
        // SAFETY: the object lives, the names end with a zero or aren't there.
        said(Step::Succeeded, unsafe {
            set(this, name.instance, name.writer, kind, name.path(), name.name.as_ptr(), succeeded.into())
        })
    }

    pub(super) fn complete(&self, limit: Duration, stop: &AtomicBool) -> Done {
        let complete = self.object.table().backup_complete;
        // SAFETY: the object lives; the function gives an `IVssAsync`.
        unsafe { finished(Step::Complete, limit, stop, |pending| complete(self.object.this(), pending)) }
    }

    pub(super) fn abort(&self) -> Done {
        // SAFETY: the object lives.
        said(Step::Abort, unsafe { (self.object.table().abort_backup)(self.object.this()) })
    }

    /// Deletes a whole set; one that isn't there is deleted.
    pub(super) fn delete(&self, set: Guid) -> Done {
        let (mut deleted, mut left) = (0, Guid::NONE);
        let delete = self.object.table().delete_snapshots;
        // SAFETY: the object lives, both are written.
        let code =
            unsafe { delete(self.object.this(), set, SNAPSHOT_SET, 1, &raw mut deleted, &raw mut left) };
        match checked(code) {
            Err(Code::OBJECT_NOT_FOUND) => Ok(()),
            done => done.map_err(|code| Step::Delete.failed(code)),
        }
    }
}

fn said(step: Step, code: i32) -> Done {
    checked(code).map_err(|code| step.failed(code))
}

fn count(step: Step, ask: impl FnOnce(*mut u32) -> i32) -> Result<u32, VssError> {
    let mut count = 0;
    said(step, ask(&raw mut count))?;
    if count <= WRITERS_MAX { Ok(count) } else { Err(step.failed(Code::CORRUPT_DOCUMENT)) }
}
