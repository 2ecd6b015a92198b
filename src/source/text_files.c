/* The files of one configuration, and the look at those of a machine.
 * SPDX-License-Identifier: MIT */
#include "source/text_files.h"

#include "base/pack.h"

#include <string.h>

enum {
    SHOWN_MAX = 300, /* bytes of one foreign text that are worth repeating in every claim */
    TRIES = 4,
    PAUSE_MS = 60,
};

/* What was at a path, or became of a pattern. Most files are parsed once: their bytes are let go after that, and only
 * of one that is asked for again are they kept. */
struct known {
    enum np_read outcome;
    bool asked, said, counted;
    const char *why;
    struct np_file file;       /* bytes.ptr NULL: let go */
    struct np_arena *borrowed; /* has the bytes while they are parsed for the first time */
    uint64_t digest;           /* of bytes that were let go */
    bool changed;              /* they were others the second time */
};

struct searched {
    struct known known;
    const char *const *paths;
    size_t n_paths;
};

struct listed {
    struct known known;
    const struct np_entry *entries;
    size_t n;
};

void np_files_init(struct np_files *files, const char *source, struct np_evidence *ret,
                   const struct np_include *include, struct nextport_error *err)
{
    *files = (struct np_files){.source = source,
                               .ret = ret,
                               .include = include,
                               .err = err,
                               .read = {.arena = ret->arena},
                               .searched = {.arena = ret->arena},
                               .listed = {.arena = ret->arena}};
}

/* ---- What is wrong -------------------------------------------------------------------------------------------- */

/* "FILE:LINE:COLUMN: " and the text. */
static const char *placed(struct np_files *, struct np_position, const char *fmt, va_list) NP_PRINTF(3, 0);

static const char *placed(struct np_files *files, struct np_position at, const char *fmt, va_list ap)
{
    struct np_arena *arena = files->ret->arena;
    const char *text = np_vsprintf(arena, fmt, ap);
    return at.line         ? np_sprintf(arena, "%s:%u:%u: %s", at.file->name, at.line, at.column, text)
           : at.file->name ? np_sprintf(arena, "%s: %s", at.file->name, text)
                           : text;
}

static void say(struct np_files *files, const char *text)
{
    if (++files->n_warnings <= NP_FILES_WARNINGS_MAX)
        np_note(files->ret->log, NEXTPORT_WARNING, "%s", text);
}

void np_files_warn(struct np_files *files, struct np_position at, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(files, placed(files, at, fmt, ap));
    va_end(ap);
}

void np_files_note(struct np_files *files, struct np_position at, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    np_note(files->ret->log, NEXTPORT_VERBOSE, "%s", placed(files, at, fmt, ap));
    va_end(ap);
}

/* The first is the sighting's reason, and said by it. */
void np_files_gap(struct np_files *files, struct np_position at, const char *hint, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const char *why = placed(files, at, fmt, ap);
    va_end(ap);
    const struct nextport_sighting *seen = np_evidence_sighting(files->ret, files->source);
    if (seen && seen->sight != NEXTPORT_SEEN)
        say(files, why);
    else
        np_evidence_sight(files->ret, files->source, NEXTPORT_PARTIAL, NEXTPORT_WARN, why, hint);
}

enum nextport_status np_files_fail(struct np_files *files, enum nextport_status status, struct np_position at,
                                   const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const char *why = placed(files, at, fmt, ap);
    va_end(ap);
    if (files->status == NEXTPORT_OK)
        files->status = np_fail(files->err, status, "%s", why);
    else
        say(files, why);
    return NEXTPORT_OK;
}

enum nextport_status np_files_finish(struct np_files *files)
{
    if (files->n_warnings > NP_FILES_WARNINGS_MAX)
        np_note(files->ret->log, NEXTPORT_WARNING, "%s: %zu more warnings",
                files->open[0]->name ? files->open[0]->name : files->source, files->n_warnings - NP_FILES_WARNINGS_MAX);
    return files->status;
}

