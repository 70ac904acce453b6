/* A vssapi.dll for tests under wine, which has none that works. Its interfaces come from mingw's vsbackup.h, vswriter.h
 * and vss.h, so that the agent's own idea of them is checked against somebody else's. See README.md. */
#ifndef FAKE_H
#define FAKE_H

#define CINTERFACE
#define COBJMACROS
#include <windows.h>
#include <vss.h>
#include <vswriter.h>
#include <vsbackup.h>
#include <vsserror.h>

#define TEXT_MAX 260
#define FILES_MAX 8
#define COMPONENTS_MAX 12
#define WRITERS_MAX 12
#define FAULTS_MAX 12
#define VOLUMES_MAX 12
#define FOR_EVER (-1)

struct file_spec {
    WCHAR path[TEXT_MAX], pattern[TEXT_MAX];
    BOOL is_recursive;
};

struct component {
    VSS_COMPONENT_TYPE type;
    WCHAR logical_path[TEXT_MAX], name[TEXT_MAX];
    BOOL is_selectable;
    struct file_spec files[FILES_MAX], logs[FILES_MAX];
    UINT file_count, log_count;
};

struct writer {
    WCHAR name[TEXT_MAX];
    GUID id, instance;
    VSS_USAGE_TYPE usage;
    struct component components[COMPONENTS_MAX];
    struct file_spec excludes[FILES_MAX];
    UINT component_count, exclude_count;
    /* How it fails, if it does, and in how many backups yet. */
    VSS_WRITER_STATE state;
    HRESULT failure;
    int times;
};

/* What goes wrong with a call. */
struct fault {
    char call[64];
    HRESULT code;
    BOOL hangs;
    int times;
};

struct script {
    WCHAR snapshots[TEXT_MAX];
    WCHAR unsupported[VOLUMES_MAX][TEXT_MAX], full[VOLUMES_MAX][TEXT_MAX];
    struct writer writers[WRITERS_MAX];
    struct fault faults[FAULTS_MAX];
    UINT unsupported_count, full_count, writer_count, fault_count;
};

/* script.c: what COFFER_FAKE_VSS_SCRIPT says; NULL where it isn't set. Read once for each path. */
struct script *script(void);
/* The code that this call fails with now; S_OK where it doesn't. */
HRESULT fault(const char *call);
BOOL hangs(const char *call);

/* log.c: one line for each call into the file that COFFER_FAKE_VSS_LOG names. Gives the code back. */
HRESULT said(const char *call, HRESULT code, const char *form, ...);
void note(const char *form, ...);
enum kind { A_BACKUP, AN_ASYNC, A_WRITER, A_COMPONENT, A_FILE, AN_INFO, PROPERTIES, KINDS };
void made(enum kind kind);
void freed(enum kind kind);
/* Tells what's still held; whether there's any. */
BOOL tell_leaks(void);

/* async.c: something under way; `finish` is called once, when it's done. */
typedef HRESULT (*finish_fn)(void *owner);
HRESULT begin(const char *call, IUnknown *owner, finish_fn finish, IVssAsync **out);

/* writer.c: a writer as it describes itself. */
HRESULT describe(struct writer *writer, IVssExamineWriterMetadata **out);
BOOL is_above(const struct component *one, const struct component *other);

/* snapshots.c: copies of volumes. */
BOOL drive_of(const WCHAR *volume, WCHAR root[TEXT_MAX]);
BOOL copy_volume(const WCHAR *root, WCHAR device[TEXT_MAX]);
void delete_copy(const WCHAR *device);

/* backup.c */
HRESULT new_backup(IVssBackupComponents **out);

/* Stands where the agent has no business. */
HRESULT STDMETHODCALLTYPE never(void);

#endif
