/* Who may change a file or folder: security descriptors, made and judged.
 *
 * Everyone may make folders in %ProgramData%, and who made one owns it. So nothing is believed because of its name: owner
 * and DACL are read through a handle, and whoever is not known to be trusted is a stranger. There is no list of bad
 * groups: "Domain Users", "INTERACTIVE" and a colleague's account are all strangers.
 *
 * Only allow rules are weighed. A deny rule may or may not stop somebody from using one (it depends on order and on who
 * else the user is), so a weak rule behind it is as weak as without.
 * SPDX-License-Identifier: MIT */
#include "host/windows/guard.h"

#include <ntsecapi.h>
#include <sddl.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

static const char cure[] = "Run 'nextport setup' once elevated (as an administrator), join the group " NP_GROUP
                           ", or use a ledger of your own with --user.";

enum { DISK_QUOTA_EXCEEDED = 1295 }; /* ERROR_DISK_QUOTA_EXCEEDED, which not every SDK has */

/* ---- Judging ------------------------------------------------------------------------------------------------- */

#define MODIFY (FILE_GENERIC_READ | FILE_GENERIC_WRITE | FILE_GENERIC_EXECUTE | DELETE)
#define REPLACE (FILE_DELETE_CHILD | WRITE_DAC | WRITE_OWNER)
#define WRITE                                                                                                          \
    (FILE_WRITE_DATA | FILE_APPEND_DATA | FILE_WRITE_EA | FILE_WRITE_ATTRIBUTES | FILE_DELETE_CHILD | DELETE |         \
     WRITE_DAC | WRITE_OWNER)

/* What moves or unlocks the thing itself. With it a folder of the group's could be renamed, and all leases were gone. */
#define TAKE (DELETE | WRITE_DAC | WRITE_OWNER)

static const struct kind {
    ACCESS_MASK refused;
    bool inherited; /* rules that only concern what will be made in it count as well */
    const char *may;
} kinds[] = {
    [NP_GUARD_WRITERS] = {WRITE, true, "may write to it"},
    [NP_GUARD_PRIVATE] = {WRITE | FILE_READ_DATA | FILE_READ_EA, true, "may read or write it"},
    [NP_GUARD_ANCESTOR] = {REPLACE | DELETE, false, "may exchange what is in it"},
    [NP_GUARD_ROOT] = {REPLACE, false, "may exchange what is in it"},
};

/* As a SID lies in memory. */
struct fixed_sid {
    BYTE revision, n;
    BYTE authority[6];
    DWORD parts[6];
};

static const struct fixed_sid trusted[] = {
    {SID_REVISION, 1, {0, 0, 0, 0, 0, 5}, {18}},      /* SYSTEM */
    {SID_REVISION, 2, {0, 0, 0, 0, 0, 5}, {32, 544}}, /* Administrators */
    {SID_REVISION,
     6,
     {0, 0, 0, 0, 0, 5},
     {80, 956008885, 3418522649, 1831038044, 1853292631, 2271478464}}, /* TrustedInstaller */
};
static const struct fixed_sid creator_owner = {SID_REVISION, 1, {0, 0, 0, 0, 0, 3}, {0}};
static const struct fixed_sid owner_rights = {SID_REVISION, 1, {0, 0, 0, 0, 0, 3}, {4}};

static bool is_same(PSID sid, const struct fixed_sid *fixed)
{
    const size_t length = offsetof(struct fixed_sid, parts) + fixed->n * sizeof(DWORD);
    return GetLengthSid(sid) == length && memcmp(sid, fixed, length) == 0;
}

static bool is_trusted(PSID sid, const struct np_trust *trust)
{
    for (size_t i = 0; i < sizeof trusted / sizeof *trusted; i++)
        if (is_same(sid, &trusted[i]))
            return true;
    return trust->user && EqualSid(sid, trust->user);
}

/* One entry of a DACL. */
struct rule {
    bool allows;
    BYTE flags;
    ACCESS_MASK mask;
    PSID sid;
};

