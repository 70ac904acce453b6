/* What was called, and what was never given back. */
#include "fake.h"
#include <stdarg.h>
#include <stdio.h>

static LONG live[KINDS];
static const char *const NAMES[KINDS] = {"backup", "async", "writer", "component", "file", "info", "properties"};

static void write_line(const char *line)
{
    WCHAR path[TEXT_MAX];
    DWORD len = GetEnvironmentVariableW(L"COFFER_FAKE_VSS_LOG", path, TEXT_MAX), written;
    if (!len || len >= TEXT_MAX)
        return;
    HANDLE file = CreateFileW(path, FILE_APPEND_DATA, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_ALWAYS, 0, NULL);
    if (file == INVALID_HANDLE_VALUE)
        return;
    WriteFile(file, line, (DWORD)strlen(line), &written, NULL);
    CloseHandle(file);
}

HRESULT said(const char *call, HRESULT code, const char *form, ...)
{
    char detail[1024] = "", line[1200];
    va_list words;
    va_start(words, form);
    vsnprintf(detail, sizeof detail, form, words);
    va_end(words);
    snprintf(line, sizeof line, "%s%s%s -> 0x%08lX\n", call, *detail ? " " : "", detail, (unsigned long)code);
    write_line(line);
    return code;
}

void note(const char *form, ...)
{
    char text[1024], line[1100];
    va_list words;
    va_start(words, form);
    vsnprintf(text, sizeof text, form, words);
    va_end(words);
    snprintf(line, sizeof line, "%s\n", text);
    write_line(line);
}

void made(enum kind kind) { InterlockedIncrement(&live[kind]); }
void freed(enum kind kind) { InterlockedDecrement(&live[kind]); }

BOOL tell_leaks(void)
{
    BOOL any = FALSE;
    for (int kind = 0; kind < KINDS; kind++)
        if (live[kind]) {
            note("LEAKED %ld %s", live[kind], NAMES[kind]);
            any = TRUE;
        }
    return any;
}

HRESULT STDMETHODCALLTYPE never(void) { return said("a function that the agent has no business with", E_NOTIMPL, ""); }
