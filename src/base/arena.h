/* Memory for one operation, freed at once: evidence, plan and text of a request all live in one arena.
 * An allocation that fails ends the process (abort, with a line on standard error): a one-shot program has nothing
 * better to do, and a port is never printed before its lease is committed, so nothing is lost by it.
 * SPDX-License-Identifier: MIT */
#ifndef NP_ARENA_H
#define NP_ARENA_H

#include <stdarg.h>
#include <stddef.h>

#include "base/error.h"

struct np_arena;

struct np_arena *np_arena_new(void);
/* For one large thing: it takes no more memory than what is asked of it. */
struct np_arena *np_arena_new_exact(void);
void np_arena_free(struct np_arena *); /* NULL allowed */

/* Zeroed and aligned for any type; size 0 gives a valid pointer. */
void *np_alloc(struct np_arena *, size_t size) __attribute__((returns_nonnull, malloc, alloc_size(2)));
void *np_alloc_array(struct np_arena *, size_t n, size_t size) __attribute__((returns_nonnull, malloc));
/* The same for bytes that the caller writes before it reads them: nothing is zeroed. */
void *np_room(struct np_arena *, size_t size) __attribute__((returns_nonnull, malloc, alloc_size(2)));
/* NULL for NULL. */
char *np_strdup(struct np_arena *, const char *);
char *np_strndup(struct np_arena *, const char *, size_t n) __attribute__((returns_nonnull));
char *np_sprintf(struct np_arena *, const char *fmt, ...) NP_PRINTF(2, 3) __attribute__((returns_nonnull));
char *np_vsprintf(struct np_arena *, const char *fmt, va_list) NP_PRINTF(2, 0) __attribute__((returns_nonnull));

/* Room for one more item in the array *items of *n, which grows by factors. Returns the new, zeroed item.
 * `capacity` starts at 0 together with *n and *items. */
void *np_push(struct np_arena *, void *items, size_t *n, size_t *capacity, size_t size)
    __attribute__((returns_nonnull));

/* A text that grows; always NUL-terminated once something was added. */
struct np_buf {
    struct np_arena *arena;
    char *ptr;
    size_t len, capacity;
};

void np_buf_add(struct np_buf *, const char *bytes, size_t n);
void np_buf_puts(struct np_buf *, const char *);
void np_buf_printf(struct np_buf *, const char *fmt, ...) NP_PRINTF(2, 3);

#endif
