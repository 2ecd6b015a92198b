/* Stands in for httpapi.dll, whose queries Wine answers with nothing: put into the system folder of a prefix and loaded
 * with WINEDLLOVERRIDES=httpapi=n. Serves the lines of the file that FAKE_HTTP_ROWS names, in their order:
 *   url http://+:80/x/          address 0.0.0.0 443        name www.example.com 443        store 443
 *   error address 5             (a query of addresses fails with that number when it comes to this row)
 *   error initialize 1058
 * It fills the structures of http.h, so it tries our questions and not Windows' layout.
 * SPDX-License-Identifier: MIT */
#define HTTPAPI_LINKAGE_EXPORT

#include <winsock2.h>

#include <windows.h>

#include <http.h>
#include <ws2tcpip.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sni_set {
    SOCKADDR_STORAGE address;
    PWSTR host;
    HTTP_SERVICE_CONFIG_SSL_PARAM param;
};
struct ccs_set {
    SOCKADDR_STORAGE address;
    HTTP_SERVICE_CONFIG_SSL_PARAM param;
};
struct sni_query {
    HTTP_SERVICE_CONFIG_QUERY_TYPE type;
    SOCKADDR_STORAGE address;
    PWSTR host;
    DWORD token;
};
struct ccs_query {
    HTTP_SERVICE_CONFIG_QUERY_TYPE type;
    SOCKADDR_STORAGE address;
    DWORD token;
};

/* A row as the file has it. */
struct line {
    char word[16], first[256], second[256];
    int n; /* words */
};

/* By HTTP_SERVICE_CONFIG_ID. */
static const char *const words[] = {NULL, "address", "url", NULL, NULL, "name", "store"};

/* The row number `token` of a kind; n is 0 when there is none. */
static struct line find_line(const char *word, DWORD token)
{
    struct line line = {0};
    char text[600];
    const char *path = getenv("FAKE_HTTP_ROWS");
    FILE *file = path ? fopen(path, "rb") : NULL;
    while (file && fgets(text, sizeof text, file)) {
        struct line now = {0};
        now.n = sscanf(text, "%15s %255s %255s", now.word, now.first, now.second);
        const int is_error = now.n == 3 && strcmp(now.word, "error") == 0 && strcmp(now.first, word) == 0;
        if (now.n < 2 || (!is_error && strcmp(now.word, word) != 0) || token-- > 0)
            continue;
        line = now;
        break;
    }
    if (file)
        fclose(file);
    return line;
}

/* IPv4, "::" or "::1". */
static void fill_address(SOCKADDR_STORAGE *ret, const char *host, const char *port)
{
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)ret;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)ret;
    unsigned a = 0, b = 0, c = 0, d = 0;
    memset(ret, 0, sizeof *ret);
    in->sin_port = _byteswap_ushort((unsigned short)atoi(port)); /* at the same place in both */
    if (host[0] == ':') {
        in6->sin6_family = AF_INET6;
        in6->sin6_addr.s6_addr[15] = host[2] == '1';
        return;
    }
    sscanf(host, "%u.%u.%u.%u", &a, &b, &c, &d);
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = a | b << 8 | c << 16 | d << 24;
}

/* Text stands behind the structure, as Windows puts it. `ret` NULL: only the size. */
static ULONG fill_url(void *ret, const struct line *line)
{
    HTTP_SERVICE_CONFIG_URLACL_SET *set = ret;
    const ULONG size = (ULONG)((strlen(line->first) + 1) * sizeof(wchar_t));
    if (set) {
        memset(set, 0, sizeof *set);
        set->KeyDesc.pUrlPrefix = (wchar_t *)(void *)(set + 1);
        MultiByteToWideChar(CP_UTF8, 0, line->first, -1, set->KeyDesc.pUrlPrefix, (int)(size / sizeof(wchar_t)));
    }
    return (ULONG)sizeof *set + size;
}

