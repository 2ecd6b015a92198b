/* HTTP.sys' configuration as httpapi.dll tells it. Two runs:
 * - with FAKE_HTTP_ROWS naming a file to write, and the double of test/windows/fake_httpapi.c in the system folder:
 *   which rows come of which answers;
 * - without: the system's own library, and a listener of HTTP.sys (http_server.exe beside this program).
 * SPDX-License-Identifier: MIT */
#include "lib/begin_process.h"
#include "host/windows/win32.h"
#include "source/httpsys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- With the double ------------------------------------------------------------------------------------------ */

static void serve(const char *lines)
{
    FILE *file = fopen(getenv("FAKE_HTTP_ROWS"), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(lines, 1, strlen(lines), file), strlen(lines));
    assert_int_equal(fclose(file), 0);
}

/* One line for each row: its kind as a number, and its text. */
static const char *ask(struct np_arena *arena, struct nextport_error *err)
{
    const struct np_http_row *rows;
    size_t n;
    bool present = false;
    struct np_buf out = {.arena = arena};
    if (np_host_http_rows(arena, &rows, &n, &present, err) != NEXTPORT_OK)
        return NULL;
    assert_true(present);
    np_buf_puts(&out, "");
    for (size_t i = 0; i < n; i++)
        np_buf_printf(&out, "%d %s\n", rows[i].kind, rows[i].text);
    return out.ptr;
}

static void every_store_is_read_to_its_end(void **state)
{
    (void)state;
    static const struct {
        const char *lines, *rows;
    } samples[] = {
        {"", ""},
        {"url http://+:80/Temporary_Listen_Addresses/\nurl http://*:5357/\n",
         "0 http://+:80/Temporary_Listen_Addresses/\n0 http://*:5357/\n"},
        {"address 0.0.0.0 44300\naddress :: 443\naddress ::1 8443\naddress 192.0.2.1 65535\n",
         "1 0.0.0.0:44300\n1 [::]:443\n1 [::1]:8443\n1 192.0.2.1:65535\n"},
        {"name www.example.com 443\nname b\xc3\xbc"
         "cher.example 8443\n",
         "2 www.example.com:443\n2 b\xc3\xbc"
         "cher.example:8443\n"},
        {"store 443\nstore 8443\n", "3 443\n3 8443\n"},
        {"store 1\nname a 2\naddress 0.0.0.0 3\nurl http://+:4/\nurl http://+:5/\n",
         "0 http://+:4/\n0 http://+:5/\n1 0.0.0.0:3\n2 a:2\n3 1\n"},
        {"error address 2\nurl http://+:4/\n", "0 http://+:4/\n"},
        {"error url 259\nstore 443\n", "3 443\n"},
    };
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        struct np_arena *arena = np_arena_new();
        struct nextport_error err = NEXTPORT_ERROR_INIT;
        serve(samples[i].lines);
        const char *rows = ask(arena, &err);
        assert_string_equal(err.text, "");
        assert_string_equal(rows, samples[i].rows);
        np_arena_free(arena);
    }
}

static void a_long_store_is_read_whole(void **state)
{
    (void)state;
    enum { MANY = 300 };
    struct np_arena *arena = np_arena_new();
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_buf lines = {.arena = arena}, rows = {.arena = arena};
    for (int i = 1; i <= MANY; i++) {
        np_buf_printf(&lines, "url http://+:%d/%0*d/\n", i, i % 200 + 1, 0);
        np_buf_printf(&rows, "0 http://+:%d/%0*d/\n", i, i % 200 + 1, 0);
    }
    serve(lines.ptr);
    assert_string_equal(ask(arena, &err), rows.ptr);
    np_arena_free(arena);
}

/* Part of an answer is none. */
static void what_cannot_be_read_is_not_taken_for_nothing(void **state)
{
    (void)state;
    static const char *const samples[] = {
        "error initialize 1058\nurl http://+:80/\n",
        "error url 5\n",
        "url http://+:80/\nerror url 5\n",
        "url http://+:80/\nerror address 87\n",
        "url http://+:80/\nerror name 1627\n",
        "url http://+:80/\nerror store 5\n",
        "address 0.0.0.0 0\n",
    };
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        struct np_arena *arena = np_arena_new();
        struct nextport_error err = NEXTPORT_ERROR_INIT;
        serve(samples[i]);
        if (ask(arena, &err))
            fail_msg("read without an error: %s", samples[i]);
        assert_int_equal(err.status, NEXTPORT_BLIND);
        assert_true(strncmp(err.text, "HTTP.sys: ", strlen("HTTP.sys: ")) == 0);
        assert_true(err.hint[0]);
        np_arena_free(arena);
    }
}

/* ---- Without -------------------------------------------------------------------------------------------------- */

