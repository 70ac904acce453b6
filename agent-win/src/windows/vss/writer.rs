//! Reading what a writer says of its application.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::ffi::c_void;
use std::ptr::null;

use super::object::{Object, checked};
use super::table::{ComponentInfo, ComponentTable, FileTable, Text, WriterTable};
use super::text;
use crate::vss::{Application, Code, Component, ComponentKind, FileSpec, Guid, Selection, Usage, expanded};

/// No writer has more components, and no component more files, than this.
const COUNT_MAX: u32 = 1 << 20;

/// A writer's description, kept by Windows.
#[derive(Debug)]
pub(super) struct Writer(Object<WriterTable>);

impl Writer {
    pub(super) fn new(object: Object<WriterTable>) -> Writer {
        Writer(object)
    }

    pub(super) fn document(&self) -> Result<String, Code> {
        // SAFETY: the object lives; the function gives a text that's ours.
        let text = unsafe { text::given(|text| (self.0.table().save_as_xml)(self.0.this(), text)) }?;
        text.ok_or(Code::CORRUPT_DOCUMENT)
    }

    pub(super) fn application(&self) -> Result<Application, Code> {
        let (mut instance, mut id, mut usage, mut source) = (Guid::NONE, Guid::NONE, 0, 0);
        // SAFETY: the object lives, all are written; the text is ours.
        let name = unsafe {
            text::given(|name| {
                let get = self.0.table().get_identity;
                get(self.0.this(), &raw mut instance, &raw mut id, name, &raw mut usage, &raw mut source)
            })
        }?;
        let [_, excluded, components] = self.counts()?;
        Ok(Application {
            name: name.unwrap_or_else(|| id.to_string()),
            id,
            instance,
            usage: usage_of(usage),
            components: (0..components).map(|index| self.component(index)).collect::<Result<_, _>>()?,
            excluded: (0..excluded).map(|index| self.excluded(index)).collect::<Result<_, _>>()?,
        })
    }

    /// Included files (of old applications), excluded ones, components.
    fn counts(&self) -> Result<[u32; 3], Code> {
        let [mut included, mut excluded, mut components] = [0; 3];
        // SAFETY: the object lives, all three are written.
        checked(unsafe {
            let get = self.0.table().get_file_counts;
            get(self.0.this(), &raw mut included, &raw mut excluded, &raw mut components)
        })?;
        [included, excluded, components].map(bounded).into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok([included, excluded, components])
    }

    fn excluded(&self, index: u32) -> Result<FileSpec, Code> {
        // SAFETY: the object lives; the function gives an `IVssWMFiledesc` that's counted for us.
        unsafe { file(|file| (self.0.table().get_exclude_file)(self.0.this(), index, file)) }
    }

    fn component(&self, index: u32) -> Result<Component, Code> {
        // SAFETY: the object lives; the function gives an `IVssWMComponent` that's counted for us.
        let object: Object<ComponentTable> =
            unsafe { Object::made(|this| (self.0.table().get_component)(self.0.this(), index, this)) }?;
        let table = object.table();
        let mut info: *const ComponentInfo = null();
        // SAFETY: the object lives, `info` is written.
        checked(unsafe { (table.get_component_info)(object.this(), &raw mut info) })?;
        // SAFETY: the function succeeded, so there is what `described` reads; null is none.
        let described = unsafe { info.as_ref() }.ok_or(Code::UNEXPECTED).and_then(described);
        // SAFETY: what was read is a copy; it isn't used again.
        unsafe { (table.free_component_info)(object.this(), info) };
        let (component, [files, databases, logs]) = described?;
        let all = |count, get: unsafe extern "system" fn(*mut c_void, u32, *mut *mut c_void) -> i32| {
            // SAFETY: the object lives; these functions give an `IVssWMFiledesc` that's counted for us.
            let one = |index| unsafe { file(|file| get(object.this(), index, file)) };
            (0..count).map(one).collect::<Result<Vec<_>, _>>()
        };
        let mut all_files = all(files, table.get_file)?;
        all_files.extend(all(databases, table.get_database_file)?);
        Ok(Component { files: all_files, logs: all(logs, table.get_database_log_file)?, ..component })
    }
}

/// A component without its files, and how many it has: of a group, of a database, of its log.
fn described(info: &ComponentInfo) -> Result<(Component, [u32; 3]), Code> {
    // SAFETY: what Windows described has texts of the system's, or null.
    let text = |text: Text| unsafe { text::copied(text) };
    let component = Component {
        logical_path: text(info.logical_path)?,
        name: text(info.name)?.unwrap_or_default(),
        caption: text(info.caption)?,
        kind: if info.kind == DATABASE { ComponentKind::Database } else { ComponentKind::FileGroup },
        selection: Selection {
            for_backup: info.selectable != 0,
            for_restore: info.selectable_for_restore != 0,
        },
        files: Vec::new(),
        logs: Vec::new(),
    };
    Ok((component, [bounded(info.file_count)?, bounded(info.database_count)?, bounded(info.log_count)?]))
}

/// # Safety
/// Where `give` succeeds, it must have written the address of an `IVssWMFiledesc`, and have counted us.
unsafe fn file(give: impl FnOnce(*mut *mut c_void) -> i32) -> Result<FileSpec, Code> {
    // SAFETY: as the caller promises.
    let object: Object<FileTable> = unsafe { Object::made(give) }?;
    let (table, mut recursive) = (object.table(), 0u8);
    // SAFETY: the object lives, what's given is ours, `recursive` is written.
    let (path, pattern) = unsafe {
        checked((table.get_recursive)(object.this(), &raw mut recursive))?;
        let path = text::given(|text| (table.get_path)(object.this(), text))?;
        (path, text::given(|text| (table.get_filespec)(object.this(), text))?)
    };
    let variable = |name: &str| std::env::var(name).ok();
    Ok(FileSpec {
        path: expanded(&path.unwrap_or_default(), variable),
        pattern: pattern.unwrap_or_default(),
        recursive: recursive != 0,
    })
}

/// `VSS_CT_DATABASE`; 2 is a group of files.
const DATABASE: i32 = 1;

/// What Windows calls a kind of component.
pub(super) fn kind_number(kind: ComponentKind) -> i32 {
    match kind {
        ComponentKind::Database => DATABASE,
        ComponentKind::FileGroup => 2,
    }
}

fn usage_of(number: i32) -> Usage {
    match number {
        1 => Usage::BootableSystemState,
        2 => Usage::SystemService,
        3 => Usage::UserData,
        _ => Usage::Other,
    }
}

fn bounded(count: u32) -> Result<u32, Code> {
    if count <= COUNT_MAX { Ok(count) } else { Err(Code::CORRUPT_DOCUMENT) }
}
