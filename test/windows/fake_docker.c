/* A double of Docker's engine behind its named pipe: FAKE_DOCKER FOLDER answers "GET /containers/ID/json" with the file
 * FOLDER/ID, and the list with FOLDER/list; a file that is empty is answered with silence, one that is not there with 404.
 * Says "ready" and ends at the end of its input.
 * SPDX-License-Identifier: MIT */
#include <windows.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT = 65536 };

static const char *folder;

/* The bytes of FOLDER/NAME; -1: there is no such file. */
static long read_file(const char *name, char *bytes)
{
    char path[MAX_PATH];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file)
        return -1;
    const long n = (long)fread(bytes, 1, LIMIT, file);
    fclose(file);
    return n;
}

static void answer(HANDLE pipe, const char *request)
{
    static char body[LIMIT];
    char id[128] = "list", head[128];
    DWORD written;
    if (strncmp(request, "GET /containers/json?all=1 ", strlen("GET /containers/json?all=1 ")) != 0 &&
        sscanf(request, "GET /containers/%127[0-9a-f]/json ", id) != 1)
        strcpy(id, "none");
    const long n = read_file(id, body);
    if (n == 0)
        return;
    snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %ld\r\n\r\n", n < 0 ? "404 Not Found" : "200 OK",
             n < 0 ? 0 : n);
    WriteFile(pipe, head, (DWORD)strlen(head), &written, NULL);
    if (n > 0)
        WriteFile(pipe, body, (DWORD)n, &written, NULL);
}

static DWORD WINAPI serve(void *pipe)
{
    char request[4096];
    DWORD n;
    ConnectNamedPipe(pipe, NULL);
    while (ReadFile(pipe, request, sizeof request - 1, &n, NULL) && n > 0) {
        request[n] = '\0';
        answer(pipe, request);
    }
    DisconnectNamedPipe(pipe);
    CloseHandle(pipe);
    return 0;
}

static HANDLE make_pipe(void)
{
    return CreateNamedPipeA("\\\\.\\pipe\\docker_engine", PIPE_ACCESS_DUPLEX, PIPE_TYPE_BYTE | PIPE_WAIT,
                            PIPE_UNLIMITED_INSTANCES, LIMIT, LIMIT, 0, NULL);
}

/* One client after the other: there is always an instance that waits. */
static DWORD WINAPI accept_all(void *first)
{
    for (HANDLE pipe = first; pipe != INVALID_HANDLE_VALUE; pipe = make_pipe())
        serve(pipe);
    return 0;
}

int main(int argc, char **argv)
{
    HANDLE pipe = make_pipe();
    if (argc != 2 || pipe == INVALID_HANDLE_VALUE)
        return 1;
    folder = argv[1];
    if (!CreateThread(NULL, 0, accept_all, pipe, 0, NULL))
        return 1;
    printf("ready\n");
    fflush(stdout);
    while (getchar() != EOF)
        continue;
    return 0;
}
