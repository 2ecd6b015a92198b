/* The terminal and the standard streams on Linux.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    return cli_main(argc, argv);
}

static void (*pipe_handler)(int), (*child_handler)(int); /* as they were */

void cli_prepare(void)
{
    /* A closed standard output must fail when it is written, not be some ledger that got its number. */
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDONLY | O_CLOEXEC) < 0)
            _exit(1);
    pipe_handler = signal(SIGPIPE, SIG_IGN);
    child_handler = signal(SIGCHLD, SIG_DFL); /* ignored, it would keep from us how a program ended */
}

static bool set(const char *name)
{
    const char *value = getenv(name);
    return value && *value;
}

const char *cli_env(const char *name)
{
    return getenv(name);
}

enum nextport_status cli_read(struct cli *cli, const char *file, char **ret, size_t *ret_n)
{
    FILE *stream = strcmp(file, "-") == 0 ? stdin : fopen(file, "rb");
    return cli_read_stream(cli, file, stream, strerror(errno), ret, ret_n);
}

void cli_look_at_terminal(struct nextport_style *style)
{
    struct winsize size;
    const char *charset[] = {getenv("LC_ALL"), getenv("LC_CTYPE"), getenv("LANG")};
    const char *term = getenv("TERM");
    bool terminal = isatty(STDOUT_FILENO);
    if (terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
        style->columns = size.ws_col;
    style->colour = terminal && !set("NO_COLOR") && term && strcmp(term, "dumb") != 0;
    for (size_t i = 0; i < sizeof charset / sizeof *charset; i++)
        if (charset[i] && *charset[i]) {
            style->unicode = strstr(charset[i], "UTF-8") || strstr(charset[i], "utf8");
            break;
        }
}

static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
static volatile sig_atomic_t caught;
static sigset_t free_mask; /* as it was before the signals were held */
static bool held;

static void catch (int number)
{
    caught = number;
}

void cli_hold_signals(void)
{
    struct sigaction action = {.sa_handler = catch}, present;
    sigset_t mask;
    sigemptyset(&mask);
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++) {
        sigaction(ending[i], NULL, &present);
        if (present.sa_handler == SIG_IGN) /* as under nohup */
            continue;
        sigaddset(&mask, ending[i]);
        sigaction(ending[i], &action, NULL);
    }
    held = sigprocmask(SIG_BLOCK, &mask, &free_mask) == 0;
}

/* One that arrives from here on does what it would have done to the command. */
void cli_restore(void)
{
    struct sigaction present;
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++)
        if (sigaction(ending[i], NULL, &present) == 0 && present.sa_handler == catch)
            signal(ending[i], SIG_DFL);
    signal(SIGPIPE, pipe_handler);
    signal(SIGCHLD, child_handler);
    if (held)
        sigprocmask(SIG_SETMASK, &free_mask, NULL);
    held = false;
}

void cli_obey_signals(void)
{
    if (held)
        sigprocmask(SIG_SETMASK, &free_mask, NULL); /* one that waited is caught here */
    if (!caught)
        return;
    signal(caught, SIG_DFL);
    raise(caught);
}

bool cli_has_signal(void)
{
    sigset_t waiting;
    if (!held || sigpending(&waiting) != 0)
        return false;
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++)
        if (sigismember(&waiting, ending[i]))
            return true;
    return false;
}

/* Ready for at least PIPE_BUF bytes; false: a signal came first. */
static bool wait_for_reader(int fd)
{
    struct pollfd stream = {.fd = fd, .events = POLLOUT};
    while (ppoll(&stream, 1, NULL, held ? &free_mask : NULL) < 0)
        if (errno != EINTR || caught)
            return false;
    return true;
}

const char cli_no_reader[] = "nobody reads it any more";

const char *cli_write(enum cli_stream stream, const char *bytes, size_t n)
{
    static const char interrupted[] = "interrupted by a signal";
    int fd = stream == CLI_OUT ? STDOUT_FILENO : STDERR_FILENO;
    if (stream == CLI_OUT && cli_has_signal())
        return interrupted;
    while (n) {
        if (!wait_for_reader(fd))
            return caught ? interrupted : strerror(errno);
        /* never more than poll() promised room for, so that no write blocks with the signals held */
        ssize_t written = write(fd, bytes, n < PIPE_BUF ? n : PIPE_BUF);
        if (written >= 0)
            bytes += written, n -= (size_t)written;
        else if (errno != EINTR && errno != EAGAIN)
            return errno == EPIPE ? cli_no_reader : strerror(errno);
    }
    return NULL;
}
