/* Files of one machine: this one, or an image below a root. In an image each component of a path is opened by its own
 * name in the folder before it, and a link is refused, not followed: it could lead out, or to a server that would be
 * told who we are. NtCreateFile, because CreateFileW cannot open in a folder, and says "access denied" where a file is
 * merely being deleted.
 * SPDX-License-Identifier: MIT */
#include "base/map.h"
#include "host/windows/win32.h"

#include <winternl.h>

#include <stdlib.h>
#include <string.h>
#include <wchar.h>

enum {
    GLOB_MATCHES = 10000,  /* more than any server's folder of sites; a bound on what an image can make us do */
    GLOB_ENTRIES = 200000, /* names looked at for one pattern */
    FIRST_READ = 4096,
    LARGEST_READ = 1 << 24, /* asked for in one call */
    LINK_MET = 4395,        /* ERROR_REPARSE_POINT_ENCOUNTERED: where a link is refused */
    PATIENCE_MS = 500,      /* IIS, editors and virus scanners keep a file to themselves for a moment */
    STEP_MS = 10,
};

/* Identity of a file's content; present = false: there was none. Times are in units of 100 ns since 1601. */
struct stamp {
    bool present;
    bool vague; /* its times do not tell when it was changed */
    uint64_t volume, index, size;
    int64_t written, changed;
};

/* What was at a path when it was looked at. */
struct seen {
    struct seen *next;
    const char *path;
    struct stamp stamp;
    bool settling; /* so fresh that a later change could leave the same times */
};

struct np_reader {
    struct np_arena *arena;
    const char *root;  /* NULL: this machine; '/'-separated */
    HANDLE folder;     /* the root's; NULL without one */
    struct seen *seen; /* the latest first */
    struct np_map by_path;
};

/* ---- Opening ------------------------------------------------------------------------------------------------- */

/* What a file is opened for. Without FILE_OPEN_FOR_BACKUP_INTENT: a backup operator is told what any other user is. */
struct purpose {
    ACCESS_MASK access;
    ULONG options;
};

static const struct purpose to_look = {.access = FILE_READ_ATTRIBUTES},
                            to_read = {.access = FILE_READ_ATTRIBUTES | FILE_READ_DATA},
                            to_pass = {.access = FILE_READ_ATTRIBUTES, .options = FILE_DIRECTORY_FILE},
                            to_list = {.access = FILE_READ_ATTRIBUTES | FILE_LIST_DIRECTORY,
                                       .options = FILE_DIRECTORY_FILE};

typedef void any_fn(void);
typedef NTSTATUS NTAPI create_fn(PHANDLE, ACCESS_MASK, POBJECT_ATTRIBUTES, PIO_STATUS_BLOCK, PLARGE_INTEGER, ULONG,
                                 ULONG, ULONG, ULONG, PVOID, ULONG);
typedef ULONG NTAPI code_fn(NTSTATUS);

/* ntdll.dll is in every process, but not in every toolchain's libraries. */
static any_fn *of_ntdll(const char *name)
{
    return (any_fn *)GetProcAddress(GetModuleHandleW(L"ntdll.dll"), name);
}

/* The system's code for a status. Of a file that is being deleted it would say "access denied". */
static DWORD code_of(NTSTATUS status)
{
    const NTSTATUS delete_pending = (NTSTATUS)0xC0000056;
    code_fn *code = (code_fn *)of_ntdll("RtlNtStatusToDosError");
    if (status >= 0)
        return 0;
    return status == delete_pending ? ERROR_DELETE_PENDING : code ? code(status) : ERROR_GEN_FAILURE;
}

/* Opens `name` in `folder`, or the system's own name for a path when that is NULL. A pipe's server may learn who we
 * are, but not act in our name. */
static DWORD open_once(HANDLE folder, const wchar_t *name, const struct purpose *purpose, ULONG options, HANDLE *ret)
{
    enum { LONGEST = 32767 };
    const size_t len = wcslen(name);
    create_fn *create = (create_fn *)of_ntdll("NtCreateFile");
    SECURITY_QUALITY_OF_SERVICE quality = {.Length = sizeof quality, .ImpersonationLevel = SecurityIdentification};
    UNICODE_STRING text = {.Buffer = (wchar_t *)(uintptr_t)name};
    OBJECT_ATTRIBUTES what = {.Length = sizeof what,
                              .RootDirectory = folder,
                              .ObjectName = &text,
                              .Attributes = OBJ_CASE_INSENSITIVE,
                              .SecurityQualityOfService = &quality};
    IO_STATUS_BLOCK io;
    if (len > LONGEST || !create)
        return create ? ERROR_FILENAME_EXCED_RANGE : ERROR_PROC_NOT_FOUND;
    text.Length = text.MaximumLength = (USHORT)(len * sizeof *name);
    return code_of(create(ret, purpose->access | SYNCHRONIZE, &what, &io, NULL, 0,
                          FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, FILE_OPEN,
                          purpose->options | options | FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0));
}

