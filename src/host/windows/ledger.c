/* The ledger's file and folder: who may own them, who may write them, and how they are made so (guard.c weighs rights).
 *
 * Looking by name is safe where it counts: once a folder and all above it can be changed only by those who are trusted,
 * nobody else can exchange what was looked at.
 * SPDX-License-Identifier: MIT */
#include "host/windows/guard.h"

#include <initguid.h> /* FOLDERID_... are defined here */

#include <knownfolders.h>
#include <lm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

/* The ledger itself first. */
static const struct neighbour {
    const char *suffix;
    bool holds_data; /* leases that the ledger lacks: without it they would be lost */
    enum np_promised promised;
} neighbours[] = {{"", false, NP_PROMISED_FILE},
                  {"-wal", true, NP_PROMISED_NEIGHBOUR},
                  {"-shm", false, NP_PROMISED_NEIGHBOUR},
                  {"-journal", true, NP_PROMISED_NEIGHBOUR},
                  {"-lock", false, NP_PROMISED_LOCK}};

#define N_NEIGHBOURS (sizeof neighbours / sizeof *neighbours)

/* ---- Names --------------------------------------------------------------------------------------------------- */

const char *np_host_machine_ledger(struct np_arena *arena)
{
    const char *folder = np_known_folder(arena, &FOLDERID_ProgramData);
    if (!folder) { /* any guess could be a folder that a stranger made */
        fputs("nextport: Windows does not tell where programs keep their data\n", stderr);
        abort();
    }
    return np_sprintf(arena, "%s/nextport/ledger.db", folder);
}

bool np_host_is_machine_ledger(const char *path)
{
    struct np_arena *arena = np_arena_new();
    const wchar_t *given = np_wide_path(arena, path), *machine = np_wide_path(arena, np_host_machine_ledger(arena));
    const bool same = given && machine && CompareStringOrdinal(given, -1, machine, -1, TRUE) == CSTR_EQUAL;
    np_arena_free(arena);
    return same;
}

enum nextport_status np_host_user_ledger(struct np_arena *arena, const char **ret, struct nextport_error *err)
{
    const char *folder = np_known_folder(arena, &FOLDERID_LocalAppData);
    if (!folder) {
        np_fail(err, NEXTPORT_FAILED, "find the ledger of this user: the system names no folder for local data");
        np_hint(err, "Name the file with --ledger.");
        return NEXTPORT_FAILED;
    }
    *ret = np_sprintf(arena, "%s/nextport/ledger.db", folder);
    return NEXTPORT_OK;
}

/* With the prefix only where it is needed: SQLite takes "\\" for a network's path, and locks differently there. */
const char *np_host_sqlite_path(struct np_arena *arena, const char *path)
{
    enum { PREFIX = 4, LONGEST_SUFFIX = sizeof "-journal" - 1 }; /* \\?\ */
    const wchar_t *wide = np_wide_path(arena, path);
    if (!wide)
        return path;
    const bool is_short = wide[PREFIX + 1] == L':' && wcslen(wide + PREFIX) + LONGEST_SUFFIX < MAX_PATH;
    return np_narrow(arena, is_short ? wide + PREFIX : wide);
}

/* One ledger while it is looked at. */
struct place {
    struct np_arena *arena;
    enum np_place kind;
    struct np_trust trust;
    const char *path, *folder; /* "C:/x/ledger.db", "C:/x" */
};

static enum nextport_status place_open(struct place *ret, const char *path, enum np_place kind,
                                       struct nextport_error *err)
{
    struct np_arena *arena = np_arena_new();
    *ret = (struct place){.arena = arena, .kind = kind};
    enum nextport_status status = np_guard_full_path(arena, path, &ret->path, err);
    if (status != NEXTPORT_OK)
        return status;
    const size_t length = (size_t)(strrchr(ret->path, '/') - ret->path);
    ret->folder = np_strndup(arena, ret->path, length == 2 ? 3 : length);
    ret->trust = np_guard_trust(arena, kind);
    return NEXTPORT_OK;
}

static enum nextport_status place_close(struct place *place, enum nextport_status status)
{
    np_arena_free(place->arena);
    return status;
}

static const char *neighbour_path(const struct place *place, size_t i)
{
    return np_sprintf(place->arena, "%s%s", place->path, neighbours[i].suffix);
}

/* ---- Vetting ------------------------------------------------------------------------------------------------- */

/* The folder and all above it. *ret_there: the folder exists. That a user's is closed to readers is asked of the folder
 * alone: the files in it get their rights from it. */
