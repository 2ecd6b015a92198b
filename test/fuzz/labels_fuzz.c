/* The readers of an owner's text and of a services file on any bytes, and labels as a person gives them; seeds: test/labels.
 * What is read as an owner must come out the same again, and what was made of labels must be read.
 * SPDX-License-Identifier: MIT */
#include "core/hazards.h"
#include "core/owner.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = NP_LABELS_MAX + 2 };

static void must(bool so)
{
    if (!so)
        abort();
}

static void same(const struct np_owner *a, const struct np_owner *b)
{
    must(strcmp(a->text, b->text) == 0 && strcmp(a->key, b->key) == 0 && a->n_labels == b->n_labels);
    must(!a->shown == !b->shown && (!a->shown || strcmp(a->shown, b->shown) == 0));
}

static void read_owner(struct np_arena *arena, const char *text)
{
    struct np_owner owner, again;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    if (!np_owner_parse(&owner, text, arena))
        return;
    must(strcmp(owner.text, text) == 0);
    must(np_owner_make(&again, owner.labels, owner.n_labels, arena, &err) == NEXTPORT_OK);
    same(&owner, &again);
}

/* One label a line, in any order. */
static void make_owner(struct np_arena *arena, const char *text)
{
    struct nextport_label labels[MOST];
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_owner owner, again;
    struct np_text rest = np_text_of(text), value, key;
    size_t n = 0;
    while (n < MOST && np_text_split(&rest, '\n', &value)) {
        np_text_split(&value, '=', &key);
        labels[n++] = (struct nextport_label){np_text_dup(arena, key), value.ptr ? np_text_dup(arena, value) : NULL};
    }
    const enum nextport_status status = np_owner_make(&owner, labels, n, arena, &err);
    must(status == NEXTPORT_OK || (status == NEXTPORT_INPUT && *err.text && !owner.n_labels));
    if (status != NEXTPORT_OK)
        return;
    must(np_owner_parse(&again, owner.text, arena));
    same(&owner, &again);
    must(np_owner_matches(owner.labels, owner.n_labels, &again));
    must(np_owner_parse(&again, owner.key, arena)); /* a key is the text of an owner as well, and its own key */
    must(strcmp(again.key, owner.key) == 0 && np_owner_seed(again.key, text) == np_owner_seed(owner.key, text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct np_arena *arena = np_arena_new();
    struct np_portset ports = {{0}};
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    const struct np_text bytes = {(const char *)data, size};
    const char *text = np_text_dup(arena, bytes);
    read_owner(arena, text);
    make_owner(arena, text);
    must(np_check_word(text, "word", &err) == NEXTPORT_OK || *err.text);
    np_hazards_services(&ports, bytes);
    must(!np_portset_has(&ports, 0));
    np_arena_free(arena);
    return 0;
}
