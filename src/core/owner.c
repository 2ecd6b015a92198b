/* SPDX-License-Identifier: MIT */
#include "core/owner.h"

#include <stdlib.h>
#include <string.h>

/* The labels that come first, in this order, and are shown without their keys. All but the first need the first. */
static const struct usual {
    const char *key;
    bool may_be_empty; /* deployment tools pass an empty value for "none" */
} usual[] = {{"project", false}, {"environment", false}, {"channel", true}, {"tenant", true}};

enum { N_USUAL = sizeof usual / sizeof *usual, SHOWN_KEY_MAX = 80 };

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static bool is_letter(char c)
{
    return lower(c) >= 'a' && lower(c) <= 'z';
}

/* The place among the usual labels; N_USUAL for a free one. */
static size_t rank(const char *key)
{
    size_t i = 0;
    while (i < N_USUAL && strcmp(usual[i].key, key) != 0)
        i++;
    return i;
}

static int by_key(const void *pa, const void *pb)
{
    const struct nextport_label *a = pa, *b = pb;
    const size_t ra = rank(a->key), rb = rank(b->key);
    return ra != rb ? (ra > rb) - (ra < rb) : strcmp(a->key, b->key);
}

/* ---- Values ---- */

/* The code point at `p`, of valid UTF-8. */
static uint32_t decode(const unsigned char *p, size_t *ret_bytes)
{
    *ret_bytes = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    uint32_t c = *ret_bytes == 1 ? p[0] : p[0] & (0xffu >> (*ret_bytes + 1));
    for (size_t i = 1; i < *ret_bytes; i++)
        c = c << 6 | (p[i] & 0x3fu);
    return c;
}

static enum nextport_status check_characters(const char *word, const char *what, struct nextport_error *err)
{
    size_t n;
    for (const unsigned char *p = (const unsigned char *)word; *p; p += n) {
        const uint32_t c = decode(p, &n);
        if (!np_is_control(c))
            continue;
        const size_t at = (size_t)(p - (const unsigned char *)word) + 1;
        if (n == 1)
            np_fail(err, NEXTPORT_INPUT, "%s: byte %zu is the control character 0x%02x", what, at, (unsigned)c);
        else
            np_fail(err, NEXTPORT_INPUT, "%s: byte %zu begins the control character U+%04X", what, at, (unsigned)c);
        np_hint(err, "Take it out: a line's end or an invisible character was probably copied along.");
        return err->status;
    }
    return NEXTPORT_OK;
}

enum nextport_status np_check_word(const char *word, const char *what, struct nextport_error *err)
{
    const struct np_text text = np_text_of(word);
    if (!text.len) {
        np_fail(err, NEXTPORT_INPUT, "%s: is empty", what);
        np_hint(err, "The deployment tool has probably no such variable, or no value for it here.");
        return err->status;
    }
    if (text.len > NP_LABEL_VALUE_MAX) {
        np_fail(err, NEXTPORT_INPUT, "%s: has %zu bytes, at most %d are possible", what, text.len, NP_LABEL_VALUE_MAX);
        np_hint(err, "Give a shorter one.");
        return err->status;
    }
    if (!np_utf8_valid(text)) {
        np_fail(err, NEXTPORT_INPUT, "%s: is not UTF-8", what);
        np_hint(err, "Pass it in UTF-8: set the locale or the console's code page to it.");
        return err->status;
    }
    if (strstr(word, "#{")) {
        np_fail(err, NEXTPORT_INPUT, "%s: holds \"#{\"", what);
        np_hint(err, "The deployment tool did not substitute a variable: check its name and that it has a value here.");
        return err->status;
    }
    return check_characters(word, what, err);
}

static enum nextport_status check_value(const char *value, const char *what, struct nextport_error *err)
{
    if (!*value) {
        np_fail(err, NEXTPORT_INPUT, "%s: is empty", what);
        np_hint(err,
                "The deployment tool has probably no such variable: an empty label would be one owner for everybody.");
        return err->status;
    }
    return np_check_word(value, what, err);
}

/* ---- Keys ---- */

static bool is_key(const char *key)
{
    size_t n = 0;
    for (; key[n]; n++) {
        const bool later = (key[n] >= '0' && key[n] <= '9') || key[n] == '_' || key[n] == '.' || key[n] == '-';
        if (n == NP_LABEL_KEY_MAX || (!is_letter(key[n]) && !(n && later)))
            return false;
    }
    return n > 0;
}