/* A server or a share that cannot be reached is not absent: what is there is not known. */
static bool is_absent(DWORD code)
{
    return code == 0 || code == ERROR_FILE_NOT_FOUND || code == ERROR_PATH_NOT_FOUND || code == ERROR_DIRECTORY;
}

static bool is_denied(DWORD code)
{
    return code == ERROR_ACCESS_DENIED || code == ERROR_NETWORK_ACCESS_DENIED || code == ERROR_PRIVILEGE_NOT_HELD ||
           code == ERROR_LOGON_FAILURE;
}

/* Does it pass by itself? A denial does not, and costs no time. */
static bool is_passing(DWORD code)
{
    return code == ERROR_SHARING_VIOLATION || code == ERROR_LOCK_VIOLATION || code == ERROR_DELETE_PENDING;
}

static DWORD open_patiently(HANDLE folder, const wchar_t *name, const struct purpose *purpose, ULONG options,
                            HANDLE *ret)
{
    DWORD code = open_once(folder, name, purpose, options, ret);
    for (int ms = 0; ms < PATIENCE_MS && is_passing(code); ms += STEP_MS) {
        Sleep(STEP_MS);
        code = open_once(folder, name, purpose, options, ret);
    }
    return code;
}

/* A path of this machine, links followed as the system does. */
static DWORD open_here(struct np_arena *arena, const char *path, const struct purpose *purpose, ULONG options,
                       HANDLE *ret)
{
    wchar_t *name = np_wide_path(arena, path);
    if (!name)
        return ERROR_INVALID_NAME;
    name[1] = L'?'; /* "\\?\" to the W functions is "\??\" to the system */
    return open_patiently(NULL, name, purpose, options, ret);
}

/* ---- Opening below a root ------------------------------------------------------------------------------------ */

static DWORD same_file(HANDLE a, HANDLE b)
{
    BY_HANDLE_FILE_INFORMATION x, y;
    if (!GetFileInformationByHandle(a, &x) || !GetFileInformationByHandle(b, &y))
        return np_last_error();
    const bool same = x.dwVolumeSerialNumber == y.dwVolumeSerialNumber && x.nFileIndexHigh == y.nFileIndexHigh &&
                      x.nFileIndexLow == y.nFileIndexLow;
    return same ? 0 : ERROR_CANT_ACCESS_FILE;
}

/* Other reparse points stand for their own content (deduplicated, compressed, on demand), which their driver gives
 * when it is not told to leave them alone. The name may have become a link meanwhile. */
static DWORD open_content(HANDLE folder, const wchar_t *name, const struct purpose *purpose, HANDLE *io)
{
    HANDLE content = NULL;
    DWORD code = open_patiently(folder, name, purpose, 0, &content);
    if (code)
        return code;
    code = same_file(*io, content);
    CloseHandle(*io);
    *io = content;
    return code;
}

/* Opens one component. */
static DWORD open_part(HANDLE folder, const wchar_t *name, const struct purpose *purpose, HANDLE *ret)
{
    FILE_ATTRIBUTE_TAG_INFO info;
    DWORD code = open_patiently(folder, name, purpose, FILE_OPEN_REPARSE_POINT, ret);
    if (code)
        return code;
    if (!GetFileInformationByHandleEx(*ret, FileAttributeTagInfo, &info, sizeof info))
        code = np_last_error();
    else if (np_redirects(info.FileAttributes, info.ReparseTag))
        code = LINK_MET;
    else if (info.FileAttributes & FILE_ATTRIBUTE_REPARSE_POINT)
        code = open_content(folder, name, purpose, ret);
    if (code)
        CloseHandle(*ret);
    return code;
}

/* The components of a path below the root, "." and ".." taken off the text first, as Windows does; ".." stays below. */
struct parts {
    const wchar_t **names;
    size_t n, capacity;
};

static bool split_path(struct np_arena *arena, const char *path, struct parts *ret)
{
    for (const char *p = path; *p;) {
        const size_t len = strcspn(p, "/\\");
        const char *name = np_strndup(arena, p, len);
        p += len + (p[len] != '\0');
        if (strcmp(name, "..") == 0)
            ret->n -= ret->n > 0;
        else if (!*name || strcmp(name, ".") == 0)
            continue;
        else if (!np_is_file_name(name))
            return false;
        else
            *(const wchar_t **)np_push(arena, &ret->names, &ret->n, &ret->capacity, sizeof *ret->names) =
                np_wide(arena, name);
    }
    return true;
}

