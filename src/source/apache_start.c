/* Where a httpd lies, and with what it is started there. doc/sources/apache.md has the same table for people.
 * SPDX-License-Identifier: MIT */
#include "source/apache.h"

#include <string.h>

/* ---- Places --------------------------------------------------------------------------------------------------- */

static const struct np_apache_environment debian = {.file = "envvars", .options = "APACHE_ARGUMENTS"};
/* Units of Red Hat read it up to release 7, those of later releases do not. */
static const struct np_apache_environment red_hat = {
    .file = "/etc/sysconfig/httpd", .maybe = true, .literal = true, .options = "OPTIONS"};
static const struct np_apache_environment suse = {
    .file = "/etc/sysconfig/apache2",
    .flags = "APACHE_SERVER_FLAGS",
    .modules = "APACHE_MODULES",
    .includes = {"APACHE_CONF_INCLUDE_FILES", "APACHE_CONF_INCLUDE_DIRS"},
};
static const struct np_apache_environment openrc = {.file = "/etc/conf.d/apache2", .options = "APACHE2_OPTS"};
static const struct np_apache_environment upstream = {.file = "../bin/envvars"};
static const struct np_apache_environment freebsd = {.file = "/etc/rc.conf", .options = "apache24_flags"};

#define DEBIAN_BUILTINS "watchdog_module log_config_module logio_module version_module unixd_module"
#define DEBIAN                                                                                                         \
    .builtins = DEBIAN_BUILTINS, .closed = true, .environment = &debian, .program = "/usr/sbin/apache2",               \
    .info = "/usr/lib/apache2/modules/mod_info.so"
#define RED_HAT                                                                                                        \
    .environment = &red_hat, .root = "/etc/httpd", .program = "/usr/sbin/httpd", .info = "modules/mod_info.so"
#define UPSTREAM .environment = &upstream, .program = "../bin/httpd", .info = "modules/mod_info.so"
#define WINDOWS                                                                                                        \
    .windows = true, .builtins = "mpm_winnt_module win32_module",                                                      \
    .never = "unixd_module mpm_event_module mpm_worker_module mpm_prefork_module", .program = "../bin/httpd.exe",      \
    .info = "modules/mod_info.so"

