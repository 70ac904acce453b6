/* IVssBackupComponents: does what it's asked in Microsoft's order, and refuses anything else with VSS_E_BAD_STATE. */
#include "backup.h"
#include <stdio.h>

static LONG sets;

static void delete_all(struct backup *backup)
{
    for (UINT index = 0; index < backup->volume_count; index++)
        if (*backup->volumes[index].device) {
            delete_copy(backup->volumes[index].device);
            *backup->volumes[index].device = 0;
        }
    backup->is_made = FALSE;
}

static HRESULT STDMETHODCALLTYPE query(IVssBackupComponents *face, REFIID id, void **out)
{
    (void)face, (void)id;
    *out = NULL;
    return E_NOINTERFACE;
}

static ULONG STDMETHODCALLTYPE add_ref(IVssBackupComponents *face) { return InterlockedIncrement(&of(face)->count); }

static ULONG STDMETHODCALLTYPE release(IVssBackupComponents *face)
{
    struct backup *backup = of(face);
    LONG count = InterlockedDecrement(&backup->count);
    if (count)
        return count;
    note("Release");
    if (backup->is_made && !(backup->context & VSS_VOLSNAP_ATTR_NO_AUTO_RELEASE)) {
        note("snapshots were deleted by themselves");
        delete_all(backup);
    }
    freed(A_BACKUP);
    /* The agent has one at a time, and keeps nothing of it. */
    tell_leaks();
    HeapFree(GetProcessHeap(), 0, backup);
    return 0;
}

static HRESULT STDMETHODCALLTYPE initialize(IVssBackupComponents *face, BSTR document)
{
    MUST(!of(face)->is_initialized && !document, "InitializeForBackup");
    of(face)->is_initialized = TRUE;
    return said("InitializeForBackup", fault("InitializeForBackup"), "");
}

static HRESULT STDMETHODCALLTYPE set_context(IVssBackupComponents *face, LONG context)
{
    struct backup *backup = of(face);
    MUST(backup->is_initialized && !backup->has_context && !backup->has_metadata, "SetContext");
    backup->context = context;
    backup->has_context = TRUE;
    return said("SetContext", fault("SetContext"), "%ld", context);
}

static HRESULT STDMETHODCALLTYPE set_state(IVssBackupComponents *face, boolean select, boolean system_state,
                                           VSS_BACKUP_TYPE type, boolean partial)
{
    struct backup *backup = of(face);
    MUST(backup->has_context && !backup->has_metadata, "SetBackupState");
    backup->has_state = TRUE;
    return said("SetBackupState", fault("SetBackupState"), "components=%d system-state=%d type=%d partial=%d", select,
                system_state, type, partial);
}

