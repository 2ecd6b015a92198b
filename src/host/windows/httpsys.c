/* HTTP.sys' configuration, row by row: URL reservations and certificates. It keeps ports for somebody although no socket
 * has them. (URLs that running programs have registered are sockets of the system, and seen as such.)
 *
 * httpapi.dll is loaded when it is needed, from the system folder and nowhere else: there are systems without it, and a
 * file of that name beside the program could be anybody's.
 * SPDX-License-Identifier: MIT */
#include "host/windows/win32.h"

#include <http.h>
#include <ws2tcpip.h>

#include <string.h>

/* What mingw-w64 10 does not declare, as the Windows SDK documents it. */
enum { CONFIG_ADDRESS = 1, CONFIG_URL = 2, CONFIG_NAME = 5, CONFIG_STORE = 6 }; /* HTTP_SERVICE_CONFIG_ID */

struct name_key { /* HTTP_SERVICE_CONFIG_SSL_SNI_KEY */
    SOCKADDR_STORAGE IpPort;
    PWSTR Host;
};
struct store_key { /* HTTP_SERVICE_CONFIG_SSL_CCS_KEY */
    SOCKADDR_STORAGE LocalAddress;
};

/* Every query names what is asked for, then a key, which only an exact query fills, then the number of the row. */
union query {
    HTTP_SERVICE_CONFIG_URLACL_QUERY url;
    HTTP_SERVICE_CONFIG_SSL_QUERY address;
    struct {
        HTTP_SERVICE_CONFIG_QUERY_TYPE QueryDesc;
        struct name_key KeyDesc;
        DWORD dwToken;
    } name;
    struct {
        HTTP_SERVICE_CONFIG_QUERY_TYPE QueryDesc;
        struct store_key KeyDesc;
        DWORD dwToken;
    } store;
};

/* The layout that a 64-bit system expects. */
_Static_assert(sizeof(SOCKADDR_STORAGE) == 128 && sizeof(HTTP_SERVICE_CONFIG_URLACL_QUERY) == 24 &&
                   sizeof(HTTP_SERVICE_CONFIG_SSL_QUERY) == 24 && offsetof(union query, name.dwToken) == 144 &&
                   offsetof(union query, store.dwToken) == 136,
               "the queries of http.h are laid out otherwise");

/* ---- One row as text ----------------------------------------------------------------------------------------- */

/* What a query gives begins with its key. NULL: the row says nothing that can be read. */
typedef const char *text_fn(struct np_arena *, const void *row);

static const char *url_text(struct np_arena *arena, const void *row)
{
    const HTTP_SERVICE_CONFIG_URLACL_SET *set = row;
    return np_narrow(arena, set->KeyDesc.pUrlPrefix);
}

/* In network byte order; it lies at the same place in both families. 0: neither. */
static uint16_t port_of(const SOCKADDR *address)
{
    if (address->sa_family == AF_INET)
        return ntohs(((const SOCKADDR_IN *)(const void *)address)->sin_port);
    if (address->sa_family == AF_INET6)
        return ntohs(((const SOCKADDR_IN6 *)(const void *)address)->sin6_port);
    return 0;
}

static const char *address_text(struct np_arena *arena, const void *row)
{
    const HTTP_SERVICE_CONFIG_SSL_SET *set = row;
    const SOCKADDR *address = set->KeyDesc.pIpPort;
    char host[INET6_ADDRSTRLEN];
    if (!address || port_of(address) == 0)
        return NULL;
    if (address->sa_family == AF_INET) {
        const SOCKADDR_IN *in = (const SOCKADDR_IN *)(const void *)address;
        return inet_ntop(AF_INET, &in->sin_addr, host, sizeof host) ? np_sprintf(arena, "%s:%u", host, port_of(address))
                                                                    : NULL;
    }
    const SOCKADDR_IN6 *in6 = (const SOCKADDR_IN6 *)(const void *)address;
    return inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host)
               ? np_sprintf(arena, "[%s]:%u", host, port_of(address))
               : NULL;
}

static const char *name_text(struct np_arena *arena, const void *row)
{
    const struct name_key *key = row;
    const uint16_t port = port_of((const SOCKADDR *)(const void *)&key->IpPort);
    return key->Host && port > 0 ? np_sprintf(arena, "%s:%u", np_narrow(arena, key->Host), port) : NULL;
}

