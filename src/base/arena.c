/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A first block that holds a usual request whole; later ones double up to a bound. */
enum { FIRST_BLOCK = 32 * 1024, LARGEST_BLOCK = 1024 * 1024 };

/* Blocks from this size on come from the system, which clears a page when it is first touched. Smaller ones are cleared as
 * they are given out, for the same reason: to touch a page costs more than to clear it. */
enum { LAZY_BLOCK = 128 * 1024 };

/* From here on an array grows faster: what it grew out of stays in the arena, and room that is not used yet costs nothing. */
enum { MANY_ITEMS = 1024 };

struct block {
    struct block *next;
    size_t used, size;
    bool cleared;
    alignas(max_align_t) char bytes[];
};

struct np_arena {
    struct block *blocks;
    size_t next_size;
};

static void *must(void *ptr)
{
    if (!ptr) {
        fputs("nextport: out of memory\n", stderr);
        abort();
    }
    return ptr;
}

struct np_arena *np_arena_new(void)
{
    struct np_arena *arena = must(calloc(1, sizeof *arena));
    arena->next_size = FIRST_BLOCK;
    return arena;
}

struct np_arena *np_arena_new_exact(void)
{
    return must(calloc(1, sizeof(struct np_arena)));
}

void np_arena_free(struct np_arena *arena)
{
    if (!arena)
        return;
    for (struct block *b = arena->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(arena);
}

static struct block *block_new(struct np_arena *arena, size_t least)
{
    const size_t room = least > arena->next_size ? least : arena->next_size;
    const bool cleared = room >= LAZY_BLOCK;
    struct block *b = must(cleared ? calloc(1, sizeof *b + room) : malloc(sizeof *b + room));
    *b = (struct block){.next = arena->blocks, .size = room, .cleared = cleared};
    if (arena->next_size < LARGEST_BLOCK)
        arena->next_size *= 2;
    return arena->blocks = b;
}

void *np_room(struct np_arena *arena, size_t size)
{
    const size_t align = alignof(max_align_t);
    if (size > SIZE_MAX / 4)
        must(NULL);
    size = (size + align - 1) / align * align;
    struct block *b = arena->blocks;
    if (!b || b->size - b->used < size)
        b = block_new(arena, size);
    void *ptr = b->bytes + b->used;
    b->used += size;
    return ptr;
}

void *np_alloc(struct np_arena *arena, size_t size)
{
    void *ptr = np_room(arena, size);
    return arena->blocks->cleared ? ptr : memset(ptr, 0, size);
}

void *np_alloc_array(struct np_arena *arena, size_t n, size_t size)
{
    if (size && n > SIZE_MAX / size)
        must(NULL);
    return np_alloc(arena, n * size);
}

char *np_strdup(struct np_arena *arena, const char *text)
{
    return text ? np_strndup(arena, text, strlen(text)) : NULL;
}

char *np_strndup(struct np_arena *arena, const char *text, size_t n)
{
    char *copy = np_room(arena, n + 1);
    if (n)
        memcpy(copy, text, n);
    copy[n] = '\0';
    return copy;
}

char *np_vsprintf(struct np_arena *arena, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n < 0)
        n = 0;
    char *text = np_room(arena, (size_t)n + 1);
    text[0] = '\0';
    vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    return text;
}

char *np_sprintf(struct np_arena *arena, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = np_vsprintf(arena, fmt, ap);
    va_end(ap);
    return text;
}

void *np_push(struct np_arena *arena, void *items, size_t *n, size_t *capacity, size_t size)
{
    char *old;
    memcpy(&old, items, sizeof old); /* `items` is the address of a pointer to any type */
    if (*n == *capacity) {
        size_t bigger = !*capacity ? 16 : *capacity < MANY_ITEMS ? *capacity * 2 : *capacity * 4;
        char *grown = np_alloc_array(arena, bigger, size);
        if (*n)
            memcpy(grown, old, *n * size);
        memcpy(items, &grown, sizeof grown);
        old = grown;
        *capacity = bigger;
    }
    return old + size * (*n)++;
}

void np_buf_add(struct np_buf *buf, const char *bytes, size_t n)
{
    if (n >= buf->capacity - buf->len || !buf->ptr) {
        size_t bigger = buf->capacity ? buf->capacity * 2 : 512;
        while (bigger <= buf->len + n)
            bigger *= 2;
        char *grown = np_room(buf->arena, bigger);
        if (buf->len)
            memcpy(grown, buf->ptr, buf->len);
        buf->ptr = grown;
        buf->capacity = bigger;
    }
    if (n)
        memcpy(buf->ptr + buf->len, bytes, n);
    buf->len += n;
    buf->ptr[buf->len] = '\0';
}

void np_buf_puts(struct np_buf *buf, const char *text)
{
    np_buf_add(buf, text, strlen(text));
}

void np_buf_printf(struct np_buf *buf, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = np_vsprintf(buf->arena, fmt, ap);
    va_end(ap);
    np_buf_puts(buf, text);
}
