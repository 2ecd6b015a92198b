/* What tests need of the system they run on: a folder of their own, and other processes. A system difference is a file:
 * scratch_linux.c, scratch_windows.c. Paths are absolute and '/'-separated. What cannot be done fails the test.
 * SPDX-License-Identifier: MIT */
#ifndef SCRATCH_H
#define SCRATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SCRATCH_PATH = 1024 };

/* ---- Files ---------------------------------------------------------------------------------------------------- */

/* A fresh folder with `name` in its own. `ret` holds SCRATCH_PATH. */
void scratch_make(char *ret, const char *name);
/* With all that is in it; of a link only the link. False: something is left. */
bool scratch_remove(const char *folder);
/* One folder; it may be there already. */
void scratch_add_folder(const char *path);
/* A file with these bytes, whatever was in it. */
void scratch_write(const char *path, const char *text);

/* The names in a folder that end with `suffix`, in the order of their bytes, and how many. Free each, and the list. */
size_t scratch_list(const char *folder, const char *suffix, char ***ret);

/* Keeps this process from reading a file in `folder` until it may again; false: this system lets it read all the same. */
bool scratch_deny(const char *folder, const char *path);
void scratch_permit(const char *path);

/* A file's name with all that a URI would take for its own and this system allows. */
extern const char scratch_odd_name[];

/* ---- Processes ------------------------------------------------------------------------------------------------ */

/* A pid or descriptor; a HANDLE. */
typedef intptr_t scratch_handle;

enum { SCRATCH_NONE = -1, SCRATCH_KILLED = -1 };

/* Begins this program once more with these words (the last is NULL; none has a quote) as arguments. It ends with us, if
 * not before. `output`: its standard output; SCRATCH_NONE: our standard error, as standard output is for the results. */
scratch_handle scratch_start(const char *const *words, scratch_handle output);
/* Without giving it time for anything. */
void scratch_kill(scratch_handle process);
/* Waits for its end and forgets it: its status, or SCRATCH_KILLED. */
int scratch_wait(scratch_handle process);

/* ends[0] is to be read from, ends[1] an output. Nobody else gets them by itself. */
void scratch_pipe(scratch_handle ends[2]);
/* All of n bytes; false when all writers are gone. */
bool scratch_hear(scratch_handle from, void *ret, size_t n);
/* Writes to our standard output in one piece that nobody's cuts in two. False: nobody hears it. */
bool scratch_say(const void *what, size_t n);
void scratch_close(scratch_handle end);

#endif
