/* Streams to programs of this machine, by named pipes. Anyone may make a pipe of a name that is free, so its server may
 * learn who we are and nothing more (SECURITY_IDENTIFICATION).
 * SPDX-License-Identifier: MIT */
#include "host/windows/win32.h"

#include <initguid.h>
#include <knownfolders.h>
#include <string.h>

struct np_stream {
    struct np_arena *arena;
    HANDLE pipe, event;
    ULONGLONG deadline_ms;
};

static enum np_read failed(struct np_arena *arena, DWORD code, const char **why)
{
    *why = np_win32_text(arena, code);
    if (code == ERROR_FILE_NOT_FOUND || code == ERROR_PATH_NOT_FOUND)
        return NP_READ_ABSENT;
    return code == ERROR_ACCESS_DENIED ? NP_READ_DENIED : NP_READ_BAD;
}

static unsigned left_ms(ULONGLONG deadline_ms)
{
    const ULONGLONG now = GetTickCount64();
    return now < deadline_ms ? (unsigned)(deadline_ms - now) : 0;
}

/* Every instance of a pipe may be busy for a moment. */
static HANDLE open_pipe(const wchar_t *name, ULONGLONG deadline_ms)
{
    const DWORD flags = FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION;
    for (;;) {
        HANDLE pipe = CreateFileW(name, GENERIC_READ | GENERIC_WRITE, 0, NULL, OPEN_EXISTING, flags, NULL);
        if (pipe != INVALID_HANDLE_VALUE || GetLastError() != ERROR_PIPE_BUSY)
            return pipe;
        const unsigned left = left_ms(deadline_ms);
        if (left == 0 || !WaitNamedPipeW(name, left)) {
            SetLastError(ERROR_PIPE_BUSY);
            return INVALID_HANDLE_VALUE;
        }
    }
}

enum np_read np_stream_open(struct np_stream **ret, struct np_arena *arena, const char *path, unsigned budget_ms,
                            const char **why)
{
    const ULONGLONG deadline_ms = GetTickCount64() + budget_ms;
    HANDLE pipe = open_pipe(np_wide(arena, path), deadline_ms);
    if (pipe == INVALID_HANDLE_VALUE)
        return failed(arena, np_last_error(), why);
    HANDLE event = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (!event) {
        const DWORD code = np_last_error();
        CloseHandle(pipe);
        return failed(arena, code, why);
    }
    struct np_stream *stream = np_alloc(arena, sizeof *stream);
    *stream = (struct np_stream){.arena = arena, .pipe = pipe, .event = event, .deadline_ms = deadline_ms};
    *ret = stream;
    return NP_READ_OK;
}

void np_stream_close(struct np_stream *stream)
{
    if (!stream)
        return;
    CloseHandle(stream->pipe);
    CloseHandle(stream->event);
}

unsigned np_stream_left_ms(const struct np_stream *stream)
{
    return left_ms(stream->deadline_ms);
}

/* The end of what ReadFile() or WriteFile() began; what does not end in time is cancelled, and waited for: it has our
 * memory. Returns an error code, or 0. */
static DWORD finish(struct np_stream *stream, OVERLAPPED *overlapped, BOOL begun, DWORD *ret_n)
{
    DWORD code = begun ? 0 : np_last_error();
    if (code != 0 && code != ERROR_IO_PENDING)
        return code;
    if (code == ERROR_IO_PENDING && WaitForSingleObject(stream->event, np_stream_left_ms(stream)) != WAIT_OBJECT_0)
        CancelIoEx(stream->pipe, overlapped);
    return GetOverlappedResult(stream->pipe, overlapped, ret_n, TRUE) ? 0 : np_last_error();
}

static const char *because(struct np_stream *stream, DWORD code)
{
    return code == ERROR_OPERATION_ABORTED ? "it did not answer in time" : np_win32_text(stream->arena, code);
}

bool np_stream_send(struct np_stream *stream, const char *bytes, size_t n, const char **why)
{
    while (n > 0) {
        OVERLAPPED overlapped = {.hEvent = stream->event};
        const DWORD part = n < 65536 ? (DWORD)n : 65536;
        DWORD sent = 0;
        ResetEvent(stream->event);
        const BOOL begun = WriteFile(stream->pipe, bytes, part, NULL, &overlapped);
        const DWORD code = finish(stream, &overlapped, begun, &sent);
        if (code != 0) {
            *why = because(stream, code);
            return false;
        }
        bytes += sent;
        n -= sent;
    }
    return true;
}

ptrdiff_t np_stream_receive(struct np_stream *stream, char *bytes, size_t n, const char **why)
{
    OVERLAPPED overlapped = {.hEvent = stream->event};
    DWORD got = 0;
    ResetEvent(stream->event);
    const BOOL begun = ReadFile(stream->pipe, bytes, n < 65536 ? (DWORD)n : 65536, NULL, &overlapped);
    const DWORD code = finish(stream, &overlapped, begun, &got);
    if (code == ERROR_BROKEN_PIPE)
        return 0;
    if (code == 0 || code == ERROR_MORE_DATA) /* a message that is longer: its rest comes next */
        return (ptrdiff_t)got;
    *why = because(stream, code);
    return -1;
}

struct np_engine_place np_host_docker(struct np_arena *arena, bool below_root)
{
    const char *programs = below_root ? NULL : np_known_folder(arena, &FOLDERID_ProgramData);
    const char *folder = np_sprintf(arena, "%s/docker", programs ? programs : "/ProgramData");
    return (struct np_engine_place){.config = np_sprintf(arena, "%s/config/daemon.json", folder),
                                    .data = folder,
                                    .endpoint = "\\\\.\\pipe\\docker_engine",
                                    .group = "docker-users"};
}

/* Podman for Windows keeps its containers in a virtual machine, whose ports here are sockets. */
size_t np_host_podman(struct np_arena *arena, bool below_root, const struct np_podman_place **ret)
{
    (void)arena, (void)below_root;
    *ret = NULL;
    return 0;
}