static DWORD open_in_root(const struct np_reader *reader, const char *path, const struct purpose *purpose, HANDLE *ret)
{
    struct parts parts = {0};
    HANDLE folder = reader->folder, next = NULL;
    DWORD code = split_path(reader->arena, path, &parts) ? 0 : ERROR_INVALID_NAME;
    for (size_t i = 0; code == 0 && i + 1 < parts.n; i++) {
        code = open_part(folder, parts.names[i], &to_pass, &next);
        if (folder != reader->folder)
            CloseHandle(folder);
        folder = code ? reader->folder : next;
    }
    if (code == 0)
        code = open_part(folder, parts.n ? parts.names[parts.n - 1] : L"", purpose, ret);
    if (folder != reader->folder)
        CloseHandle(folder);
    return code;
}

/* 0, or the system's reason. */
static DWORD open_below(const struct np_reader *reader, const char *path, const struct purpose *purpose, HANDLE *ret)
{
    return reader->root ? open_in_root(reader, path, purpose, ret) : open_here(reader->arena, path, purpose, 0, ret);
}

/* ---- The reader ---------------------------------------------------------------------------------------------- */

/* A path as people of this program write it. */
static char *slashed(struct np_arena *arena, const char *path)
{
    char *ret = np_strdup(arena, path);
    for (char *p = ret; p && *p; p++)
        if (*p == '\\')
            *p = '/';
    return ret;
}

enum nextport_status np_reader_open(struct np_reader **ret, const char *root, struct np_arena *arena,
                                    struct nextport_error *err)
{
    struct np_reader *reader = np_alloc(arena, sizeof *reader);
    *reader = (struct np_reader){.arena = arena, .root = slashed(arena, root), .by_path = {.arena = arena}};
    DWORD code = root ? open_here(arena, root, &to_pass, 0, &reader->folder) : 0;
    if (code)
        return np_fail_win32(err, is_denied(code) ? NEXTPORT_DENIED : NEXTPORT_INPUT, code, "open root '%s'", root);
    *ret = reader;
    return NEXTPORT_OK;
}

void np_reader_close(struct np_reader *reader)
{
    if (reader && reader->folder)
        CloseHandle(reader->folder);
}

bool np_reader_has_root(const struct np_reader *reader)
{
    return reader->root != NULL;
}

const char *np_reader_shown(struct np_reader *reader, const char *path)
{
    size_t len = reader->root ? strlen(reader->root) : 0;
    while (len > 0 && reader->root[len - 1] == '/')
        len--;
    return np_sprintf(reader->arena, "%.*s%s", (int)len, len ? reader->root : "", slashed(reader->arena, path));
}

static const char *because(struct np_reader *reader, DWORD code)
{
    return code == LINK_MET ? "a link, which is not followed below a root" : np_win32_text(reader->arena, code);
}

/* Of whatever has that name, a link as well. */
bool np_host_exists(const char *path)
{
    struct np_arena *arena = np_arena_new();
    HANDLE file;
    DWORD code = open_here(arena, path, &to_look, FILE_OPEN_REPARSE_POINT, &file);
    if (code == 0)
        CloseHandle(file);
    np_arena_free(arena);
    return code != ERROR_FILE_NOT_FOUND && code != ERROR_PATH_NOT_FOUND;
}

void np_host_pause_ms(unsigned ms)
{
    Sleep(ms);
}

/* ---- Stamps -------------------------------------------------------------------------------------------------- */

static int64_t whole(FILETIME time)
{
    return (int64_t)((uint64_t)time.dwHighDateTime << 32 | time.dwLowDateTime);
}

/* FAT has no change time, writes the others in steps of two seconds and none to a folder when a name comes. A server's
 * times are of another clock, and remembered here for seconds. */
static bool is_vague(HANDLE file, const FILE_BASIC_INFO *times)
{
    FILE_REMOTE_PROTOCOL_INFO remote;
    return times->ChangeTime.QuadPart == 0 ||
           GetFileInformationByHandleEx(file, FileRemoteProtocolInfo, &remote, sizeof remote);
}

