/* What the library gives out, and its end. */
#define INITGUID
#include "fake.h"
#include <stdlib.h>

/* As wine's own where there's no script. */
__declspec(dllexport) HRESULT STDAPICALLTYPE CreateVssBackupComponentsInternal(IVssBackupComponents **out)
{
    const char *call = "CreateVssBackupComponentsInternal";
    if (!script())
        return E_NOTIMPL;
    HRESULT code = fault(call);
    return said(call, SUCCEEDED(code) ? new_backup(out) : code, "");
}

__declspec(dllexport) void APIENTRY VssFreeSnapshotPropertiesInternal(VSS_SNAPSHOT_PROP *properties)
{
    free(properties->m_pwszSnapshotDeviceObject);
    free(properties->m_pwszOriginalVolumeName);
    freed(PROPERTIES);
}

BOOL WINAPI DllMain(HINSTANCE library, DWORD reason, void *reserved)
{
    (void)library, (void)reserved;
    if (reason == DLL_PROCESS_DETACH && !tell_leaks())
        note("nothing leaked");
    return TRUE;
}