/* Where the SID of an entry begins; 0: a kind of entry that is not known. */
static size_t sid_offset(const BYTE *ace, size_t size, bool *ret_allows)
{
    enum { PLAIN = 8, OBJECT = 12, GUID_SIZE = 16 };
    static const struct {
        BYTE type, offset;
        bool allows;
    } types[] = {
        {ACCESS_ALLOWED_ACE_TYPE, PLAIN, true},
        {ACCESS_DENIED_ACE_TYPE, PLAIN, false},
        {ACCESS_ALLOWED_CALLBACK_ACE_TYPE, PLAIN, true},
        {ACCESS_DENIED_CALLBACK_ACE_TYPE, PLAIN, false},
        {ACCESS_ALLOWED_OBJECT_ACE_TYPE, OBJECT, true},
        {ACCESS_DENIED_OBJECT_ACE_TYPE, OBJECT, false},
        {ACCESS_ALLOWED_CALLBACK_OBJECT_ACE_TYPE, OBJECT, true},
        {ACCESS_DENIED_CALLBACK_OBJECT_ACE_TYPE, OBJECT, false},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (types[i].type != ace[0] || size < types[i].offset)
            continue;
        *ret_allows = types[i].allows;
        const BYTE guids = types[i].offset == OBJECT ? ace[PLAIN] : 0;
        return types[i].offset + ((guids & ACE_OBJECT_TYPE_PRESENT) ? GUID_SIZE : 0) +
               ((guids & ACE_INHERITED_OBJECT_TYPE_PRESENT) ? GUID_SIZE : 0);
    }
    return 0;
}

/* false: not an entry that is understood, or one that leaves its bounds. */
static bool read_rule(BYTE *ace, size_t size, struct rule *ret)
{
    enum { SID_HEAD = 8 };
    const size_t at = sid_offset(ace, size, &ret->allows);
    if (at == 0 || size < at + SID_HEAD || ace[at] != SID_REVISION || ace[at + 1] > SID_MAX_SUB_AUTHORITIES ||
        size < at + SID_HEAD + ace[at + 1] * sizeof(DWORD))
        return false;
    ret->flags = ace[1];
    memcpy(&ret->mask, ace + sizeof(ACE_HEADER), sizeof ret->mask);
    ret->sid = ace + at;
    return true;
}

static ACCESS_MASK rights_of(ACCESS_MASK mask)
{
    GENERIC_MAPPING files = {FILE_GENERIC_READ, FILE_GENERIC_WRITE, FILE_GENERIC_EXECUTE, FILE_ALL_ACCESS};
    MapGenericMask(&mask, &files);
    return mask & MAXIMUM_ALLOWED ? FILE_ALL_ACCESS : mask;
}

static bool is_harmless(const struct rule *rule, const struct np_trust *trust)
{
    const struct kind *kind = &kinds[trust->kind];
    const ACCESS_MASK rights = rights_of(rule->mask);
    const bool later = (rule->flags & INHERIT_ONLY_ACE) != 0;
    if (!rule->allows || (rights & kind->refused) == 0 || (later && !kind->inherited))
        return true;
    /* Whoever makes something in the folder, which only those can who are trusted. */
    if (later && is_same(rule->sid, &creator_owner))
        return true;
    /* Takes from an owner the right to change the DACL, which it has without such a rule. */
    if (is_same(rule->sid, &owner_rights))
        return (rights & ~(ACCESS_MASK)MODIFY) == 0;
    if (is_trusted(rule->sid, trust))
        return true;
    return trust->group && EqualSid(rule->sid, trust->group) && (later || !trust->folder || (rights & TAKE) == 0);
}

/* The entry at *at, which is moved to the next. */
static bool next_rule(ACL *dacl, size_t *at, struct rule *ret)
{
    BYTE *bytes = (BYTE *)dacl;
    ACE_HEADER head;
    if (dacl->AclSize < *at + sizeof head)
        return false;
    memcpy(&head, bytes + *at, sizeof head);
    if (dacl->AclSize - *at < head.AceSize || !read_rule(bytes + *at, head.AceSize, ret))
        return false;
    *at += head.AceSize;
    return true;
}

static enum np_guard judge_dacl(ACL *dacl, const struct np_trust *trust, PSID *ret_who)
{
    struct rule rule;
    size_t at = sizeof *dacl;
    for (WORD i = 0; i < dacl->AceCount; i++) {
        if (!next_rule(dacl, &at, &rule))
            return NP_GUARD_NONE;
        if (!is_harmless(&rule, trust)) {
            *ret_who = rule.sid;
            return NP_GUARD_OPEN;
        }
    }
    return NP_GUARD_SOUND;
}

enum np_guard np_guard_judge(PSECURITY_DESCRIPTOR sd, const struct np_trust *trust, bool any_owner, PSID *ret_who)
{
    PSID owner = NULL;
    ACL *dacl = NULL;
    BOOL present = FALSE, defaulted;
    *ret_who = NULL;
    if (!IsValidSecurityDescriptor(sd) || !GetSecurityDescriptorDacl(sd, &present, &dacl, &defaulted) || !present ||
        !dacl || !GetSecurityDescriptorOwner(sd, &owner, &defaulted) || !owner)
        return NP_GUARD_NONE;
    if (!any_owner && !is_trusted(owner, trust)) {
        *ret_who = owner;
        return NP_GUARD_FOREIGN;
    }
    return judge_dacl(dacl, trust, ret_who);
}