static ULONG fill_ip(void *ret, const struct line *line)
{
    HTTP_SERVICE_CONFIG_SSL_SET *set = ret;
    if (set) {
        memset(set, 0, sizeof *set);
        set->KeyDesc.pIpPort = (PSOCKADDR)(void *)(set + 1);
        fill_address((SOCKADDR_STORAGE *)(void *)(set + 1), line->first, line->second);
    }
    return (ULONG)(sizeof *set + sizeof(SOCKADDR_STORAGE));
}

static ULONG fill_name(void *ret, const struct line *line)
{
    struct sni_set *set = ret;
    const ULONG size = (ULONG)((strlen(line->first) + 1) * sizeof(wchar_t));
    if (set) {
        memset(set, 0, sizeof *set);
        fill_address(&set->address, "0.0.0.0", line->second);
        set->host = (wchar_t *)(void *)(set + 1);
        MultiByteToWideChar(CP_UTF8, 0, line->first, -1, set->host, (int)(size / sizeof(wchar_t)));
    }
    return (ULONG)sizeof *set + size;
}

static ULONG fill_store(void *ret, const struct line *line)
{
    struct ccs_set *set = ret;
    if (set) {
        memset(set, 0, sizeof *set);
        fill_address(&set->address, "0.0.0.0", line->first);
    }
    return (ULONG)sizeof *set;
}

/* Is it a question for the next row, in a structure of the right size? */
static int read_token(int config, const void *query, ULONG size, DWORD *ret)
{
    static const struct {
        ULONG size;
        size_t token_at;
    } queries[] = {
        [1] = {sizeof(HTTP_SERVICE_CONFIG_SSL_QUERY), offsetof(HTTP_SERVICE_CONFIG_SSL_QUERY, dwToken)},
        [2] = {sizeof(HTTP_SERVICE_CONFIG_URLACL_QUERY), offsetof(HTTP_SERVICE_CONFIG_URLACL_QUERY, dwToken)},
        [5] = {sizeof(struct sni_query), offsetof(struct sni_query, token)},
        [6] = {sizeof(struct ccs_query), offsetof(struct ccs_query, token)},
    };
    HTTP_SERVICE_CONFIG_QUERY_TYPE type;
    if (size != queries[config].size)
        return 0;
    memcpy(&type, query, sizeof type);
    memcpy(ret, (const char *)query + queries[config].token_at, sizeof *ret);
    return type == HttpServiceConfigQueryNext;
}

ULONG WINAPI HttpInitialize(HTTPAPI_VERSION version, ULONG flags, PVOID reserved)
{
    const struct line line = find_line("initialize", 0);
    if (version.HttpApiMajorVersion != 1 || flags != HTTP_INITIALIZE_CONFIG || reserved)
        return ERROR_INVALID_PARAMETER;
    return line.n > 0 ? (ULONG)atoi(line.second) : NO_ERROR;
}

ULONG WINAPI HttpTerminate(ULONG flags, PVOID reserved)
{
    return flags == HTTP_INITIALIZE_CONFIG && !reserved ? NO_ERROR : ERROR_INVALID_PARAMETER;
}

ULONG WINAPI HttpQueryServiceConfiguration(HANDLE service, HTTP_SERVICE_CONFIG_ID id, PVOID query, ULONG query_size,
                                           PVOID ret, ULONG size, PULONG needed, LPOVERLAPPED overlapped)
{
    ULONG (*const fill[])(void *, const struct line *) = {NULL, fill_ip, fill_url, NULL, NULL, fill_name, fill_store};
    const int config = (int)id;
    DWORD token;
    if (service || overlapped || config < 0 || config > 6 || !words[config] ||
        !read_token(config, query, query_size, &token))
        return ERROR_INVALID_PARAMETER;
    const struct line line = find_line(words[config], token);
    if (line.n == 0)
        return token == 0 ? ERROR_FILE_NOT_FOUND : ERROR_NO_MORE_ITEMS;
    if (strcmp(line.word, "error") == 0)
        return (ULONG)atoi(line.second);
    *needed = fill[config](NULL, &line);
    if (size < *needed)
        return ERROR_INSUFFICIENT_BUFFER;
    fill[config](ret, &line);
    return NO_ERROR;
}
