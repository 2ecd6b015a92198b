/* Windows' half of the reader of files. In an image each component of a path is opened by its own name in the folder
 * before it, and a link is refused, not followed: it could lead out, or to a server that would be told who we are.
 * NtCreateFile, because CreateFileW cannot open in a folder, and says "access denied" where a file is merely being
 * deleted.
 * SPDX-License-Identifier: MIT */
#include "host/reader.h"
#include "host/windows/win32.h"

#include <winternl.h>

#include <string.h>
#include <wchar.h>

enum {
    LARGEST_READ = 1 << 24, /* asked for in one call */
    LINK_MET = 4395,        /* ERROR_REPARSE_POINT_ENCOUNTERED: where a link is refused */
    PATIENCE_MS = 500,      /* IIS, editors and virus scanners keep a file to themselves for a moment */
    STEP_MS = 10,
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

bool np_disk_is_missing(int reason)
{
    return reason == ERROR_FILE_NOT_FOUND || reason == ERROR_PATH_NOT_FOUND;
}

/* A server or a share that cannot be reached is not absent: what is there is not known. */
bool np_disk_is_absent(int reason)
{
    return reason == 0 || np_disk_is_missing(reason) || reason == ERROR_DIRECTORY;
}

bool np_disk_is_denied(int reason)
{
    const DWORD code = (DWORD)reason;
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

static DWORD open_in_root(const struct np_disk *disk, const char *path, const struct purpose *purpose, HANDLE *ret)
{
    struct parts parts = {0};
    const HANDLE root = (HANDLE)disk->folder;
    HANDLE folder = root, next = NULL;
    DWORD code = split_path(disk->arena, path, &parts) ? 0 : ERROR_INVALID_NAME;
    for (size_t i = 0; code == 0 && i + 1 < parts.n; i++) {
        code = open_part(folder, parts.names[i], &to_pass, &next);
        if (folder != root)
            CloseHandle(folder);
        folder = code ? root : next;
    }
    if (code == 0)
        code = open_part(folder, parts.n ? parts.names[parts.n - 1] : L"", purpose, ret);
    if (folder != root)
        CloseHandle(folder);
    return code;
}

static DWORD open_below(const struct np_disk *disk, const char *path, const struct purpose *purpose, HANDLE *ret)
{
    return disk->root ? open_in_root(disk, path, purpose, ret) : open_here(disk->arena, path, purpose, 0, ret);
}

enum nextport_status np_disk_open_root(struct np_disk *disk, const char *root, struct nextport_error *err)
{
    HANDLE folder;
    const DWORD code = open_here(disk->arena, root, &to_pass, 0, &folder);
    if (code)
        return np_fail_win32(err, np_disk_is_denied((int)code) ? NEXTPORT_DENIED : NEXTPORT_INPUT, code,
                             "open root '%s'", root);
    disk->folder = (intptr_t)folder;
    return NEXTPORT_OK;
}

int np_disk_open(const struct np_disk *disk, const char *path, enum np_purpose purpose, intptr_t *ret)
{
    HANDLE file = NULL;
    const DWORD code = open_below(disk, path, purpose == NP_TO_LIST ? &to_list : &to_read, &file);
    *ret = (intptr_t)file;
    return (int)code;
}

void np_disk_close(intptr_t file)
{
    CloseHandle((HANDLE)file);
}

const char *np_disk_because(struct np_arena *arena, int reason)
{
    return reason == LINK_MET ? "a link, which is not followed below a root" : np_win32_text(arena, (DWORD)reason);
}

const int np_disk_broken_name = ERROR_NO_UNICODE_TRANSLATION;

/* Of whatever has that name, a link as well. */
bool np_host_exists(const char *path)
{
    struct np_arena *arena = np_arena_new();
    HANDLE file;
    DWORD code = open_here(arena, path, &to_look, FILE_OPEN_REPARSE_POINT, &file);
    if (code == 0)
        CloseHandle(file);
    np_arena_free(arena);
    return !np_disk_is_missing((int)code);
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

/* What it is instead of a file with bytes on a disk; NULL: it is one. `info` NULL: the system does not tell. */
static const char *not_file(HANDLE file, const BY_HANDLE_FILE_INFORMATION *info)
{
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
    if (!info || (info->dwFileAttributes & FILE_ATTRIBUTE_DEVICE))
        return "a device"; /* a whole disk is one */
    return info->dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY ? "a folder" : NULL;
}

int np_disk_stamp(intptr_t handle, struct np_stamp *ret)
{
    HANDLE file = (HANDLE)handle;
    BY_HANDLE_FILE_INFORMATION info;
    FILE_BASIC_INFO times;
    const bool known = GetFileInformationByHandle(file, &info);
    DWORD code = known ? 0 : np_last_error();
    ret->not_file = not_file(file, known ? &info : NULL);
    if (known && !GetFileInformationByHandleEx(file, FileBasicInfo, &times, sizeof times))
        code = np_last_error();
    if (code)
        return (int)code;
    *ret = (struct np_stamp){.present = true,
                             .vague = is_vague(file, &times),
                             .not_file = ret->not_file,
                             .device = info.dwVolumeSerialNumber,
                             .inode = (uint64_t)info.nFileIndexHigh << 32 | info.nFileIndexLow,
                             .size = (uint64_t)info.nFileSizeHigh << 32 | info.nFileSizeLow,
                             .written = times.LastWriteTime.QuadPart,
                             .changed = times.ChangeTime.QuadPart};
    return 0;
}

/* Nothing is kept here from one request to the next. */
bool np_stamp_is_ambiguous(const struct np_stamp *stamp)
{
    return stamp->present;
}

bool np_disk_times_tell(const char *path)
{
    (void)path;
    return false;
}

/* NTFS and ReFS store units of 100 ns, but the clock they read advances in ticks of 15.6 ms at most: what was written
 * in the tick in which it was read may be written again without a new time. A change time in the future (the clock was
 * set) tells nothing either. */
bool np_stamp_settles(const struct np_stamp *stamp)
{
    const int64_t three_ticks = 47 * 10000;
    FILETIME now;
    GetSystemTimePreciseAsFileTime(&now);
    return stamp->present && (stamp->vague || stamp->changed >= whole(now) - three_ticks);
}

/* A path that ends in "/." names a folder, which Windows would not ask. */
static bool is_as_named(HANDLE file, const char *path)
{
    BY_HANDLE_FILE_INFORMATION info;
    const size_t len = strlen(path);
    const bool folder = len >= 2 && strcmp(path + len - 2, "/.") == 0;
    return !folder || (GetFileInformationByHandle(file, &info) && info.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY);
}

int np_disk_look(const struct np_disk *disk, const char *path, struct np_stamp *ret)
{
    HANDLE file;
    const DWORD code = open_below(disk, path, &to_look, &file);
    if (code)
        return (int)code;
    const int reason = is_as_named(file, path) ? np_disk_stamp((intptr_t)file, ret) : ERROR_DIRECTORY;
    CloseHandle(file);
    return reason;
}

/* ---- Reading ------------------------------------------------------------------------------------------------- */

/* Another program may have locked the bytes for a moment. */
int np_disk_read(intptr_t file, char *ret, size_t size, size_t *ret_n)
{
    const DWORD wanted = size < LARGEST_READ ? (DWORD)size : LARGEST_READ;
    for (int ms = 0;; ms += STEP_MS) {
        DWORD n = 0;
        DWORD code = ReadFile((HANDLE)file, ret, wanted, &n, NULL) ? 0 : np_last_error();
        *ret_n = n;
        if (code == ERROR_HANDLE_EOF)
            return 0;
        if (!is_passing(code) || ms >= PATIENCE_MS)
            return (int)code;
        Sleep(STEP_MS);
    }
}

/* ---- Folders ------------------------------------------------------------------------------------------------- */

static bool give_name(const FILE_FULL_DIR_INFO *entry, np_name_fn *each, void *ctx)
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
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
           each(ctx, name, exact ? NP_ENTRY_UNKNOWN : NP_ENTRY_BROKEN);
}

/* The names are the handle's, so they are of the folder that was opened and of no other. */
int np_disk_list(struct np_arena *arena, intptr_t folder, np_name_fn *each, void *ctx)
{
    FILE_INFO_BY_HANDLE_CLASS next = FileFullDirectoryRestartInfo;
    const DWORD size = 16 * 1024;
    char *bytes = np_alloc(arena, size);
    while (GetFileInformationByHandleEx((HANDLE)folder, next, bytes, size)) {
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
    const DWORD code = np_last_error();
    return code == ERROR_NO_MORE_FILES || code == ERROR_FILE_NOT_FOUND
               ? 0
               : (int)code; /* the latter: an empty one on FAT */
}

/* It could be asked for; nothing that is read here by its links is on Windows. */
const char *np_disk_link(const struct np_disk *disk, const char *path)
{
    (void)disk, (void)path;
    return NULL;
}

static char *slashed(struct np_arena *arena, const char *path)
{
    char *ret = np_strdup(arena, path);
    for (char *p = ret; p && *p; p++)
        if (*p == '\\')
            *p = '/';
    return ret;
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
static const char *name_on_disk(const struct np_disk *disk, HANDLE file, const char *path)
{
    const char *root = disk->root ? path_of(disk->arena, (HANDLE)disk->folder) : NULL;
    const char *found = root ? path_of(disk->arena, file) : NULL;
    const size_t len = root ? strlen(root) : 0;
    if (found && strncmp(found, root, len) == 0 && found[len] == '/')
        return found + len;
    return slashed(disk->arena, path);
}

/* The system's own lookup knows no case. */
const char *np_reader_find_nocase(struct np_reader *reader, const char *path, const char **why)
{
    const struct np_disk *disk = np_reader_disk(reader);
    HANDLE file;
    *why = NULL;
    DWORD code = open_below(disk, path, &to_look, &file);
    if (code) {
        np_reader_remember_failure(reader, path, (int)code);
        if (!np_disk_is_absent((int)code))
            *why = np_reader_unreadable(reader, path, (int)code);
        return NULL;
    }
    const char *name = name_on_disk(disk, file, path);
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
bool np_disk_matches(const char *pattern, const char *name)
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

const char np_disk_special[] = "*?[";

const char *np_disk_slashed(struct np_arena *arena, const char *path)
{
    return slashed(arena, path);
}

const char *np_disk_folder(struct np_arena *arena, const char *folder)
{
    const size_t len = strlen(folder);
    return len == 0 || folder[len - 1] == ':' ? np_sprintf(arena, "%s/", folder) : folder;
}

/* A share, the top of a drive, or the folder that the program works in. NULL: there is none. */
static const char *start_here(struct np_arena *arena, struct np_text *rest)
{
    struct np_text server, share;
    const bool has_drive = rest->len > 1 && rest->ptr[1] == ':';
    if (rest->len > 1 && rest->ptr[0] == '/' && rest->ptr[1] == '/') {
        if (!np_next_component(rest, &server) || !np_next_component(rest, &share))
            return NULL;
        return np_sprintf(arena, "//%.*s/%.*s", (int)server.len, server.ptr, (int)share.len, share.ptr);
    }
    const int drive = has_drive ? 2 : 0;
    const bool from_top = rest->len > (size_t)drive && rest->ptr[drive] == '/';
    const char *start = np_sprintf(arena, "%.*s%s", drive, rest->ptr, from_top ? "/" : ".");
    *rest = (struct np_text){.ptr = rest->ptr + drive, .len = rest->len - (size_t)drive};
    return plain_path(arena, np_wide_path(arena, start));
}

int np_disk_start(const struct np_disk *disk, struct np_text *rest, const char **ret)
{
    *ret = disk->root ? "" : start_here(disk->arena, rest);
    return *ret ? 0 : ERROR_INVALID_NAME;
}

bool np_host_is_kept(int reason)
{
    return reason == ERROR_SHARING_VIOLATION || reason == ERROR_LOCK_VIOLATION;
}