static enum nextport_status vet_folder(const struct place *place, bool *ret_there, struct nextport_error *err)
{
    struct np_trust trust = place->trust;
    trust.kind = place->kind == NP_PLACE_USER ? NP_GUARD_PRIVATE : NP_GUARD_WRITERS;
    *ret_there = false;
    enum nextport_status status = np_guard_vet_above(place->folder, &place->trust, err);
    if (status == NEXTPORT_OK)
        status = np_guard_vet(place->folder, true, &trust, false, ret_there, err);
    if (status != NEXTPORT_OK && place->kind == NP_PLACE_MACHINE) {
        const char *hint = np_strdup(place->arena, err->hint);
        err->hint[0] = '\0';
        np_hint(err, "%s (Until then setup is refused too; --config NUL leaves the machine's configuration out.)",
                hint);
    }
    return status;
}

static enum nextport_status without_ledger(const char *file, struct nextport_error *err)
{
    np_fail(err, NEXTPORT_LEDGER, "%s: there is no ledger to it, and it holds leases", file);
    np_hint(err, "Put the ledger back beside it (from a backup); only if the leases may be lost, move this file away.");
    return NEXTPORT_LEDGER;
}

/* What cannot be measured counts as full. */
static bool has_content(struct np_arena *arena, const char *file)
{
    WIN32_FILE_ATTRIBUTE_DATA data;
    return !GetFileAttributesExW(np_wide_path(arena, file), GetFileExInfoStandard, &data) || data.nFileSizeHigh > 0 ||
           data.nFileSizeLow > 0;
}

/* Who made -wal and the like owns them; only those can, in that folder, who may. Not -lock: readers may not even look at
 * it, and need not, and np_lock_take() judges what it opened. */
static enum nextport_status vet_files(const struct place *place, bool *ret_present, struct nextport_error *err)
{
    for (size_t i = 0; i < N_NEIGHBOURS; i++) {
        const char *file = neighbour_path(place, i);
        const bool any_owner = i > 0 && place->kind != NP_PLACE_USER;
        bool there;
        if (neighbours[i].promised == NP_PROMISED_LOCK)
            continue;
        enum nextport_status status = np_guard_vet(file, false, &place->trust, any_owner, &there, err);
        if (status != NEXTPORT_OK)
            return status;
        if (i == 0)
            *ret_present = there;
        else if (there && !*ret_present && neighbours[i].holds_data && has_content(place->arena, file))
            return without_ledger(file, err);
    }
    return NEXTPORT_OK;
}

/* Rights depend on groups, rules and privileges: the system is asked by opening. To close again drops no locks, which on
 * Windows belong to the handle. 0, or the system's reason. */
static DWORD try_open(struct np_arena *arena, const char *path, DWORD access)
{
    HANDLE handle =
        CreateFileW(np_wide_path(arena, path), access, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
                    OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT, NULL);
    const DWORD reason = handle == INVALID_HANDLE_VALUE ? GetLastError() : 0;
    if (!reason)
        CloseHandle(handle);
    return reason;
}

static enum nextport_status vet_access(const struct place *place, bool write, bool present, struct nextport_error *err)
{
    const DWORD file_access = FILE_READ_DATA | (write ? FILE_WRITE_DATA | FILE_APPEND_DATA : 0);
    DWORD reason = present ? try_open(place->arena, place->path, file_access) : 0;
    if (reason)
        return np_guard_cannot(err, reason, write ? "write" : "read", place->path);
    reason = write ? try_open(place->arena, place->folder, FILE_ADD_FILE) : 0;
    return reason ? np_guard_cannot(err, reason, "write to folder", place->folder) : NEXTPORT_OK;
}

enum nextport_status np_host_ledger_vet(const char *path, enum np_place kind, bool write, bool *ret_present,
                                        struct nextport_error *err)
{
    struct place place;
    bool there = false;
    *ret_present = false;
    enum nextport_status status = place_open(&place, path, kind, err);
    if (status == NEXTPORT_OK)
        status = vet_folder(&place, &there, err);
    if (status == NEXTPORT_OK && there)
        status = vet_files(&place, ret_present, err);
    if (status == NEXTPORT_OK && there)
        status = vet_access(&place, write, *ret_present, err);
    return place_close(&place, status);
}

/* Everyone may make that folder, so its name alone says nothing: who could write it could say where the ledger is. */
static const char *config_of(const struct place *place)
{
    return np_sprintf(place->arena, "%s/nextport.conf", place->folder);
}

