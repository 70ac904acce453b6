/* IVssExamineWriterMetadata, IVssWMComponent and IVssWMFiledesc: what the script says a writer has. */
#include "fake.h"
#include <stdio.h>

#define OBJECT(name, interface_name, of, kind)                                                                   \
    struct name {                                                                                                \
        interface_name face;                                                                                     \
        LONG count;                                                                                              \
        struct of *what;                                                                                         \
    };                                                                                                           \
    static HRESULT STDMETHODCALLTYPE name##_query(interface_name *face, REFIID id, void **out)                   \
    {                                                                                                            \
        (void)face, (void)id;                                                                                    \
        *out = NULL;                                                                                             \
        return E_NOINTERFACE;                                                                                    \
    }                                                                                                            \
    static ULONG STDMETHODCALLTYPE name##_add_ref(interface_name *face)                                          \
    {                                                                                                            \
        return InterlockedIncrement(&((struct name *)face)->count);                                              \
    }                                                                                                            \
    static ULONG STDMETHODCALLTYPE name##_release(interface_name *face)                                          \
    {                                                                                                            \
        LONG count = InterlockedDecrement(&((struct name *)face)->count);                                        \
        if (!count) {                                                                                            \
            freed(kind);                                                                                         \
            HeapFree(GetProcessHeap(), 0, face);                                                                 \
        }                                                                                                        \
        return count;                                                                                            \
    }                                                                                                            \
    static HRESULT new_##name(CONST_VTBL interface_name##Vtbl *table, struct of *what, interface_name **out)     \
    {                                                                                                            \
        struct name *object = HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, sizeof *object);                     \
        object->face.lpVtbl = table;                                                                             \
        object->count = 1;                                                                                       \
        object->what = what;                                                                                     \
        made(kind);                                                                                              \
        *out = &object->face;                                                                                    \
        return S_OK;                                                                                             \
    }

OBJECT(file_object, IVssWMFiledesc, file_spec, A_FILE)
OBJECT(component_object, IVssWMComponent, component, A_COMPONENT)
OBJECT(writer_object, IVssExamineWriterMetadata, writer, A_WRITER)

static struct file_spec *spec_of(IVssWMFiledesc *face) { return ((struct file_object *)face)->what; }