static void the_real_configuration_can_be_read(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    struct np_log log = {.arena = arena};
    struct np_evidence evidence = {.arena = arena, .log = &log};
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    const struct np_http_row *rows;
    size_t n;
    bool present = false;
    assert_int_equal(np_host_http_rows(arena, &rows, &n, &present, &err), NEXTPORT_OK);
    assert_true(present);
    for (size_t i = 0; i < n; i++)
        np_httpsys_claim(&evidence, &rows[i]);
    assert_int_equal(evidence.n_claims, n);
    assert_int_equal(log.n_notes, 0); /* no row without a port */
    np_arena_free(arena);
}

struct server {
    HANDLE input, output;
    PROCESS_INFORMATION process;
    uint16_t port;
};

static void start_server(struct np_arena *arena, struct server *ret)
{
    SECURITY_ATTRIBUTES inherit = {.nLength = sizeof inherit, .bInheritHandle = TRUE};
    STARTUPINFOW info = {
        .cb = sizeof info, .dwFlags = STARTF_USESTDHANDLES, .hStdError = GetStdHandle(STD_ERROR_HANDLE)};
    wchar_t self[MAX_PATH];
    char said[64] = "";
    DWORD n = 0;
    unsigned port = 0;
    assert_true(GetModuleFileNameW(NULL, self, MAX_PATH) < MAX_PATH);
    char *folder = np_narrow(arena, self);
    *strrchr(folder, '\\') = '\0';
    wchar_t *line = np_wide(arena, np_sprintf(arena, "\"%s\\http_server.exe\" http://+:0/nextport-test/", folder));
    assert_true(CreatePipe(&info.hStdInput, &ret->input, &inherit, 0));
    assert_true(CreatePipe(&ret->output, &info.hStdOutput, &inherit, 0));
    assert_true(SetHandleInformation(ret->input, HANDLE_FLAG_INHERIT, 0));
    assert_true(SetHandleInformation(ret->output, HANDLE_FLAG_INHERIT, 0));
    assert_true(begin_process(NULL, line, TRUE, 0, &info, &ret->process));
    CloseHandle(info.hStdInput);
    CloseHandle(info.hStdOutput);
    for (size_t at = 0; at < sizeof said - 1 && !strchr(said, '\n'); at += n)
        if (!ReadFile(ret->output, said + at, (DWORD)(sizeof said - 1 - at), &n, NULL) || n == 0)
            break;
    assert_int_equal(sscanf(said, "ready %u", &port), 1);
    ret->port = (uint16_t)port;
}

static void stop_server(struct server *server)
{
    DWORD status = 1;
    CloseHandle(server->input);
    assert_int_equal(WaitForSingleObject(server->process.hProcess, 30000), WAIT_OBJECT_0);
    assert_true(GetExitCodeProcess(server->process.hProcess, &status));
    assert_int_equal(status, 0);
    CloseHandle(server->output);
    CloseHandle(server->process.hThread);
    CloseHandle(server->process.hProcess);
}

static void count_listening(void *ctx, const struct np_socket *socket)
{
    unsigned *n = ctx;
    *n += !socket->transient && strcmp(socket->state, "listening") == 0;
}

/* HTTP.sys' own sockets need no source: the table has them, and a bind is refused. */
static void a_listener_of_http_sys_is_seen_and_refuses_the_probe(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_portset ports = {{0}};
    struct np_probe *probe;
    struct server server;
    enum nextport_probe verdict = NEXTPORT_PROBE_FREE;
    const char *partial;
    unsigned seen = 0;
    start_server(arena, &server);
    np_portset_add(&ports, server.port, server.port);
    assert_int_equal(np_host_sockets(NP_SOCKETS_ALL, NEXTPORT_TCP, &ports, count_listening, &seen, &partial, &err),
                     NEXTPORT_OK);
    assert_true(seen > 0);
    assert_int_equal(np_probe_open(&probe, NEXTPORT_TCP, &err), NEXTPORT_OK);
    assert_int_equal(np_probe_try(probe, server.port, &verdict, &err), NEXTPORT_OK);
    assert_int_not_equal(verdict, NEXTPORT_PROBE_FREE);
    np_probe_close(probe);
    stop_server(&server);
    np_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest with_double[] = {
        cmocka_unit_test(every_store_is_read_to_its_end),
        cmocka_unit_test(a_long_store_is_read_whole),
        cmocka_unit_test(what_cannot_be_read_is_not_taken_for_nothing),
    };
    const struct CMUnitTest without[] = {
        cmocka_unit_test(the_real_configuration_can_be_read),
        cmocka_unit_test(a_listener_of_http_sys_is_seen_and_refuses_the_probe),
    };
    return getenv("FAKE_HTTP_ROWS") ? cmocka_run_group_tests(with_double, NULL, NULL)
                                    : cmocka_run_group_tests(without, NULL, NULL);
}
