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
    static const char *const folders[] = {"/var/lib/kubelet",
                                          "/var/lib/rancher/k3s",
                                          "/etc/rancher/k3s",
                                          "/var/lib/rancher/rke2",
                                          "/etc/rancher/rke2",
                                          "/var/lib/k0s/kubelet",
                                          "/var/snap/microk8s/common/var/lib/kubelet"};
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

/* What may stand between the setting's name, or the item of a list, and its value. */
static struct np_text behind_marks(struct np_text text)
{
    while (text.len && text.ptr[0] && strchr(" \t=:,\"'", text.ptr[0]))
        text.ptr++, text.len--;
    return text;
}

/* "30000-32767", or "30000+2768" in as many ports more; what follows does not matter. */
static bool parse_range(struct np_text text, struct nextport_range *ret)
{
    uint64_t first, last;
    text = behind_marks(text);
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

/* YAML's begins with a '#' behind a blank, and not in quotes, which begin where a value does. */
static struct np_text without_comment(struct np_text line)
{
    char quote = '\0', before = ' ';
    for (size_t i = 0; i < line.len; before = line.ptr[i++]) {
        const char c = line.ptr[i];
        if (quote)
            quote = c == quote ? '\0' : quote;
        else if (c == '#' && (before == ' ' || before == '\t'))
            line.len = i;
        else if ((c == '"' || c == '\'') && strchr(" \t[{,:=", before))
            quote = c;
    }
    return np_text_trim(line);
}

/* Takes all up to the setting's name, and it, off the line. */
static bool take_key(struct np_text *line)
{
    static const char key[] = "service-node-port-range";
    for (size_t i = 0; i + strlen(key) <= line->len; i++)
        if (memcmp(line->ptr + i, key, strlen(key)) == 0) {
            line->ptr += i + strlen(key);
            line->len -= i + strlen(key);
            return true;
        }
    return false;
}

struct nodes {
    struct np_look *look;
    struct nextport_claim claim;
    bool has_range;         /* another one than the usual */
    const char *why, *hint; /* what could not be read; NULL: nothing */
};

static void missed_file(struct nodes *nodes, const char *why)
{
    struct np_arena *arena = nodes->look->ret->arena;
    nodes->why = np_sprintf(arena, "%s; the usual range is taken to be the one", why);
    nodes->hint = np_sprintf(arena, "%s to see the range.", np_host_words.elevate);
}

static void claim_range(struct nodes *nodes, const char *file, unsigned line, struct nextport_range range)
{
    struct nextport_claim claim = nodes->claim;
    claim.first = range.first;
    claim.last = range.last;
    claim.file = file;
    claim.line = line;
    np_evidence_claim(nodes->look->ret, &claim);
    nodes->has_range = true;
}

/* The setting in a line of the API server's manifest, or of what hands it on to that; its value may be the next item of the
 * list. Of several any may count. */
static void read_settings(struct nodes *nodes, const char *file, struct np_text bytes)
{
    struct np_text line;
    struct nextport_range range;
    unsigned open = 0, unclear = 0; /* lines of the name: its value is to come, or is not understood */
    for (unsigned n = 1; np_text_split(&bytes, '\n', &line); n++) {
        line = without_comment(line);
        const bool is_item = open && line.len && line.ptr[0] == '-';
        struct np_text value = is_item ? np_text_trim((struct np_text){line.ptr + 1, line.len - 1}) : line;
        if (take_key(&line)) {
            unclear = open ? open : unclear;
            value = line;
            open = n;
            if (!behind_marks(value).len)
                continue;
        }
        if (!open || !value.len)
            continue;
        if (parse_range(value, &range))
            claim_range(nodes, file, n, range);
        else
            unclear = open;
        open = 0;
    }
    unclear = open ? open : unclear;
    if (!unclear)
        return;
    nodes->why = np_sprintf(nodes->look->ret->arena, "%s:%u: which range it sets is not understood", file, unclear);
    nodes->hint = "Leave that range out of the pool by --exclude.";
}

static void read_file(struct nodes *nodes, const char *path)
{
    struct np_look *look = nodes->look;
    const char *why = NULL, *file = np_reader_shown(look->reader, path);
    struct np_text bytes;
    switch (np_reader_read(look->reader, path, FILE_MAX_BYTES, &bytes, &why)) {
    case NP_READ_OK:
        read_settings(nodes, file, bytes);
        break;
    case NP_READ_ABSENT:
        break;
    case NP_READ_DENIED:
    case NP_READ_BAD:
        missed_file(nodes, np_sprintf(look->ret->arena, "%s: %s", file, why));
    }
}

static void read_files(struct nodes *nodes)
{
    static const char *const patterns[] = {
        "/etc/kubernetes/manifests/kube-apiserver.yaml", "/etc/rancher/k3s/config.yaml",
        "/etc/rancher/k3s/config.yaml.d/*.y*ml",         "/etc/rancher/rke2/config.yaml",
        "/etc/rancher/rke2/config.yaml.d/*.y*ml",        "/etc/k0s/k0s.yaml",
        "/var/snap/microk8s/current/args/kube-apiserver"};
    struct np_look *look = nodes->look;
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        const char *const *paths = &patterns[i], *why = NULL;
        size_t n = 1;
        if (strchr(patterns[i], '*'))
            np_reader_glob(look->reader, patterns[i], &paths, &n, &why);
        if (why)
            missed_file(nodes, why);
        for (size_t k = 0; k < n; k++)
            read_file(nodes, paths[k]);
    }
}

static enum nextport_status look(struct np_look *look, struct nextport_error *err)
{
    const enum nextport_policy policy = np_settings_policy(look->settings, "kubernetes");
    const struct nextport_range usual = {NODE_PORT_FIRST, NODE_PORT_LAST};
    const char *folder = find_folder(look);
    struct nodes nodes = {.look = look,
                          .claim = {.protocol = NEXTPORT_BOTH,
                                    .kind = NEXTPORT_RESERVED,
                                    .holder = "Kubernetes",
                                    .detail = "NodePorts",
                                    .source = "kubernetes"}};
    (void)err;
    if (!folder) {
        np_evidence_sight(look->ret, "kubernetes", NEXTPORT_ABSENT, policy, NULL, NULL);
        return NEXTPORT_OK;
    }
    read_files(&nodes);
    if (!nodes.has_range || nodes.why)
        claim_range(&nodes, np_reader_shown(look->reader, folder), 0, usual);
    np_evidence_sight(look->ret, "kubernetes", nodes.why ? NEXTPORT_PARTIAL : NEXTPORT_SEEN, policy, nodes.why,
                      nodes.hint);
    return NEXTPORT_OK;
}

const struct np_source np_source_kubernetes = {
    .name = "kubernetes",
    .about = "the range of Kubernetes' NodePorts, where a node lives",
    .policy = NEXTPORT_WARN,
    .look = look,
};