const char *np_files_text(struct np_files *files, struct np_text text)
{
    if (text.len <= SHOWN_MAX)
        return np_text_dup(files->ret->arena, text);
    return np_sprintf(files->ret->arena, "%.*s...", (int)np_text_cut(text, SHOWN_MAX), text.ptr);
}

void np_files_claim(struct np_files *files, struct np_position at, struct nextport_claim claim)
{
    if (++files->n_claims > NP_FILES_CLAIMS_MAX) {
        if (files->n_claims == NP_FILES_CLAIMS_MAX + 1)
            np_files_fail(files, NEXTPORT_BLIND, at, "more than %d ports", NP_FILES_CLAIMS_MAX);
        return;
    }
    claim.source = files->source;
    claim.file = at.file->name;
    claim.line = at.line;
    np_evidence_claim(files->ret, &claim);
}

/* ---- Files ---------------------------------------------------------------------------------------------------- */

const char *np_files_shown(const struct np_files *files, const char *path)
{
    return files->include && files->include->shown ? files->include->shown(files->include->ctx, path) : path;
}

static struct np_text without_mark(struct np_text bytes)
{
    static const char mark[] = "\xef\xbb\xbf";
    const size_t n = sizeof mark - 1;
    return bytes.len >= n && memcmp(bytes.ptr, mark, n) == 0 ? (struct np_text){bytes.ptr + n, bytes.len - n} : bytes;
}

static enum np_read read_bytes(struct np_files *files, struct known *known, struct np_arena *arena)
{
    struct np_text *bytes = &known->file.bytes;
    if (!files->include)
        return NP_READ_ABSENT;
    enum np_read outcome = files->include->read(files->include->ctx, arena, known->file.path, bytes, &known->why);
    *bytes = outcome == NP_READ_OK ? without_mark(*bytes) : (struct np_text){0};
    if (bytes->len > NP_FILE_BYTES_MAX) {
        known->why = np_sprintf(files->ret->arena, "larger than %d bytes", NP_FILE_BYTES_MAX);
        outcome = NP_READ_BAD;
    }
    return outcome;
}

/* One look has one version of a file. */
static void read_again(struct np_files *files, struct known *known)
{
    known->outcome = read_bytes(files, known, files->ret->arena);
    known->changed = known->outcome != NP_READ_OK || np_sum(known->file.bytes) != known->digest;
    if (known->changed) {
        known->outcome = NP_READ_BAD;
        known->why = "it changed while the configuration was read";
    }
}

static struct known *known_at(struct np_files *files, const char *path)
{
    void **at = np_map_at(&files->read, path);
    struct known *known = *at;
    if (!known) {
        *at = known = np_alloc(files->ret->arena, sizeof *known);
        known->file.path = path;
        known->file.name = np_files_shown(files, path);
    }
    return known;
}

/* To stay. */
static struct known *read_to_keep(struct np_files *files, const char *path)
{
    struct known *known = known_at(files, path);
    struct np_text *bytes = &known->file.bytes;
    if (!known->asked)
        known->outcome = read_bytes(files, known, files->ret->arena);
    else if (known->borrowed)
        *bytes = (struct np_text){np_text_dup(files->ret->arena, *bytes), bytes->len};
    else if (known->outcome == NP_READ_OK && !bytes->ptr)
        read_again(files, known);
    known->asked = true;
    known->borrowed = NULL;
    return known;
}

/* To be parsed, and let_go() then. */
static struct known *read_to_parse(struct np_files *files, const char *path)
{
    struct known *known = known_at(files, path);
    if (known->asked)
        return read_to_keep(files, path);
    known->asked = true;
    known->borrowed = np_arena_new_exact();
    known->outcome = read_bytes(files, known, known->borrowed);
    return known;
}

static void let_go(struct known *known, struct np_arena *borrowed)
{
    if (known->borrowed && known->outcome == NP_READ_OK)
        known->digest = np_sum(known->file.bytes);
    if (known->borrowed)
        known->file.bytes = (struct np_text){0};
    known->borrowed = NULL;
    np_arena_free(borrowed);
}