/* ---- Saying what is wrong ------------------------------------------------------------------------------------ */

enum nextport_status np_guard_cannot(struct nextport_error *err, DWORD code, const char *doing, const char *path)
{
    static const struct {
        DWORD code;
        enum nextport_status status;
        const char *hint;
    } known[] = {
        {ERROR_ACCESS_DENIED, NEXTPORT_DENIED, cure},
        {ERROR_PRIVILEGE_NOT_HELD, NEXTPORT_DENIED, cure},
        {ERROR_INVALID_OWNER, NEXTPORT_DENIED, cure},
        {ERROR_WRITE_PROTECT, NEXTPORT_LEDGER, "Use another ledger with --ledger: this drive cannot be written to."},
        {ERROR_DISK_FULL, NEXTPORT_LEDGER, "Free space on the drive, then repeat the request."},
        {ERROR_HANDLE_DISK_FULL, NEXTPORT_LEDGER, "Free space on the drive, then repeat the request."},
        {DISK_QUOTA_EXCEEDED, NEXTPORT_LEDGER, "Free space within the quota, then repeat the request."},
        {ERROR_SHARING_VIOLATION, NEXTPORT_RETRY, "Close the program that has it open, then repeat the request."},
        {ERROR_LOCK_VIOLATION, NEXTPORT_RETRY, "Close the program that has it locked, then repeat the request."},
        {ERROR_FILE_NOT_FOUND, NEXTPORT_INPUT, "Make the folder, or name another ledger."},
        {ERROR_PATH_NOT_FOUND, NEXTPORT_INPUT, "Make the folder, or name another ledger."},
        {ERROR_NOT_READY, NEXTPORT_INPUT, "There is nothing in that drive: name another ledger."},
        {ERROR_DIRECTORY, NEXTPORT_INPUT, "A part of the path is not a folder: name another ledger."},
        {ERROR_INVALID_NAME, NEXTPORT_INPUT, "Name another ledger."},
        {ERROR_FILENAME_EXCED_RANGE, NEXTPORT_INPUT, "Name another ledger."},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].code != code)
            continue;
        np_fail_win32(err, known[i].status, code, "%s %s", doing, path);
        np_hint(err, "%s", known[i].hint);
        return known[i].status;
    }
    return np_fail_win32(err, NEXTPORT_FAILED, code, "%s %s", doing, path);
}

/* "SHOP\mallory (S-1-5-21-...)": the number is what can be looked for when the name is not known. */
static const char *name_of(struct np_arena *arena, PSID sid, const char **ret_number)
{
    wchar_t name[256], domain[256];
    DWORD name_size = sizeof name / sizeof *name, domain_size = sizeof domain / sizeof *domain;
    SID_NAME_USE use;
    LPSTR text = NULL;
    *ret_number = ConvertSidToStringSidA(sid, &text) ? np_strdup(arena, text) : "?";
    LocalFree(text);
    if (!LookupAccountSidW(NULL, sid, name, &name_size, domain, &domain_size, &use))
        return *ret_number;
    return np_sprintf(arena, "%s%s%s (%s)", np_narrow(arena, domain), domain[0] ? "\\" : "", np_narrow(arena, name),
                      *ret_number);
}

/* As a person types it. */
static const char *typed(struct np_arena *arena, const char *path)
{
    char *ret = np_strdup(arena, path);
    for (char *p = ret; *p; p++)
        if (*p == '/')
            *p = '\\';
    return ret;
}

/* The right that somebody has too much. A folder may be the system's, with more in it than a ledger. */
static void hint_open(const char *path, const struct np_trust *trust, PSID who, const char *number,
                      struct nextport_error *err)
{
    if (trust->group && EqualSid(who, trust->group)) {
        np_hint(err,
                "Members could move the folder away, and the leases with it. Type: icacls \"%s\" /inheritance:d "
                "/remove:g *%s - and then: icacls \"%s\" /grant \"*%s:(RX,W)\" \"*%s:(OI)(CI)(IO)M\"",
                path, number, path, number, number);
    } else if (trust->kind == NP_GUARD_ANCESTOR || trust->kind == NP_GUARD_ROOT) {
        np_hint(
            err,
            "Name a ledger in a folder that nobody else may exchange. Or, if nothing else needs that right, take it "
            "away; type: icacls \"%s\" /inheritance:d /remove:g *%s",
            path, number);
    } else {
        np_hint(err,
                "Look whether it was changed. Then take that right away; type: icacls \"%s\" /inheritance:d "
                "/remove:g *%s",
                path, number);
    }
}