static DWORD stamp_of(HANDLE file, struct stamp *ret)
{
    BY_HANDLE_FILE_INFORMATION info;
    FILE_BASIC_INFO times;
    if (!GetFileInformationByHandle(file, &info) ||
        !GetFileInformationByHandleEx(file, FileBasicInfo, &times, sizeof times))
        return np_last_error();
    *ret = (struct stamp){.present = true,
                          .vague = is_vague(file, &times),
                          .volume = info.dwVolumeSerialNumber,
                          .index = (uint64_t)info.nFileIndexHigh << 32 | info.nFileIndexLow,
                          .size = (uint64_t)info.nFileSizeHigh << 32 | info.nFileSizeLow,
                          .written = times.LastWriteTime.QuadPart,
                          .changed = times.ChangeTime.QuadPart};
    return 0;
}

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
    return a->present == b->present && a->volume == b->volume && a->index == b->index && a->size == b->size &&
           a->written == b->written && a->changed == b->changed;
}

/* NTFS and ReFS store units of 100 ns, but the clock they read advances in ticks of 15.6 ms at most: what was written
 * in the tick in which it was read may be written again without a new time. A change time in the future (the clock was
 * set) tells nothing either. */
static bool is_settling(const struct stamp *stamp)
{
    const int64_t three_ticks = 47 * 10000;
    FILETIME now;
    GetSystemTimePreciseAsFileTime(&now);
    return stamp->present && (stamp->vague || stamp->changed >= whole(now) - three_ticks);
}

/* Keeps one stamp for each path, the last. To be called before the bytes are read: what is written later shows. */
static void remember(struct np_reader *reader, const char *path, const struct stamp *stamp)
{
    struct seen *seen = np_map_find(&reader->by_path, path);
    if (!seen) {
        seen = np_alloc(reader->arena, sizeof *seen);
        *seen = (struct seen){.next = reader->seen, .path = np_strdup(reader->arena, path)};
        *np_map_at(&reader->by_path, seen->path) = reader->seen = seen;
    }
    seen->stamp = *stamp;
    seen->settling = is_settling(stamp);
}

/* The stamp of whatever is at `path`; what cannot be looked at counts as absent, as it did then. */
static struct stamp stamp_at(const struct np_reader *reader, const char *path)
{
    HANDLE file;
    struct stamp stamp = {0};
    if (open_below(reader, path, &to_look, &file) != 0)
        return stamp;
    if (stamp_of(file, &stamp) != 0)
        stamp = (struct stamp){0};
    CloseHandle(file);
    return stamp;
}

static void remember_path(struct np_reader *reader, const char *path)
{
    struct stamp stamp = stamp_at(reader, path);
    remember(reader, path, &stamp);
}

bool np_reader_changed(struct np_reader *reader)
{
    for (const struct seen *seen = reader->seen; seen; seen = seen->next) {
        if (seen->settling)
            return true;
        struct stamp now = stamp_at(reader, seen->path);
        if (!same_stamp(&now, &seen->stamp))
            return true;
    }
    return false;
}

/* ---- Reading ------------------------------------------------------------------------------------------------- */

/* What it is instead of a file with bytes on a disk; NULL: it is one. */
static const char *kind_of(HANDLE file)
{
    BY_HANDLE_FILE_INFORMATION info;
    switch (GetFileType(file)) {
    case FILE_TYPE_DISK:
        break;
    case FILE_TYPE_PIPE:
        return "a pipe";
    case FILE_TYPE_CHAR:
        return "a device";
    default:
        return "something else";
    }
    if (!GetFileInformationByHandle(file, &info) || (info.dwFileAttributes & FILE_ATTRIBUTE_DEVICE))
        return "a device"; /* a whole disk is one */
    return info.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY ? "a folder" : NULL;
}

static enum np_read failed_read(struct np_reader *reader, DWORD code, const char **why)
{
    *why = because(reader, code);
    if (is_absent(code))
        return NP_READ_ABSENT;
    return is_denied(code) ? NP_READ_DENIED : NP_READ_BAD;
}

static enum np_read too_large(struct np_reader *reader, size_t limit, const char **why)
{
    *why = np_sprintf(reader->arena, "larger than %zu bytes, the most that is read", limit);
    return NP_READ_BAD;
}

/* Another program may have locked the bytes for a moment. *ret_n 0: the end. */
static DWORD read_patiently(HANDLE file, char *ret, size_t size, size_t *ret_n)
{
    const DWORD wanted = size < LARGEST_READ ? (DWORD)size : LARGEST_READ;
    for (int ms = 0;; ms += STEP_MS) {
        DWORD n = 0;
        DWORD code = ReadFile(file, ret, wanted, &n, NULL) ? 0 : np_last_error();
        *ret_n = n;
        if (code == ERROR_HANDLE_EOF)
            return 0;
        if (!is_passing(code) || ms >= PATIENCE_MS)
            return code;
        Sleep(STEP_MS);
    }
}

