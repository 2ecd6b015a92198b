/* SPDX-License-Identifier: MIT */
#include "image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

int image_make(void **state)
{
    struct image *image = calloc(1, sizeof *image);
    assert_non_null(image);
    image->arena = np_arena_new();
    scratch_make(image->top, "files");
    image->root = np_sprintf(image->arena, "%s/root", image->top);
    image_add_folder(image, "");
    image_add_folder(image, "/etc");
    scratch_write(np_sprintf(image->arena, "%s/secret", image->top), "secret");
    image_open_reader(image, image->root);
    *state = image;
    return 0;
}

int image_drop(void **state)
{
    struct image *image = *state;
    np_reader_close(image->reader);
    const bool removed = scratch_remove(image->top);
    np_arena_free(image->arena);
    free(image);
    return removed ? 0 : -1;
}

const char *image_in(const struct image *image, const char *path)
{
    return np_sprintf(image->arena, "%s%s", image->root, path);
}

void image_add_folder(const struct image *image, const char *path)
{
    scratch_add_folder(image_in(image, path));
}

void image_add_file(const struct image *image, const char *path, const char *text)
{
    scratch_write(image_in(image, path), text);
}

void image_open_reader(struct image *image, const char *root)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    np_reader_close(image->reader);
    if (np_reader_open(&image->reader, root, image->arena, &err) != NEXTPORT_OK)
        fail_msg("%s", err.text);
}

enum np_read image_read(struct image *image, const char *path, const char **why)
{
    struct np_text text;
    return np_reader_read(image->reader, path, IMAGE_LIMIT, &text, why);
}

void image_reads(struct image *image, const char *path, const char *expected)
{
    struct np_text text;
    const char *why = NULL;
    if (np_reader_read(image->reader, path, IMAGE_LIMIT, &text, &why) != NP_READ_OK)
        fail_msg("%s: %s", path, why);
    assert_null(why);
    assert_string_equal(text.ptr, expected);
    assert_int_equal(text.len, strlen(expected));
}

void image_refuses(struct image *image, const char *path, enum np_read expected, const char *expected_why)
{
    const char *why = NULL;
    enum np_read outcome = image_read(image, path, &why);
    if (outcome != expected || !why || strcmp(why, expected_why) != 0)
        fail_msg("%s: outcome %d, \"%s\", not %d, \"%s\"", path, (int)outcome, why ? why : "", (int)expected,
                 expected_why);
}

const char *image_find(struct image *image, const char *path)
{
    const char *why = NULL, *name = np_reader_find_nocase(image->reader, path, &why);
    assert_null(why);
    return name;
}

const char *image_match(struct image *image, const char *pattern)
{
    const char *const *paths, *why;
    size_t n;
    struct np_buf all = {.arena = image->arena};
    np_reader_glob(image->reader, pattern, &paths, &n, &why);
    np_buf_puts(&all, why ? why : "");
    for (size_t i = 0; i < n; i++)
        np_buf_printf(&all, " %s", paths[i]);
    return all.ptr;
}

bool image_settles(struct image *image)
{
    for (int i = 0; i < 200; i++) {
        const char *why;
        np_reader_begin_look(image->reader);
        image_read(image, "/etc/watched", &why);
        image_read(image, "/etc/none", &why);
        image_match(image, "/etc/sites/*");
        image_find(image, "/etc/SITES/wanted");
        if (!np_reader_changed(image->reader))
            return true;
        np_host_pause_ms(5);
    }
    return false;
}