static enum nextport_status refuse(const char *path, enum np_guard verdict, const struct np_trust *trust, PSID who,
                                   struct nextport_error *err)
{
    struct np_arena *arena = np_arena_new();
    const char *number = "", *name = who ? name_of(arena, who, &number) : "", *line = typed(arena, path);
    if (verdict == NP_GUARD_NONE) {
        np_fail(err, NEXTPORT_DENIED, "%s: it has no access rights, or none that can be understood", path);
        np_hint(err, "Keep the ledger on a drive that has access rights (NTFS), and look at them with icacls.");
    } else if (verdict == NP_GUARD_FOREIGN) {
        np_fail(err, NEXTPORT_DENIED, "%s: belongs to %s, who may change it at any time", path, name);
        np_hint(err,
                "Look who made it and what is in it. If that is as it should be, have an administrator take it over: "
                "icacls \"%s\" /setowner *S-1-5-32-544",
                line);
    } else {
        np_fail(err, NEXTPORT_DENIED, "%s: %s %s", path, name, kinds[trust->kind].may);
        hint_open(line, trust, who, number, err);
    }
    np_arena_free(arena);
    return NEXTPORT_DENIED;
}

static const char a_folder[] = "a folder";

static enum nextport_status wrong_kind(const char *path, const char *what, bool folder, struct nextport_error *err)
{
    np_fail(err, NEXTPORT_LEDGER, "%s: %s, not a plain %s", path, what, folder ? "folder" : "file");
    if (what == a_folder)
        np_hint(err, "That is a folder: name a file in it.");
    else if (folder)
        np_hint(err, "Name another ledger, or the place that this one leads to.");
    else
        np_hint(err, "Look who put it there and what else it is. Remove it, or name another ledger.");
    return NEXTPORT_LEDGER;
}

static enum nextport_status elsewhere(const char *path, struct nextport_error *err)
{
    np_fail(err, NEXTPORT_LEDGER, "%s: it is on another computer", path);
    np_hint(err, "Keep the ledger on a drive of this machine: a network's locks do not protect it.");
    return NEXTPORT_LEDGER;
}

/* ---- Looking ------------------------------------------------------------------------------------------------- */

/* NULL: GetLastError() says why. */
static PSECURITY_DESCRIPTOR read_descriptor(struct np_arena *arena, HANDLE handle)
{
    enum { TRIES = 3 };
    const SECURITY_INFORMATION what = OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION;
    DWORD size = 1024;
    for (int i = 0; i < TRIES; i++) {
        PSECURITY_DESCRIPTOR sd = np_alloc(arena, size);
        if (GetKernelObjectSecurity(handle, what, sd, size, &size))
            return sd;
        if (GetLastError() != ERROR_INSUFFICIENT_BUFFER)
            break;
    }
    return NULL;
}

static HANDLE open_for(const char *path, DWORD access, DWORD flags)
{
    struct np_arena *arena = np_arena_new();
    const wchar_t *wide = np_wide_path(arena, path);
    HANDLE handle = INVALID_HANDLE_VALUE;
    SetLastError(ERROR_INVALID_NAME);
    if (wide)
        handle = CreateFileW(wide, access, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_EXISTING,
                             FILE_FLAG_BACKUP_SEMANTICS | flags, NULL);
    const DWORD reason = GetLastError();
    np_arena_free(arena);
    SetLastError(reason);
    return handle;
}

static bool is_folder(const BY_HANDLE_FILE_INFORMATION *info)
{
    return (info->dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) != 0;
}

static bool is_link(const BY_HANDLE_FILE_INFORMATION *info)
{
    return (info->dwFileAttributes & FILE_ATTRIBUTE_REPARSE_POINT) != 0;
}

/* NULL: as it should be. */
static const char *kind_of(const BY_HANDLE_FILE_INFORMATION *info, bool folder)
{
    if (is_link(info))
        return "a link (reparse point)";
    if (is_folder(info) && !folder)
        return a_folder;
    return !folder && info->nNumberOfLinks > 1 ? "a file with a second name" : NULL;
}

/* Only a remote file has a protocol. */
static bool is_remote(HANDLE handle)
{
    FILE_REMOTE_PROTOCOL_INFO info;
    return GetFileInformationByHandleEx(handle, FileRemoteProtocolInfo, &info, sizeof info);
}

