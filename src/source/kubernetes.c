/* Kubernetes' NodePorts: a node serves them to everyone by rules that come and go, so all of the range is kept.
 * SPDX-License-Identifier: MIT */
#include "source/source.h"

#include <string.h>

enum {
    NODE_PORT_FIRST = 30000,
    NODE_PORT_LAST = 32767,
    FILE_MAX_BYTES = 1 << 20,
};

static bool is_there(const struct np_look *look, const char *path)
{
    const char *why = NULL;
    if (!np_reader_has_root(look->reader))
        return np_host_exists(path);
    return np_reader_find_nocase(look->reader, path, &why) || why;
}

/* A folder of an agent: what cannot be looked at counts as there. */
static const char *find_folder(const struct np_look *look)
{
    static const char *const folders[] = {"/var/lib/kubelet", "/var/lib/rancher/k3s", "/etc/rancher/k3s"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (is_there(look, folders[i]))
            return folders[i];
    return NULL;
}

static bool take_number(struct np_text *rest, uint64_t *ret)
{
    size_t n = 0;
    while (n < rest->len && rest->ptr[n] >= '0' && rest->ptr[n] <= '9')
        n++;
    if (!np_text_u64((struct np_text){rest->ptr, n}, 65535, ret))
        return false;
    rest->ptr += n;
    rest->len -= n;
    return true;
}

/* "30000-32767", or "30000+2768" in as many ports more; quotes and what follows do not matter. */
static bool parse_range(struct np_text text, struct nextport_range *ret)
{
    uint64_t first, last;
    while (text.len && strchr(" \t=:\"'", text.ptr[0]))
        text.ptr++, text.len--;
    if (!take_number(&text, &first) || !text.len)
        return false;
    const char sign = text.ptr[0];
    text.ptr++, text.len--;
    if ((sign != '-' && sign != '+') || !take_number(&text, &last))
        return false;
    last = sign == '+' ? first + last : last;
    if (!first || first > last || last > 65535)
        return false;
    *ret = (struct nextport_range){(uint16_t)first, (uint16_t)last};
    return true;
}

/* The setting in a line of the API server's manifest, or of k3s' configuration, which hands it on. */
static bool find_range(struct np_text file, struct nextport_range *ret, unsigned *ret_line)
{
    static const char key[] = "service-node-port-range";
    struct np_text line;
    for (unsigned n = 1; np_text_split(&file, '\n', &line); n++) {
        line = np_text_trim(line);
        for (size_t i = 0; i + strlen(key) <= line.len && line.ptr[0] != '#'; i++)
            if (memcmp(line.ptr + i, key, strlen(key)) == 0 &&
                parse_range((struct np_text){line.ptr + i + strlen(key), line.len - i - strlen(key)}, ret)) {
                *ret_line = n;
                return true;
            }
    }
    return false;
}

/* Looks for another range than the usual one. *why: a file that could not be read. */
static void find_setting(struct np_look *look, struct nextport_claim *claim, const char **why)
{
    static const char *const files[] = {"/etc/kubernetes/manifests/kube-apiserver.yaml",
                                        "/etc/rancher/k3s/config.yaml"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct np_text bytes;
        struct nextport_range range;
        const char *reason = NULL;
        switch (np_reader_read(look->reader, files[i], FILE_MAX_BYTES, &bytes, &reason)) {
        case NP_READ_OK:
            if (!find_range(bytes, &range, &claim->line))
                continue;
            claim->first = range.first;
            claim->last = range.last;
            claim->file = np_reader_shown(look->reader, files[i]);
            return;
        case NP_READ_ABSENT:
            continue;
        case NP_READ_DENIED:
        case NP_READ_BAD:
            *why = np_sprintf(look->ret->arena, "%s: %s; the usual range is taken to be the one",
                              np_reader_shown(look->reader, files[i]), reason);
        }
    }
}

static enum nextport_status look(struct np_look *look, struct nextport_error *err)
{
    const enum nextport_policy policy = np_settings_policy(look->settings, "kubernetes");
    const char *folder = find_folder(look), *why = NULL;
    struct nextport_claim claim = {.first = NODE_PORT_FIRST,
                                   .last = NODE_PORT_LAST,
                                   .protocol = NEXTPORT_BOTH,
                                   .kind = NEXTPORT_RESERVED,
                                   .holder = "Kubernetes",
                                   .detail = "NodePorts",
                                   .source = "kubernetes"};
    (void)err;
    if (!folder) {
        np_evidence_sight(look->ret, "kubernetes", NEXTPORT_ABSENT, policy, NULL, NULL);
        return NEXTPORT_OK;
    }
    claim.file = np_reader_shown(look->reader, folder);
    find_setting(look, &claim, &why);
    np_evidence_claim(look->ret, &claim);
    np_evidence_sight(look->ret, "kubernetes", why ? NEXTPORT_PARTIAL : NEXTPORT_SEEN, policy, why,
                      why ? np_sprintf(look->ret->arena, "%s to see the range.", np_host_words.elevate) : NULL);
    return NEXTPORT_OK;
}

const struct np_source np_source_kubernetes = {
    .name = "kubernetes",
    .about = "the range of Kubernetes' NodePorts, where a node lives",
    .policy = NEXTPORT_WARN,
    .look = look,
};