/* Once for each file or pattern, however many name it. */
static void say_unread(struct np_files *files, struct np_position from, struct known *known, const char *what)
{
    if (known->said || known->outcome == NP_READ_OK)
        return;
    known->said = true;
    const char *why = known->why ? known->why : "no such file";
    if (known->outcome == NP_READ_DENIED)
        np_files_gap(files, from,
                     np_sprintf(files->ret->arena, "%s: this user may not read it.", np_host_words.elevate), "%s: %s",
                     what, why);
    else if (known->outcome == NP_READ_ABSENT)
        np_files_warn(files, from, "%s: %s", what, why);
    else
        np_files_fail(files, known->changed ? NEXTPORT_RETRY : NEXTPORT_BLIND, from, "%s: %s", what, why);
}

/* Is there room for one more? Said when there is not, the first time. */
static bool within_budget(struct np_files *files, struct np_position from, const struct np_file *file)
{
    const bool was_within = files->n_parsed <= NP_FILES_MAX && files->n_bytes <= NP_FILES_BYTES_MAX;
    if (!was_within)
        return false;
    files->n_parsed++;
    files->n_bytes += file->bytes.len;
    if (files->n_parsed > NP_FILES_MAX)
        np_files_fail(files, NEXTPORT_BLIND, from, "more than %d files", NP_FILES_MAX);
    else if (files->n_bytes > NP_FILES_BYTES_MAX)
        np_files_fail(files, NEXTPORT_BLIND, from, "more than %d bytes in all", NP_FILES_BYTES_MAX);
    return files->n_parsed <= NP_FILES_MAX && files->n_bytes <= NP_FILES_BYTES_MAX;
}

/* What no include names counts as well, once. */
static bool is_too_much(struct np_files *files, struct np_position from, struct known *known)
{
    const bool counted = known->counted;
    known->counted = true;
    return known->outcome == NP_READ_OK && !counted && !within_budget(files, from, &known->file);
}

const struct np_file *np_files_open(struct np_files *files, struct np_position from, const char *path)
{
    struct known *known = read_to_keep(files, path);
    if (is_too_much(files, from, known))
        return NULL;
    if (known->outcome == NP_READ_OK)
        return &known->file;
    if (known->outcome != NP_READ_ABSENT)
        say_unread(files, from, known, known->file.name);
    return NULL;
}

enum np_read np_files_try(struct np_files *files, const char *path, const struct np_file **ret, const char **why)
{
    struct known *known = read_to_keep(files, path);
    *ret = known->outcome == NP_READ_OK ? &known->file : NULL;
    *why = known->why ? known->why : "no such file";
    if (!is_too_much(files, (struct np_position){.file = files->open[0]}, known))
        return known->outcome;
    *ret = NULL;
    *why = "too much to read";
    return NP_READ_BAD;
}

static struct searched *searched_at(struct np_files *files, const char *pattern)
{
    void **at = np_map_at(&files->searched, pattern);
    struct searched *search = *at;
    if (!search) {
        *at = search = np_alloc(files->ret->arena, sizeof *search);
        if (files->include && files->include->glob)
            search->known.outcome = files->include->glob(files->include->ctx, pattern, &search->paths, &search->n_paths,
                                                         &search->known.why);
    }
    return search;
}

void np_files_glob(struct np_files *files, struct np_position from, const char *pattern, const char *const **ret,
                   size_t *ret_n)
{
    struct searched *search = searched_at(files, pattern);
    say_unread(files, from, &search->known, np_files_shown(files, pattern));
    *ret = search->paths;
    *ret_n = search->n_paths;
}

/* As say_unread(), but that nothing is a failure. */
static void say_gap(struct np_files *files, struct np_position from, struct known *known, const char *what)
{
    if (known->outcome == NP_READ_BAD && !known->said)
        np_files_gap(files, from, NULL, "%s: %s", what, known->why);
    else
        say_unread(files, from, known, what);
    known->said = true;
}

void np_files_find(struct np_files *files, struct np_position from, const char *pattern, const char *const **ret,
                   size_t *ret_n)
{
    struct searched *search = searched_at(files, pattern);
    say_gap(files, from, &search->known, np_files_shown(files, pattern));
    *ret = search->paths;
    *ret_n = search->n_paths;
}