/* Reads to the end, up to `limit` and one byte more to know that there is more. */
static enum np_read read_bytes(struct np_reader *reader, HANDLE file, size_t expected, size_t limit,
                               struct np_text *ret, const char **why)
{
    size_t len = 0, n = 0, capacity = expected < FIRST_READ ? FIRST_READ : expected + 1;
    char *bytes = np_alloc(reader->arena, capacity + 1);
    for (;;) {
        DWORD code = read_patiently(file, bytes + len, capacity - len, &n);
        if (code)
            return failed_read(reader, code, why);
        len += n;
        if (len > limit)
            return too_large(reader, limit, why);
        if (n == 0)
            break;
        if (len == capacity) {
            char *larger = np_alloc(reader->arena, 2 * capacity + 1);
            bytes = memcpy(larger, bytes, len);
            capacity *= 2;
        }
    }
    bytes[len] = '\0';
    *ret = (struct np_text){.ptr = bytes, .len = len};
    return NP_READ_OK;
}

/* *ret_moved: the file was written while we read. */
static enum np_read read_file(struct np_reader *reader, const char *path, HANDLE file, size_t limit,
                              struct np_text *ret, const char **why, bool *ret_moved)
{
    struct stamp before = {0}, after = {0};
    const char *kind = kind_of(file);
    DWORD code = stamp_of(file, &before);
    remember(reader, path, &before);
    if (kind) {
        *why = np_sprintf(reader->arena, "%s, not a file", kind);
        return NP_READ_BAD;
    }
    if (code)
        return failed_read(reader, code, why);
    if (before.size > limit)
        return too_large(reader, limit, why);
    enum np_read outcome = read_bytes(reader, file, (size_t)before.size, limit, ret, why);
    code = stamp_of(file, &after);
    if (code)
        return failed_read(reader, code, why);
    *ret_moved = !same_stamp(&before, &after) || (outcome == NP_READ_OK && ret->len != before.size);
    return outcome;
}

static enum np_read read_once(struct np_reader *reader, const char *path, size_t limit, struct np_text *ret,
                              const char **why, bool *ret_moved)
{
    HANDLE file;
    DWORD code = open_below(reader, path, &to_read, &file);
    if (code) {
        remember_path(reader, path);
        return failed_read(reader, code, why);
    }
    enum np_read outcome = read_file(reader, path, file, limit, ret, why, ret_moved);
    CloseHandle(file);
    return outcome;
}

enum np_read np_reader_read(struct np_reader *reader, const char *path, size_t limit, struct np_text *ret,
                            const char **why)
{
    for (int i = 0; i < 2; i++) {
        bool moved = false;
        *ret = (struct np_text){0};
        *why = NULL;
        enum np_read outcome = read_once(reader, path, limit, ret, why, &moved);
        if (!moved)
            return outcome;
    }
    *ret = (struct np_text){0};
    *why = "it was written while it was read, twice";
    return NP_READ_BAD;
}

/* ---- Folders ------------------------------------------------------------------------------------------------- */

static const char *join(struct np_reader *reader, const char *folder, const char *name)
{
    return np_sprintf(reader->arena, "%s/%s", folder, name);
}

/* "" is the top of the root, "C:" of a drive. */
static const char *folder_path(struct np_reader *reader, const char *folder)
{
    const size_t len = strlen(folder);
    return len == 0 || folder[len - 1] == ':' ? join(reader, folder, "") : folder;
}

static const char *folder_unreadable(struct np_reader *reader, const char *folder, DWORD code)
{
    return np_sprintf(reader->arena, "%s: %s", np_reader_shown(reader, folder_path(reader, folder)),
                      because(reader, code));
}

/* A folder's names, one call of `each` for every one until it says stop; "." and ".." are left out. `exact`: the name
 * is Unicode, and so can be opened again. */
typedef bool name_fn(void *ctx, const char *name, bool exact);

static bool give_name(const FILE_FULL_DIR_INFO *entry, name_fn *each, void *ctx)
{
    enum { LONGEST = 1024 }; /* four times what any file system of Windows takes */
    char name[3 * LONGEST + 1];
    const DWORD len = entry->FileNameLength / sizeof *entry->FileName;
    const int taken = len < LONGEST ? (int)len : LONGEST, size = (int)sizeof name - 1;
    int n = WideCharToMultiByte(CP_UTF8, WC_ERR_INVALID_CHARS, entry->FileName, taken, name, size, NULL, NULL);
    const bool exact = n > 0 && len <= LONGEST;
    if (!exact)
        n = WideCharToMultiByte(CP_UTF8, 0, entry->FileName, taken, name, size, NULL, NULL);
    name[n] = '\0';
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || each(ctx, name, exact);
}