enum nextport_status np_host_config_file(struct np_arena *arena, const char **ret, struct nextport_error *err)
{
    struct place place;
    bool there = false;
    enum nextport_status status = place_open(&place, np_host_machine_ledger(arena), NP_PLACE_MACHINE, err);
    if (status == NEXTPORT_OK) {
        place.path = config_of(&place);
        status = vet_folder(&place, &there, err);
    }
    /* Members of the group may lease ports; what counts as evidence is not theirs to say. */
    place.trust.group = NULL;
    if (status == NEXTPORT_OK && there)
        status = np_guard_vet(place.path, false, &place.trust, false, &there, err);
    *ret = status == NEXTPORT_OK && there ? np_strdup(arena, place.path) : NULL;
    place_close(&place, status);
    /* Whatever else is wrong there, it is no fault of a ledger or of the one who asks. */
    return status == NEXTPORT_OK ? status : (err->status = NEXTPORT_DENIED);
}

enum nextport_status np_host_make_file(const char *path, struct nextport_error *err)
{
    struct np_arena *arena = np_arena_new();
    const wchar_t *wide = np_wide_path(arena, path);
    HANDLE handle = INVALID_HANDLE_VALUE;
    SetLastError(ERROR_INVALID_NAME);
    if (wide)
        handle = CreateFileW(wide, GENERIC_WRITE, 0, NULL, CREATE_NEW,
                             FILE_ATTRIBUTE_NORMAL | FILE_FLAG_OPEN_REPARSE_POINT, NULL);
    const DWORD reason = handle == INVALID_HANDLE_VALUE ? GetLastError() : 0;
    np_arena_free(arena);
    if (reason == ERROR_FILE_EXISTS || reason == ERROR_ALREADY_EXISTS)
        return np_fail(err, NEXTPORT_CONFLICT, "%s: there is a file already", path);
    if (reason)
        return np_guard_cannot(err, reason, "make", path);
    CloseHandle(handle);
    return NEXTPORT_OK;
}

bool np_host_is_denied(int reason)
{
    return reason == ERROR_ACCESS_DENIED || reason == ERROR_PRIVILEGE_NOT_HELD;
}

/* ---- Making -------------------------------------------------------------------------------------------------- */

static PSECURITY_DESCRIPTOR promise_of(const struct place *place, enum np_promised what)
{
    return np_guard_promise(place->arena, place->kind, what, place->trust.group);
}

static enum nextport_status no_promise(const char *path, struct nextport_error *err)
{
    return np_fail(err, NEXTPORT_FAILED, "%s: the access rights that were promised cannot be put together", path);
}

/* Makes one folder that is missing, protected from its first moment. What is there already is vetted by the caller. */
static enum nextport_status make_folder(const struct place *place, const char *folder, struct nextport_error *err)
{
    SECURITY_ATTRIBUTES with = {.nLength = sizeof with, .lpSecurityDescriptor = promise_of(place, NP_PROMISED_FOLDER)};
    if (!with.lpSecurityDescriptor)
        return no_promise(folder, err);
    if (CreateDirectoryW(np_wide_path(place->arena, folder), &with) || GetLastError() == ERROR_ALREADY_EXISTS)
        return NEXTPORT_OK;
    return np_guard_cannot(err, GetLastError(), "make folder", folder);
}

static enum nextport_status make_folders(const struct place *place, struct nextport_error *err)
{
    enum nextport_status status = NEXTPORT_OK;
    bool there;
    for (size_t i = sizeof "C:/" - 1; i <= strlen(place->folder) && status == NEXTPORT_OK; i++)
        if (place->folder[i] == '/' || place->folder[i] == '\0') {
            const char *folder = np_strndup(place->arena, place->folder, i);
            if (GetFileAttributesW(np_wide_path(place->arena, folder)) == INVALID_FILE_ATTRIBUTES)
                status = make_folder(place, folder, err);
        }
    /* A stranger may have been faster, or the file system may keep no rights. */
    return status == NEXTPORT_OK ? vet_folder(place, &there, err) : status;
}

enum nextport_status np_host_ledger_folder(const char *path, enum np_place kind, struct nextport_error *err)
{
    struct place place;
    enum nextport_status status = place_open(&place, path, kind, err);
    if (status == NEXTPORT_OK && kind != NP_PLACE_GIVEN)
        status = make_folders(&place, err);
    if (status == NEXTPORT_OK && kind == NP_PLACE_GIVEN) {
        const DWORD reason = try_open(place.arena, place.folder, FILE_READ_ATTRIBUTES);
        status = reason ? np_guard_cannot(err, reason, "look at folder", place.folder) : NEXTPORT_OK;
    }
    return place_close(&place, status);
}