static HRESULT STDMETHODCALLTYPE get_path(IVssWMFiledesc *face, BSTR *out)
{
    *out = SysAllocString(spec_of(face)->path);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE get_filespec(IVssWMFiledesc *face, BSTR *out)
{
    *out = SysAllocString(spec_of(face)->pattern);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE get_recursive(IVssWMFiledesc *face, boolean *out)
{
    *out = (boolean)spec_of(face)->is_recursive;
    return S_OK;
}

static CONST_VTBL IVssWMFiledescVtbl FILE_TABLE = {
    .QueryInterface = file_object_query,
    .AddRef = file_object_add_ref,
    .Release = file_object_release,
    .GetPath = get_path,
    .GetFilespec = get_filespec,
    .GetRecursive = get_recursive,
    .GetAlternateLocation = (void *)never,
    .GetBackupTypeMask = (void *)never,
};

static HRESULT give_file(struct file_spec *files, UINT count, UINT index, IVssWMFiledesc **out)
{
    return index < count ? new_file_object(&FILE_TABLE, &files[index], out) : VSS_E_OBJECT_NOT_FOUND;
}

static struct component *component_of(IVssWMComponent *face) { return ((struct component_object *)face)->what; }

static HRESULT STDMETHODCALLTYPE get_info(IVssWMComponent *face, PVSSCOMPONENTINFO *out)
{
    struct component *component = component_of(face);
    VSS_COMPONENTINFO *info = HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, sizeof *info);
    BOOL is_database = component->type == VSS_CT_DATABASE;
    info->type = component->type;
    info->bstrLogicalPath = *component->logical_path ? SysAllocString(component->logical_path) : NULL;
    info->bstrComponentName = SysAllocString(component->name);
    info->bstrCaption = SysAllocString(L"as the script has it");
    info->bSelectable = (boolean)component->is_selectable;
    info->bSelectableForRestore = TRUE;
    info->cFileCount = is_database ? 0 : component->file_count;
    info->cDatabases = is_database ? component->file_count : 0;
    info->cLogFiles = component->log_count;
    made(AN_INFO);
    *out = info;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE free_info(IVssWMComponent *face, PVSSCOMPONENTINFO info)
{
    (void)face;
    SysFreeString(info->bstrLogicalPath);
    SysFreeString(info->bstrComponentName);
    SysFreeString(info->bstrCaption);
    HeapFree(GetProcessHeap(), 0, (void *)info);
    freed(AN_INFO);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE get_file(IVssWMComponent *face, UINT index, IVssWMFiledesc **out)
{
    struct component *component = component_of(face);
    UINT count = component->type == VSS_CT_FILEGROUP ? component->file_count : 0;
    return give_file(component->files, count, index, out);
}

static HRESULT STDMETHODCALLTYPE get_database(IVssWMComponent *face, UINT index, IVssWMFiledesc **out)
{
    struct component *component = component_of(face);
    UINT count = component->type == VSS_CT_DATABASE ? component->file_count : 0;
    return give_file(component->files, count, index, out);
}

static HRESULT STDMETHODCALLTYPE get_log(IVssWMComponent *face, UINT index, IVssWMFiledesc **out)
{
    struct component *component = component_of(face);
    return give_file(component->logs, component->log_count, index, out);
}

static CONST_VTBL IVssWMComponentVtbl COMPONENT_TABLE = {
    .QueryInterface = component_object_query,
    .AddRef = component_object_add_ref,
    .Release = component_object_release,
    .GetComponentInfo = get_info,
    .FreeComponentInfo = free_info,
    .GetFile = get_file,
    .GetDatabaseFile = get_database,
    .GetDatabaseLogFile = get_log,
    .GetDependency = (void *)never,
};

static struct writer *writer_of(IVssExamineWriterMetadata *face) { return ((struct writer_object *)face)->what; }

static HRESULT STDMETHODCALLTYPE get_identity(IVssExamineWriterMetadata *face, VSS_ID *instance, VSS_ID *id, BSTR *name,
                                              VSS_USAGE_TYPE *usage, VSS_SOURCE_TYPE *source)
{
    struct writer *writer = writer_of(face);
    *instance = writer->instance;
    *id = writer->id;
    *name = SysAllocString(writer->name);
    *usage = writer->usage;
    *source = VSS_ST_TRANSACTEDDB;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE get_counts(IVssExamineWriterMetadata *face, UINT *included, UINT *excluded,
                                            UINT *components)
{
    *included = 0;
    *excluded = writer_of(face)->exclude_count;
    *components = writer_of(face)->component_count;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE get_exclude(IVssExamineWriterMetadata *face, UINT index, IVssWMFiledesc **out)
{
    return give_file(writer_of(face)->excludes, writer_of(face)->exclude_count, index, out);
}

static HRESULT STDMETHODCALLTYPE get_component(IVssExamineWriterMetadata *face, UINT index, IVssWMComponent **out)
{
    struct writer *writer = writer_of(face);
    return index < writer->component_count
               ? new_component_object(&COMPONENT_TABLE, &writer->components[index], out)
               : VSS_E_OBJECT_NOT_FOUND;
}

static HRESULT STDMETHODCALLTYPE save_writer(IVssExamineWriterMetadata *face, BSTR *out)
{
    WCHAR text[1024];
    swprintf(text, 1024, L"<WRITER_METADATA friendlyName=\"%ls\"/>", writer_of(face)->name);
    *out = SysAllocString(text);
    return said("WriterMetadata.SaveAsXML", S_OK, "\"%ls\"", writer_of(face)->name);
}

static CONST_VTBL IVssExamineWriterMetadataVtbl WRITER_TABLE = {
    .QueryInterface = writer_object_query,
    .AddRef = writer_object_add_ref,
    .Release = writer_object_release,
    .GetIdentity = get_identity,
    .GetFileCounts = get_counts,
    .GetIncludeFile = (void *)never,
    .GetExcludeFile = get_exclude,
    .GetComponent = get_component,
    .GetRestoreMethod = (void *)never,
    .GetAlternateLocationMapping = (void *)never,
    .GetBackupSchema = (void *)never,
    .GetDocument = (void *)never,
    .SaveAsXML = save_writer,
    .LoadFromXML = (void *)never,
};

HRESULT describe(struct writer *writer, IVssExamineWriterMetadata **out)
{
    return new_writer_object(&WRITER_TABLE, writer, out);
}

BOOL is_above(const struct component *one, const struct component *other)
{
    WCHAR full[2 * TEXT_MAX];
    size_t len = (size_t)swprintf(full, 2 * TEXT_MAX, L"%ls%ls%ls", one->logical_path, *one->logical_path ? L"\\" : L"",
                                  one->name);
    return !_wcsnicmp(other->logical_path, full, len) && (!other->logical_path[len] || other->logical_path[len] == '\\');
}