/* The names are the handle's, so they are of the folder that was opened and of no other. */
static DWORD each_name_of(struct np_reader *reader, HANDLE folder, name_fn *each, void *ctx)
{
    FILE_INFO_BY_HANDLE_CLASS next = FileFullDirectoryRestartInfo;
    const DWORD size = 16 * 1024;
    char *bytes = np_alloc(reader->arena, size);
    while (GetFileInformationByHandleEx(folder, next, bytes, size)) {
        for (const char *p = bytes;;) {
            const FILE_FULL_DIR_INFO *entry = (const void *)p;
            if (!give_name(entry, each, ctx))
                return 0;
            if (entry->NextEntryOffset == 0)
                break;
            p += entry->NextEntryOffset;
        }
        next = FileFullDirectoryInfo;
    }
    DWORD code = np_last_error();
    return code == ERROR_NO_MORE_FILES || code == ERROR_FILE_NOT_FOUND ? 0 : code; /* the latter: an empty one on FAT */
}

/* 0, or the system's reason. */
static DWORD each_name(struct np_reader *reader, const char *folder, name_fn *each, void *ctx)
{
    const char *path = folder_path(reader, folder);
    HANDLE handle;
    remember_path(reader, path);
    DWORD code = open_below(reader, path, &to_list, &handle);
    if (code)
        return code;
    code = each_name_of(reader, handle, each, ctx);
    CloseHandle(handle);
    return code;
}

/* ---- Lists --------------------------------------------------------------------------------------------------- */

struct list {
    struct np_reader *reader;
    struct np_entry *entries;
    size_t n, capacity;
};

/* A name that is no Unicode cannot be opened, and is none that anybody configured. */
static bool list_name(void *ctx, const char *name, bool exact)
{
    struct list *list = ctx;
    struct np_arena *arena = list->reader->arena;
    if (exact)
        *(struct np_entry *)np_push(arena, &list->entries, &list->n, &list->capacity, sizeof *list->entries) =
            (struct np_entry){.name = np_strdup(arena, name), .kind = NP_ENTRY_UNKNOWN};
    return list->n <= GLOB_ENTRIES;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct np_entry *)a)->name, ((const struct np_entry *)b)->name);
}

enum np_read np_reader_list(struct np_reader *reader, const char *folder, const struct np_entry **ret, size_t *ret_n,
                            const char **why)
{
    struct list list = {.reader = reader};
    const DWORD code = each_name(reader, folder, list_name, &list);
    if (list.n > 1)
        qsort(list.entries, list.n, sizeof *list.entries, by_name);
    *ret = list.entries;
    *ret_n = list.n;
    *why = code ? because(reader, code) : list.n > GLOB_ENTRIES ? "too many names" : NULL;
    if (code)
        return is_absent(code) ? NP_READ_ABSENT : is_denied(code) ? NP_READ_DENIED : NP_READ_BAD;
    return *why ? NP_READ_BAD : NP_READ_OK;
}

bool np_reader_is_same(struct np_reader *reader, const char *path, const char *other)
{
    const struct stamp a = stamp_at(reader, path), b = stamp_at(reader, other);
    return a.present && b.present && a.volume == b.volume && a.index == b.index;
}

/* The path of a handle without the prefix of verbatim paths and without a slash at its end; NULL when there is none. */
static const char *plain_path(struct np_arena *arena, const wchar_t *wide)
{
    static const char verbatim[] = "//?/", share[] = "//?/UNC/";
    char *path = slashed(arena, np_narrow(arena, wide));
    size_t len = path ? strlen(path) : 0;
    while (len > 0 && path[len - 1] == '/')
        path[--len] = '\0';
    if (path && strncmp(path, share, strlen(share)) == 0)
        return np_sprintf(arena, "//%s", path + strlen(share));
    return path && strncmp(path, verbatim, strlen(verbatim)) == 0 ? path + strlen(verbatim) : path;
}

static const char *path_of(struct np_arena *arena, HANDLE file)
{
    DWORD n = GetFinalPathNameByHandleW(file, NULL, 0, FILE_NAME_NORMALIZED | VOLUME_NAME_DOS);
    wchar_t *path = np_alloc_array(arena, n + 1u, sizeof *path);
    DWORD len = n ? GetFinalPathNameByHandleW(file, path, n + 1, FILE_NAME_NORMALIZED | VOLUME_NAME_DOS) : 0;
    return len > 0 && len <= n ? plain_path(arena, path) : NULL;
}