static const char *store_text(struct np_arena *arena, const void *row)
{
    const struct store_key *key = row;
    const uint16_t port = port_of((const SOCKADDR *)(const void *)&key->LocalAddress);
    return port > 0 ? np_sprintf(arena, "%u", port) : NULL;
}

static const struct store {
    const char *about;
    int config; /* HTTP_SERVICE_CONFIG_ID */
    enum np_http_kind kind;
    ULONG query_size, token_at, row_size;
    text_fn *text;
} stores[] = {
    {"URL reservations", CONFIG_URL, NP_HTTP_URL, sizeof(HTTP_SERVICE_CONFIG_URLACL_QUERY),
     offsetof(union query, url.dwToken), sizeof(HTTP_SERVICE_CONFIG_URLACL_SET), url_text},
    {"certificates for addresses", CONFIG_ADDRESS, NP_HTTP_ADDRESS, sizeof(HTTP_SERVICE_CONFIG_SSL_QUERY),
     offsetof(union query, address.dwToken), sizeof(HTTP_SERVICE_CONFIG_SSL_SET), address_text},
    {"certificates for host names", CONFIG_NAME, NP_HTTP_NAME, sizeof(((union query *)0)->name),
     offsetof(union query, name.dwToken), sizeof(struct name_key), name_text},
    {"central certificate stores", CONFIG_STORE, NP_HTTP_STORE, sizeof(((union query *)0)->store),
     offsetof(union query, store.dwToken), sizeof(struct store_key), store_text},
};

/* ---- The library --------------------------------------------------------------------------------------------- */

struct api {
    HMODULE library;
    ULONG(WINAPI *initialize)(HTTPAPI_VERSION, ULONG, PVOID);
    ULONG(WINAPI *query)(HANDLE, HTTP_SERVICE_CONFIG_ID, PVOID, ULONG, PVOID, ULONG, PULONG, LPOVERLAPPED);
    ULONG(WINAPI *terminate)(ULONG, PVOID);
};

static enum nextport_status fail(DWORD reason, const char *what, struct nextport_error *err)
{
    np_fail_win32(err, NEXTPORT_BLIND, reason, "HTTP.sys: %s", what);
    np_hint(err, "It says which ports are reserved for web applications. See what 'netsh http show urlacl' and 'netsh "
                 "http show sslcert' print, and whether the service 'http' runs; '--policy httpsys=warn' accepts the "
                 "risk.");
    return err->status;
}

static bool find_function(struct api *api, const char *name, void *ret)
{
    FARPROC function = GetProcAddress(api->library, name);
    memcpy(ret, &function, sizeof function); /* a pointer to any function */
    return function != NULL;
}

/* No library: this system has no HTTP.sys, and *ret_present is false. */
static enum nextport_status load(struct api *api, bool *ret_present, struct nextport_error *err)
{
    api->library = LoadLibraryExW(L"httpapi.dll", NULL, LOAD_LIBRARY_SEARCH_SYSTEM32);
    *ret_present = api->library != NULL;
    if (!api->library) {
        DWORD reason = GetLastError();
        return reason == ERROR_MOD_NOT_FOUND ? NEXTPORT_OK : fail(reason, "load httpapi.dll", err);
    }
    if (!find_function(api, "HttpInitialize", &api->initialize) ||
        !find_function(api, "HttpQueryServiceConfiguration", &api->query) ||
        !find_function(api, "HttpTerminate", &api->terminate))
        return fail(GetLastError(), "httpapi.dll lacks a function", err);
    return NEXTPORT_OK;
}

/* ---- Asking -------------------------------------------------------------------------------------------------- */