static struct listed *listed_at(struct np_files *files, const char *folder)
{
    void **at = np_map_at(&files->listed, folder);
    struct listed *list = *at;
    if (!list) {
        *at = list = np_alloc(files->ret->arena, sizeof *list);
        list->known.outcome = NP_READ_ABSENT;
        if (files->include && files->include->list)
            list->known.outcome =
                files->include->list(files->include->ctx, folder, &list->entries, &list->n, &list->known.why);
    }
    return list;
}

void np_files_list(struct np_files *files, struct np_position from, const char *folder, const struct np_entry **ret,
                   size_t *ret_n)
{
    struct listed *list = listed_at(files, folder);
    if (list->known.outcome != NP_READ_ABSENT)
        say_gap(files, from, &list->known, np_files_shown(files, folder));
    *ret = list->entries;
    *ret_n = list->n;
}

enum np_read np_files_try_list(struct np_files *files, const char *folder, const struct np_entry **ret, size_t *ret_n,
                               const char **why)
{
    const struct listed *list = listed_at(files, folder);
    *ret = list->entries;
    *ret_n = list->n;
    *why = list->known.why ? list->known.why : "no such file";
    return list->known.outcome;
}

static struct np_text folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (struct np_text){path, (size_t)(slash - path)} : np_text_of(".");
}

static bool has_drive(struct np_text path)
{
    const bool letter = path.len > 2 && ((path.ptr[0] | 0x20) >= 'a' && (path.ptr[0] | 0x20) <= 'z');
    return letter && path.ptr[1] == ':' && (path.ptr[2] == '/' || path.ptr[2] == '\\');
}

/* On Windows where the system says; in an image its drive C is the root, and there is no other. */
static const char *on_drive(struct np_files *files, struct np_text path)
{
    struct np_arena *arena = files->ret->arena;
    char *text = np_text_dup(arena, path);
    if (files->include && files->include->place) {
        const char *here = files->include->place(files->include->ctx, arena, text);
        if (here)
            return here;
    }
    for (char *p = text; *p; p++)
        if (*p == '\\')
            *p = '/';
    return (text[0] | 0x20) == 'c' ? text + 2 : NULL;
}

const char *np_files_literally(struct np_arena *arena, const char *path)
{
    struct np_buf pattern = {.arena = arena};
    if (!strpbrk(path, "*?[\\") || has_drive(np_text_of(path)))
        return path;
    for (; *path; path++) {
        if (strchr("*?[\\", *path))
            np_buf_puts(&pattern, "\\");
        np_buf_add(&pattern, path, 1);
    }
    return pattern.ptr;
}

const char *np_files_beside(struct np_files *files, const struct np_file *file, struct np_text path)
{
    if (has_drive(path))
        return on_drive(files, path);
    if (path.len && path.ptr[0] == '/')
        return np_text_dup(files->ret->arena, path);
    const struct np_text folder = folder_of(file->path);
    return np_sprintf(files->ret->arena, "%.*s/%.*s", (int)folder.len, folder.ptr, (int)path.len, path.ptr);
}

/* ---- Includes ------------------------------------------------------------------------------------------------- */

static bool is_open(const struct np_files *files, const char *path)
{
    for (unsigned i = 0; i < files->depth; i++)
        if (strcmp(files->open[i]->path, path) == 0)
            return true;
    return false;
}

static enum nextport_status parse_one(struct np_files *files, struct np_position from, const struct np_file *file,
                                      np_file_fn *each, void *ctx)
{
    if (!within_budget(files, from, file))
        return NEXTPORT_OK;
    files->open[files->depth++] = file;
    const enum nextport_status status = each(ctx, file);
    files->depth--;
    return status;
}