static enum nextport_status judge_handle(HANDLE handle, const char *path, const struct np_trust *trust, bool any_owner,
                                         struct nextport_error *err)
{
    PSID who;
    struct np_arena *arena = np_arena_new();
    enum nextport_status status = NEXTPORT_OK;
    PSECURITY_DESCRIPTOR sd = read_descriptor(arena, handle);
    if (!sd)
        status = np_guard_cannot(err, GetLastError(), "read the access rights of", path);
    const enum np_guard verdict = sd ? np_guard_judge(sd, trust, any_owner, &who) : NP_GUARD_SOUND;
    if (verdict != NP_GUARD_SOUND)
        status = refuse(path, verdict, trust, who, err);
    np_arena_free(arena);
    return status;
}

enum nextport_status np_guard_vet_handle(HANDLE handle, const char *path, bool folder, const struct np_trust *trust,
                                         bool any_owner, struct nextport_error *err)
{
    BY_HANDLE_FILE_INFORMATION info;
    struct np_trust here = *trust;
    here.folder = folder;
    if (!GetFileInformationByHandle(handle, &info))
        return np_guard_cannot(err, GetLastError(), "look at", path);
    if (folder && !is_folder(&info) && !is_link(&info))
        return np_guard_cannot(err, ERROR_DIRECTORY, "look at", path);
    if (kind_of(&info, folder))
        return wrong_kind(path, kind_of(&info, folder), folder, err);
    return is_remote(handle) ? elsewhere(path, err) : judge_handle(handle, path, &here, any_owner, err);
}

static bool is_absent(DWORD code)
{
    return code == ERROR_FILE_NOT_FOUND || code == ERROR_PATH_NOT_FOUND;
}

enum nextport_status np_guard_vet(const char *path, bool folder, const struct np_trust *trust, bool any_owner,
                                  bool *ret_there, struct nextport_error *err)
{
    HANDLE handle = open_for(path, READ_CONTROL | FILE_READ_ATTRIBUTES, FILE_FLAG_OPEN_REPARSE_POINT);
    *ret_there = handle != INVALID_HANDLE_VALUE || !is_absent(GetLastError());
    if (handle == INVALID_HANDLE_VALUE)
        return *ret_there ? np_guard_cannot(err, GetLastError(), "look at", path) : NEXTPORT_OK;
    enum nextport_status status = np_guard_vet_handle(handle, path, folder, trust, any_owner, err);
    CloseHandle(handle);
    return status;
}

/* ---- The folders above --------------------------------------------------------------------------------------- */

struct walk {
    const struct np_trust *trust;
    bool there, linked; /* what was met so far */
};

/* One folder as it is, or what it leads to. */
static enum nextport_status vet_one_above(struct walk *walk, const char *folder, bool follow,
                                          struct nextport_error *err)
{
    BY_HANDLE_FILE_INFORMATION info;
    struct np_trust trust = *walk->trust;
    trust.kind = strlen(folder) == sizeof "C:/" - 1 ? NP_GUARD_ROOT : NP_GUARD_ANCESTOR;
    trust.group = NULL;
    trust.folder = true;
    HANDLE handle =
        open_for(folder, READ_CONTROL | FILE_READ_ATTRIBUTES, follow ? 0 : (DWORD)FILE_FLAG_OPEN_REPARSE_POINT);
    walk->there = handle != INVALID_HANDLE_VALUE || !is_absent(GetLastError());
    if (handle == INVALID_HANDLE_VALUE)
        return walk->there ? np_guard_cannot(err, GetLastError(), "look at", folder) : NEXTPORT_OK;
    enum nextport_status status = NEXTPORT_OK;
    if (!GetFileInformationByHandle(handle, &info))
        status = np_guard_cannot(err, GetLastError(), "look at", folder);
    else if (!is_folder(&info))
        status = np_guard_cannot(err, ERROR_DIRECTORY, "look at", folder);
    else if (is_remote(handle))
        status = elsewhere(folder, err);
    else
        status = judge_handle(handle, folder, &trust, false, err);
    const bool linked = status == NEXTPORT_OK && is_link(&info);
    CloseHandle(handle);
    walk->linked = walk->linked || linked;
    return linked && !follow ? vet_one_above(walk, folder, true, err) : status;
}

static enum nextport_status walk_down(struct walk *walk, struct np_arena *arena, const char *path,
                                      struct nextport_error *err)
{
    enum nextport_status status = NEXTPORT_OK;
    walk->there = true;
    for (size_t i = 0; path[i] && status == NEXTPORT_OK && walk->there; i++)
        if (path[i] == '/')
            status = vet_one_above(walk, np_strndup(arena, path, i == 2 ? 3 : i), false, err);
    return status;
}

