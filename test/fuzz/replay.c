/* Stands in for libFuzzer where there is none: hands every file of the folders it is given to the target, once.
 * SPDX-License-Identifier: MIT */
#include "base/arena.h"
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 1;
    }
    struct np_arena *arena = np_arena_new();
    struct np_buf buf = {.arena = arena};
    char chunk[4096];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, file)) > 0;)
        np_buf_add(&buf, chunk, n);
    int bad = ferror(file);
    fclose(file);
    LLVMFuzzerTestOneInput((const uint8_t *)buf.ptr, buf.len);
    np_arena_free(arena);
    return bad;
}

static int replay(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        return replay_file(path);
    int bad = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char below[4096];
        snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.')
            bad |= replay(below);
    }
    closedir(dir);
    return bad;
}

/* Replays the files and folders it is given. */
int main(int argc, char **argv)
{
    int bad = 0;
    for (int i = 1; i < argc; i++)
        bad |= replay(argv[i]);
    return bad != 0;
}
