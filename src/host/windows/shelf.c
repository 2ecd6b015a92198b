/* SPDX-License-Identifier: MIT */
#include "host/windows/shelf.h"

#include <string.h>

bool np_shelf_find(struct np_arena *arena, enum np_place place, struct np_shelf *ret)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    const char *ledger = NULL;
    bool there = false;
    *ret = (struct np_shelf){.place = place, .trust = np_guard_trust(arena, place)};
    if (place == NP_PLACE_MACHINE)
        ledger = np_host_machine_ledger(arena);
    else if (np_host_user_ledger(arena, &ledger, &err) != NEXTPORT_OK)
        return false;
    if (np_guard_full_path(arena, ledger, &ledger, &err) != NEXTPORT_OK ||
        np_guard_vet_above(ledger, &ret->trust, &err) != NEXTPORT_OK)
        return false;
    ret->folder = np_strndup(arena, ledger, (size_t)(strrchr(ledger, '/') - ledger));
    return np_guard_vet(ret->folder, true, &ret->trust, false, &there, &err) == NEXTPORT_OK && there;
}

static wchar_t *path_in(struct np_arena *arena, const struct np_shelf *shelf, const char *name)
{
    return np_wide_path(arena, np_sprintf(arena, "%s/%s", shelf->folder, name));
}

/* Members of the group may lease ports; what counts as evidence is not theirs to say. */
static bool is_sound(HANDLE file, const char *name, const struct np_shelf *shelf)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    const struct np_trust trust = {.user = shelf->trust.user};
    return np_guard_vet_handle(file, name, false, &trust, false, &err) == NEXTPORT_OK;
}

bool np_shelf_read(struct np_arena *arena, const struct np_shelf *shelf, const char *name, struct np_text *ret)
{
    enum { LIMIT = 1 << 20 };
    const wchar_t *path = path_in(arena, shelf, name);
    HANDLE file = path ? CreateFileW(path, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
                                     OPEN_EXISTING, FILE_FLAG_OPEN_REPARSE_POINT, NULL)
                       : INVALID_HANDLE_VALUE;
    if (file == INVALID_HANDLE_VALUE)
        return false;
    LARGE_INTEGER size;
    DWORD n = 0;
    bool ok = is_sound(file, name, shelf) && GetFileSizeEx(file, &size) && size.QuadPart > 0 && size.QuadPart <= LIMIT;
    if (ok) {
        char *bytes = np_alloc(arena, (size_t)size.QuadPart);
        ok = ReadFile(file, bytes, (DWORD)size.QuadPart, &n, NULL) && n == (DWORD)size.QuadPart;
        *ret = (struct np_text){bytes, n};
    }
    CloseHandle(file);
    return ok;
}

/* A new file, never one that is there: it could be a link that a member of the group laid for an administrator. What a
 * writer that was killed has left is removed; what another one has open just now cannot be. Its rights are its own from
 * the first moment, not those that the folder gives. */
static HANDLE make_new(struct np_arena *arena, const wchar_t *path, enum np_place place)
{
    SECURITY_ATTRIBUTES with = {.nLength = sizeof with,
                                .lpSecurityDescriptor = np_guard_promise(arena, place, NP_PROMISED_FILE, NULL)};
    if (!with.lpSecurityDescriptor)
        return INVALID_HANDLE_VALUE;
    HANDLE file = CreateFileW(path, GENERIC_WRITE, 0, &with, CREATE_NEW, FILE_FLAG_OPEN_REPARSE_POINT, NULL);
    if (file == INVALID_HANDLE_VALUE && GetLastError() == ERROR_FILE_EXISTS && DeleteFileW(path))
        file = CreateFileW(path, GENERIC_WRITE, 0, &with, CREATE_NEW, FILE_FLAG_OPEN_REPARSE_POINT, NULL);
    return file;
}

/* While somebody reads the old file, it may refuse to be replaced. */
static bool replace(const wchar_t *made, const wchar_t *path)
{
    enum { TRIES = 20, PAUSE_MS = 5 };
    for (int i = 0; i < TRIES; i++) {
        if (MoveFileExW(made, path, MOVEFILE_REPLACE_EXISTING))
            return true;
        DWORD reason = GetLastError();
        if (reason != ERROR_ACCESS_DENIED && reason != ERROR_SHARING_VIOLATION)
            break;
        np_host_pause_ms(PAUSE_MS);
    }
    return false;
}

bool np_shelf_write(struct np_arena *arena, const struct np_shelf *shelf, const char *name, struct np_text text)
{
    const wchar_t *path = path_in(arena, shelf, name), *made = path_in(arena, shelf, np_sprintf(arena, "%s-new", name));
    HANDLE file = path && made ? make_new(arena, made, shelf->place) : INVALID_HANDLE_VALUE;
    if (file == INVALID_HANDLE_VALUE)
        return false;
    DWORD n = 0;
    bool ok = WriteFile(file, text.ptr, (DWORD)text.len, &n, NULL) && n == text.len && FlushFileBuffers(file);
    ok = CloseHandle(file) && ok;
    ok = ok && replace(made, path);
    if (!ok)
        DeleteFileW(made);
    return ok;
}

bool np_shelf_remove(struct np_arena *arena, const struct np_shelf *shelf, const char *name)
{
    const wchar_t *path = path_in(arena, shelf, name);
    return path && (DeleteFileW(path) || GetLastError() == ERROR_FILE_NOT_FOUND);
}

bool np_shelf_has(struct np_arena *arena, const struct np_shelf *shelf, const char *name)
{
    const wchar_t *path = path_in(arena, shelf, name);
    return !path || GetFileAttributesW(path) != INVALID_FILE_ATTRIBUTES || GetLastError() != ERROR_FILE_NOT_FOUND;
}