/* Where the folder of `path` really is, with the name below it; NULL when the system does not tell. */
static const char *real_path(struct np_arena *arena, const char *path)
{
    wchar_t real[4096];
    const char *ret, *slash = strrchr(path, '/');
    HANDLE handle = open_for(np_strndup(arena, path, (size_t)(slash - path) + 1), FILE_READ_ATTRIBUTES, 0);
    DWORD n = 0;
    if (handle != INVALID_HANDLE_VALUE) {
        n = GetFinalPathNameByHandleW(handle, real, sizeof real / sizeof *real, VOLUME_NAME_DOS);
        CloseHandle(handle);
    }
    if (n == 0 || n >= sizeof real / sizeof *real)
        return NULL;
    struct nextport_error ignored = NEXTPORT_ERROR_INIT;
    const char *with_name = np_sprintf(arena, "%s%s", np_narrow(arena, real), slash);
    return np_guard_full_path(arena, with_name, &ret, &ignored) == NEXTPORT_OK ? ret : NULL;
}

enum nextport_status np_guard_vet_above(const char *path, const struct np_trust *trust, struct nextport_error *err)
{
    struct walk walk = {.trust = trust};
    struct np_arena *arena = np_arena_new();
    enum nextport_status status = walk_down(&walk, arena, path, err);
    if (status == NEXTPORT_OK && walk.there && walk.linked) {
        const char *real = real_path(arena, path);
        status = real ? walk_down(&walk, arena, real, err)
                      : wrong_kind(path, "reached through a link that leads to no drive of this machine", false, err);
    }
    np_arena_free(arena);
    return status;
}

/* ---- Paths --------------------------------------------------------------------------------------------------- */

static enum nextport_status bad_path(const char *path, const char *what, struct nextport_error *err)
{
    np_fail(err, NEXTPORT_INPUT, "\"%s\" %s", path, what);
    np_hint(err, "Name a file with its drive, such as C:\\data\\ledger.db.");
    return NEXTPORT_INPUT;
}

enum nextport_status np_guard_full_path(struct np_arena *arena, const char *path, const char **ret,
                                        struct nextport_error *err)
{
    enum { PREFIX = 4 }; /* \\?\ */
    const size_t length = strlen(path);
    if (length == 0 || strchr("/\\", path[length - 1]))
        return bad_path(path, "names a folder, not a ledger", err);
    const wchar_t *wide = np_wide_path(arena, path);
    if (!wide)
        return bad_path(path, "is not a path, or is longer than the system allows", err);
    if (_wcsnicmp(wide + PREFIX, L"UNC\\", 4) == 0)
        return elsewhere(path, err);
    if (!iswalpha(wide[PREFIX]) || wide[PREFIX + 1] != L':' || wide[PREFIX + 2] != L'\\' || !wcsrchr(wide, L'\\')[1])
        return bad_path(path, "is not a file on a drive", err);
    const wchar_t root[] = {wide[PREFIX], L':', L'\\', L'\0'};
    if (GetDriveTypeW(root) == DRIVE_REMOTE)
        return elsewhere(path, err);
    char *full = np_narrow(arena, wide + PREFIX);
    for (char *p = full; *p; p++)
        if (*p == '\\')
            *p = '/';
    *ret = full;
    return NEXTPORT_OK;
}

/* ---- People -------------------------------------------------------------------------------------------------- */

static PSID keep(struct np_arena *arena, PSID sid)
{
    const DWORD size = GetLengthSid(sid);
    return memcpy(np_alloc(arena, size), sid, size);
}

PSID np_guard_user(struct np_arena *arena)
{
    union {
        TOKEN_USER user;
        BYTE room[sizeof(TOKEN_USER) + SECURITY_MAX_SID_SIZE];
    } token;
    DWORD size;
    /* The thread's, should it act for somebody: that is whose rights count when a file is opened. */
    return GetTokenInformation(GetCurrentThreadEffectiveToken(), TokenUser, &token, sizeof token, &size)
               ? keep(arena, token.user.User.Sid)
               : NULL;
}

enum { DOMAIN_MAX = 256 };

/* The domain of the accounts that this machine keeps: its own name, or on a domain controller that of its domain. */
static bool account_domain(wchar_t ret[DOMAIN_MAX])
{
    LSA_OBJECT_ATTRIBUTES none = {.Length = sizeof none};
    LSA_HANDLE policy;
    POLICY_ACCOUNT_DOMAIN_INFO *info = NULL;
    if (LsaOpenPolicy(NULL, &none, POLICY_VIEW_LOCAL_INFORMATION, &policy) != 0)
        return false;
    bool ok = LsaQueryInformationPolicy(policy, PolicyAccountDomainInformation, (void **)&info) == 0 && info;
    if (ok) {
        const size_t n = info->DomainName.Length / sizeof *ret;
        ok = n > 0 && n < DOMAIN_MAX;
        if (ok) {
            memcpy(ret, info->DomainName.Buffer, n * sizeof *ret);
            ret[n] = L'\0';
        }
        LsaFreeMemory(info);
    }
    LsaClose(policy);
    return ok;
}