static HRESULT gathered(void *owner)
{
    ((struct backup *)owner)->has_metadata = TRUE;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE gather_metadata(IVssBackupComponents *face, IVssAsync **out)
{
    struct backup *backup = of(face);
    MUST(backup->has_state && asks_writers(backup) && !backup->has_metadata, "GatherWriterMetadata");
    return begin("GatherWriterMetadata", (IUnknown *)face, gathered, out);
}

/* The writer with this number among those that could say what they have. */
static struct writer *described(UINT number)
{
    struct script *all = script();
    for (UINT index = 0; index < all->writer_count; index++) {
        struct writer *writer = &all->writers[index];
        if (writer->state != VSS_WS_FAILED_AT_IDENTIFY && !number--)
            return writer;
    }
    return NULL;
}

static HRESULT STDMETHODCALLTYPE metadata_count(IVssBackupComponents *face, UINT *out)
{
    MUST(of(face)->has_metadata, "GetWriterMetadataCount");
    for (*out = 0; described(*out);)
        ++*out;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE get_metadata(IVssBackupComponents *face, UINT index, VSS_ID *instance,
                                              IVssExamineWriterMetadata **out)
{
    MUST(of(face)->has_metadata, "GetWriterMetadata");
    struct writer *writer = described(index);
    if (!writer)
        return VSS_E_OBJECT_NOT_FOUND;
    *instance = writer->instance;
    return describe(writer, out);
}

static HRESULT STDMETHODCALLTYPE free_metadata(IVssBackupComponents *face)
{
    MUST(of(face)->has_metadata, "FreeWriterMetadata");
    of(face)->has_metadata = FALSE;
    return said("FreeWriterMetadata", S_OK, "");
}

static HRESULT STDMETHODCALLTYPE is_supported(IVssBackupComponents *face, VSS_ID provider, VSS_PWSZ volume, WINBOOL *out)
{
    WCHAR root[TEXT_MAX];
    struct script *all = script();
    (void)provider;
    MUST(of(face)->has_context, "IsVolumeSupported");
    if (!drive_of(volume, root))
        return said("IsVolumeSupported", VSS_E_OBJECT_NOT_FOUND, "%ls", volume);
    *out = TRUE;
    for (UINT index = 0; index < all->unsupported_count; index++)
        *out = *out && _wcsicmp(all->unsupported[index], root);
    return said("IsVolumeSupported", S_OK, "%ls %d", root, *out);
}

static HRESULT STDMETHODCALLTYPE start_set(IVssBackupComponents *face, VSS_ID *set)
{
    struct backup *backup = of(face);
    MUST(backup->has_state && backup->has_metadata == asks_writers(backup) && !backup->is_begun, "StartSnapshotSet");
    HRESULT code = fault("StartSnapshotSet");
    if (SUCCEEDED(code)) {
        backup->is_begun = TRUE;
        backup->set = (GUID){0x5e7, 0, 0, {0, 0, 0, 0, 0, 0, 0, (BYTE)InterlockedIncrement(&sets)}};
        *set = backup->set;
    }
    return said("StartSnapshotSet", code, "");
}

static HRESULT STDMETHODCALLTYPE add_volume(IVssBackupComponents *face, VSS_PWSZ name, VSS_ID provider, VSS_ID *snapshot)
{
    struct backup *backup = of(face);
    struct volume *volume = &backup->volumes[backup->volume_count];
    (void)provider;
    MUST(backup->is_begun && !backup->is_prepared && backup->volume_count < VOLUMES_MAX, "AddToSnapshotSet");
    if (!drive_of(name, volume->root))
        return said("AddToSnapshotSet", E_INVALIDARG, "%ls", name);
    for (UINT index = 0; index < backup->volume_count; index++)
        if (!wcscmp(backup->volumes[index].name, name))
            return said("AddToSnapshotSet", VSS_E_OBJECT_ALREADY_EXISTS, "%ls", volume->root);
    HRESULT code = fault("AddToSnapshotSet");
    for (UINT index = 0; index < script()->full_count; index++)
        if (!_wcsicmp(script()->full[index], volume->root))
            code = VSS_E_INSUFFICIENT_STORAGE;
    if (SUCCEEDED(code)) {
        wcscpy(volume->name, name);
        volume->snapshot = (GUID){0x5a9, 0, 0, {0, 0, 0, 0, 0, 0, (BYTE)backup->set.Data4[7], (BYTE)backup->volume_count}};
        *snapshot = volume->snapshot;
        backup->volume_count++;
    }
    return said("AddToSnapshotSet", code, "%ls", volume->root);
}

static HRESULT prepared(void *owner)
{
    struct backup *backup = owner;
    for (UINT index = 0; index < backup->pick_count; index++)
        if (!is_covered(backup, backup->picks[index]))
            return VSS_E_UNSELECTED_VOLUME;
    backup->is_prepared = TRUE;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE prepare(IVssBackupComponents *face, IVssAsync **out)
{
    struct backup *backup = of(face);
    MUST(backup->has_metadata && backup->volume_count && !backup->is_prepared, "PrepareForBackup");
    return begin("PrepareForBackup", (IUnknown *)face, prepared, out);
}

static HRESULT made_copies(void *owner)
{
    struct backup *backup = owner;
    for (UINT index = 0; index < backup->volume_count; index++)
        if (!copy_volume(backup->volumes[index].root, backup->volumes[index].device))
            return VSS_E_INSUFFICIENT_STORAGE;
    backup->is_made = TRUE;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE do_set(IVssBackupComponents *face, IVssAsync **out)
{
    struct backup *backup = of(face);
    MUST(backup->volume_count && backup->is_prepared == asks_writers(backup) && !backup->is_made, "DoSnapshotSet");
    return begin("DoSnapshotSet", (IUnknown *)face, made_copies, out);
}

static HRESULT STDMETHODCALLTYPE get_properties(IVssBackupComponents *face, VSS_ID snapshot, VSS_SNAPSHOT_PROP *out)
{
    struct backup *backup = of(face);
    MUST(backup->is_made, "GetSnapshotProperties");
    for (UINT index = 0; index < backup->volume_count; index++) {
        struct volume *volume = &backup->volumes[index];
        if (!IsEqualGUID(&volume->snapshot, &snapshot))
            continue;
        memset(out, 0, sizeof *out);
        out->m_SnapshotId = snapshot;
        out->m_SnapshotSetId = backup->set;
        out->m_lSnapshotsCount = (LONG)backup->volume_count;
        out->m_pwszSnapshotDeviceObject = _wcsdup(volume->device);
        out->m_pwszOriginalVolumeName = _wcsdup(volume->name);
        out->m_lSnapshotAttributes = backup->context;
        out->m_eStatus = VSS_SS_CREATED;
        made(PROPERTIES);
        return said("GetSnapshotProperties", S_OK, "%ls", volume->root);
    }
    return said("GetSnapshotProperties", VSS_E_OBJECT_NOT_FOUND, "");
}

/* Whether the writer has failed by now. A failure that passes is over with the next backup. */
static BOOL has_failed(struct backup *backup, UINT index)
{
    struct writer *writer = &script()->writers[index];
    BOOL is_time = writer->state == VSS_WS_FAILED_AT_IDENTIFY            ? TRUE
                   : writer->state == VSS_WS_FAILED_AT_PREPARE_BACKUP    ? backup->is_prepared
                   : writer->state == VSS_WS_FAILED_AT_BACKUP_COMPLETE   ? backup->is_complete
                                                                         : backup->is_made;
    if (writer->state < VSS_WS_FAILED_AT_IDENTIFY || !is_time)
        return FALSE;
    if (!backup->failed[index] && writer->times) {
        backup->failed[index] = TRUE;
        if (writer->times > 0)
            writer->times--;
    }
    return backup->failed[index];
}

static HRESULT have_status(void *owner)
{
    ((struct backup *)owner)->has_status = TRUE;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE gather_status(IVssBackupComponents *face, IVssAsync **out)
{
    struct backup *backup = of(face);
    MUST(asks_writers(backup) && backup->has_metadata && !backup->has_status, "GatherWriterStatus");
    return begin("GatherWriterStatus", (IUnknown *)face, have_status, out);
}

static HRESULT STDMETHODCALLTYPE status_count(IVssBackupComponents *face, UINT *out)
{
    MUST(of(face)->has_status, "GetWriterStatusCount");
    *out = script()->writer_count;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE get_status(IVssBackupComponents *face, UINT index, VSS_ID *instance, VSS_ID *id,
                                            BSTR *name, VSS_WRITER_STATE *state, HRESULT *failure)
{
    MUST(of(face)->has_status && index < script()->writer_count, "GetWriterStatus");
    struct writer *writer = &script()->writers[index];
    BOOL is_bad = has_failed(of(face), index);
    *instance = writer->instance;
    *id = writer->id;
    *name = SysAllocString(writer->name);
    *state = is_bad ? writer->state : VSS_WS_STABLE;
    *failure = is_bad ? writer->failure : S_OK;
    return said("GetWriterStatus", S_OK, "\"%ls\" %d 0x%08lX", writer->name, *state, (unsigned long)*failure);
}

static HRESULT STDMETHODCALLTYPE free_status(IVssBackupComponents *face)
{
    MUST(of(face)->has_status, "FreeWriterStatus");
    of(face)->has_status = FALSE;
    return said("FreeWriterStatus", S_OK, "");
}

static HRESULT completed(void *owner)
{
    ((struct backup *)owner)->is_complete = TRUE;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE complete(IVssBackupComponents *face, IVssAsync **out)
{
    struct backup *backup = of(face);
    MUST(backup->is_made && asks_writers(backup) && !backup->is_told, "BackupComplete");
    backup->is_told = TRUE;
    return begin("BackupComplete", (IUnknown *)face, completed, out);
}

static HRESULT STDMETHODCALLTYPE abort_backup(IVssBackupComponents *face)
{
    struct backup *backup = of(face);
    MUST(backup->is_begun && !backup->is_complete, "AbortBackup");
    backup->is_told = TRUE;
    return said("AbortBackup", S_OK, "");
}

static HRESULT STDMETHODCALLTYPE save(IVssBackupComponents *face, BSTR *out)
{
    MUST(of(face)->has_state, "SaveAsXML");
    *out = SysAllocString(L"<BACKUP_COMPONENTS version=\"1.2\"/>");
    return said("SaveAsXML", fault("SaveAsXML"), "");
}

static HRESULT STDMETHODCALLTYPE delete(IVssBackupComponents *face, VSS_ID id, VSS_OBJECT_TYPE type, WINBOOL force,
                                        LONG *deleted, VSS_ID *left)
{
    struct backup *backup = of(face);
    (void)force;
    memset(left, 0, sizeof *left);
    *deleted = 0;
    if (!backup->is_made || type != VSS_OBJECT_SNAPSHOT_SET || !IsEqualGUID(&id, &backup->set))
        return said("DeleteSnapshots", VSS_E_OBJECT_NOT_FOUND, "");
    HRESULT code = fault("DeleteSnapshots");
    if (SUCCEEDED(code)) {
        *deleted = (LONG)backup->volume_count;
        delete_all(backup);
    }
    return said("DeleteSnapshots", code, "%ld", *deleted);
}

#include "backup_table.h"

HRESULT new_backup(IVssBackupComponents **out)
{
    struct backup *backup = HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, sizeof *backup);
    backup->face.lpVtbl = &TABLE;
    backup->count = 1;
    made(A_BACKUP);
    *out = &backup->face;
    return S_OK;
}
