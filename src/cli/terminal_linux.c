/* The terminal and the standard streams on Linux.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

void cli_prepare(void)
{
    /* A closed standard output must fail when it is written, not be some ledger that got its number. */
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDONLY) < 0)
            _exit(1);
    signal(SIGPIPE, SIG_IGN);
}

static bool set(const char *name)
{
    const char *value = getenv(name);
    return value && *value;
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

bool cli_write(enum cli_stream stream, const char *bytes, size_t n)
{
    int fd = stream == CLI_OUT ? STDOUT_FILENO : STDERR_FILENO;
    sigset_t block, before;
    sigemptyset(&block);
    sigaddset(&block, SIGINT);
    sigaddset(&block, SIGTERM);
    sigaddset(&block, SIGHUP);
    /* half a service message would switch the deployment tool's log level for good */
    sigprocmask(SIG_BLOCK, &block, &before);
    bool ok = true;
    while (n && ok) {
        ssize_t written = write(fd, bytes, n);
        if (written >= 0)
            bytes += written, n -= (size_t)written;
        else
            ok = errno == EINTR;
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return ok;
}