void np_files_main(struct np_files *files, const char *path, struct np_text bytes, np_file_fn *each, void *ctx)
{
    struct np_file *file = np_alloc(files->ret->arena, sizeof *file);
    *file = (struct np_file){.path = path, .name = np_files_shown(files, path), .bytes = without_mark(bytes)};
    const struct np_position whole = {.file = file};
    files->open[0] = file; /* stays, for np_files_finish() */
    enum nextport_status status = NEXTPORT_OK;
    if (bytes.len > NP_FILE_BYTES_MAX)
        np_files_fail(files, NEXTPORT_BLIND, whole, "larger than %d bytes", NP_FILE_BYTES_MAX);
    else
        status = parse_one(files, whole, file, each, ctx);
    if (files->status == NEXTPORT_OK)
        files->status = status;
}

bool np_files_include_readable(struct np_files *files, struct np_position from, const char *path, np_file_fn *each,
                               void *ctx, enum nextport_status *ret)
{
    *ret = NEXTPORT_OK;
    if (is_open(files, path)) {
        np_files_warn(files, from, "%s includes itself", np_files_shown(files, path));
        return true;
    }
    if (files->depth > NP_FILES_DEPTH_MAX) {
        np_files_fail(files, NEXTPORT_BLIND, from, "files included deeper than %d", NP_FILES_DEPTH_MAX);
        return true;
    }
    struct known *known = read_to_parse(files, path);
    struct np_arena *borrowed = known->borrowed;
    const bool readable = known->outcome == NP_READ_OK;
    if (readable)
        *ret = parse_one(files, from, &known->file, each, ctx);
    let_go(known, borrowed);
    return readable;
}

enum nextport_status np_files_include_path(struct np_files *files, struct np_position from, const char *path,
                                           np_file_fn *each, void *ctx)
{
    enum nextport_status status;
    if (!np_files_include_readable(files, from, path, each, ctx, &status)) {
        struct known *known = known_at(files, path);
        say_unread(files, from, known, known->file.name);
    }
    return status;
}

enum nextport_status np_files_include(struct np_files *files, struct np_position from, const char *pattern,
                                      np_file_fn *each, void *ctx)
{
    const char *const *paths = &pattern;
    size_t n = 1;
    if (strpbrk(pattern, "*?["))
        np_files_glob(files, from, pattern, &paths, &n);
    enum nextport_status status = NEXTPORT_OK;
    for (size_t i = 0; i < n && status == NEXTPORT_OK; i++)
        status = np_files_include_path(files, from, paths[i], each, ctx);
    return status;
}

/* ---- Walking one file ----------------------------------------------------------------------------------------- */

void np_cursor_init(struct np_cursor *c, const struct np_file *file)
{
    const struct np_text bytes = file->bytes;
    const char *begin = bytes.len ? bytes.ptr : "";
    *c = (struct np_cursor){.file = file, .at = begin, .end = begin + bytes.len, .line_begins = begin, .line = 1};
}

bool np_cursor_line(struct np_cursor *c, struct np_text *ret)
{
    if (c->at == c->end)
        return false;
    const char *end = memchr(c->at, '\n', (size_t)(c->end - c->at));
    *ret = (struct np_text){c->at, (size_t)((end ? end : c->end) - c->at)};
    if (ret->len && ret->ptr[ret->len - 1] == '\r')
        ret->len--;
    c->at = end ? end + 1 : c->end;
    if (end) {
        c->line++;
        c->line_begins = c->at;
    }
    return true;
}

/* ---- The look at a machine ------------------------------------------------------------------------------------ */

static enum np_read reader_read(void *ctx, struct np_arena *arena, const char *path, struct np_text *ret,
                                const char **why)
{
    return np_reader_read_into(ctx, arena, path, NP_FILE_BYTES_MAX, ret, why);
}

static enum np_read reader_glob(void *ctx, const char *pattern, const char *const **ret, size_t *ret_n,
                                const char **why)
{
    return np_reader_glob(ctx, pattern, ret, ret_n, why);
}

static enum np_read reader_list(void *ctx, const char *folder, const struct np_entry **ret, size_t *ret_n,
                                const char **why)
{
    return np_reader_list(ctx, folder, ret, ret_n, why);
}

static bool reader_is_same(void *ctx, const char *path, const char *other)
{
    return np_reader_is_same(ctx, path, other);
}