const struct np_apache_place np_apache_places[] = {
    {"/etc/apache2/apache2.conf", DEBIAN},
    {"/etc/apache2-*/apache2.conf", .beside = "/etc/apache2/apache2.conf", DEBIAN},
    /* Red Hat's packages have all modules but three in files, and load them from this folder */
    {"/etc/httpd/conf/httpd.conf", .beside = "/etc/httpd/conf.modules.d/00-base.conf", .closed = true, RED_HAT},
    {"/etc/httpd/conf/httpd.conf", RED_HAT},
    {"/etc/apache2/httpd.conf", .beside = "/etc/sysconfig/apache2", .environment = &suse, .root = "/srv/www",
     .before = {"/etc/apache2/sysconfig.d/loadmodule.conf", "/etc/apache2/sysconfig.d/global.conf"},
     .after = "/etc/apache2/sysconfig.d/include.conf", .program = "/usr/sbin/httpd-prefork",
     .info = "/usr/lib64/apache2-prefork/mod_info.so"},
    /* Alpine and Gentoo. Beside Debian's main file it is an empty one, left from old releases. */
    {"/etc/apache2/httpd.conf", .instead = "/etc/apache2/apache2.conf", .environment = &openrc,
     .program = "/usr/sbin/httpd", .info = "modules/mod_info.so"},
    {"/etc/apache2/conf/httpd.conf", .program = "/usr/sbin/httpd", .info = "modules/mod_info.so"}, /* cPanel */
    {"/usr/local/apache2/conf/httpd.conf", UPSTREAM},
    {"/usr/local/etc/apache2*/httpd.conf", .environment = &freebsd, .root = "/usr/local",
     .program = "/usr/local/sbin/httpd", .info = "libexec/apache24/mod_info.so"},
    {"/opt/bitnami/apache*/conf/httpd.conf", UPSTREAM},
    {"/opt/lampp/etc/httpd.conf", .root = "/opt/lampp", UPSTREAM},
    {"/Apache*/conf/httpd.conf", WINDOWS},
    {"/tools/Apache*/conf/httpd.conf", WINDOWS},
    {"/Program Files*/Apache*/conf/httpd.conf", WINDOWS},
    {"/Program Files*/Apache Group/Apache*/conf/httpd.conf", WINDOWS},
    {"/Program Files*/Apache Software Foundation/Apache*/conf/httpd.conf", WINDOWS},
    {"/xampp/apache/conf/httpd.conf", WINDOWS},
    {"/wamp*/bin/apache/apache*/conf/httpd.conf", WINDOWS},
    {"/laragon/bin/apache/*/conf/httpd.conf", WINDOWS},
    {"/Bitnami/*/apache2/conf/httpd.conf", WINDOWS},
    {"apache2.conf", DEBIAN},
    {NULL, .program = "/usr/sbin/httpd", .info = "modules/mod_info.so"},
};
const size_t np_apache_n_places = sizeof np_apache_places / sizeof *np_apache_places;

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* '*' is any run of bytes within a name. */
static bool matches(const char *pattern, const char *path, bool nocase)
{
    const char *star = NULL, *from = NULL;
    while (*path) {
        if (*pattern == '*') {
            star = ++pattern;
            from = path;
        } else if (*pattern == *path || (nocase && lower(*pattern) == lower(*path))) {
            pattern++;
            path++;
        } else if (star && *from != '/') {
            pattern = star;
            path = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* "C:/x" is "/x" to the rows of Windows, and to no other. */
static bool lies_at(const struct np_apache_place *place, const char *path)
{
    const bool drive = path[0] && path[1] == ':';
    if (!place->main)
        return true;
    if (place->main[0] != '/')
        return strcmp(place->main, name_of(path)) == 0;
    return (place->windows || !drive) && matches(place->main, drive ? path + 2 : path, place->windows);
}

const struct np_apache_place *np_apache_place_of(const char *path, bool (*is_there)(void *, const char *), void *ctx)
{
    const struct np_apache_place *place = np_apache_places;
    while (!lies_at(place, path) || (place->beside && !is_there(ctx, place->beside)) ||
           (place->instead && is_there(ctx, place->instead)))
        place++;
    return place;
}

bool np_apache_is_below(void *reader, const char *path)
{
    const char *const *paths, *why;
    size_t n = 0;
    const enum np_read outcome = np_reader_glob(reader, path, &paths, &n, &why);
    return n > 0 || outcome != NP_READ_OK;
}

const char *const *np_apache_patterns(struct np_look *look)
{
    struct np_arena *arena = look->ret->arena;
    const bool drive = !look->settings->root && np_host_windows_path(arena, "C:\\apache");
    const char **patterns = np_alloc_array(arena, np_apache_n_places + 1, sizeof *patterns);
    size_t n = 0;
    for (size_t i = 0; i < np_apache_n_places; i++) {
        const struct np_apache_place *place = &np_apache_places[i];
        if (!place->main || place->main[0] != '/' || (place->windows != drive && !look->settings->root) ||
            (place->beside && !np_apache_is_below(look->reader, place->beside)) ||
            (place->instead && np_apache_is_below(look->reader, place->instead)))
            continue;
        patterns[n++] = drive ? np_sprintf(arena, "C:%s", place->main) : place->main;
    }
    return patterns;
}

/* The folder of apache2.conf, the one above conf/httpd.conf. */
const char *np_apache_root(struct np_arena *arena, const struct np_apache_place *place, const char *main_file)
{
    const char *slash = strrchr(main_file, '/');
    struct np_text folder = slash ? (struct np_text){main_file, (size_t)(slash - main_file)} : np_text_of(".");
    if (place->root)
        return place->root;
    const char *name = name_of(np_text_dup(arena, folder));
    if (strcmp(name_of(main_file), "apache2.conf") == 0 || !np_equal_nocase(name, "conf"))
        return folder.len ? np_text_dup(arena, folder) : "/";
    folder.len -= strlen("conf");
    while (folder.len > 1 && folder.ptr[folder.len - 1] == '/')
        folder.len--;
    return folder.len ? np_text_dup(arena, folder) : ".";
}

/* ---- Variables ------------------------------------------------------------------------------------------------ */

struct np_variable *np_variable_at(struct np_variables *variables, const char *name)
{
    struct np_arena *arena = variables->map.arena;
    void **at = np_map_at(&variables->map, name);
    if (!*at) {
        struct np_variable *made = np_alloc(arena, sizeof *made);
        *made = (struct np_variable){.name = name, .maybe_unset = true};
        *at = made;
        *(struct np_variable **)np_push(arena, &variables->items, &variables->n, &variables->capacity,
                                        sizeof *variables->items) = made;
    }
    return *at;
}

void np_variable_clear(struct np_variable *variable)
{
    *variable = (struct np_variable){.name = variable->name, .at = variable->at};
}

void np_variable_set(struct np_variable *variable, const char *value, bool certain)
{
    if (certain)
        np_variable_clear(variable);
    for (size_t i = 0; i < variable->n; i++)
        if (strcmp(variable->values[i], value) == 0)
            return;
    if (variable->n < NP_VALUES_MAX)
        variable->values[variable->n++] = value;
    else
        variable->too_many = true;
}

/* ---- Assignments ---------------------------------------------------------------------------------------------- */

enum { VALUE_MAX = 64 * 1024 }; /* bytes; longer ones are no values */

static bool is_name(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

struct assignments {
    struct np_arena *arena;
    const struct np_apache_environment *from;
    struct np_variables *variables;
    struct np_position at;
    unsigned depth; /* of if, case and their like */
    bool assigned;  /* by the same command, which may put variables in before that or after */
};

/* Takes "$NAME" or "${NAME}" off the front. false: it is anything else. *ret_known: of a variable with one value. */
static bool expand(struct assignments *in, struct np_text *rest, struct np_buf *out, bool *ret_known)
{
    const bool braced = rest->len > 1 && rest->ptr[1] == '{';
    size_t begin = braced ? 2 : 1, n = begin;
    while (n < rest->len && is_name(rest->ptr[n]))
        n++;
    if (n == begin || (braced && (n == rest->len || rest->ptr[n] != '}')))
        return false;
    const char *name = np_strndup(in->arena, rest->ptr + begin, n - begin);
    const struct np_variable *variable = np_variable_at(in->variables, name);
    n += braced;
    *rest = (struct np_text){rest->ptr + n, rest->len - n};
    if (variable->too_many || variable->maybe_unset || variable->n != 1 || in->assigned || in->from->literal ||
        out->len + strlen(variable->values[0]) > VALUE_MAX)
        *ret_known = false;
    else
        np_buf_puts(out, variable->values[0]);
    return true;
}

/* One word of the shell: *ret_known is false where it is more than quotes, plain bytes and variables. Leaves in *rest what
 * follows the word. */
static const char *take_value(struct assignments *in, struct np_text *rest, bool *ret_known)
{
    struct np_buf out = {.arena = in->arena};
    char quote = '\0';
    *ret_known = true;
    np_buf_puts(&out, "");
    while (rest->len && (quote || !strchr(" \t;", *rest->ptr))) {
        const char c = *rest->ptr;
        if (c == quote || (!quote && (c == '"' || c == '\''))) {
            quote = quote ? '\0' : c;
        } else if (c == '$' && quote != '\'') {
            if (expand(in, rest, &out, ret_known))
                continue;
            *ret_known = false;
        } else if (strchr(quote == '\'' ? "" : quote ? "\\`" : "\\`&|<>()#*?[~", c)) {
            *ret_known = false;
        } else {
            np_buf_add(&out, &c, 1);
        }
        if (rest->len)
            *rest = (struct np_text){rest->ptr + 1, rest->len - 1};
    }
    *ret_known = *ret_known && !quote;
    return out.ptr;
}

/* Every instance of Debian's has it of its folder's name, and its script finds it out by what no reader can run. */
static bool is_known_suffix(const struct assignments *in, const struct np_variable *variable)
{
    return in->from == &debian && strcmp(variable->name, "SUFFIX") == 0;
}

/* Takes "NAME=VALUE" or "NAME+=VALUE" off the front. false: it is something else. */
static bool assign(struct assignments *in, struct np_text *rest)
{
    size_t n = 0;
    bool known;
    while (n < rest->len && is_name(rest->ptr[n]))
        n++;
    const bool appends = n + 1 < rest->len && rest->ptr[n] == '+' && rest->ptr[n + 1] == '=';
    if (n == 0 || n + appends >= rest->len || rest->ptr[n + appends] != '=')
        return false;
    struct np_variable *variable = np_variable_at(in->variables, np_strndup(in->arena, rest->ptr, n));
    n += 1u + appends;
    *rest = (struct np_text){rest->ptr + n, rest->len - n};
    const char *value = take_value(in, rest, &known);
    if (is_known_suffix(in, variable))
        return true;
    if (appends)
        value = np_sprintf(in->arena, "%s%s", variable->n == 1 ? variable->values[0] : "", value);
    variable->at = in->at;
    if (known && !(appends && (variable->n > 1 || variable->too_many)))
        np_variable_set(variable, value, in->depth == 0 && !in->from->maybe);
    else
        variable->too_many = true;
    return true;
}

static bool takes(struct np_text *text, const char *word)
{
    const size_t n = strlen(word);
    if (text->len < n || memcmp(text->ptr, word, n) != 0)
        return false;
    *text = np_text_trim((struct np_text){text->ptr + n, text->len - n});
    return true;
}

/* A line that is not understood may give any value to what it seems to assign, or none. */
static void doubt(struct assignments *in, struct np_text line)
{
    for (size_t i = 0, n; i < line.len; i += n ? n : 1) {
        for (n = 0; i + n < line.len && is_name(line.ptr[i + n]);)
            n++;
        const size_t end = i + n + (i + n < line.len && line.ptr[i + n] == '+');
        if (!n || end >= line.len || line.ptr[end] != '=')
            continue;
        struct np_variable *variable = np_variable_at(in->variables, np_strndup(in->arena, line.ptr + i, n));
        variable->too_many = variable->too_many || !is_known_suffix(in, variable);
        variable->at = in->at;
    }
}

/* What changes how certain the lines are that follow. */
static bool is_block(struct assignments *in, struct np_text line)
{
    static const struct {
        const char *begin, *end;
    } blocks[] = {{"if ", "fi"}, {"case ", "esac"}, {"for ", "done"}, {"while ", "done"}, {"until ", "done"}};
    struct np_text rest = line;
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        if (takes(&rest, blocks[i].begin)) {
            in->depth += !np_text_ends(line, blocks[i].end);
            return true;
        }
        if (np_text_is(line, blocks[i].end)) {
            in->depth -= in->depth > 0;
            return true;
        }
    }
    if (np_text_is(line, "}"))
        in->depth -= in->depth > 0;
    in->depth += np_text_ends(line, "{"); /* of a function, that may be called or not */
    return np_text_is(line, "}") || np_text_ends(line, "{");
}

/* Of "export NAME": all that is assigned counts as exported. */
static bool pass_name(struct np_text *rest)
{
    size_t n = 0;
    while (n < rest->len && is_name(rest->ptr[n]))
        n++;
    if (n == 0 || (n < rest->len && !strchr(" \t;", rest->ptr[n])))
        return false;
    *rest = (struct np_text){rest->ptr + n, rest->len - n};
    return true;
}

static void look_at_line(struct assignments *in, struct np_text line)
{
    struct np_text rest = line, name;
    if (is_block(in, line)) {
        doubt(in, line);
    } else if (takes(&rest, "unset ")) {
        while (np_text_split(&rest, ' ', &name))
            np_variable_at(in->variables, np_text_dup(in->arena, name))->too_many = true;
    } else {
        bool understood = true;
        while (rest.len && *rest.ptr != '#' && understood) {
            const bool exports = takes(&rest, "export ");
            in->assigned = assign(in, &rest);
            understood = in->assigned || (exports && pass_name(&rest));
            for (; rest.len && strchr(" \t;", *rest.ptr); rest = (struct np_text){rest.ptr + 1, rest.len - 1})
                in->assigned = in->assigned && *rest.ptr != ';';
        }
        in->assigned = false;
        if (!understood)
            doubt(in, line);
    }
}

static bool is_assignment(struct np_text line)
{
    size_t n = 0;
    takes(&line, "export ");
    while (n < line.len && is_name(line.ptr[n]))
        n++;
    return n > 0 && n < line.len && strchr("=+", line.ptr[n]);
}

/* Does the line go on in the next, by a backslash or within quotes? */
static bool goes_on(struct np_text line)
{
    char quote = '\0';
    if (!is_assignment(line) || line.len > VALUE_MAX)
        return false;
    for (size_t i = 0; i < line.len; i++) {
        const char c = line.ptr[i];
        if (c == '\\' && quote != '\'') {
            if (++i == line.len)
                return true;
        } else if (c == quote) {
            quote = '\0';
        } else if (!quote && (c == '"' || c == '\'')) {
            quote = c;
        } else if (!quote && c == '#' && (i == 0 || line.ptr[i - 1] == ' ')) {
            return false;
        }
    }
    return quote != '\0';
}

static struct np_text joined(struct np_arena *arena, struct np_text line, struct np_text next)
{
    const bool backslash = line.len && line.ptr[line.len - 1] == '\\';
    struct np_buf buf = {.arena = arena};
    np_buf_add(&buf, line.ptr, line.len - backslash);
    np_buf_puts(&buf, backslash ? "" : "\n");
    np_buf_add(&buf, next.ptr, next.len);
    return (struct np_text){buf.ptr, buf.len};
}

static void read_assignments(struct assignments *in, const struct np_file *file)
{
    enum { LINES_MAX = 200 }; /* that are joined */
    struct np_cursor c;
    struct np_text line, next;
    np_cursor_init(&c, file);
    for (in->at = np_cursor_position(&c); np_cursor_line(&c, &line); in->at = np_cursor_position(&c)) {
        line = np_text_trim(line);
        if (line.len && *line.ptr == '#')
            continue;
        for (unsigned n = 0; n < LINES_MAX && goes_on(line) && np_cursor_line(&c, &next); n++)
            line = joined(in->arena, line, next);
        look_at_line(in, line);
    }
}

/* "/etc/apache2-shop" has "-shop". */
static const char *suffix_of(struct np_arena *arena, struct np_text folder)
{
    static const char usual[] = "/etc/apache2";
    const size_t n = sizeof usual - 1;
    const bool instance = folder.len > n && memcmp(folder.ptr, usual, n) == 0 && folder.ptr[n] == '-';
    return instance ? np_strndup(arena, folder.ptr + n, folder.len - n) : "";
}

void np_apache_environment(struct np_files *files, const struct np_file *main_file, const struct np_apache_place *place,
                           struct np_variables *ret)
{
    struct np_arena *arena = ret->map.arena;
    struct assignments in = {.arena = arena, .from = place->environment, .variables = ret};
    if (!place->environment)
        return;
    const char *slash = strrchr(main_file->path, '/');
    const struct np_text folder =
        slash ? (struct np_text){main_file->path, (size_t)(slash - main_file->path)} : np_text_of(".");
    if (in.from == &debian) {
        np_variable_set(np_variable_at(ret, "APACHE_CONFDIR"), np_text_dup(arena, folder), true);
        np_variable_set(np_variable_at(ret, "SUFFIX"), suffix_of(arena, folder), true);
    }
    const char *path = np_files_beside(files, main_file, np_text_of(place->environment->file));
    const struct np_file *file = np_files_open(files, (struct np_position){.file = main_file}, path);
    if (file)
        read_assignments(&in, file);
}

/* Takes the quotes off a word, into `ret` where that is not NULL. Returns how many bytes the word has with them; *ret_n without. */
static size_t unquote(struct np_text rest, char *ret, size_t *ret_n)
{
    char quote = '\0';
    size_t i = 0, n = 0;
    for (; i < rest.len && (quote || !strchr(" \t\n", rest.ptr[i])); i++) {
        const char c = rest.ptr[i];
        if (c == quote || (!quote && (c == '"' || c == '\'')))
            quote = quote ? '\0' : c;
        else if (ret)
            ret[n++] = c;
        else
            n++;
    }
    *ret_n = n;
    return i;
}

bool np_apache_option_word(struct np_arena *arena, struct np_text *rest, struct np_text *ret)
{
    size_t n;
    *rest = np_text_trim(*rest);
    if (!rest->len)
        return false;
    unquote(*rest, NULL, &n);
    char *word = np_alloc(arena, n + 1);
    const size_t taken = unquote(*rest, word, &n);
    *ret = (struct np_text){word, n};
    *rest = (struct np_text){rest->ptr + taken, rest->len - taken};
    return true;
}
