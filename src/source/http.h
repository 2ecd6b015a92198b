/* As much of HTTP/1.1 (RFC 9112) as asking a program of this machine takes: GET, one after the other.
 * SPDX-License-Identifier: MIT */
#ifndef NP_HTTP_H
#define NP_HTTP_H

#include "host/host.h"

struct np_http;

/* `path` is a Unix socket, or a named pipe on Windows. Everything that is asked of it together may last `budget_ms`.
 * Outcomes as np_reader_read() has them: NP_READ_ABSENT when nobody can answer there, as nothing is at the path. */
enum np_read np_http_open(struct np_http **ret, struct np_arena *, const char *path, unsigned budget_ms,
                          const char **why);
/* The body of the answer to "GET TARGET", in the arena and NUL-terminated beyond its length. NP_READ_ABSENT: status 404.
 * `target` is sent as it is. `limit` in bytes. */
enum np_read np_http_get(struct np_http *, const char *target, size_t limit, struct np_text *ret, const char **why);
void np_http_close(struct np_http *); /* NULL allowed */

#endif