/* What a person typed as a key, cut where it is longer than any. */
static const char *shown_key(struct np_arena *arena, const char *key)
{
    char part[SHOWN_KEY_MAX + 1] = "";
    const size_t n = strlen(key);
    memcpy(part, key, n < SHOWN_KEY_MAX ? n : SHOWN_KEY_MAX);
    return np_sprintf(arena, "%s%s", np_neutral(arena, part, false), n > SHOWN_KEY_MAX ? "..." : "");
}

static char *folded(struct np_arena *arena, const char *text)
{
    char *copy = np_strndup(arena, text, strlen(text));
    for (char *c = copy; *c; c++)
        *c = lower(*c);
    return copy;
}

/* ---- Owners ---- */

/* One label, copied; *ret_none: it stands for none. */
static enum nextport_status take(struct nextport_label *ret, const struct nextport_label *label, bool *ret_none,
                                 struct np_arena *arena, struct nextport_error *err)
{
    const char *key = label->key ? label->key : "", *value = label->value ? label->value : "";
    if (!is_key(key)) {
        np_fail(err, NEXTPORT_INPUT, "'%s' is not the key of a label", shown_key(arena, key));
        np_hint(err, "A key is a letter, then letters, digits, '_', '.' and '-', %d at most.", NP_LABEL_KEY_MAX);
        return err->status;
    }
    ret->key = folded(arena, key);
    ret->value = np_strdup(arena, value);
    const size_t place = rank(ret->key);
    *ret_none = !*value && place < N_USUAL && usual[place].may_be_empty;
    if (*ret_none)
        return NEXTPORT_OK;
    return check_value(value, np_sprintf(arena, "label '%s'", ret->key), err);
}

static bool has(const struct nextport_label *labels, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(labels[i].key, key) == 0)
            return true;
    return false;
}

static enum nextport_status take_all(struct nextport_label *ret, size_t *ret_n, const struct nextport_label *labels,
                                     size_t n, struct np_arena *arena, struct nextport_error *err)
{
    const char *none[N_USUAL];
    size_t n_none = 0;
    *ret_n = 0;
    if (n > NP_LABELS_MAX)
        return np_fail(err, NEXTPORT_INPUT, "%zu labels, at most %d are possible", n, NP_LABELS_MAX);
    for (size_t i = 0; i < n; i++) {
        struct nextport_label *next = &ret[*ret_n];
        bool is_none, twice;
        if (take(next, &labels[i], &is_none, arena, err) != NEXTPORT_OK)
            return err->status;
        twice = has(ret, *ret_n, next->key);
        for (size_t j = 0; j < n_none; j++)
            twice = twice || strcmp(none[j], next->key) == 0;
        if (twice)
            return np_fail(err, NEXTPORT_INPUT, "label '%s' is given twice", next->key);
        if (is_none)
            none[n_none++] = next->key;
        else
            (*ret_n)++;
    }
    return NEXTPORT_OK;
}

static const char *text_of(struct np_arena *arena, const struct nextport_label *labels, size_t n)
{
    struct np_buf out = {.arena = arena};
    np_buf_puts(&out, "");
    for (size_t i = 0; i < n; i++)
        np_buf_printf(&out, "%s%s=%s", i ? "\n" : "", labels[i].key, labels[i].value);
    return out.ptr;
}

static const char *show(struct np_arena *arena, const struct nextport_label *labels, size_t n)
{
    struct np_buf out = {.arena = arena};
    size_t i = 0, written = 0;
    if (!n)
        return NULL;
    for (; i < n && rank(labels[i].key) < N_USUAL; i++) {
        const size_t place = rank(labels[i].key);
        for (; written < place; written++)
            np_buf_puts(&out, written ? "/-" : "-");
        np_buf_puts(&out, written++ ? "/" : "");
        np_buf_puts(&out, labels[i].value);
    }
    for (; i < n; i++) {
        np_buf_puts(&out, i ? " " : "");
        np_buf_puts(&out, labels[i].key);
        np_buf_puts(&out, "=");
        np_buf_puts(&out, labels[i].value);
    }
    return out.ptr;
}

