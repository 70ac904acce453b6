/* A snapshot of a volume is a copy of its folders and files. */
#include "fake.h"
#include <stdio.h>

BOOL drive_of(const WCHAR *volume, WCHAR root[TEXT_MAX])
{
    DWORD len;
    size_t end = wcslen(volume);
    /* Windows wants the backslash at the end, and so must a fake. */
    if (!end || volume[end - 1] != '\\')
        return FALSE;
    return GetVolumePathNamesForVolumeNameW(volume, root, TEXT_MAX, &len) && *root;
}

static void copy_folder(const WCHAR *from, const WCHAR *to)
{
    WCHAR one[1024], other[1024];
    WIN32_FIND_DATAW found;
    CreateDirectoryW(to, NULL);
    swprintf(one, 1024, L"%ls\\*", from);
    HANDLE search = FindFirstFileW(one, &found);
    if (search == INVALID_HANDLE_VALUE)
        return;
    do {
        if (!wcscmp(found.cFileName, L".") || !wcscmp(found.cFileName, L".."))
            continue;
        swprintf(one, 1024, L"%ls\\%ls", from, found.cFileName);
        swprintf(other, 1024, L"%ls\\%ls", to, found.cFileName);
        if (found.dwFileAttributes & FILE_ATTRIBUTE_REPARSE_POINT)
            continue;
        if (found.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY)
            copy_folder(one, other);
        else
            CopyFileW(one, other, TRUE);
    } while (FindNextFileW(search, &found));
    FindClose(search);
}

BOOL copy_volume(const WCHAR *root, WCHAR device[TEXT_MAX])
{
    WCHAR from[TEXT_MAX];
    swprintf(from, TEXT_MAX, L"\\\\?\\%ls", root);
    from[wcslen(from) - 1] = 0;
    CreateDirectoryW(script()->snapshots, NULL);
    for (UINT number = 1; number < 1000; number++) {
        swprintf(device, TEXT_MAX, L"\\\\?\\%ls\\HarddiskVolumeShadowCopy%u", script()->snapshots, number);
        if (CreateDirectoryW(device, NULL)) {
            copy_folder(from, device);
            return TRUE;
        }
    }
    return FALSE;
}

void delete_copy(const WCHAR *device)
{
    WCHAR one[1024];
    WIN32_FIND_DATAW found;
    swprintf(one, 1024, L"%ls\\*", device);
    HANDLE search = FindFirstFileW(one, &found);
    if (search != INVALID_HANDLE_VALUE) {
        do {
            if (!wcscmp(found.cFileName, L".") || !wcscmp(found.cFileName, L".."))
                continue;
            swprintf(one, 1024, L"%ls\\%ls", device, found.cFileName);
            SetFileAttributesW(one, FILE_ATTRIBUTE_NORMAL);
            if (found.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY)
                delete_copy(one);
            else
                DeleteFileW(one);
        } while (FindNextFileW(search, &found));
        FindClose(search);
    }
    RemoveDirectoryW(device);
}
