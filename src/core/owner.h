/* Owners: who a port is for, as labels, and the key that makes two owners the same one.
 *
 * Labels are kept as text, "key=value" lines with a newline between two: project, environment, channel and tenant first,
 * in this order, then free ones by key. Keys are lower case and values as given; no value can hold a line's end, so that
 * the text is unambiguous. The key is the same text with ASCII letters in lower case: other bytes count exactly.
 * SPDX-License-Identifier: MIT */
#ifndef NP_OWNER_H
#define NP_OWNER_H

#include "base/text.h"

enum { NP_LABELS_MAX = 16, NP_LABEL_KEY_MAX = 63, NP_LABEL_VALUE_MAX = 200 };

struct np_owner {
    const struct nextport_label *labels; /* in the key's order */
    size_t n_labels;                     /* 0: nobody */
    const char *text;                    /* as the ledger keeps it; "" for nobody */
    const char *key;                     /* "" for nobody */
    /* For people: "shop/QA/feature-x team=web", "-" for one left out in the middle; NULL for nobody. */
    const char *shown;
};

/* Checks and orders labels given by a person; none of them are nobody. NEXTPORT_INPUT: a key or value that is none, a key
 * given twice, too many, a value with "#{", which is a variable that was not substituted, or environment, channel or tenant
 * without project. An empty value of channel or tenant is no label: deployment tools pass one for "none"; but if no other
 * is given, that is refused. */
enum nextport_status np_owner_make(struct np_owner *ret, const struct nextport_label *, size_t n, struct np_arena *,
                                   struct nextport_error *);

/* The same checks for labels to search by, except that any of them may stand alone. */
enum nextport_status np_owner_make_filter(struct np_owner *ret, const struct nextport_label *, size_t n,
                                          struct np_arena *, struct nextport_error *);

/* From what a ledger or an export has kept; false: NULL, or not exactly what np_owner_make() makes. "" is nobody. */
bool np_owner_parse(struct np_owner *ret, const char *text, struct np_arena *);

/* Has an owner every label of the filter? */
bool np_owner_matches(const struct nextport_label *labels, size_t n, const struct np_owner *filter);

/* A deployment's or a port's name: 1 to 200 bytes of UTF-8 without control characters (C0, C1, DEL, U+2028-202E,
 * U+2066-2069: logs are read by people). `what` names it in the error. NULL is empty. A word with
 * "#{" is refused: a variable that was not substituted. */
enum nextport_status np_check_word(const char *word, const char *what, struct nextport_error *);

/* Where an owner's search for a port begins: the same number on every machine, in every release. 64-bit FNV-1a of key, a
 * zero byte and name, mixed by the finalizer of SplitMix64. */
uint64_t np_owner_seed(const char *key, const char *name);

#endif