/* One row, in a buffer that grows as the system asks. An empty store may say that there is no file. */
static ULONG ask(const struct api *api, const struct store *store, struct np_arena *arena, DWORD token,
                 const void **ret)
{
    enum { TRIES = 8, LIMIT = 1 << 20 };
    const HTTP_SERVICE_CONFIG_QUERY_TYPE next = HttpServiceConfigQueryNext;
    union query query;
    ULONG size = 0, needed = 0, code = ERROR_INSUFFICIENT_BUFFER;
    void *row = NULL;
    memset(&query, 0, sizeof query);
    memcpy(&query, &next, sizeof next);
    memcpy((char *)&query + store->token_at, &token, sizeof token);
    for (int i = 0; i < TRIES && code == ERROR_INSUFFICIENT_BUFFER; i++) {
        code = api->query(NULL, (HTTP_SERVICE_CONFIG_ID)store->config, &query, store->query_size, row, size, &needed,
                          NULL);
        if (code != ERROR_INSUFFICIENT_BUFFER)
            break;
        if (needed <= size || needed > LIMIT)
            return ERROR_INVALID_DATA;
        size = needed;
        row = np_alloc(arena, size);
    }
    *ret = row;
    if (code == NO_ERROR && size < store->row_size)
        return ERROR_INVALID_DATA;
    return code == ERROR_FILE_NOT_FOUND && token == 0 ? ERROR_NO_MORE_ITEMS : code;
}

struct rows {
    struct np_http_row *row;
    size_t n, capacity;
};

static enum nextport_status read_store(const struct api *api, const struct store *store, struct np_arena *arena,
                                       struct rows *ret, struct nextport_error *err)
{
    enum { MOST = 65536 }; /* a store that never ends would be no store */
    for (DWORD token = 0; token < MOST; token++) {
        const void *raw = NULL;
        const ULONG code = ask(api, store, arena, token, &raw);
        if (code == ERROR_NO_MORE_ITEMS)
            return NEXTPORT_OK;
        const char *text = code == NO_ERROR ? store->text(arena, raw) : NULL;
        if (!text)
            return fail(code ? code : ERROR_INVALID_DATA, np_sprintf(arena, "read %s", store->about), err);
        struct np_http_row *row = np_push(arena, &ret->row, &ret->n, &ret->capacity, sizeof *row);
        *row = (struct np_http_row){.kind = store->kind, .text = text};
    }
    return fail(ERROR_INVALID_DATA, np_sprintf(arena, "read %s", store->about), err);
}

static enum nextport_status read_stores(const struct api *api, struct np_arena *arena, struct rows *ret,
                                        struct nextport_error *err)
{
    const HTTPAPI_VERSION version = {1, 0};
    const ULONG code = api->initialize(version, HTTP_INITIALIZE_CONFIG, NULL);
    if (code != NO_ERROR)
        return fail(code, "start asking", err);
    enum nextport_status status = NEXTPORT_OK;
    for (size_t i = 0; i < sizeof stores / sizeof *stores && status == NEXTPORT_OK; i++)
        status = read_store(api, &stores[i], arena, ret, err);
    api->terminate(HTTP_INITIALIZE_CONFIG, NULL);
    return status;
}

static bool same_rows(const struct rows *a, const struct rows *b)
{
    for (size_t i = 0; i < a->n && a->n == b->n; i++)
        if (a->row[i].kind != b->row[i].kind || strcmp(a->row[i].text, b->row[i].text) != 0)
            return false;
    return a->n == b->n;
}

/* Rows are asked for by their number, so one that goes away meanwhile hides another. Two readings that agree saw all. */
static enum nextport_status read_steadily(const struct api *api, struct np_arena *arena, struct rows *ret,
                                          struct nextport_error *err)
{
    enum { TRIES = 6 };
    struct rows before;
    enum nextport_status status = read_stores(api, arena, ret, err);
    for (int i = 0; i < TRIES && status == NEXTPORT_OK; i++) {
        before = *ret;
        *ret = (struct rows){0};
        status = read_stores(api, arena, ret, err);
        if (status == NEXTPORT_OK && same_rows(&before, ret))
            return NEXTPORT_OK;
    }
    return status ? status : fail(ERROR_RETRY, "its configuration is being changed all the time", err);
}

enum nextport_status np_host_http_rows(struct np_arena *arena, const struct np_http_row **ret, size_t *ret_n,
                                       bool *ret_present, struct nextport_error *err)
{
    struct api api = {0};
    struct rows rows = {0};
    enum nextport_status status = load(&api, ret_present, err);
    if (status == NEXTPORT_OK && *ret_present)
        status = read_steadily(&api, arena, &rows, err);
    if (api.library)
        FreeLibrary(api.library);
    *ret = rows.row;
    *ret_n = rows.n;
    return status;
}
