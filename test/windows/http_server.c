/* A server behind HTTP.sys, as IIS is one: takes URLs such as http://+:8080/x/, says "ready", and ends at the end of its
 * input. A port of 0 stands for one that is free just now, and "ready PORT" says which.
 * SPDX-License-Identifier: MIT */
#include <winsock2.h>

#include <windows.h>

#include <http.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what, unsigned long code)
{
    fprintf(stderr, "http_server: %s: error %lu\n", what, code);
    return 1;
}

/* A port that was free: the system chose it. Somebody else may be quicker, so the caller asks again. */
static int free_port(void)
{
    WSADATA data;
    struct sockaddr_in address = {.sin_family = AF_INET};
    int length = sizeof address, port = 0;
    if (WSAStartup(MAKEWORD(2, 2), &data) != 0)
        return 0;
    SOCKET socket_ = socket(AF_INET, SOCK_STREAM, 0);
    if (socket_ != INVALID_SOCKET && bind(socket_, (struct sockaddr *)&address, length) == 0 &&
        getsockname(socket_, (struct sockaddr *)&address, &length) == 0)
        port = ntohs(address.sin_port);
    closesocket(socket_);
    WSACleanup();
    return port;
}

static unsigned long add(HANDLE queue, const char *url, int *ret_port)
{
    enum { TRIES = 10 };
    const char *zero = strstr(url, ":0/");
    wchar_t wide[512];
    char text[512];
    unsigned long code = ERROR_INVALID_PARAMETER;
    for (int i = 0; i < TRIES; i++) {
        if (zero)
            snprintf(text, sizeof text, "%.*s:%d%s", (int)(zero - url), url, *ret_port = free_port(), zero + 2);
        else
            snprintf(text, sizeof text, "%s", url);
        MultiByteToWideChar(CP_UTF8, 0, text, -1, wide, sizeof wide / sizeof *wide);
        code = HttpAddUrl(queue, wide, NULL);
        if (!zero || (code != ERROR_SHARING_VIOLATION && code != ERROR_ACCESS_DENIED))
            break;
    }
    return code;
}

int main(int argc, char **argv)
{
    HTTPAPI_VERSION version = HTTPAPI_VERSION_1;
    HANDLE queue;
    int port = 0;
    if (argc < 2)
        return fail("usage: http_server URL ...", ERROR_INVALID_PARAMETER);
    unsigned long code = HttpInitialize(version, HTTP_INITIALIZE_SERVER, NULL);
    if (code != NO_ERROR)
        return fail("HttpInitialize", code);
    code = HttpCreateHttpHandle(&queue, 0);
    if (code != NO_ERROR)
        return fail("HttpCreateHttpHandle", code);
    for (int i = 1; i < argc; i++)
        if ((code = add(queue, argv[i], &port)) != NO_ERROR)
            return fail(argv[i], code);
    if (port)
        printf("ready %d\n", port);
    else
        printf("ready\n");
    fflush(stdout);
    while (getchar() != EOF)
        ;
    CloseHandle(queue);
    HttpTerminate(HTTP_INITIALIZE_SERVER, NULL);
    return 0;
}
