//! The interfaces of vssapi.dll as they lie in memory: each object begins with the address of a table of functions, in
//! the order of Microsoft's vsbackup.h, vswriter.h and vss.h. Functions that the agent never calls are held as places.

use std::ffi::c_void;

use crate::vss::Guid;

/// A function that's never called.
type Place = *const c_void;
/// The object that a function belongs to.
type This = *mut c_void;
/// HRESULT; less than zero is a failure.
type Code = i32;
/// A text of the system's, which whoever gets it frees.
pub(super) type Text = *const u16;
type Wide = *const u16;

#[derive(Debug)]
#[repr(C)]
pub(super) struct UnknownTable {
    _query_interface: Place,
    _add_ref: Place,
    pub(super) release: unsafe extern "system" fn(This) -> u32,
}

/// `IVssAsync`: something under way.
#[derive(Debug)]
#[repr(C)]
pub(super) struct AsyncTable {
    _unknown: UnknownTable,
    pub(super) cancel: unsafe extern "system" fn(This) -> Code,
    pub(super) wait: unsafe extern "system" fn(This, u32) -> Code,
    pub(super) query_status: unsafe extern "system" fn(This, *mut Code, *mut i32) -> Code,
}

type Begin = unsafe extern "system" fn(This, *mut This) -> Code;
type Count = unsafe extern "system" fn(This, *mut u32) -> Code;
type Plain = unsafe extern "system" fn(This) -> Code;
type Indexed = unsafe extern "system" fn(This, u32, *mut This) -> Code;
type GiveText = unsafe extern "system" fn(This, *mut Text) -> Code;

/// `IVssBackupComponents` (665c1d5f-c218-414d-a05d-7fef5f9d5c86).
#[derive(Debug)]
#[repr(C)]
pub(super) struct BackupTable {
    _unknown: UnknownTable,
    _get_writer_components_count: Place,
    _get_writer_components: Place,
    pub(super) initialize_for_backup: unsafe extern "system" fn(This, Text) -> Code,
    pub(super) set_backup_state: unsafe extern "system" fn(This, u8, u8, i32, u8) -> Code,
    _initialize_for_restore: Place,
    _set_restore_state: Place,
    pub(super) gather_writer_metadata: Begin,
    pub(super) get_writer_metadata_count: Count,
    pub(super) get_writer_metadata: unsafe extern "system" fn(This, u32, *mut Guid, *mut This) -> Code,
    pub(super) free_writer_metadata: Plain,
    pub(super) add_component: unsafe extern "system" fn(This, Guid, Guid, i32, Wide, Wide) -> Code,
    pub(super) prepare_for_backup: Begin,
    pub(super) abort_backup: Plain,
    pub(super) gather_writer_status: Begin,
    pub(super) get_writer_status_count: Count,
    pub(super) free_writer_status: Plain,
    pub(super) get_writer_status:
        unsafe extern "system" fn(This, u32, *mut Guid, *mut Guid, *mut Text, *mut i32, *mut Code) -> Code,
    pub(super) set_backup_succeeded: unsafe extern "system" fn(This, Guid, Guid, i32, Wide, Wide, u8) -> Code,
    _set_backup_options: Place,
    _set_selected_for_restore: Place,
    _set_restore_options: Place,
    _set_additional_restores: Place,
    _set_previous_backup_stamp: Place,
    pub(super) save_as_xml: GiveText,
    pub(super) backup_complete: Begin,
    _add_alternative_location_mapping: Place,
    _add_restore_subcomponent: Place,
    _set_file_restore_status: Place,
    _add_new_target: Place,
    _set_ranges_file_path: Place,
    _pre_restore: Place,
    _post_restore: Place,
    pub(super) set_context: unsafe extern "system" fn(This, i32) -> Code,
    pub(super) start_snapshot_set: unsafe extern "system" fn(This, *mut Guid) -> Code,
    pub(super) add_to_snapshot_set: unsafe extern "system" fn(This, Wide, Guid, *mut Guid) -> Code,
    pub(super) do_snapshot_set: Begin,
    pub(super) delete_snapshots: unsafe extern "system" fn(This, Guid, i32, i32, *mut i32, *mut Guid) -> Code,
    _import_snapshots: Place,
    _break_snapshot_set: Place,
    pub(super) get_snapshot_properties:
        unsafe extern "system" fn(This, Guid, *mut SnapshotProperties) -> Code,
    _query: Place,
    pub(super) is_volume_supported: unsafe extern "system" fn(This, Guid, Wide, *mut i32) -> Code,
    _disable_writer_classes: Place,
    _enable_writer_classes: Place,
    _disable_writer_instances: Place,
    _expose_snapshot: Place,
    _revert_to_snapshot: Place,
    _query_revert_status: Place,
}