static const char *reader_shown(void *ctx, const char *path)
{
    return np_reader_shown(ctx, path);
}

/* On Windows itself a configuration means what it says; in an image its drive is the root. */
static const char *reader_place(void *ctx, struct np_arena *arena, const char *path)
{
    return np_reader_has_root(ctx) ? NULL : np_host_windows_path(arena, path);
}

struct np_include np_files_of(struct np_reader *reader)
{
    return (struct np_include){.read = reader_read,
                               .shown = reader_shown,
                               .place = reader_place,
                               .glob = reader_glob,
                               .list = reader_list,
                               .is_same = reader_is_same,
                               .ctx = reader};
}

struct search {
    struct np_look *look;
    const struct np_source *source;
    struct nextport_error *err;
    struct np_map done; /* a place may be named twice */
};

static void sight(struct search *search, enum nextport_sight what, const char *why, const char *hint)
{
    const struct np_look *look = search->look;
    np_evidence_sight(look->ret, search->source->name, what, np_settings_policy(look->settings, search->source->name),
                      why, hint);
}

/* Reads one configuration, again if it may have been caught half-written, as if there had been one try. */
static enum nextport_status parse_patiently(struct search *search, struct np_reader *reader, const char *path,
                                            struct np_text bytes)
{
    const struct np_include include = np_files_of(reader);
    struct np_evidence *ret = search->look->ret;
    const struct np_mark before = np_evidence_mark(ret);
    const char *why;
    enum nextport_status status = search->source->parse(ret, path, bytes, &include, search->err);
    for (unsigned i = 1; i < TRIES && status == NEXTPORT_RETRY; i++) {
        np_host_pause_ms(PAUSE_MS);
        if (np_reader_read(reader, path, NP_FILE_BYTES_MAX, &bytes, &why) != NP_READ_OK)
            break;
        np_evidence_go_back(ret, before);
        status = search->source->parse(ret, path, bytes, &include, search->err);
    }
    return status;
}

/* What became of one configuration. */
static enum nextport_status sight_parsed(struct search *search, enum nextport_status status)
{
    if (status == NEXTPORT_OK)
        sight(search, NEXTPORT_SEEN, NULL, NULL);
    else if (status == NEXTPORT_BLIND || status == NEXTPORT_RETRY)
        sight(search, NEXTPORT_UNREADABLE, search->err->text, *search->err->hint ? search->err->hint : NULL);
    else
        return status;
    *search->err = (struct nextport_error)NEXTPORT_ERROR_INIT;
    return NEXTPORT_OK;
}

/* `given`: by a person, so that it must be there and readable. */
static enum nextport_status look_at_file(struct search *search, struct np_reader *reader, const char *path, bool given)
{
    struct np_evidence *ret = search->look->ret;
    struct np_text bytes;
    const char *why = NULL, *name = np_reader_shown(reader, path);
    void **done = np_map_at(&search->done, name);
    if (*done)
        return NEXTPORT_OK;
    *done = search;
    const enum np_read outcome = np_reader_read(reader, path, NP_FILE_BYTES_MAX, &bytes, &why);
    if (outcome == NP_READ_OK)
        return sight_parsed(search, parse_patiently(search, reader, path, bytes));
    if (outcome == NP_READ_ABSENT && !given)
        return NEXTPORT_OK;
    why = np_sprintf(ret->arena, "read %s: %s", name, why ? why : "no such file");
    const char *hint = np_sprintf(ret->arena, "%s: this user may not read it.", np_host_words.elevate);
    if (outcome == NP_READ_DENIED && !given)
        np_evidence_sight(ret, search->source->name, NEXTPORT_PARTIAL, NEXTPORT_WARN, why, hint);
    else
        sight(search, NEXTPORT_UNREADABLE, why,
              outcome == NP_READ_DENIED ? hint : "Give the path of a configuration that is there.");
    return NEXTPORT_OK;
}

/* Windows itself knows where drive C is; below a root there may be anything. */
static bool has_unix_folders(const struct np_look *look)
{
    return look->settings->root || !np_host_windows_path(look->ret->arena, "C:\\etc");
}

