/* The components that take part in a backup. */
#include "backup.h"

static struct pick found(VSS_ID *instance, VSS_ID *id, VSS_COMPONENT_TYPE type, LPCWSTR path, LPCWSTR name)
{
    struct script *all = script();
    for (UINT at = 0; at < all->writer_count; at++)
        for (UINT index = 0; index < all->writers[at].component_count; index++) {
            struct writer *writer = &all->writers[at];
            struct component *one = &writer->components[index];
            if (IsEqualGUID(&writer->instance, instance) && IsEqualGUID(&writer->id, id) && one->type == type &&
                !wcscmp(one->logical_path, path ? path : L"") && !wcscmp(one->name, name))
                return (struct pick){writer, one};
        }
    return (struct pick){NULL, NULL};
}

/* Whether the writer lets a component be named: chosen by somebody, or left to nobody's choice. */
static BOOL may_be_named(struct pick pick)
{
    for (UINT index = 0; index < pick.writer->component_count; index++) {
        struct component *other = &pick.writer->components[index];
        if (!pick.component->is_selectable && other->is_selectable && is_above(other, pick.component))
            return FALSE;
    }
    return TRUE;
}

static BOOL is_picked(struct backup *backup, struct component *component)
{
    for (UINT index = 0; index < backup->pick_count; index++)
        if (backup->picks[index].component == component)
            return TRUE;
    return FALSE;
}

HRESULT STDMETHODCALLTYPE add_component(IVssBackupComponents *face, VSS_ID instance, VSS_ID id,
                                               VSS_COMPONENT_TYPE type, LPCWSTR path, LPCWSTR name)
{
    struct backup *backup = of(face);
    MUST(backup->has_metadata && !backup->is_begun, "AddComponent");
    struct pick pick = found(&instance, &id, type, path, name);
    HRESULT code = !pick.component                       ? VSS_E_OBJECT_NOT_FOUND
                   : is_picked(backup, pick.component)   ? VSS_E_OBJECT_ALREADY_EXISTS
                   : !may_be_named(pick)                 ? E_INVALIDARG
                                                         : fault("AddComponent");
    if (SUCCEEDED(code))
        backup->picks[backup->pick_count++] = pick;
    return said("AddComponent", code, "%s \"%ls\" \"%ls\"", type_name(type), path ? path : L"", name);
}

static BOOL is_in_set(struct backup *backup, const WCHAR *path)
{
    /* Windows takes a path with this in front, and slashes of either kind. */
    const WCHAR *plain = wcsncmp(path, L"\\\\?\\", 4) ? path : path + 4;
    for (UINT index = 0; index < backup->volume_count; index++) {
        const WCHAR *root = backup->volumes[index].root;
        size_t len = wcslen(root) - 1;
        if (!_wcsnicmp(plain, root, len) && wcschr(L"\\/", plain[len]))
            return TRUE;
    }
    note("WRONG: %ls belongs to a component of the backup and isn't in the set", path);
    return FALSE;
}

BOOL is_covered(struct backup *backup, struct pick pick)
{
    BOOL is_so = TRUE;
    for (UINT index = 0; index < pick.writer->component_count; index++) {
        struct component *one = &pick.writer->components[index];
        if (one != pick.component && !is_above(pick.component, one))
            continue;
        for (UINT file = 0; file < one->file_count; file++)
            is_so = is_in_set(backup, one->files[file].path) && is_so;
        for (UINT file = 0; file < one->log_count; file++)
            is_so = is_in_set(backup, one->logs[file].path) && is_so;
    }
    return is_so;
}

HRESULT STDMETHODCALLTYPE set_succeeded(IVssBackupComponents *face, VSS_ID instance, VSS_ID id,
                                               VSS_COMPONENT_TYPE type, LPCWSTR path, LPCWSTR name, boolean succeeded)
{
    struct backup *backup = of(face);
    MUST(backup->is_made && !backup->is_told, "SetBackupSucceeded");
    struct pick pick = found(&instance, &id, type, path, name);
    HRESULT code = pick.component && is_picked(backup, pick.component) ? fault("SetBackupSucceeded") : VSS_E_OBJECT_NOT_FOUND;
    return said("SetBackupSucceeded", code, "%s \"%ls\" \"%ls\" %s", type_name(type), path ? path : L"", name,
                succeeded ? "yes" : "no");
}
