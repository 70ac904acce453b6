/* One backup, as backup.c and picks.c see it. */
#ifndef BACKUP_H
#define BACKUP_H

#include "fake.h"

#define PICKS_MAX (WRITERS_MAX * COMPONENTS_MAX)

struct volume {
    WCHAR name[TEXT_MAX], root[TEXT_MAX], device[TEXT_MAX];
    GUID snapshot;
};

struct pick {
    struct writer *writer;
    struct component *component;
};

struct backup {
    IVssBackupComponents face;
    LONG count;
    LONG context;
    GUID set;
    BOOL is_initialized, has_context, has_state, has_metadata, is_begun, is_prepared, is_made, is_told, is_complete,
        has_status;
    struct volume volumes[VOLUMES_MAX];
    struct pick picks[PICKS_MAX];
    BOOL failed[WRITERS_MAX];
    UINT volume_count, pick_count;
};

static inline struct backup *of(IVssBackupComponents *face) { return (struct backup *)face; }
static inline BOOL asks_writers(struct backup *backup) { return !(backup->context & VSS_VOLSNAP_ATTR_NO_WRITERS); }

#define MUST(is_so, call)                                                                                        \
    if (!(is_so))                                                                                                \
    return said(call, VSS_E_BAD_STATE, "OUT OF ORDER")

static inline const char *type_name(VSS_COMPONENT_TYPE type) { return type == VSS_CT_DATABASE ? "database" : "files"; }

/* picks.c: the components that take part. */
HRESULT STDMETHODCALLTYPE add_component(IVssBackupComponents *face, VSS_ID instance, VSS_ID id, VSS_COMPONENT_TYPE type,
                                        LPCWSTR path, LPCWSTR name);
HRESULT STDMETHODCALLTYPE set_succeeded(IVssBackupComponents *face, VSS_ID instance, VSS_ID id, VSS_COMPONENT_TYPE type,
                                        LPCWSTR path, LPCWSTR name, boolean succeeded);
/* Whether all files of a component and of what's below it are in the set. */
BOOL is_covered(struct backup *backup, struct pick pick);

#endif
