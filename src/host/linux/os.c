/* What the kernel keeps for itself: three small files of /proc/sys/net/ipv4, which govern IPv6 and UDP as well.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "host/linux/linux.h"
#include "host/linux/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SYSCTL "/proc/sys/net/ipv4/"

/* Reads from the start in one call: these files have nothing at any later offset. Returns an errno value. */
static int read_once(const char *path, char *buf, size_t size, size_t *ret_len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    ssize_t n = read(fd, buf, size);
    int errnum = n < 0 ? errno : 0;
    close(fd);
    *ret_len = n < 0 ? 0 : (size_t)n;
    return errnum;
}

static enum nextport_status unreadable(int errnum, const char *path, struct nextport_error *err)
{
    np_fail_errno(err, NEXTPORT_BLIND, errnum, "read %s", path);
    np_hint(err, "It says which ports the kernel keeps for itself. Mount /proc, or allow it to be read.");
    return err->status;
}

static enum nextport_status malformed(const char *path, struct nextport_error *err)
{
    return np_fail(err, NEXTPORT_BLIND, "read %s: not what the kernel should say", path);
}

static bool parse_number(struct np_text text, uint16_t *ret)
{
    uint64_t number;
    if (!np_text_u64(np_text_trim(text), UINT16_MAX, &number))
        return false;
    *ret = (uint16_t)number;
    return true;
}

static enum nextport_status read_ephemeral(struct np_os_ports *os, struct nextport_error *err)
{
    static const char path[] = SYSCTL "ip_local_port_range";
    char buf[64];
    size_t len;
    struct np_text first, rest = {.ptr = buf};
    int errnum = read_once(path, buf, sizeof buf, &len);
    if (errnum)
        return unreadable(errnum, path, err);
    rest.len = len;
    if (!np_text_split(&rest, '\t', &first) || !parse_number(first, &os->ephemeral_first) ||
        !parse_number(rest, &os->ephemeral_last))
        return malformed(path, err);
    return NEXTPORT_OK;
}

/* A list that does not fit the buffer is cut without a word, so a full buffer means: ask again with room for the
 * longest list there can be, every second port. The usual list is a line. */
enum nextport_status np_read_reserved(struct np_portset *ret, struct nextport_error *err)
{
    static const char path[] = NP_RESERVED_PORTS;
    enum { LONGEST = 32768 * 6 + 2 };
    char small[4096], *large = NULL;
    struct np_text text = {.ptr = small};
    int errnum = read_once(path, small, sizeof small, &text.len);
    if (!errnum && text.len == sizeof small) {
        text.ptr = large = malloc(LONGEST);
        errnum = large ? read_once(path, large, LONGEST, &text.len) : ENOMEM;
    }
    enum nextport_status status = NEXTPORT_OK;
    *ret = (struct np_portset){{0}};
    if (errnum)
        status = unreadable(errnum, path, err);
    else if (!np_sysctl_parse(ret, text))
        status = malformed(path, err);
    free(large);
    return status;
}

/* Before Linux 4.11 there was no such file, and the limit was 1024. */
static enum nextport_status read_unprivileged(struct np_os_ports *os, struct nextport_error *err)
{
    static const char path[] = SYSCTL "ip_unprivileged_port_start";
    char buf[64];
    size_t len;
    int errnum = read_once(path, buf, sizeof buf, &len);
    os->unprivileged_first = 1024;
    if (errnum == ENOENT)
        return NEXTPORT_OK;
    if (errnum)
        return unreadable(errnum, path, err);
    if (!parse_number((struct np_text){.ptr = buf, .len = len}, &os->unprivileged_first))
        return malformed(path, err);
    return NEXTPORT_OK;
}

static bool has_bind_capability(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    return syscall(SYS_capget, &header, data) == 0 &&
           data[CAP_TO_INDEX(CAP_NET_BIND_SERVICE)].effective & CAP_TO_MASK(CAP_NET_BIND_SERVICE);
}

/* Three small files: there is nothing to be remembered. A fourth one, ours, says whose a reserved port is; most machines
 * reserve none. */
enum nextport_status np_host_os_ports(struct np_arena *arena, bool fresh, struct np_os_ports *ret,
                                      struct nextport_error *err)
{
    (void)fresh;
    *ret =
        (struct np_os_ports){.may_bind_low = has_bind_capability(), .reserved_by = "net.ipv4.ip_local_reserved_ports"};
    if (read_ephemeral(ret, err) || np_read_reserved(&ret->reserved, err) || read_unprivileged(ret, err))
        return err->status;
    if (np_portset_next(&ret->reserved, 1))
        ret->protected = np_protected_ports(arena, &ret->reserved);
    return NEXTPORT_OK;
}

const char *np_host_services_file(struct np_arena *arena)
{
    (void)arena;
    return "/etc/services";
}