enum nextport_status np_files_look_around(struct np_look *look, const struct np_source *source, np_files_fn *each,
                                          void *ctx, struct nextport_error *err)
{
    struct search search = {.look = look, .source = source, .err = err};
    const struct np_include include = np_files_of(look->reader);
    const struct np_file whole = {.path = "/"};
    const struct np_mark before = np_evidence_mark(look->ret);
    enum nextport_status status = NEXTPORT_RETRY;
    bool found = false;
    if (!has_unix_folders(look))
        return NEXTPORT_OK;
    for (unsigned i = 0; i < TRIES && status == NEXTPORT_RETRY; i++) {
        struct np_files files;
        if (i > 0)
            np_host_pause_ms(PAUSE_MS);
        np_evidence_go_back(look->ret, before);
        np_files_init(&files, source->name, look->ret, &include, err);
        files.open[files.depth++] = &whole;
        found = each(&files, (struct np_position){.file = &whole}, ctx);
        status = np_files_finish(&files);
    }
    return found || status != NEXTPORT_OK ? sight_parsed(&search, status) : NEXTPORT_OK;
}

/* What looks like a pattern may be the name of a file; on Windows it cannot. */
static bool is_file(struct np_reader *reader, const char *path)
{
    const char *why;
    struct np_text bytes;
    const enum np_read outcome = np_reader_read(reader, path, NP_FILE_BYTES_MAX, &bytes, &why);
    return outcome == NP_READ_OK || outcome == NP_READ_DENIED;
}

static enum nextport_status look_at(struct search *search, struct np_reader *reader, const char *path, bool given)
{
    const char *const *paths = &path;
    const char *why = NULL;
    size_t n = 1;
    if (strpbrk(path, "*?["))
        switch (np_reader_glob(reader, path, &paths, &n, &why)) {
        case NP_READ_OK:
        case NP_READ_ABSENT:
            break;
        case NP_READ_DENIED:
            np_evidence_sight(search->look->ret, search->source->name, NEXTPORT_PARTIAL, NEXTPORT_WARN, why, NULL);
            break;
        case NP_READ_BAD:
            sight(search, NEXTPORT_UNREADABLE, why, NULL);
            break;
        }
    enum nextport_status status = NEXTPORT_OK;
    for (size_t i = 0; i < n && status == NEXTPORT_OK; i++)
        status = look_at_file(search, reader, paths[i], given);
    if (status == NEXTPORT_OK && paths != &path && is_file(reader, path))
        status = look_at_file(search, reader, path, given);
    return status;
}

/* A gap only warns, unless a person said what it is to do. */
static void settle_policy(const struct search *search)
{
    const struct np_settings *settings = search->look->settings;
    const char *name = search->source->name;
    struct np_evidence *ret = search->look->ret;
    const bool chosen =
        settings->strict || np_settings_strength(settings, np_sprintf(ret->arena, "policy.%s", name)) > NP_BY_DEFAULT;
    for (size_t i = 0; i < ret->n_sightings; i++)
        if (strcmp(ret->sightings[i].source, name) == 0 && chosen)
            ret->sightings[i].policy = np_settings_policy(settings, name);
}

enum nextport_status np_files_look(struct np_look *look, const struct np_source *source,
                                   const struct np_string_list *given, const char *const *places,
                                   struct nextport_error *err)
{
    struct search search = {.look = look, .source = source, .err = err, .done = {.arena = look->ret->arena}};
    enum nextport_status status = NEXTPORT_OK;
    for (size_t i = 0; i < given->n && status == NEXTPORT_OK; i++)
        status = look_at(&search, look->given, given->items[i], true);
    for (size_t i = 0; places[i] && status == NEXTPORT_OK; i++)
        status = look_at(&search, look->reader, places[i], false);
    if (status != NEXTPORT_OK)
        return status;
    if (np_evidence_sighting(look->ret, source->name))
        settle_policy(&search);
    else
        sight(&search, NEXTPORT_ABSENT, NULL, NULL);
    return NEXTPORT_OK;
}