/* Below a root no link was followed, so what the system calls the file is its name on disk. */
static const char *name_on_disk(struct np_reader *reader, HANDLE file, const char *path)
{
    const char *root = reader->root ? path_of(reader->arena, reader->folder) : NULL;
    const char *found = root ? path_of(reader->arena, file) : NULL;
    const size_t len = root ? strlen(root) : 0;
    if (found && strncmp(found, root, len) == 0 && found[len] == '/')
        return found + len;
    return slashed(reader->arena, path);
}

/* The system's own lookup knows no case. */
const char *np_reader_find_nocase(struct np_reader *reader, const char *path, const char **why)
{
    HANDLE file;
    *why = NULL;
    DWORD code = open_below(reader, path, &to_look, &file);
    if (code) {
        remember_path(reader, path);
        if (!is_absent(code))
            *why = folder_unreadable(reader, path, code);
        return NULL;
    }
    const char *name = name_on_disk(reader, file, path);
    CloseHandle(file);
    return name;
}

/* ---- Patterns ------------------------------------------------------------------------------------------------ */

/* The next character's bytes as one number, which orders as characters do; ASCII letters as small ones: the system
 * folds more, but a pattern that needs it can say '?'. */
static uint32_t take(const char **p)
{
    uint32_t c = (unsigned char)*(*p)++;
    if (c < 0x80)
        return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
    while (((unsigned char)**p & 0xC0) == 0x80)
        c = c << 8 | (unsigned char)*(*p)++;
    return c;
}

/* "[a-z]", "[!ab]", after the '['. Where it ends; NULL: it does not, and so is none. */
static const char *match_set(const char *p, uint32_t c, bool *ret)
{
    const bool inverted = *p == '!' || *p == '^';
    bool found = false;
    p += inverted;
    for (bool first = true; *p && (first || *p != ']'); first = false) {
        const uint32_t low = take(&p);
        uint32_t high = low;
        if (p[0] == '-' && p[1] && p[1] != ']') {
            p++;
            high = take(&p);
        }
        found = found || (low <= c && c <= high);
    }
    *ret = found != inverted;
    return *p ? p + 1 : NULL;
}

/* Does the pattern's next element, no '*', match `c`? Then it is passed. */
static bool match_one(const char **pattern, uint32_t c)
{
    const char *p = *pattern, *end;
    bool found = false;
    if (!*p)
        return false;
    if (*p == '[' && (end = match_set(p + 1, c, &found))) {
        *pattern = end;
        return found;
    }
    *pattern = p;
    return take(pattern) == c || *p == '?';
}

/* A point at the front has to be said, as on other systems. When a character does not match, only the last '*' needs to
 * take one more: whatever an earlier one could take, it can. */
