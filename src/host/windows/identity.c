/* Who and where we are: small facts that cost a system call or two and never ask the network.
 * SPDX-License-Identifier: MIT */
#include "host/windows/win32.h"

#include <ctype.h>
#include <initguid.h>
#include <knownfolders.h>
#include <sddl.h>
#include <string.h>
#include <wchar.h>

#define SECURITY_WIN32
#include <security.h>

/* ---- This machine -------------------------------------------------------------------------------------------- */

/* The physical name: a cluster's would be that of two machines. */
const char *np_host_name(struct np_arena *arena)
{
    DWORD n = 0;
    GetComputerNameExW(ComputerNamePhysicalDnsHostname, NULL, &n);
    wchar_t *name = np_alloc_array(arena, n + (size_t)1, sizeof *name);
    if (n == 0 || !GetComputerNameExW(ComputerNamePhysicalDnsHostname, name, &n) || !name[0])
        return "unknown";
    return np_narrow(arena, name);
}

/* "01234567-89ab-cdef-0123-456789abcdef", made when Windows is installed and again by sysprep. */
const char *np_host_machine_id(struct np_arena *arena)
{
    static const char form[] = "00000000-0000-0000-0000-000000000000";
    wchar_t value[64];
    DWORD size = sizeof value;
    if (RegGetValueW(HKEY_LOCAL_MACHINE, L"SOFTWARE\\Microsoft\\Cryptography", L"MachineGuid",
                     RRF_RT_REG_SZ | RRF_SUBKEY_WOW6464KEY, NULL, value, &size) != ERROR_SUCCESS)
        return NULL;
    char *id = np_narrow(arena, value);
    if (strlen(id) != sizeof form - 1)
        return NULL;
    for (size_t i = 0; id[i]; i++) {
        if (form[i] == '-' ? id[i] != '-' : !isxdigit((unsigned char)id[i]))
            return NULL;
        id[i] = (char)tolower((unsigned char)id[i]);
    }
    return id;
}

const char *np_host_scope(struct np_arena *arena)
{
    (void)arena;
    return "";
}

const char *np_host_boot(struct np_arena *arena)
{
    (void)arena;
    return NULL;
}

int64_t np_host_now(void)
{
    const int64_t tenths_of_us_to_1970 = INT64_C(116444736000000000), in_a_second = 10000000;
    FILETIME time;
    GetSystemTimePreciseAsFileTime(&time);
    return ((int64_t)((uint64_t)time.dwHighDateTime << 32 | time.dwLowDateTime) - tenths_of_us_to_1970) / in_a_second;
}

/* ---- This user ----------------------------------------------------------------------------------------------- */

/* Names that every language of Windows translates, and under which nobody needs to be asked for. */
static const struct {
    WELL_KNOWN_SID_TYPE type;
    const char *name;
} system_users[] = {
    {WinLocalSystemSid, "NT AUTHORITY\\SYSTEM"},
    {WinLocalServiceSid, "NT AUTHORITY\\LOCAL SERVICE"},
    {WinNetworkServiceSid, "NT AUTHORITY\\NETWORK SERVICE"},
};

/* NULL: the system does not tell. */
static PSID user_sid(struct np_arena *arena)
{
    HANDLE token;
    DWORD size = 0;
    if (!OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token))
        return NULL;
    GetTokenInformation(token, TokenUser, NULL, 0, &size);
    TOKEN_USER *user = np_alloc(arena, size);
    const bool ok = size >= sizeof *user && GetTokenInformation(token, TokenUser, user, size, &size);
    CloseHandle(token);
    return ok ? user->User.Sid : NULL;
}

static const char *sid_text(struct np_arena *arena, PSID sid)
{
    LPWSTR text = NULL;
    if (!ConvertSidToStringSidW(sid, &text))
        return "unknown";
    const char *ret = np_narrow(arena, text);
    LocalFree(text);
    return ret;
}

/* The name comes from the logon session; to look the SID up could ask a domain controller, and wait for it. */
const char *np_host_user(struct np_arena *arena)
{
    PSID sid = user_sid(arena);
    ULONG n = 0;
    for (size_t i = 0; sid && i < sizeof system_users / sizeof *system_users; i++)
        if (IsWellKnownSid(sid, system_users[i].type))
            return system_users[i].name;
    GetUserNameExW(NameSamCompatible, NULL, &n);
    wchar_t *name = np_alloc_array(arena, n + (size_t)1, sizeof *name);
    if (n > 0 && GetUserNameExW(NameSamCompatible, name, &n) && name[0])
        return np_narrow(arena, name);
    return sid ? sid_text(arena, sid) : "unknown";
}