/// `IVssExamineWriterMetadata` (902fcf7f-b7fd-42f8-81f1-b2e400b1e5bd).
#[derive(Debug)]
#[repr(C)]
pub(super) struct WriterTable {
    _unknown: UnknownTable,
    pub(super) get_identity:
        unsafe extern "system" fn(This, *mut Guid, *mut Guid, *mut Text, *mut i32, *mut i32) -> Code,
    pub(super) get_file_counts: unsafe extern "system" fn(This, *mut u32, *mut u32, *mut u32) -> Code,
    _get_include_file: Place,
    pub(super) get_exclude_file: Indexed,
    pub(super) get_component: Indexed,
    _get_restore_method: Place,
    _get_alternate_location_mapping: Place,
    _get_backup_schema: Place,
    _get_document: Place,
    pub(super) save_as_xml: GiveText,
    _load_from_xml: Place,
}

/// `IVssWMComponent`.
#[derive(Debug)]
#[repr(C)]
pub(super) struct ComponentTable {
    _unknown: UnknownTable,
    pub(super) get_component_info: unsafe extern "system" fn(This, *mut *const ComponentInfo) -> Code,
    pub(super) free_component_info: unsafe extern "system" fn(This, *const ComponentInfo) -> Code,
    pub(super) get_file: Indexed,
    pub(super) get_database_file: Indexed,
    pub(super) get_database_log_file: Indexed,
    _get_dependency: Place,
}

/// `IVssWMFiledesc`.
#[derive(Debug)]
#[repr(C)]
pub(super) struct FileTable {
    _unknown: UnknownTable,
    pub(super) get_path: GiveText,
    pub(super) get_filespec: GiveText,
    pub(super) get_recursive: unsafe extern "system" fn(This, *mut u8) -> Code,
    _get_alternate_location: Place,
    _get_backup_type_mask: Place,
}

/// `VSS_COMPONENTINFO`.
#[derive(Debug)]
#[repr(C)]
pub(super) struct ComponentInfo {
    pub(super) kind: i32,
    pub(super) logical_path: Text,
    pub(super) name: Text,
    pub(super) caption: Text,
    _icon: *const u8,
    _icon_len: u32,
    _restore_metadata: u8,
    _notify_on_backup_complete: u8,
    pub(super) selectable: u8,
    pub(super) selectable_for_restore: u8,
    _flags: u32,
    pub(super) file_count: u32,
    pub(super) database_count: u32,
    pub(super) log_count: u32,
    _dependency_count: u32,
}

/// `VSS_SNAPSHOT_PROP`.
#[derive(Debug)]
#[repr(C)]
pub(super) struct SnapshotProperties {
    _snapshot: Guid,
    _set: Guid,
    _count: i32,
    pub(super) device: *const u16,
    _volume: *const u16,
    _originating_machine: *const u16,
    _service_machine: *const u16,
    _exposed_name: *const u16,
    _exposed_path: *const u16,
    _provider: Guid,
    _attributes: i32,
    _created: i64,
    _state: i32,
}
