/* An image for tests of the reader of files: a folder with a root in it, and a secret beside that. Paths are the image's,
 * where nothing else is said. What cannot be done fails the test.
 * SPDX-License-Identifier: MIT */
#ifndef IMAGE_H
#define IMAGE_H

#include "scratch.h"

#include "host/host.h"

enum { IMAGE_LIMIT = 64 * 1024 /* bytes read of a file */ };

struct image {
    char top[SCRATCH_PATH];
    const char *root;
    struct np_arena *arena;
    struct np_reader *reader; /* of the root, until another is opened */
};

/* For cmocka: makes *state an image with an empty folder /etc, and removes it. */
int image_make(void **state);
int image_drop(void **state);

/* The path on this machine. */
const char *image_in(const struct image *, const char *path);
void image_add_folder(const struct image *, const char *path);
void image_add_file(const struct image *, const char *path, const char *text);
/* Another reader in the place of the image's; root NULL: of this machine. */
void image_open_reader(struct image *, const char *root);

enum np_read image_read(struct image *, const char *path, const char **why);
void image_reads(struct image *, const char *path, const char *expected);
void image_refuses(struct image *, const char *path, enum np_read expected, const char *expected_why);
/* The name on disk; NULL: there is none. */
const char *image_find(struct image *, const char *path);
/* "WHY PATH PATH..." of a pattern. */
const char *image_match(struct image *, const char *pattern);
/* Reads /etc/watched, /etc/none and /etc/sites until they are old enough to show every change; false: they never are. */
bool image_settles(struct image *);

#endif