/* An administrator who is not elevated has the group for denials only, and is no member by this question. */
bool np_host_privileged(void)
{
    BYTE administrators[SECURITY_MAX_SID_SIZE], system[SECURITY_MAX_SID_SIZE];
    DWORD size = sizeof administrators, system_size = sizeof system;
    BOOL member = FALSE;
    if (CreateWellKnownSid(WinBuiltinAdministratorsSid, NULL, administrators, &size) &&
        CheckTokenMembership(NULL, administrators, &member) && member)
        return true;
    return CreateWellKnownSid(WinLocalSystemSid, NULL, system, &system_size) &&
           CheckTokenMembership(NULL, system, &member) && member;
}

const char *np_host_env(struct np_arena *arena, const char *name)
{
    const wchar_t *wide = np_wide(arena, name);
    const DWORD size = GetEnvironmentVariableW(wide, NULL, 0);
    wchar_t *value = np_alloc_array(arena, size + (size_t)1, sizeof *value);
    const DWORD n = GetEnvironmentVariableW(wide, value, size);
    return n > 0 && n < size ? np_narrow(arena, value) : NULL;
}

const struct np_host_words np_host_words = {
    .admin = "an administrator",
    .elevate = "Run elevated, as an administrator or as SYSTEM",
    .setup = "Run 'nextport setup' elevated, as an administrator",
    .join = "'net localgroup " NP_GROUP " USER /add', which counts from their next logon, or a service's next start",
};

/* ---- Where IIS is -------------------------------------------------------------------------------------------- */

static void to_slashes(char *path)
{
    for (; *path; path++)
        if (*path == '\\')
            *path = '/';
}

const char *np_host_iis_file(struct np_arena *arena)
{
    char *folder = np_narrow(arena, np_system_folder(arena));
    to_slashes(folder);
    return np_sprintf(arena, "%s/inetsrv/config/applicationHost.config", folder);
}

/* Everyone may read the keys of services, so to be kept out of it is strange, and no sign that it is not there. */
bool np_host_iis_installed(void)
{
    HKEY key;
    LSTATUS reason =
        RegOpenKeyExW(HKEY_LOCAL_MACHINE, L"SYSTEM\\CurrentControlSet\\Services\\W3SVC", 0, KEY_QUERY_VALUE, &key);
    if (reason == ERROR_SUCCESS)
        RegCloseKey(key);
    return reason != ERROR_FILE_NOT_FOUND && reason != ERROR_PATH_NOT_FOUND;
}

const char *np_host_iis_express_file(struct np_arena *arena)
{
    const char *documents = np_known_folder(arena, &FOLDERID_Documents);
    return documents ? np_sprintf(arena, "%s/IISExpress/config/applicationhost.config", documents) : NULL;
}

/* ---- Paths as a configuration writes them --------------------------------------------------------------------- */

/* Variables that are not set stay as they are written. */
static char *expand(struct np_arena *arena, const char *path)
{
    const wchar_t *wide = np_wide(arena, path);
    const DWORD size = ExpandEnvironmentStringsW(wide, NULL, 0);
    wchar_t *expanded = np_alloc_array(arena, size + (size_t)1, sizeof *expanded);
    const DWORD n = size ? ExpandEnvironmentStringsW(wide, expanded, size) : 0;
    return n > 0 && n <= size ? np_narrow(arena, expanded) : NULL;
}

/* "C:/rest" or "//server/share/rest": what follows "C:/" or "//"; NULL for anything else. "//?/" and "//./" give names
 * another meaning. */
static const char *names_of(const char *path)
{
    if (isalpha((unsigned char)path[0]) && path[1] == ':')
        return path[2] == '/' ? path + 3 : NULL;
    if (path[0] != '/' || path[1] != '/')
        return NULL;
    const char *server = path + 2;
    const size_t server_len = strcspn(server, "/");
    if (server_len == 0 || server[server_len] != '/' || (server_len == 1 && strchr("?.", *server)))
        return NULL;
    const char *share = server + server_len + 1;
    const size_t share_len = strcspn(share, "/");
    return share_len > 0 && share[share_len] == '/' ? server : NULL;
}

/* The system drops dots and blanks at the end of a name, so "..", ".. ." and "..." may all lead up. */
static bool leads_up(struct np_text name)
{
    size_t n_dots = 0;
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] != '.' && name.ptr[i] != ' ')
            return false;
        n_dots += name.ptr[i] == '.';
    }
    return n_dots > 1;
}

static bool are_sound(const char *names)
{
    for (const char *p = names; *p; p++)
        if ((unsigned char)*p < 0x20 || strchr(":*?\"<>|", *p)) /* ':' would name a stream of a file */
            return false;
    struct np_text rest = np_text_of(names), name;
    while (np_text_split(&rest, '/', &name))
        if (leads_up(name))
            return false;
    return true;
}

const char *np_host_windows_path(struct np_arena *arena, const char *path)
{
    char *ret = expand(arena, path);
    if (!ret)
        return NULL;
    to_slashes(ret);
    const char *names = names_of(ret);
    return names && are_sound(names) ? ret : NULL;
}