/* With the machine's own domain before it, so that no other one is asked, nor believed. */
PSID np_guard_group(struct np_arena *arena)
{
    wchar_t own[DOMAIN_MAX], name[DOMAIN_MAX + sizeof NP_GROUP + 1], domain[DOMAIN_MAX];
    BYTE sid[SECURITY_MAX_SID_SIZE];
    DWORD n = DOMAIN_MAX, sid_size = sizeof sid, domain_size = DOMAIN_MAX;
    SID_NAME_USE use;
    if (!account_domain(own) && !GetComputerNameW(own, &n))
        return NULL;
    wcscat(wcscat(wcscpy(name, own), L"\\"), L"" NP_GROUP);
    return LookupAccountNameW(NULL, name, sid, &sid_size, domain, &domain_size, &use) && use == SidTypeAlias
               ? keep(arena, sid)
               : NULL;
}

struct np_trust np_guard_trust(struct np_arena *arena, enum np_place place)
{
    return (struct np_trust){.user = np_guard_user(arena),
                             .group = place == NP_PLACE_USER ? NULL : np_guard_group(arena)};
}

/* ---- Making -------------------------------------------------------------------------------------------------- */

#define MODIFY_TEXT "0x1301bf"
#define MODIFY_NOT_DELETE_TEXT "0x1201bf"
#define READ_TEXT "0x1200a9"

static void add_rule(struct np_buf *b, const char *inherit, const char *rights, const char *who)
{
    np_buf_printf(b, "(A;%s;%s;;;%s)", inherit, rights, who);
}

static void add_sid(struct np_buf *b, const char *inherit, const char *rights, PSID sid)
{
    LPSTR text = NULL;
    if (sid && ConvertSidToStringSidA(sid, &text))
        add_rule(b, inherit, rights, text);
    LocalFree(text);
}

static PSECURITY_DESCRIPTOR descriptor_of(struct np_arena *arena, const char *sddl)
{
    PSECURITY_DESCRIPTOR sd = NULL, ret = NULL;
    ULONG size = 0;
    if (ConvertStringSecurityDescriptorToSecurityDescriptorA(sddl, SDDL_REVISION_1, &sd, &size))
        ret = memcpy(np_alloc(arena, size), sd, size);
    LocalFree(sd);
    return ret;
}

/* SYSTEM and Administrators everything; then those whom the place is for. Members may delete what is in the group's
 * folder, but not the folder. In what the group shares, the maker of a file
 * (-wal, -shm) is its owner, who could open it to others: the rule for OWNER RIGHTS leaves an owner nothing of the kind. */
PSECURITY_DESCRIPTOR np_guard_promise(struct np_arena *arena, enum np_place place, enum np_promised what, PSID group)
{
    const char *inherit = what == NP_PROMISED_FOLDER ? "OICI" : "";
    const bool lock = what == NP_PROMISED_LOCK, owned = what <= NP_PROMISED_FILE, machine = place == NP_PLACE_MACHINE;
    PSID user = np_guard_user(arena);
    struct np_buf b = {.arena = arena};
    LPSTR owner = NULL;
    if (!machine && (!user || !ConvertSidToStringSidA(user, &owner)))
        return NULL;
    if (owned)
        np_buf_printf(&b, "O:%s", machine ? "BA" : owner);
    LocalFree(owner);
    np_buf_puts(&b, "D:P");
    add_rule(&b, inherit, "FA", "SY");
    add_rule(&b, inherit, "FA", "BA");
    if (!machine)
        add_sid(&b, inherit, "FA", user);
    if (what == NP_PROMISED_FOLDER)
        add_sid(&b, "", MODIFY_NOT_DELETE_TEXT, group);
    add_sid(&b, what == NP_PROMISED_FOLDER ? "OICIIO" : "", MODIFY_TEXT, group);
    if (machine && !lock)
        add_rule(&b, inherit, READ_TEXT, "BU");
    if (machine)
        add_rule(&b, inherit, "RC", "S-1-3-4");
    return descriptor_of(arena, b.ptr);
}

