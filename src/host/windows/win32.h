/* What the files of this folder share: text and errors of the Win32 API.
 * SPDX-License-Identifier: MIT */
#ifndef NP_WIN32_H
#define NP_WIN32_H

#include "host/host.h"

/* winsock2.h first: windows.h would bring the old one. */
#include <winsock2.h>

#include <windows.h>

_Static_assert(sizeof(void *) == 8, "a 32-bit program is shown another system folder, and so another IIS");

/* UTF-8 to UTF-16 and back. A byte or unit that is none becomes U+FFFD. NULL gives NULL. */
wchar_t *np_wide(struct np_arena *, const char *text);
char *np_narrow(struct np_arena *, const wchar_t *text);

/* A path for the W API: absolute, '\\'-separated, with the prefix "\\?\" that lifts the limit of 260 characters and
 * lets no name mean anything but a file. "..", and points and blanks at the end of a name, are taken off as the system
 * does. NULL: it is not a path of a file (no UTF-8, a device such as "NUL" or "\\.\pipe\x", a stream "file:x"), or too
 * long. */
wchar_t *np_wide_path(struct np_arena *, const char *path);

/* Is it the name of one file or folder, and to any part of Windows nothing else: no path, stream, device or pattern? */
bool np_is_file_name(const char *name);

/* Does a file with these attributes and this reparse tag stand for another name (symbolic link, junction)? */
bool np_redirects(DWORD attributes, DWORD tag);

/* np_fail() with ": " and what GetLastError() (or WSAGetLastError()) said, in English whatever the language. */
enum nextport_status np_fail_win32(struct nextport_error *err, enum nextport_status status, DWORD code, const char *fmt,
                                   ...) NP_PRINTF(4, 5);
/* GetLastError() after a call that failed, and so never 0. */
DWORD np_last_error(void);
/* The text alone. */
const char *np_win32_text(struct np_arena *, DWORD code);

/* %SystemRoot%\System32, from the API and not the environment. The process ends when the system does not tell, which it
 * always did: any guess could be a folder that a stranger made. */
const wchar_t *np_system_folder(struct np_arena *);

/* A known folder as UTF-8 with '/'; NULL when the system does not tell. `id` is a FOLDERID_... */
const char *np_known_folder(struct np_arena *, const GUID *id);

/* Winsock, once for the process. NEXTPORT_BLIND when it cannot be had. */
enum nextport_status np_winsock(struct nextport_error *);

/* Runs a program of the system folder ("netsh.exe"), with its words as one command line, no window and no input, and
 * reads its standard output, at most `limit` bytes; *ret is NUL-terminated, and holds what there was even on failure.
 * It and its children end with us, with it, or after `wait_ms`. *ret_status: what it ended with. Any failure to run it
 * to its end is `status`. */
enum nextport_status np_run_program(struct np_arena *, const wchar_t *program, const wchar_t *arguments, size_t limit,
                                    unsigned wait_ms, struct np_text *ret, DWORD *ret_status,
                                    enum nextport_status status, struct nextport_error *);

#endif