static bool matches(const char *pattern, const char *name)
{
    const char *star = NULL, *retry = NULL;
    if (*name == '.' && *pattern != '.')
        return false;
    while (*name) {
        const char *next = name, *p = pattern;
        const uint32_t c = take(&next);
        if (*pattern == '*') {
            star = ++pattern;
            retry = name;
        } else if (match_one(&p, c)) {
            pattern = p;
            name = next;
        } else if (star) {
            take(&retry);
            pattern = star;
            name = retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

/* ---- Globs --------------------------------------------------------------------------------------------------- */

struct glob {
    struct np_reader *reader;
    const char **paths;
    size_t n, capacity, entries;
    const char *why;
    bool bad; /* for another reason than a right */
};

/* One folder of a pattern being matched against one component. */
struct glob_level {
    struct glob *glob;
    const char *folder, *pattern;
    const char **names;
    size_t n, capacity;
};

/* A worse reason stays. */
static void glob_failed(struct glob *glob, const char *folder, DWORD code)
{
    if (glob->bad)
        return;
    glob->bad = !is_denied(code);
    glob->why = folder_unreadable(glob->reader, folder, code);
}

static bool match_name(void *ctx, const char *name, bool exact)
{
    struct glob_level *level = ctx;
    struct np_reader *reader = level->glob->reader;
    if (++level->glob->entries > GLOB_ENTRIES)
        return false;
    if (!matches(level->pattern, name))
        return true;
    if (exact)
        *(const char **)np_push(reader->arena, &level->names, &level->n, &level->capacity, sizeof *level->names) =
            np_strdup(reader->arena, name);
    else
        glob_failed(level->glob, join(reader, level->folder, name), ERROR_NO_UNICODE_TRANSLATION);
    return true;
}

static bool over_budget(struct glob *glob, const char *folder)
{
    if (glob->n < GLOB_MATCHES && glob->entries <= GLOB_ENTRIES)
        return false;
    glob->bad = true;
    glob->why = np_sprintf(glob->reader->arena, "%s: too many names",
                           np_reader_shown(glob->reader, folder_path(glob->reader, folder)));
    return true;
}

/* A path that ends in "/." names a folder, which Windows would not ask. */
static bool is_as_named(HANDLE file, const char *path)
{
    BY_HANDLE_FILE_INFORMATION info;
    const size_t len = strlen(path);
    const bool folder = len >= 2 && strcmp(path + len - 2, "/.") == 0;
    return !folder || (GetFileInformationByHandle(file, &info) && info.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY);
}

static void glob_keep(struct glob *glob, const char *path)
{
    HANDLE file;
    DWORD code = open_below(glob->reader, path, &to_look, &file);
    if (code) {
        remember_path(glob->reader, path);
        if (!is_absent(code))
            glob_failed(glob, path, code);
        return;
    }
    const bool found = is_as_named(file, path);
    CloseHandle(file);
    if (found)
        *(const char **)np_push(glob->reader->arena, &glob->paths, &glob->n, &glob->capacity, sizeof *glob->paths) =
            path;
}

/* Takes the next component off a path; doubled and trailing slashes are none. */
static bool next_component(struct np_text *rest, struct np_text *part)
{
    do {
        if (!np_text_split(rest, '/', part))
            return false;
    } while (part->len == 0);
    return true;
}

/* The depth is that of the pattern. */
static void glob_below(struct glob *glob, const char *folder, struct np_text rest) /* NOLINT(misc-no-recursion) */
{
    struct np_text part;
    struct np_arena *arena = glob->reader->arena;
    if (over_budget(glob, folder))
        return;
    if (!next_component(&rest, &part)) {
        glob_keep(glob, folder_path(glob->reader, folder));
        return;
    }
    struct glob_level level = {.glob = glob, .folder = folder, .pattern = np_text_dup(arena, part)};
    if (!strpbrk(level.pattern, "*?[")) {
        glob_below(glob, join(glob->reader, folder, level.pattern), rest);
        return;
    }
    DWORD code = each_name(glob->reader, folder, match_name, &level);
    if (!is_absent(code))
        glob_failed(glob, folder, code);
    if (over_budget(glob, folder))
        return;
    for (size_t i = 0; i < level.n; i++)
        glob_below(glob, join(glob->reader, folder, level.names[i]), rest);
}

/* The folder in which a pattern of this machine begins, which no pattern is part of: a share, the top of a drive, or
 * the folder that the program works in. NULL: there is none. */
static const char *glob_start(struct np_arena *arena, struct np_text *rest)
{
    struct np_text server, share;
    const bool has_drive = rest->len > 1 && rest->ptr[1] == ':';
    if (rest->len > 1 && rest->ptr[0] == '/' && rest->ptr[1] == '/') {
        if (!next_component(rest, &server) || !next_component(rest, &share))
            return NULL;
        return np_sprintf(arena, "//%.*s/%.*s", (int)server.len, server.ptr, (int)share.len, share.ptr);
    }
    const int drive = has_drive ? 2 : 0;
    const bool from_top = rest->len > (size_t)drive && rest->ptr[drive] == '/';
    const char *start = np_sprintf(arena, "%.*s%s", drive, rest->ptr, from_top ? "/" : ".");
    *rest = (struct np_text){.ptr = rest->ptr + drive, .len = rest->len - (size_t)drive};
    return plain_path(arena, np_wide_path(arena, start));
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

enum np_read np_reader_glob(struct np_reader *reader, const char *pattern, const char *const **ret, size_t *ret_n,
                            const char **why)
{
    struct glob glob = {.reader = reader};
    struct np_text rest = np_text_of(slashed(reader->arena, pattern));
    const char *start = reader->root ? "" : glob_start(reader->arena, &rest);
    if (start)
        glob_below(&glob, start, rest);
    else
        glob_failed(&glob, pattern, ERROR_INVALID_NAME);
    if (glob.n > 1)
        qsort(glob.paths, glob.n, sizeof *glob.paths, by_bytes);
    *ret = glob.paths;
    *ret_n = glob.n;
    *why = glob.why;
    return !glob.why ? NP_READ_OK : glob.bad ? NP_READ_BAD : NP_READ_DENIED;
}

bool np_host_is_kept(int reason)
{
    return reason == ERROR_SHARING_VIOLATION || reason == ERROR_LOCK_VIOLATION;
}