enum nextport_status np_owner_make_filter(struct np_owner *ret, const struct nextport_label *labels, size_t n,
                                          struct np_arena *arena, struct nextport_error *err)
{
    struct nextport_label own[NP_LABELS_MAX + 1];
    size_t n_own;
    *ret = (struct np_owner){.text = "", .key = ""};
    if (take_all(own, &n_own, labels, n, arena, err) != NEXTPORT_OK)
        return err->status;
    if (!n_own)
        return NEXTPORT_OK;
    qsort(own, n_own, sizeof *own, by_key);
    struct nextport_label *copy = np_alloc_array(arena, n_own, sizeof *copy);
    memcpy(copy, own, n_own * sizeof *copy);
    const char *text = text_of(arena, copy, n_own);
    *ret = (struct np_owner){copy, n_own, text, folded(arena, text), show(arena, copy, n_own)};
    return NEXTPORT_OK;
}

/* The first label that needs a project, where there is none; n: there is no such label. */
static size_t without_project(const struct nextport_label *labels, size_t n)
{
    size_t i = 0;
    while (i < n && (rank(labels[i].key) == N_USUAL || rank(labels[0].key) == 0))
        i++;
    return i;
}

enum nextport_status np_owner_make(struct np_owner *ret, const struct nextport_label *labels, size_t n,
                                   struct np_arena *arena, struct nextport_error *err)
{
    struct np_owner owner;
    *ret = (struct np_owner){.text = "", .key = ""};
    if (np_owner_make_filter(&owner, labels, n, arena, err) != NEXTPORT_OK)
        return err->status;
    if (n && !owner.n_labels) { /* whoever names an owner does not mean nobody, and still less everybody */
        np_fail(err, NEXTPORT_INPUT, "every label is empty: they name no owner");
        np_hint(err, "Give --project as well.");
        return err->status;
    }
    const size_t lone = without_project(owner.labels, owner.n_labels);
    if (lone < owner.n_labels) {
        np_fail(err, NEXTPORT_INPUT, "label '%s' without a project", owner.labels[lone].key);
        np_hint(err, "Give --project as well: environments, channels and tenants are those of a project.");
        return err->status;
    }
    *ret = owner;
    return NEXTPORT_OK;
}

/* Is it what np_owner_make() would keep? */
static bool is_kept_label(const struct nextport_label *label)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    for (const char *c = label->key; *c; c++)
        if (lower(*c) != *c)
            return false;
    return is_key(label->key) && check_value(label->value, "label", &err) == NEXTPORT_OK;
}

/* What would not come out the same, made anew, is not ours. A ledger is read by this on the hot path: nothing is made anew. */
bool np_owner_parse(struct np_owner *ret, const char *text, struct np_arena *arena)
{
    struct nextport_label labels[NP_LABELS_MAX];
    struct np_text rest = np_text_of(text), line;
    size_t n = 0;
    *ret = (struct np_owner){.text = "", .key = ""};
    if (!text)
        return false;
    if (!*text)
        return true;
    while (np_text_split(&rest, '\n', &line)) {
        struct np_text key;
        if (n == NP_LABELS_MAX || !np_text_split(&line, '=', &key) || !line.ptr)
            return false;
        labels[n] = (struct nextport_label){np_text_dup(arena, key), np_text_dup(arena, line)};
        if (!is_kept_label(&labels[n]) || (n && by_key(&labels[n - 1], &labels[n]) >= 0))
            return false;
        n++;
    }
    if (without_project(labels, n) < n)
        return false;
    struct nextport_label *copy = np_alloc_array(arena, n, sizeof *copy);
    memcpy(copy, labels, n * sizeof *copy);
    *ret = (struct np_owner){copy, n, np_strdup(arena, text), folded(arena, text), show(arena, copy, n)};
    return true;
}

bool np_owner_matches(const struct nextport_label *labels, size_t n, const struct np_owner *filter)
{
    for (size_t i = 0; i < filter->n_labels; i++) {
        size_t j = 0;
        while (j < n && strcmp(labels[j].key, filter->labels[i].key) != 0)
            j++;
        if (j == n || !np_equal_nocase(labels[j].value, filter->labels[i].value))
            return false;
    }
    return true;
}

/* ---- Where an owner's search begins ---- */

static uint64_t fnv1a(uint64_t hash, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* The finalizer of SplitMix64: FNV alone leaves names that differ in their last letter beside one another. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t np_owner_seed(const char *key, const char *name)
{
    uint64_t hash = fnv1a(UINT64_C(0xcbf29ce484222325), key, strlen(key) + 1);
    return mix(fnv1a(hash, name, strlen(name)));
}
