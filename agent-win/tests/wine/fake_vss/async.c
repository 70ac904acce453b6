/* IVssAsync: done at the first wait, or never. */
#include "fake.h"

struct async {
    IVssAsync face;
    LONG count;
    const char *call;
    IUnknown *owner;
    finish_fn finish;
    BOOL is_done, is_cancelled, hangs;
    HRESULT result;
};

static HRESULT STDMETHODCALLTYPE query(IVssAsync *face, REFIID id, void **out)
{
    (void)face, (void)id;
    *out = NULL;
    return E_NOINTERFACE;
}

static ULONG STDMETHODCALLTYPE add_ref(IVssAsync *face) { return InterlockedIncrement(&((struct async *)face)->count); }

static ULONG STDMETHODCALLTYPE release(IVssAsync *face)
{
    struct async *async = (struct async *)face;
    LONG count = InterlockedDecrement(&async->count);
    if (count)
        return count;
    if (!async->is_done && !async->is_cancelled)
        note("WRONG: %s was let go while it was under way", async->call);
    async->owner->lpVtbl->Release(async->owner);
    freed(AN_ASYNC);
    HeapFree(GetProcessHeap(), 0, async);
    return 0;
}

static HRESULT STDMETHODCALLTYPE cancel(IVssAsync *face)
{
    struct async *async = (struct async *)face;
    async->is_cancelled = !async->is_done;
    return said("Cancel", S_OK, "%s", async->call);
}

static HRESULT STDMETHODCALLTYPE wait(IVssAsync *face, DWORD wait_ms)
{
    struct async *async = (struct async *)face;
    if (async->is_done || async->is_cancelled)
        return S_OK;
    if (async->hangs) {
        Sleep(wait_ms);
        return S_OK;
    }
    async->is_done = TRUE;
    async->result = fault(async->call);
    if (SUCCEEDED(async->result))
        async->result = async->finish(async->owner);
    said(async->call, async->result, "ended");
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE query_status(IVssAsync *face, HRESULT *result, INT *reserved)
{
    struct async *async = (struct async *)face;
    if (!result || reserved)
        return said("QueryStatus", E_INVALIDARG, "%s", async->call);
    *result = async->is_cancelled                       ? VSS_S_ASYNC_CANCELLED
              : !async->is_done                         ? VSS_S_ASYNC_PENDING
              : FAILED(async->result)                   ? async->result
                                                        : VSS_S_ASYNC_FINISHED;
    return S_OK;
}

static CONST_VTBL IVssAsyncVtbl TABLE = {query, add_ref, release, cancel, wait, query_status};

HRESULT begin(const char *call, IUnknown *owner, finish_fn finish, IVssAsync **out)
{
    struct async *async = HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, sizeof *async);
    async->face.lpVtbl = &TABLE;
    async->count = 1;
    async->call = call;
    async->owner = owner;
    async->finish = finish;
    async->hangs = hangs(call);
    owner->lpVtbl->AddRef(owner);
    made(AN_ASYNC);
    *out = &async->face;
    return said(call, S_OK, "");
}