static enum nextport_status remove_leftover(const struct place *place, const char *file, struct nextport_error *err)
{
    bool there;
    enum nextport_status status = np_guard_vet(file, false, &place->trust, false, &there, err);
    if (status != NEXTPORT_OK) {
        np_wrap(err, "in the way of a ledger to be made, and not ours");
        return err->status = NEXTPORT_DENIED;
    }
    if (!there || DeleteFileW(np_wide_path(place->arena, file)) || GetLastError() == ERROR_FILE_NOT_FOUND)
        return NEXTPORT_OK;
    return np_guard_cannot(err, GetLastError(), "remove", file);
}

enum nextport_status np_host_ledger_fresh(const char *made, struct nextport_error *err)
{
    static const char *const leftovers[] = {"", "-journal", "-wal", "-shm"};
    struct place place;
    enum nextport_status status = place_open(&place, made, NP_PLACE_GIVEN, err);
    for (size_t i = 0; i < sizeof leftovers / sizeof *leftovers && status == NEXTPORT_OK; i++)
        status = remove_leftover(&place, np_sprintf(place.arena, "%s%s", place.path, leftovers[i]), err);
    return place_close(&place, status);
}

static enum nextport_status sync_file(const struct place *place, const char *file, struct nextport_error *err)
{
    HANDLE handle = CreateFileW(np_wide_path(place->arena, file), GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE,
                                NULL, OPEN_EXISTING, FILE_FLAG_OPEN_REPARSE_POINT, NULL);
    DWORD reason = handle != INVALID_HANDLE_VALUE && FlushFileBuffers(handle) ? 0 : GetLastError();
    if (handle != INVALID_HANDLE_VALUE)
        CloseHandle(handle);
    return reason ? np_guard_cannot(err, reason, "sync", file) : NEXTPORT_OK;
}

/* Never over a ledger that came in between, and durable when it returns. A scanner may have the new file open for a
 * moment. */
static enum nextport_status put_in_place(const struct place *place, const char *made, struct nextport_error *err)
{
    enum { TRIES = 50, PAUSE_MS = 20 };
    const wchar_t *from = np_wide_path(place->arena, made), *to = np_wide_path(place->arena, place->path);
    DWORD reason = ERROR_SHARING_VIOLATION;
    for (int i = 0; i < TRIES && (reason == ERROR_SHARING_VIOLATION || reason == ERROR_ACCESS_DENIED); i++) {
        if (i > 0)
            Sleep(PAUSE_MS);
        reason = MoveFileExW(from, to, MOVEFILE_WRITE_THROUGH) ? 0 : GetLastError();
    }
    if (reason == ERROR_FILE_EXISTS || reason == ERROR_ALREADY_EXISTS)
        return np_fail(err, NEXTPORT_CONFLICT, "%s: a ledger is there already", place->path);
    return reason ? np_guard_cannot(err, reason, "make", place->path) : NEXTPORT_OK;
}

/* A ledger that was named keeps the rights that its folder gave it. */
static enum nextport_status set_promise(const struct place *place, const char *file, enum np_promised what,
                                        bool *ret_changed, struct nextport_error *err)
{
    if (place->kind == NP_PLACE_GIVEN)
        return NEXTPORT_OK;
    PSECURITY_DESCRIPTOR sd = promise_of(place, what);
    return sd ? np_guard_apply(file, sd, ret_changed, err) : no_promise(file, err);
}

enum nextport_status np_host_ledger_publish(const char *made, const char *path, enum np_place kind,
                                            struct nextport_error *err)
{
    struct place place;
    const char *from = NULL;
    bool changed = false;
    enum nextport_status status = place_open(&place, path, kind, err);
    if (status == NEXTPORT_OK)
        status = np_guard_full_path(place.arena, made, &from, err);
    if (status == NEXTPORT_OK)
        status = set_promise(&place, from, NP_PROMISED_FILE, &changed, err);
    if (status == NEXTPORT_OK)
        status = sync_file(&place, from, err);
    if (status == NEXTPORT_OK)
        status = put_in_place(&place, from, err);
    if (status != NEXTPORT_OK && from)
        DeleteFileW(np_wide_path(place.arena, from));
    return place_close(&place, status);
}

