/* Who and where we are: small facts that cost a system call or two.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "host/linux/linux.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14 */
#endif

/* "Permission denied" in the middle of a text begins small; "RPC struct is bad" stays. */
static void errno_text(char *ret, size_t size, int errnum)
{
    const char *known = strerrordesc_np(errnum);
    if (!known) {
        snprintf(ret, size, "system error %d", errnum);
        return;
    }
    snprintf(ret, size, "%s", known);
    if (ret[0] && islower((unsigned char)ret[1]))
        ret[0] = (char)tolower((unsigned char)ret[0]);
}

enum nextport_status np_fail_errno(struct nextport_error *err, enum nextport_status status, int errnum, const char *fmt,
                                   ...)
{
    char what[sizeof err->text], why[128];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    errno_text(why, sizeof why, errnum);
    return np_fail(err, status, "%s: %s", what, why);
}

const char *np_host_name(struct np_arena *arena)
{
    char name[HOST_NAME_MAX + 1] = "";
    if (gethostname(name, sizeof name - 1) != 0 || !name[0])
        return "unknown";
    return np_strdup(arena, name);
}

/* machine-id(5): 32 hexadecimal digits; "uninitialized" during the first boot, empty in an image. */
const char *np_host_machine_id(struct np_arena *arena)
{
    char id[64] = "";
    FILE *file = fopen("/etc/machine-id", "re");
    if (!file)
        return NULL;
    bool read = fgets(id, sizeof id, file);
    fclose(file);
    id[strcspn(id, "\n")] = '\0';
    if (!read || strlen(id) != 32 || id[strspn(id, "0123456789abcdef")])
        return NULL;
    return np_strdup(arena, id);
}

/* Does `path` of process 1 and of this process mean one file? Unreadable is no answer. */
static bool same_as_init(const char *path, bool *ret_known)
{
    char of_init[64], own[64];
    struct stat a, b;
    snprintf(of_init, sizeof of_init, "/proc/1/%s", path);
    snprintf(own, sizeof own, "/proc/self/%s", path);
    *ret_known = stat(of_init, &a) == 0 && stat(own, &b) == 0;
    return *ret_known && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* The machine's own network namespace is that of process 1: in a container, the container's; for a container that
 * shares the host's network and processes, the host's. Only root may follow /proc/1/ns/net, but everyone may look at
 * files of /proc/1/net, whose inode numbers differ from namespace to namespace; so root and others agree, and must: two
 * scopes for one namespace would promise a port twice. Where hidepid= hides even those, we say "own": that can only
 * keep ports apart that need not be. (The cookie does not tell: the first namespace need not have the number 1.) */
static bool in_own_namespace(void)
{
    static const char *const paths[] = {"ns/net", "net/dev"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        bool known, same = same_as_init(paths[i], &known);
        if (known)
            return same;
    }
    return true;
}

/* Inode numbers of namespaces are used again; this network namespace's cookie is not, while the machine is up. 0 before
 * Linux 5.14. */
static uint64_t network_cookie(void)
{
    uint64_t cookie = 0;
    socklen_t len = sizeof cookie;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) != 0)
        cookie = 0;
    close(fd);
    return cookie;
}

const char *np_host_scope(struct np_arena *arena)
{
    struct stat own;
    if (in_own_namespace() || stat("/proc/self/ns/net", &own) != 0)
        return "";
    return np_sprintf(arena, "net:%ju:%ju", (uintmax_t)own.st_ino, (uintmax_t)network_cookie());
}

const char *np_host_boot(struct np_arena *arena)
{
    char boot[NP_BOOT_SIZE];
    return np_boot_text(boot) ? np_strndup(arena, boot, NP_BOOT_DIGITS) : NULL;
}

/* Only /etc/passwd: the name services may ask the network, and a number is enough for a log. */
static const char *name_of_user(struct np_arena *arena, unsigned long uid)
{
    char line[1024], wanted[32];
    const char *found = NULL;
    FILE *file = fopen("/etc/passwd", "re");
    if (!file)
        return NULL;
    snprintf(wanted, sizeof wanted, "%lu", uid);
    while (!found && fgets(line, sizeof line, file)) {
        struct np_text rest = np_text_of(line), name, password, number;
        if (np_text_split(&rest, ':', &name) && np_text_split(&rest, ':', &password) &&
            np_text_split(&rest, ':', &number) && np_text_is(number, wanted))
            found = np_text_dup(arena, name);
    }
    fclose(file);
    return found;
}

const char *np_host_user(struct np_arena *arena)
{
    unsigned long uid = geteuid();
    if (uid == 0)
        return "root";
    const char *name = name_of_user(arena, uid);
    return name ? np_sprintf(arena, "%lu(%s)", uid, name) : np_sprintf(arena, "%lu", uid);
}

int64_t np_host_now(void)
{
    return time(NULL);
}

bool np_host_privileged(void)
{
    return geteuid() == 0;
}

const char *np_host_env(struct np_arena *arena, const char *name)
{
    const char *value = getenv(name);
    return value && *value ? np_strdup(arena, value) : NULL;
}

const struct np_host_words np_host_words = {
    .admin = "root",
    .elevate = "Run as root",
    .setup = "Run 'sudo nextport setup'",
    .join = "'usermod -aG " NP_GROUP " USER'",
};

enum nextport_status np_host_config_file(struct np_arena *arena, const char **ret, struct nextport_error *err)
{
    (void)arena, (void)err;
    *ret = "/etc/nextport/nextport.conf";
    return NEXTPORT_OK;
}

void np_host_pause_ms(unsigned ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}