static const char *text_of(struct np_arena *arena, PSECURITY_DESCRIPTOR sd)
{
    LPSTR text = NULL;
    char *ret = NULL;
    if (sd && ConvertSecurityDescriptorToStringSecurityDescriptorA(
                  sd, SDDL_REVISION_1, OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION, &text, NULL))
        ret = np_strdup(arena, text);
    LocalFree(text);
    return ret;
}

/* The same rules in the same order, inherited or not. */
static bool has_rules_of(ACL *now, ACL *wanted)
{
    size_t at_now = sizeof *now, at_wanted = sizeof *wanted;
    struct rule a, b;
    bool same = now->AceCount == wanted->AceCount;
    for (WORD i = 0; same && i < now->AceCount; i++)
        same = next_rule(now, &at_now, &a) && next_rule(wanted, &at_wanted, &b) && a.allows == b.allows &&
               (a.flags & ~INHERITED_ACE) == b.flags && a.mask == b.mask && EqualSid(a.sid, b.sid);
    return same;
}

/* A folder's DACL must be protected, or what its own folder passes on could change it. */
static bool is_already(PSECURITY_DESCRIPTOR now, PSECURITY_DESCRIPTOR wanted, bool folder)
{
    PSID owner_now = NULL, owner_wanted = NULL;
    ACL *dacl_now = NULL, *dacl_wanted = NULL;
    SECURITY_DESCRIPTOR_CONTROL control = 0;
    DWORD revision;
    BOOL present, defaulted;
    if (!now || !GetSecurityDescriptorOwner(now, &owner_now, &defaulted) ||
        !GetSecurityDescriptorOwner(wanted, &owner_wanted, &defaulted) ||
        !GetSecurityDescriptorDacl(now, &present, &dacl_now, &defaulted) ||
        !GetSecurityDescriptorDacl(wanted, &present, &dacl_wanted, &defaulted) ||
        !GetSecurityDescriptorControl(now, &control, &revision) || !owner_now || !dacl_now || !dacl_wanted)
        return false;
    return (!owner_wanted || EqualSid(owner_now, owner_wanted)) && (!folder || (control & SE_DACL_PROTECTED)) &&
           has_rules_of(dacl_now, dacl_wanted);
}

/* The owner first: whoever it was could undo the rest. */
static bool set_descriptor(HANDLE handle, PSECURITY_DESCRIPTOR sd)
{
    PSID owner = NULL;
    BOOL defaulted;
    if (GetSecurityDescriptorOwner(sd, &owner, &defaulted) && owner &&
        !SetKernelObjectSecurity(handle, OWNER_SECURITY_INFORMATION, sd))
        return false;
    return SetKernelObjectSecurity(handle, DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION, sd);
}

static enum nextport_status apply(HANDLE handle, const char *path, PSECURITY_DESCRIPTOR sd, bool *ret_changed,
                                  struct nextport_error *err)
{
    BY_HANDLE_FILE_INFORMATION info;
    if (!GetFileInformationByHandle(handle, &info))
        return np_guard_cannot(err, GetLastError(), "look at", path);
    const bool folder = is_folder(&info);
    if (kind_of(&info, folder)) /* or something else would be opened to others */
        return wrong_kind(path, kind_of(&info, folder), folder, err);
    struct np_arena *arena = np_arena_new();
    enum nextport_status status = NEXTPORT_OK;
    PSECURITY_DESCRIPTOR now = read_descriptor(arena, handle);
    if (!is_already(now, sd, folder)) {
        if (!set_descriptor(handle, sd))
            status = np_guard_cannot(err, GetLastError(), "set the access rights of", path);
        /* What was kept of it decides: a file system may keep less. */
        const char *before = text_of(arena, now), *after = text_of(arena, read_descriptor(arena, handle));
        *ret_changed |= !before || !after || strcmp(before, after) != 0;
    }
    np_arena_free(arena);
    return status;
}

enum nextport_status np_guard_apply(const char *path, PSECURITY_DESCRIPTOR sd, bool *ret_changed,
                                    struct nextport_error *err)
{
    PSID owner = NULL;
    BOOL defaulted;
    GetSecurityDescriptorOwner(sd, &owner, &defaulted);
    const DWORD rights = READ_CONTROL | WRITE_DAC | FILE_READ_ATTRIBUTES | (owner ? WRITE_OWNER : 0);
    HANDLE handle = open_for(path, rights, FILE_FLAG_OPEN_REPARSE_POINT);
    if (handle == INVALID_HANDLE_VALUE)
        return np_guard_cannot(err, GetLastError(), "set the access rights of", path);
    enum nextport_status status = apply(handle, path, sd, ret_changed, err);
    CloseHandle(handle);
    return status;
}