/* To mend its rights would make its words the administrators'. */
static enum nextport_status vet_config(const struct place *place, const char *file, struct nextport_error *err)
{
    struct np_trust trust = place->trust;
    bool there;
    trust.group = NULL;
    if (np_guard_vet(file, false, &trust, false, &there, err) == NEXTPORT_OK)
        return NEXTPORT_OK;
    np_wrap(err, "the machine's configuration may not be an administrator's");
    err->hint[0] = '\0'; /* the usual one is to mend them */
    np_hint(err,
            "Look at what is in it and who made it, and remove it; then run setup again, which makes an empty one.");
    return err->status = NEXTPORT_DENIED;
}

/* Members of the group may make files in the folder, so the configuration is there, empty, before one of them makes it:
 * its rights are the administrators' from its first moment. */
static enum nextport_status keep_config(const struct place *place, bool *ret_changed, struct nextport_error *err)
{
    const char *file = config_of(place);
    SECURITY_ATTRIBUTES with = {.nLength = sizeof with,
                                .lpSecurityDescriptor =
                                    np_guard_promise(place->arena, place->kind, NP_PROMISED_FILE, NULL)};
    if (!with.lpSecurityDescriptor)
        return no_promise(file, err);
    HANDLE handle = CreateFileW(np_wide_path(place->arena, file), GENERIC_WRITE, 0, &with, CREATE_NEW,
                                FILE_ATTRIBUTE_NORMAL | FILE_FLAG_OPEN_REPARSE_POINT, NULL);
    if (handle != INVALID_HANDLE_VALUE) {
        CloseHandle(handle);
        *ret_changed = true;
    } else if (GetLastError() != ERROR_FILE_EXISTS) {
        return np_guard_cannot(err, GetLastError(), "make", file);
    } else if (vet_config(place, file, err) != NEXTPORT_OK) {
        return err->status;
    }
    return np_guard_apply(file, with.lpSecurityDescriptor, ret_changed, err);
}

enum nextport_status np_host_ledger_modes(const char *path, bool *ret_changed, struct nextport_error *err)
{
    struct place place;
    *ret_changed = false;
    enum nextport_status status = place_open(&place, path, NP_PLACE_MACHINE, err);
    if (status == NEXTPORT_OK)
        status = set_promise(&place, place.folder, NP_PROMISED_FOLDER, ret_changed, err);
    for (size_t i = 0; i < N_NEIGHBOURS && status == NEXTPORT_OK; i++) {
        const char *file = neighbour_path(&place, i);
        const DWORD reason = try_open(place.arena, file, FILE_READ_ATTRIBUTES);
        if (reason != ERROR_FILE_NOT_FOUND)
            status = set_promise(&place, file, neighbours[i].promised, ret_changed, err);
    }
    if (status == NEXTPORT_OK)
        status = keep_config(&place, ret_changed, err);
    return place_close(&place, status);
}

/* ---- The group ----------------------------------------------------------------------------------------------- */

static enum nextport_status group_failed(const char *doing, NET_API_STATUS code, struct nextport_error *err)
{
    const bool denied = code == ERROR_ACCESS_DENIED;
    np_fail_win32(err, denied ? NEXTPORT_DENIED : NEXTPORT_FAILED, code, "%s group " NP_GROUP, doing);
    if (denied)
        np_hint(err, "%s.", np_host_words.elevate);
    else
        np_hint(err, "Do that with 'net localgroup', then repeat.");
    return err->status;
}

enum nextport_status np_host_make_group(bool *ret_changed, struct nextport_error *err)
{
    static wchar_t name[] = L"" NP_GROUP, comment[] = L"May lease ports from this machine's nextport";
    LOCALGROUP_INFO_1 group = {.lgrpi1_name = name, .lgrpi1_comment = comment};
    NET_API_STATUS code = NetLocalGroupAdd(NULL, 1, (BYTE *)&group, NULL);
    *ret_changed = code == NERR_Success;
    const bool there = code == NERR_GroupExists || code == ERROR_ALIAS_EXISTS;
    return code == NERR_Success || there ? NEXTPORT_OK : group_failed("make", code, err);
}

enum nextport_status np_host_remove_group(bool *ret_changed, struct nextport_error *err)
{
    NET_API_STATUS code = NetLocalGroupDel(NULL, L"" NP_GROUP);
    *ret_changed = code == NERR_Success;
    const bool absent = code == NERR_GroupNotFound || code == ERROR_NO_SUCH_ALIAS;
    return code == NERR_Success || absent ? NEXTPORT_OK : group_failed("remove", code, err);
}
