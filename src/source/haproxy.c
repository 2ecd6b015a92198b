/* HAProxy: every `bind` and what else listens, whether HAProxy runs or not. doc/sources/haproxy.md says what is read
 * and what each outcome means; parse_line(), str2listener() and str2sa_range() of HAProxy are the grammar.
 *
 * A configuration may be several files, and part of it is said elsewhere: the service's files name the -f, and the
 * variables that the process starts with. HAProxy itself is never asked: one word that its version does not know, or a
 * certificate that is missing, and it says nothing at all.
 * SPDX-License-Identifier: MIT */
#include "source/services.h"

#include <stdlib.h>
#include <string.h>

enum {
    WORDS_MAX = 64,      /* of one line that HAProxy takes */
    CONDITIONS_MAX = 64, /* .if inside .if */
    EXPRESSION_MAX = 32, /* parentheses in its condition */
    CONFIGS_MAX = 64,    /* -f of one command line */
    VALUES_MAX = 8,      /* that one variable may have */
    CHOICES_MAX = 4,     /* variables of one line that may have several values, */
    ROUNDS_MAX = 16,     /* and how often it is read for them, */
    REREAD_MAX = 1 << 18 /* bytes of all such lines */
};

static const char main_file[] = "/etc/haproxy/haproxy.cfg", debian_file[] = "/etc/default/haproxy",
                  more_files[] = "/etc/haproxy/conf.d";

/* Answers to a question that only the running HAProxy may be able to answer. Not is YES - x, and min, or max. */
enum tri { NO, MAYBE, YES };

static enum tri both(enum tri a, enum tri b)
{
    return a < b ? a : b;
}

static enum tri either(enum tri a, enum tri b)
{
    return a > b ? a : b;
}

/* Stands in a text for the value of a variable that is not known. */
static const char unknown_value[] = "\1";

/* A word without its quotes, its variables filled in. */
struct word {
    struct np_text text, raw;
    struct np_position at;
    enum nextport_certainty certainty; /* of the variables in it */
};

/* Which part of the words of a line came from a variable that is not certain. It may be empty, and then is a point. */
struct doubt {
    size_t from, to;
};

struct value {
    const char *text; /* NULL: unset */
    enum nextport_certainty certainty;
    bool known; /* false: whoever starts HAProxy decides */
};

/* Set in a branch that may not be taken it has one of several values: at least one, the newest first. */
struct variable {
    struct value values[VALUES_MAX];
    size_t n;
    size_t resets; /* of haproxy.resets those that it has seen */
};

/* A variable with several values, in the line being read, and the one that it has in this round. */
struct choice {
    const char *name;
    struct variable variable;
    size_t at;
};

/* One .if */
struct condition {
    enum tri outside, now, taken;
    struct np_position at;
};

enum section_kind { GLOBAL = 1, DEFAULTS = 2, PROXY = 4, PEERS = 8, LOG_FORWARD = 16, OTHER = 32 };

/* Sections without ports are named so that the one before them ends. */
static const struct section_row {
    const char *word;
    enum section_kind kind;
} section_rows[] = {
    {"global", GLOBAL},     {"defaults", DEFAULTS}, {"frontend", PROXY}, {"listen", PROXY},
    {"backend", PROXY},     {"peers", PEERS},       {"ring", OTHER},     {"log-forward", LOG_FORWARD},
    {"resolvers", OTHER},   {"mailers", OTHER},     {"userlist", OTHER}, {"cache", OTHER},
    {"http-errors", OTHER}, {"program", OTHER},     {"fcgi-app", OTHER}, {"crt-store", OTHER},
    {"log-profile", OTHER}, {"traces", OTHER},      {"acme", OTHER},     {"namespace_list", OTHER},
};

/* Kept until the section ends, for a `disabled` at its end counts for all of it. */
struct port {
    struct nextport_claim claim;
    struct np_position at;
    enum tri local; /* of a `peer`: is that this machine? */
};

/* One that may not have begun goes on with the one before it: it is of both kinds. */
struct section {
    unsigned kinds;
    const char *holder;
    enum tri disabled, begun;
    enum tri has_local; /* peers: is this machine among them? */
    struct port *ports;
    size_t n, capacity;
};

struct haproxy {
    struct np_files *files;
    struct np_arena *arena;
    struct np_map variables, defaults; /* struct variable; enum tri *, disabled or not, by name */
    struct np_map *resets;             /* the names that a resetenv keeps which may not be reached */
    size_t n_resets, resets_capacity;
    enum tri last_defaults;
    bool defaults_doubted;  /* what is disabled by defaults may be by others, which do not */
    const char *local_name; /* NULL: not known */
    bool local_asked, cleared;
    bool is_local_guessed; /* -L may have named another */
    bool is_doubtful;      /* nothing says that HAProxy reads this file */
    bool is_start_known;
    struct section section;
    struct condition conditions[CONDITIONS_MAX];
    size_t n_conditions;
    /* the line being read */
    struct np_buf out; /* the words one after the other, each with a NUL byte */
    struct word words[WORDS_MAX];
    size_t n_words;
    struct doubt *doubts;
    size_t n_doubts, doubts_capacity, next_doubt;
    struct choice choices[CHOICES_MAX];
    size_t n_choices, round;
    size_t line_length, reread;
    struct variable before; /* presetenv: what it found in the first round */
    bool is_doubted;        /* the address being read */
    /* how it is started */
    struct np_position from;   /* where that is said */
    struct np_map environment; /* a value NULL: not known */
    const char *configs[CONFIGS_MAX];
    size_t n_configs;
    const char *master; /* -S; NULL: none */
    const char *folder; /* in which it starts; NULL: not known */
};

static bool is_letter(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool is_space(int c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct np_text behind(struct np_text text, size_t n)
{
    return (struct np_text){text.ptr + n, text.len - n};
}

static enum nextport_certainty worse(enum nextport_certainty a, enum nextport_certainty b)
{
    return a > b ? a : b;
}

static enum tri active(const struct haproxy *h)
{
    return h->n_conditions ? both(h->conditions[h->n_conditions - 1].outside, h->conditions[h->n_conditions - 1].now)
                           : YES;
}

/* ---- Variables ------------------------------------------------------------------------------------------------ */

/* Beyond VALUES_MAX it may also have one that is not known. */
static void add_value(struct variable *to, struct value value)
{
    for (size_t i = 0; i < to->n; i++)
        if (to->values[i].known == value.known && np_equal(to->values[i].text, value.text)) {
            to->values[i].certainty = worse(to->values[i].certainty, value.certainty);
            return;
        }
    if (to->n < VALUES_MAX)
        to->values[to->n++] = value;
    else
        to->values[VALUES_MAX - 1] =
            (struct value){.known = true, .text = unknown_value, .certainty = NEXTPORT_UNRESOLVED};
}

static void add_values(struct variable *to, const struct variable *from)
{
    for (size_t i = 0; i < from->n; i++)
        add_value(to, from->values[i]);
}

static void keep_variable(struct haproxy *h, const char *name, struct variable variable)
{
    struct variable *to = np_alloc(h->arena, sizeof *to);
    *to = variable;
    to->resets = h->n_resets;
    *np_map_at(&h->variables, name) = to;
}

/* As the process begins, or as the last resetenv leaves it. */
static struct variable initial(struct haproxy *h, const char *name)
{
    struct variable ret = {.n = 1};
    const char *text = h->cleared ? NULL : *np_map_at(&h->environment, name);
    ret.values[0] = (struct value){.known = h->cleared || text, .text = text};
    return ret;
}

static struct variable look_up(struct haproxy *h, const char *name)
{
    const struct variable *found = *np_map_at(&h->variables, name);
    struct variable ret = found ? *found : initial(h, name);
    if (ret.resets == h->n_resets)
        return ret;
    size_t i = h->n_resets;
    while (i > ret.resets && np_map_find(&h->resets[i - 1], name))
        i--;
    if (i > ret.resets)
        add_value(&ret, (struct value){.known = true});
    keep_variable(h, name, ret);
    ret.resets = h->n_resets;
    return ret;
}

/* Also where the line is read once more for another value. */
static bool may_be_skipped(const struct haproxy *h)
{
    return h->round || active(h) == MAYBE || h->words[0].certainty != NEXTPORT_DECLARED;
}

/* text NULL: unset */
static void set_variable(struct haproxy *h, const char *name, const char *text, enum nextport_certainty certainty)
{
    const struct variable before = look_up(h, name);
    struct variable now = {0};
    add_value(&now, (struct value){.known = true, .text = np_strdup(h->arena, text), .certainty = certainty});
    if (may_be_skipped(h) || h->words[1].certainty != NEXTPORT_DECLARED)
        add_values(&now, &before);
    keep_variable(h, name, now);
}

/* presetenv: what HAProxy was started with is stronger, and not known here. */
static void preset_variable(struct haproxy *h, const char *name, const struct word *word)
{
    const struct variable last = look_up(h, name);
    const char *text = np_text_dup(h->arena, word->text);
    struct variable now = {0};
    if (!h->round)
        h->before = last;
    for (size_t i = 0; i < h->before.n; i++) {
        struct value value = h->before.values[i];
        const enum nextport_certainty certainty = value.known ? NEXTPORT_DECLARED : NEXTPORT_CONDITIONAL;
        if (!value.text)
            value = (struct value){.known = true, .text = text, .certainty = worse(word->certainty, certainty)};
        add_value(&now, value);
    }
    if (may_be_skipped(h) || h->words[1].certainty != NEXTPORT_DECLARED)
        add_values(&now, &last);
    keep_variable(h, name, now);
}

/* ---- Words of a line ------------------------------------------------------------------------------------------ */

struct line {
    struct haproxy *h;
    const char *at, *end, *begins;
    struct np_position position;
    struct word word;
    size_t word_begins;
    bool open; /* a word has begun, be it empty */
};

static void begin_word(struct line *line)
{
    if (line->open)
        return;
    line->open = true;
    line->word = (struct word){.raw = {line->at, 0}, .at = line->position};
    line->word.at.column = (unsigned)(line->at - line->begins) + 1;
    line->word_begins = line->h->out.len;
}

static void end_word(struct line *line)
{
    struct haproxy *h = line->h;
    if (!line->open)
        return;
    line->open = false;
    line->word.raw.len = (size_t)(line->at - line->word.raw.ptr);
    /* the buffer moves as it grows: until the line ends the text is an offset */
    line->word.text = (struct np_text){NULL, h->out.len - line->word_begins};
    np_buf_add(&h->out, "", 1);
    if (h->n_words < WORDS_MAX)
        h->words[h->n_words++] = line->word;
}

static void emit(struct line *line, char c)
{
    begin_word(line);
    np_buf_add(&line->h->out, &c, 1);
}

static int hex(int c)
{
    return is_digit(c) ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* The cursor is at a backslash outside of single quotes. What means nothing stays as it is. */
static void take_escape(struct line *line)
{
    static const char from[] = " \\#'\"$tnr", to[] = " \\#'\"$\t\n\r";
    const char *at = line->at;
    const int next = line->end - at > 1 ? at[1] : 0;
    const char *found = next ? strchr(from, next) : NULL;
    begin_word(line);
    if (found) {
        emit(line, to[found - from]);
        line->at += 2;
    } else if (next == 'x' && line->end - at > 3 && hex(at[2]) >= 0 && hex(at[3]) >= 0) {
        emit(line, (char)(hex(at[2]) << 4 | hex(at[3])));
        line->at += 4;
    } else {
        emit(line, '\\');
        line->at++;
    }
}

/* A variable's name, behind the dollar: NAME, {NAME} or {NAME-default}, each with [*] behind it. */
struct reference {
    const char *name; /* NULL: none stands here */
    struct np_text fallback;
    bool has_fallback, splits;
    const char *end;
};

static struct reference read_reference(struct np_arena *arena, const char *at, const char *end)
{
    struct reference ref = {0};
    const bool brace = at < end && *at == '{';
    at += brace;
    const char *begin = at;
    if (at < end && *at == '.') /* .FILE, .LINE and .SECTION */
        at++;
    while (at < end && (is_letter(*at) || (is_digit(*at) && at > begin)))
        at++;
    struct np_text name = {begin, (size_t)(at - begin)};
    if (end - at >= 3 && memcmp(at, "[*]", 3) == 0) {
        ref.splits = true;
        at += 3;
    }
    if (brace && at < end && *at == '-') {
        const char *close = memchr(at, '}', (size_t)(end - at));
        ref.has_fallback = close != NULL;
        ref.fallback = (struct np_text){at + 1, close ? (size_t)(close - at - 1) : 0};
        at = close ? close : at;
    }
    if (!name.len || (brace && (at == end || *at != '}')))
        return ref;
    ref.name = np_text_dup(arena, name);
    ref.end = at + brace;
    return ref;
}

/* NULL: not chosen yet. The line itself may set it anew meanwhile. */
static const struct value *chosen(const struct haproxy *h, const char *name)
{
    for (size_t i = 0; i < h->n_choices; i++)
        if (strcmp(h->choices[i].name, name) == 0)
            return &h->choices[i].variable.values[h->choices[i].at];
    return NULL;
}

/* The value of this round. NULL: the line has more of them than it is read for. */
static const struct value *choose(struct haproxy *h, const char *name, const struct variable *variable)
{
    size_t rounds = variable->n;
    for (size_t i = 0; i < h->n_choices; i++)
        rounds *= h->choices[i].variable.n;
    if (h->n_choices == CHOICES_MAX || rounds > ROUNDS_MAX || h->reread + rounds * h->line_length > REREAD_MAX)
        return NULL;
    h->choices[h->n_choices++] = (struct choice){.name = name, .variable = *variable};
    return chosen(h, name);
}

/* false: every value has been there. */
static bool next_round(struct haproxy *h)
{
    h->round++;
    for (size_t i = 0; i < h->n_choices; i++) {
        if (++h->choices[i].at < h->choices[i].variable.n)
            return true;
        h->choices[i].at = 0;
    }
    return false;
}

static bool has_text(const struct variable *variable)
{
    for (size_t i = 0; i < variable->n; i++)
        if (variable->values[i].text)
            return true;
    return false;
}

static enum nextport_certainty resolve(struct haproxy *h, const struct reference *ref, struct np_text *ret)
{
    const struct variable variable = look_up(h, ref->name);
    const struct value *value = chosen(h, ref->name);
    const bool varies = value || variable.n > 1;
    *ret = np_text_of(unknown_value);
    if (!value && (ref->has_fallback || has_text(&variable)))
        value = varies ? choose(h, ref->name, &variable) : &variable.values[0];
    if (!value)
        return NEXTPORT_UNRESOLVED;
    *ret = value->text ? np_text_of(value->text) : ref->fallback;
    return worse(value->certainty, varies || !value->known ? NEXTPORT_CONDITIONAL : NEXTPORT_DECLARED);
}

static void doubt(struct haproxy *h, size_t from)
{
    struct doubt *to = np_push(h->arena, &h->doubts, &h->n_doubts, &h->doubts_capacity, sizeof *h->doubts);
    *to = (struct doubt){from, h->out.len};
}

/* The cursor is at a dollar inside double quotes. */
static void take_variable(struct line *line)
{
    const struct reference ref = read_reference(line->h->arena, line->at + 1, line->end);
    if (!ref.name) {
        emit(line, '$');
        line->at++;
        return;
    }
    struct np_text value;
    begin_word(line);
    const size_t from = line->h->out.len;
    const enum nextport_certainty certainty = resolve(line->h, &ref, &value);
    line->word.certainty = worse(line->word.certainty, certainty);
    for (size_t i = 0; i < value.len; i++) {
        if (!ref.splits || !is_space(value.ptr[i])) {
            emit(line, value.ptr[i]);
            line->word.certainty = worse(line->word.certainty, certainty);
        } else {
            end_word(line);
        }
    }
    if (certainty != NEXTPORT_DECLARED)
        doubt(line->h, from);
    line->at = ref.end;
}

/* What means itself, be it quoted or not, as far as it goes; at least the byte at the cursor. */
static void take_plain(struct line *line)
{
    static const bool special[256] = {
        [' '] = true, ['\t'] = true, ['\n'] = true, ['\v'] = true, ['\f'] = true, ['\r'] = true,
        ['"'] = true, ['\''] = true, ['\\'] = true, ['#'] = true,  ['$'] = true};
    const char *begin = line->at;
    begin_word(line);
    do
        line->at++;
    while (line->at < line->end && !special[(unsigned char)*line->at]);
    np_buf_add(&line->h->out, begin, (size_t)(line->at - begin));
}

/* false: a quote is not closed. */
static bool read_words(struct haproxy *h, struct np_text text, struct np_position at)
{
    struct line line = {.h = h, .at = text.ptr, .end = text.ptr + text.len, .begins = text.ptr, .position = at};
    char quote = '\0';
    h->n_words = 0;
    h->out.len = 0;
    h->n_doubts = h->next_doubt = 0;
    while (line.at < line.end && h->n_words < WORDS_MAX) {
        const char c = *line.at;
        if (c == '\r' || (c == '#' && !quote))
            break;
        if ((c == '"' || c == '\'') && (!quote || quote == c)) {
            begin_word(&line);
            quote = quote ? '\0' : c;
            line.at++;
        } else if (c == '\\' && quote != '\'') {
            take_escape(&line);
        } else if (is_space(c) && !quote) {
            end_word(&line);
            line.at++;
        } else if (c == '$' && quote == '"') {
            take_variable(&line);
        } else {
            take_plain(&line);
        }
    }
    end_word(&line);
    const char *next = h->out.ptr;
    for (size_t i = 0; i < h->n_words; i++) {
        h->words[i].text.ptr = next;
        next += h->words[i].text.len + 1;
    }
    return !quote;
}

static bool is_word(const struct haproxy *h, size_t i, const char *text)
{
    return i < h->n_words && np_text_is(h->words[i].text, text);
}

/* Where HAProxy reads an address it knows neither a default nor [*], and a brace need not be closed. Without a name,
 * nothing. */
static struct reference read_plain_reference(struct np_arena *arena, const char *at, const char *end)
{
    struct reference ref = {0};
    const bool brace = at < end && *at == '{';
    at += brace;
    const char *begin = at;
    while (at < end && (is_letter(*at) || is_digit(*at)))
        at++;
    if (at > begin)
        ref.name = np_text_dup(arena, (struct np_text){begin, (size_t)(at - begin)});
    ref.end = at + (brace && at < end && *at == '}');
    return ref;
}

/* Variables outside of double quotes: HAProxy fills them in where it reads an address. */
static struct np_text fill_in(struct haproxy *h, struct np_text text, enum nextport_certainty *certainty)
{
    if (!text.len || !memchr(text.ptr, '$', text.len))
        return text;
    struct np_buf out = {.arena = h->arena};
    const char *end = text.ptr + text.len;
    np_buf_add(&out, "", 0);
    for (const char *at = text.ptr; at < end;) {
        if (*at != '$') {
            np_buf_add(&out, at++, 1);
            continue;
        }
        const struct reference ref = read_plain_reference(h->arena, at + 1, end);
        struct np_text value = {0};
        const enum nextport_certainty one = ref.name ? resolve(h, &ref, &value) : NEXTPORT_DECLARED;
        h->is_doubted = h->is_doubted || one != NEXTPORT_DECLARED;
        *certainty = worse(*certainty, one);
        if (value.len)
            np_buf_add(&out, value.ptr, value.len);
        at = ref.end;
    }
    return (struct np_text){out.ptr, out.len};
}

/* ---- Conditions ----------------------------------------------------------------------------------------------- */

struct expression {
    struct haproxy *h;
    const char *at, *end;
    unsigned depth;
    bool bad;
};

static void skip_spaces(struct expression *e)
{
    while (e->at < e->end && is_space(*e->at))
        e->at++;
}

static bool takes(struct expression *e, const char *token)
{
    const size_t n = strlen(token);
    skip_spaces(e);
    if ((size_t)(e->end - e->at) < n || memcmp(e->at, token, n) != 0)
        return false;
    e->at += n;
    return true;
}

static enum tri is_defined(struct haproxy *h, const char *name)
{
    const struct variable variable = look_up(h, name);
    const struct value *value = &variable.values[0];
    if (variable.n > 1 || !value->known || value->certainty != NEXTPORT_DECLARED)
        return MAYBE;
    return value->text ? YES : NO;
}

/* HAProxy reads arguments once more as if they were words, and may find other ends. */
static bool has_quotes(struct np_text text)
{
    for (size_t i = 0; i < text.len; i++)
        if (strchr("\"'\\", text.ptr[i]))
            return true;
    return false;
}

/* Blanks are part of an argument. What depends on this very HAProxy, its version and how it was built, is not known
 * here. */
static enum tri call(struct haproxy *h, struct np_text name, struct np_text args)
{
    struct np_text first, rest = args;
    np_text_split(&rest, ',', &first);
    if (has_quotes(args))
        return MAYBE;
    if (np_text_is(name, "defined"))
        return is_defined(h, np_text_dup(h->arena, first));
    const bool equal = first.len == rest.len && (!first.len || memcmp(first.ptr, rest.ptr, first.len) == 0);
    if (np_text_is(name, "streq"))
        return equal ? YES : NO;
    if (np_text_is(name, "strneq"))
        return equal ? NO : YES;
    return MAYBE;
}

static enum tri evaluate_any(struct expression *);

static enum tri evaluate_term(struct expression *e) /* NOLINT(misc-no-recursion): bounded by EXPRESSION_MAX */
{
    bool inverted = false;
    while (takes(e, "!"))
        inverted = !inverted;
    enum tri value = MAYBE;
    if (takes(e, "(")) {
        value = e->depth++ < EXPRESSION_MAX ? evaluate_any(e) : MAYBE;
        e->depth--;
        e->bad |= !takes(e, ")");
    } else {
        const char *begin = e->at;
        while (e->at < e->end && (is_letter(*e->at) || is_digit(*e->at)))
            e->at++;
        const struct np_text name = {begin, (size_t)(e->at - begin)};
        uint64_t number;
        if (takes(e, "(")) {
            const char *close = memchr(e->at, ')', (size_t)(e->end - e->at));
            e->bad |= !close;
            value = close ? call(e->h, name, (struct np_text){e->at, (size_t)(close - e->at)}) : MAYBE;
            e->at = close ? close + 1 : e->end;
        } else if (np_text_u64(name, UINT32_MAX, &number)) {
            value = number ? YES : NO;
        } else {
            e->bad = true;
        }
    }
    return inverted ? (enum tri)(YES - value) : value;
}

static enum tri evaluate_all(struct expression *e) /* NOLINT(misc-no-recursion) */
{
    enum tri value = evaluate_term(e);
    while (!e->bad && takes(e, "&&"))
        value = both(value, evaluate_term(e));
    return value;
}

static enum tri evaluate_any(struct expression *e) /* NOLINT(misc-no-recursion) */
{
    enum tri value = evaluate_all(e);
    while (!e->bad && takes(e, "||"))
        value = either(value, evaluate_all(e));
    return value;
}

/* The words behind .if or .elif. */
static enum tri evaluate(struct haproxy *h)
{
    struct np_buf text = {.arena = h->arena};
    np_buf_add(&text, "", 0);
    for (size_t i = 1; i < h->n_words; i++) {
        if (h->words[i].certainty != NEXTPORT_DECLARED)
            return MAYBE;
        np_buf_add(&text, " ", 1);
        np_buf_add(&text, h->words[i].text.ptr, h->words[i].text.len);
    }
    struct expression e = {.h = h, .at = text.ptr, .end = text.ptr + text.len};
    skip_spaces(&e);
    if (e.at == e.end)
        return NO;
    const enum tri value = evaluate_any(&e);
    skip_spaces(&e);
    if (!e.bad && e.at == e.end)
        return value;
    np_files_warn(h->files, h->words[0].at, "\"%s\": the condition is not understood; both branches count as possible",
                  np_files_text(h->files, h->words[0].text));
    return MAYBE;
}

static void begin_if(struct haproxy *h)
{
    const enum tri outside = active(h);
    if (h->n_conditions == CONDITIONS_MAX) {
        np_files_fail(h->files, NEXTPORT_BLIND, h->words[0].at, ".if nested deeper than %d", CONDITIONS_MAX);
        return;
    }
    const enum tri value = outside == NO ? NO : evaluate(h);
    h->conditions[h->n_conditions++] = (struct condition){outside, value, value, h->words[0].at};
}

/* false: no word of conditions. */
static bool take_condition(struct haproxy *h)
{
    struct condition *c = h->n_conditions ? &h->conditions[h->n_conditions - 1] : NULL;
    if (is_word(h, 0, ".if")) {
        begin_if(h);
        return true;
    }
    const bool is_elif = is_word(h, 0, ".elif"), is_else = is_word(h, 0, ".else"), is_end = is_word(h, 0, ".endif");
    if (!is_elif && !is_else && !is_end)
        return h->n_words && h->words[0].text.len && h->words[0].text.ptr[0] == '.';
    if (!c) {
        np_files_warn(h->files, h->words[0].at, "\"%s\" without .if", np_files_text(h->files, h->words[0].text));
    } else if (is_end) {
        h->n_conditions--;
    } else {
        const enum tri value = is_else ? YES : c->outside == NO || c->taken == YES ? NO : evaluate(h);
        c->now = both((enum tri)(YES - c->taken), value);
        c->taken = either(c->taken, value);
    }
    return true;
}

/* ---- Addresses ------------------------------------------------------------------------------------------------ */

enum family { ANY_FAMILY, IPV4, IPV6, NO_PORT };

static const struct prefix {
    const char *text;
    enum family family;
    enum nextport_protocol protocol;
    bool is_given; /* the protocol is said, else it is the keyword's */
} prefixes[] = {
    {"ip@", ANY_FAMILY, NEXTPORT_TCP, false},   {"ipv4@", IPV4, NEXTPORT_TCP, false},
    {"ipv6@", IPV6, NEXTPORT_TCP, false},       {"tcp@", ANY_FAMILY, NEXTPORT_TCP, true},
    {"tcp4@", IPV4, NEXTPORT_TCP, true},        {"tcp6@", IPV6, NEXTPORT_TCP, true},
    {"mptcp@", ANY_FAMILY, NEXTPORT_TCP, true}, {"mptcp4@", IPV4, NEXTPORT_TCP, true},
    {"mptcp6@", IPV6, NEXTPORT_TCP, true},      {"udp@", ANY_FAMILY, NEXTPORT_UDP, true},
    {"udp4@", IPV4, NEXTPORT_UDP, true},        {"udp6@", IPV6, NEXTPORT_UDP, true},
    {"quic@", ANY_FAMILY, NEXTPORT_UDP, true},  {"quic4@", IPV4, NEXTPORT_UDP, true},
    {"quic6@", IPV6, NEXTPORT_UDP, true},       {"unix@", NO_PORT, NEXTPORT_TCP, false},
    {"uxst@", NO_PORT, NEXTPORT_TCP, false},    {"uxdg@", NO_PORT, NEXTPORT_TCP, false},
    {"abns@", NO_PORT, NEXTPORT_TCP, false},    {"abnsz@", NO_PORT, NEXTPORT_TCP, false},
    {"fd@", NO_PORT, NEXTPORT_TCP, false},      {"sockpair@", NO_PORT, NEXTPORT_TCP, false},
    {"rhttp@", NO_PORT, NEXTPORT_TCP, false},   {"rev@", NO_PORT, NEXTPORT_TCP, false},
    {"/", NO_PORT, NEXTPORT_TCP, false},
};

/* Takes "stream+", "dgram+", "quic+" and the family off the front. */
static enum family take_prefix(struct np_text *text, enum nextport_protocol *protocol)
{
    static const struct {
        const char *text;
        enum nextport_protocol protocol;
    } types[] = {{"stream+", NEXTPORT_TCP}, {"dgram+", NEXTPORT_UDP}, {"quic+", NEXTPORT_UDP}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (np_text_begins(*text, types[i].text)) {
            *text = behind(*text, strlen(types[i].text));
            *protocol = types[i].protocol;
            break;
        }
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (np_text_begins(*text, prefixes[i].text)) {
            *text = behind(*text, strlen(prefixes[i].text));
            *protocol = prefixes[i].is_given ? prefixes[i].protocol : *protocol;
            return prefixes[i].family;
        }
    return ANY_FAMILY;
}

/* What atoi() makes of it, as HAProxy does: blanks and a sign may come first, what follows the digits is not looked at, and
 * of a number that is too great the low bits count. */
static uint32_t leading_number(struct np_text text)
{
    size_t i = 0;
    uint64_t n = 0;
    while (i < text.len && is_space(text.ptr[i]))
        i++;
    const bool negative = i < text.len && text.ptr[i] == '-';
    i += i < text.len && (text.ptr[i] == '-' || text.ptr[i] == '+');
    for (; i < text.len && is_digit(text.ptr[i]); i++)
        n = n < INT64_MAX / 10 ? n * 10 + (unsigned)(text.ptr[i] - '0') : INT64_MAX;
    return (uint32_t)(negative ? 0 - n : n);
}

/* "8000" or "8000-8010". NULL, or what is wrong. */
static const char *read_ports(struct np_text text, struct nextport_claim *claim)
{
    if (!text.len)
        return "it has no port";
    if (!is_digit(text.ptr[0]))
        return "its port is no number";
    const char *dash = memchr(text.ptr, '-', text.len);
    const uint32_t first = leading_number(text),
                   last = dash ? leading_number(behind(text, (size_t)(dash + 1 - text.ptr))) : first;
    if (first < 1 || first > UINT16_MAX || last > UINT16_MAX)
        return "ports are 1 to 65535";
    if (last < first)
        return "the range ends before it begins";
    claim->first = (uint16_t)first;
    claim->last = (uint16_t)last;
    return NULL;
}

static const char *address_of(struct haproxy *h, struct np_text host, enum family family)
{
    if (!host.len || np_text_is(host, "*"))
        return family == IPV6 ? "[::]" : "0.0.0.0";
    return np_files_text(h->files, host.ptr[0] != '[' && memchr(host.ptr, ':', host.len)
                                       ? np_text_of(np_sprintf(h->arena, "[%.*s]", (int)host.len, host.ptr))
                                       : host);
}

static bool is_template(struct np_text text)
{
    for (size_t i = 0; i < text.len; i++)
        if (strchr("{}<>%@", text.ptr[i]))
            return true;
    return false;
}

/* Of the same line, in a round before. */
static bool is_kept(const struct section *section, struct np_position at, const struct nextport_claim *claim)
{
    for (size_t i = section->n; i > 0 && i + ROUNDS_MAX > section->n; i--) {
        const struct port *port = &section->ports[i - 1];
        if (port->at.line == at.line && port->claim.first == claim->first && port->claim.last == claim->last &&
            port->claim.protocol == claim->protocol && np_equal(port->claim.address, claim->address))
            return true;
    }
    return false;
}

static void keep_port(struct haproxy *h, struct np_position at, const struct nextport_claim *claim)
{
    struct section *section = &h->section;
    if (section->n > NP_FILES_CLAIMS_MAX || (h->round && is_kept(section, at, claim)))
        return;
    struct port *port = np_push(h->arena, &section->ports, &section->n, &section->capacity, sizeof *section->ports);
    *port = (struct port){.claim = *claim, .at = at, .local = YES};
}

static bool has_unknown(struct np_text text)
{
    return text.len && memchr(text.ptr, unknown_value[0], text.len);
}

/* Every unknown value taken for an empty one. */
static struct np_text without_unknown(struct haproxy *h, struct np_text text)
{
    struct np_buf out = {.arena = h->arena};
    np_buf_add(&out, "", 0);
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] != unknown_value[0])
            np_buf_add(&out, text.ptr + i, 1);
    return (struct np_text){out.ptr, out.len};
}

/* A port that is written stays one where the address before it is not known, or what may follow it. */
static void take_unknown(struct haproxy *h, struct np_position at, struct np_text ports, struct nextport_claim claim)
{
    struct nextport_claim possible = claim;
    possible.certainty = NEXTPORT_CONDITIONAL;
    possible.address = NULL;
    const struct np_text all = without_unknown(h, ports);
    struct np_text last = all, first = all;
    np_text_split(&last, '-', &first);
    /* of a range only one end of which is known, that one */
    const bool has_number =
        !read_ports(all, &possible) || !read_ports(first, &possible) || !read_ports(last, &possible);
    if (has_number)
        keep_port(h, at, &possible);
    if (has_number && !has_unknown(ports))
        return;
    claim.first = claim.last = 0;
    claim.certainty = NEXTPORT_UNRESOLVED;
    claim.address = NULL;
    keep_port(h, at, &claim);
}

/* One address: "127.0.0.1:80", "*:80-90", ":::80", "quic4@:443". */
static void take_address(struct haproxy *h, const struct word *word, struct np_text text, struct nextport_claim claim)
{
    text = fill_in(h, text, &claim.certainty);
    if (h->round && !h->is_doubted)
        return;
    const enum family family = take_prefix(&text, &claim.protocol);
    if (family == NO_PORT)
        return;
    size_t i = text.len;
    while (i > 0 && text.ptr[i - 1] != ':' && text.ptr[i - 1] != ']')
        i--;
    const bool has_port = i > 0 && text.ptr[i - 1] == ':';
    const struct np_text ports = has_port ? behind(text, i) : (struct np_text){0};
    const char *wrong = has_port ? read_ports(ports, &claim) : "it has no port";
    if (has_unknown(text) || (wrong && is_template(text))) {
        take_unknown(h, word->at, ports, claim);
        return;
    }
    if (wrong) {
        /* of several values one that HAProxy refuses is none that it runs with */
        if (!h->is_doubted || !h->n_choices)
            np_files_warn(h->files, word->at, "%s: %s, so HAProxy refuses the configuration", claim.detail, wrong);
        return;
    }
    claim.address = address_of(h, (struct np_text){text.ptr, i - 1}, family);
    keep_port(h, word->at, &claim);
}

/* Sockets in another network namespace take no port here; which one HAProxy itself runs in the file does not say. */
static bool has_namespace(const struct haproxy *h, size_t from)
{
    for (size_t i = from; i < h->n_words; i++)
        if (is_word(h, i, "namespace"))
            return true;
    return false;
}

/* The line as it stands in the file, to the end of this word. */
static const char *written(struct haproxy *h, size_t to)
{
    const char *begin = h->words[0].raw.ptr, *end = h->words[to].raw.ptr + h->words[to].raw.len;
    return np_files_text(h->files, (struct np_text){begin, (size_t)(end - begin)});
}

/* The items of a line are asked for in their order. */
static bool is_doubted(struct haproxy *h, struct np_text item)
{
    const size_t from = (size_t)(item.ptr - h->out.ptr);
    while (h->next_doubt < h->n_doubts && h->doubts[h->next_doubt].to < from)
        h->next_doubt++;
    return h->next_doubt < h->n_doubts && h->doubts[h->next_doubt].from <= from + item.len;
}

/* A certain item stays one beside others. */
static void take_item(struct haproxy *h, const struct word *word, struct np_text item, struct nextport_claim claim)
{
    h->is_doubted = is_doubted(h, item) || h->words[0].certainty != NEXTPORT_DECLARED;
    if (h->is_doubted)
        claim.certainty = worse(claim.certainty, NEXTPORT_CONDITIONAL);
    take_address(h, word, item, claim);
}

/* A list of addresses and what follows it. */
static void take_addresses(struct haproxy *h, size_t at, enum nextport_protocol protocol,
                           enum nextport_certainty certainty)
{
    if (at >= h->n_words || !h->words[at].text.len) {
        if (at >= h->n_words || h->words[at].certainty == NEXTPORT_DECLARED) {
            np_files_warn(h->files, h->words[0].at, "\"%s\" without an address",
                          np_files_text(h->files, h->words[0].text));
            return;
        }
    }
    const struct word *word = &h->words[at];
    struct nextport_claim claim = {
        .protocol = protocol, .kind = NEXTPORT_CONFIGURED, .certainty = certainty, .holder = h->section.holder};
    if (active(h) != YES || has_namespace(h, at + 1) || h->is_doubtful)
        claim.certainty = worse(claim.certainty, NEXTPORT_CONDITIONAL);
    claim.detail = written(h, at);
    if (!word->text.len)
        take_item(h, word, word->text, claim);
    struct np_text rest = word->text, item;
    while (rest.len && np_text_split(&rest, ',', &item))
        take_item(h, word, item, claim);
    const struct word *next = at + 1 < h->n_words ? word + 1 : NULL;
    if (next && (np_text_begins(next->text, ":") || np_text_begins(next->text, "*:"))) {
        if (!h->round)
            np_files_warn(h->files, next->at,
                          "\"%s\": a second address follows a comma, so HAProxy refuses the "
                          "configuration",
                          np_files_text(h->files, next->raw));
        claim.kind = NEXTPORT_SUSPECT;
        claim.detail = written(h, at + 1);
        take_item(h, next, next->text, claim);
    }
}

/* ---- Sections ------------------------------------------------------------------------------------------------- */

/* The name of this machine as HAProxy would ask for it, where a file has it. */
static const char *local_name(struct haproxy *h)
{
    static const char *const files[] = {"/proc/sys/kernel/hostname", "/etc/hostname"};
    const struct np_position whole = {.file = h->from.file};
    for (size_t i = 0; i < sizeof files / sizeof *files && !h->local_name && !h->local_asked; i++) {
        const struct np_file *file = np_files_open(h->files, whole, files[i]);
        struct np_text rest = file ? file->bytes : (struct np_text){0}, name;
        if (rest.len && np_text_split(&rest, '\n', &name) && (name = np_text_trim(name)).len)
            h->local_name = np_text_dup(h->arena, name);
    }
    h->is_local_guessed = h->is_local_guessed || (!h->local_asked && !h->is_start_known);
    h->local_asked = true;
    return h->local_name;
}

static void emit_port(struct haproxy *h, const struct port *port)
{
    const struct section *section = &h->section;
    struct nextport_claim claim = port->claim;
    const bool peers = section->kinds & PEERS;
    const bool may_be_named = h->is_local_guessed && section->has_local == NO;
    if (section->disabled == YES || (port->local == NO && !may_be_named))
        return;
    if (section->disabled == MAYBE || section->begun == MAYBE || port->local == MAYBE)
        claim.certainty = worse(claim.certainty, NEXTPORT_CONDITIONAL);
    if (peers && section->has_local != YES) /* HAProxy removes such a section */
        claim.certainty = worse(claim.certainty, NEXTPORT_CONDITIONAL);
    if (claim.certainty == NEXTPORT_UNRESOLVED)
        np_files_gap(h->files, port->at,
                     "Leave the port out of the pool by --exclude, or set the variable in the file.",
                     "%s: which port it means is not known here", claim.detail);
    np_files_claim(h->files, port->at, claim);
}

static void end_section(struct haproxy *h)
{
    struct section *section = &h->section;
    for (size_t i = 0; i < section->n; i++)
        emit_port(h, &section->ports[i]);
    if (section->kinds & DEFAULTS) {
        h->defaults_doubted = h->defaults_doubted || section->begun != YES;
        h->last_defaults = section->disabled;
        enum tri *kept = np_alloc(h->arena, sizeof *kept);
        *kept = section->disabled;
        *np_map_at(&h->defaults, section->holder) = kept;
    }
    section->n = 0;
    section->kinds = 0;
}

/* "frontend NAME from DEFAULTS" */
static enum tri inherited(struct haproxy *h)
{
    enum tri ret = h->section.kinds & PROXY ? h->last_defaults : NO;
    bool doubted = h->defaults_doubted;
    for (size_t i = 1; i + 1 < h->n_words; i++)
        if (is_word(h, i, "from")) {
            const char *name = np_sprintf(h->arena, "defaults %s", np_text_dup(h->arena, h->words[i + 1].text));
            const enum tri *kept = *np_map_at(&h->defaults, name);
            ret = kept ? *kept : NO;
            doubted = doubted || h->words[i + 1].certainty != NEXTPORT_DECLARED;
            break;
        }
    return ret == YES && doubted ? MAYBE : ret;
}

static bool take_section(struct haproxy *h)
{
    for (size_t i = 0; i < sizeof section_rows / sizeof *section_rows; i++) {
        const struct section_row *row = &section_rows[i];
        if (!is_word(h, 0, row->word))
            continue;
        struct section *section = &h->section;
        const enum tri begun = both(active(h), h->words[0].certainty == NEXTPORT_DECLARED ? YES : MAYBE);
        const bool named = h->n_words > 1 && row->kind != GLOBAL;
        const struct section before = *section;
        if (begun == MAYBE && section->disabled == YES) /* what is `enabled` below may be that one */
            section->disabled = MAYBE;
        end_section(h);
        section->kinds = row->kind | (begun == MAYBE ? before.kinds : 0);
        section->begun = begun;
        section->has_local = NO;
        section->holder =
            named ? np_sprintf(h->arena, "%s %s", row->word, np_files_text(h->files, h->words[1].text)) : row->word;
        section->disabled = inherited(h);
        if (begun == MAYBE && before.kinds && section->disabled != before.disabled)
            section->disabled = MAYBE;
        /* of old: "listen NAME ADDRESS", which HAProxy refuses by now */
        if (row->kind == PROXY && h->n_words > 2 && !is_word(h, 2, "from"))
            take_addresses(h, 2, NEXTPORT_TCP, NEXTPORT_CONDITIONAL);
        return true;
    }
    return false;
}

static void take_disabled(struct haproxy *h, enum tri value)
{
    enum tri *disabled = &h->section.disabled;
    *disabled = !may_be_skipped(h) || *disabled == value ? value : MAYBE;
}

/* resetenv: only what it names stays, as it is. */
static void reset_variables(struct haproxy *h)
{
    struct np_map kept = {.arena = h->arena}, names = kept;
    for (size_t i = 1; i < h->n_words; i++) {
        const char *name = np_text_dup(h->arena, h->words[i].text);
        struct variable *variable = np_alloc(h->arena, sizeof *variable);
        *variable = look_up(h, name);
        variable->resets = 0;
        *np_map_at(&kept, name) = variable;
        *np_map_at(&names, name) = h;
    }
    if (may_be_skipped(h)) {
        *(struct np_map *)np_push(h->arena, &h->resets, &h->n_resets, &h->resets_capacity, sizeof *h->resets) = names;
        return;
    }
    h->variables = kept;
    h->n_resets = 0;
    h->cleared = true;
}

static void take_global(struct haproxy *h)
{
    const char *name = h->n_words > 1 ? np_text_dup(h->arena, h->words[1].text) : NULL;
    if (is_word(h, 0, "stats") && is_word(h, 1, "socket")) {
        take_addresses(h, 2, NEXTPORT_TCP, NEXTPORT_DECLARED);
    } else if (is_word(h, 0, "setenv") && h->n_words > 2) {
        set_variable(h, name, np_text_dup(h->arena, h->words[2].text), h->words[2].certainty);
    } else if (is_word(h, 0, "presetenv") && h->n_words > 2) {
        preset_variable(h, name, &h->words[2]);
    } else if (is_word(h, 0, "unsetenv")) {
        for (size_t i = 1; i < h->n_words; i++)
            set_variable(h, np_text_dup(h->arena, h->words[i].text), NULL, NEXTPORT_DECLARED);
    } else if (is_word(h, 0, "resetenv")) {
        reset_variables(h);
    } else if (is_word(h, 0, "localpeer") && name && active(h) != NO) {
        h->local_name = h->words[1].certainty == NEXTPORT_DECLARED && active(h) == YES ? name : NULL;
        h->local_asked = true;
    }
}

/* `peer NAME ADDRESS` or `server NAME [ADDRESS]`: whose name this machine has is where it listens. */
static void take_peer(struct haproxy *h)
{
    const char *here = local_name(h);
    const bool known = here && h->n_words > 1 && h->words[1].certainty == NEXTPORT_DECLARED;
    const enum tri local = !known ? MAYBE : np_text_is(h->words[1].text, here) ? YES : NO;
    struct section *section = &h->section;
    section->has_local = either(section->has_local, both(local, active(h)));
    const size_t n = section->n;
    if ((local == NO && !h->is_local_guessed) || h->n_words < 3 ||
        (is_word(h, 0, "server") && !strchr(h->words[2].text.ptr, ':')))
        return;
    take_addresses(h, 2, NEXTPORT_TCP, local == YES ? NEXTPORT_DECLARED : NEXTPORT_CONDITIONAL);
    for (size_t i = n; i < section->n; i++)
        section->ports[i].local = local;
}

static void take_keyword(struct haproxy *h)
{
    const unsigned kinds = h->section.kinds;
    const bool has_switch = kinds & (DEFAULTS | PROXY | PEERS);
    if (kinds & GLOBAL)
        take_global(h);
    if (has_switch && is_word(h, 0, "disabled"))
        take_disabled(h, YES);
    else if (has_switch && is_word(h, 0, "enabled"))
        take_disabled(h, NO);
    else if (kinds & (PROXY | PEERS | LOG_FORWARD) && is_word(h, 0, "bind"))
        take_addresses(h, 1, NEXTPORT_TCP, NEXTPORT_DECLARED);
    else if (kinds & LOG_FORWARD && is_word(h, 0, "dgram-bind"))
        take_addresses(h, 1, NEXTPORT_UDP, NEXTPORT_DECLARED);
    else if (kinds & PEERS && (is_word(h, 0, "peer") || is_word(h, 0, "server")))
        take_peer(h);
}

/* What looks like the address of a `bind` is taken for one. */
static void take_unknown_keyword(struct haproxy *h)
{
    const unsigned kinds = h->section.kinds;
    if (h->section.disabled == YES) /* it may be `enabled` */
        h->section.disabled = MAYBE;
    np_files_gap(h->files, h->words[0].at, NULL, "%s: which keyword it means is not known here", written(h, 0));
    if (kinds & (PROXY | PEERS | LOG_FORWARD) && h->n_words > 1 &&
        (np_text_begins(h->words[1].text, ":") || np_text_begins(h->words[1].text, "*:")))
        take_addresses(h, 1, NEXTPORT_TCP, NEXTPORT_CONDITIONAL);
}

/* ---- Files ---------------------------------------------------------------------------------------------------- */

static void take_line(struct haproxy *h, struct np_text text, struct np_position at)
{
    h->n_choices = h->round = 0;
    h->line_length = text.len;
    const bool closed = read_words(h, text, at);
    if (!h->n_words)
        return;
    if (!closed)
        np_files_gap(h->files, at, NULL, "a quote is not closed, so HAProxy refuses the configuration");
    if (take_condition(h) || active(h) == NO)
        return;
    if (has_unknown(h->words[0].text)) {
        take_unknown_keyword(h);
        return;
    }
    if (take_section(h))
        return;
    if (!h->section.kinds)
        np_files_fail(h->files, NEXTPORT_BLIND, at, "not a configuration of HAProxy: \"%s\" is in no section",
                      np_files_text(h->files, h->words[0].text));
    take_keyword(h);
    while (next_round(h)) {
        h->reread += text.len;
        read_words(h, text, at);
        take_keyword(h);
    }
}

static enum nextport_status parse_file(void *ctx, const struct np_file *file)
{
    struct haproxy *h = ctx;
    struct np_cursor cursor;
    struct np_text line;
    const struct np_position whole = {.file = file};
    if (file->bytes.len && memchr(file->bytes.ptr, '\0', file->bytes.len)) {
        np_files_fail(h->files, NEXTPORT_BLIND, whole, "not a text: it has NUL bytes");
        return NEXTPORT_OK;
    }
    np_cursor_init(&cursor, file);
    for (struct np_position at = np_cursor_position(&cursor); np_cursor_line(&cursor, &line);
         at = np_cursor_position(&cursor))
        take_line(h, line, at);
    end_section(h);
    if (h->n_conditions)
        np_files_fail(h->files, NEXTPORT_RETRY, h->conditions[h->n_conditions - 1].at, ".if without .endif");
    h->n_conditions = 0;
    if (file->bytes.len && file->bytes.ptr[file->bytes.len - 1] != '\n')
        np_files_fail(h->files, NEXTPORT_RETRY, np_cursor_position(&cursor),
                      "the last line has no end: HAProxy takes such a file for one that was cut off");
    return NEXTPORT_OK;
}

/* ---- How it is started ------------------------------------------------------------------------------------------ */

static struct haproxy *make(struct np_files *files, struct np_position from)
{
    struct haproxy *h = np_alloc(files->ret->arena, sizeof *h);
    const struct np_map empty = {.arena = files->ret->arena};
    *h = (struct haproxy){.files = files,
                          .arena = empty.arena,
                          .from = from,
                          .folder = "/",
                          .variables = empty,
                          .defaults = empty,
                          .environment = empty};
    h->out.arena = h->arena;
    return h;
}

static const char *below(const struct haproxy *h, const char *path)
{
    const char *folder = h->folder, *slash = folder[strlen(folder) - 1] == '/' ? "" : "/";
    while (path[0] == '.' && path[1] == '/')
        path += 2;
    return np_sprintf(h->arena, "%s%s%s", folder, slash, path);
}

static bool is_folder(struct haproxy *h, const char *path)
{
    const char *const *same;
    size_t n;
    np_files_glob(h->files, h->from, np_sprintf(h->arena, "%s/.", np_files_literally(h->arena, path)), &same, &n);
    return n > 0;
}

static void keep_config(struct haproxy *h, const char *path)
{
    if (h->n_configs < CONFIGS_MAX)
        h->configs[h->n_configs++] = path;
}

/* A folder stands for its *.cfg, of which HAProxy skips those that are folders themselves. */
static void add_config(struct haproxy *h, const char *path)
{
    const char *const *paths;
    size_t n;
    if (path && path[0] != '/' && h->folder)
        path = below(h, path);
    if (!path || path[0] != '/') {
        np_files_gap(h->files, h->from, "Give the file by --haproxy-config.",
                     "HAProxy is started with -f %s: where that lies is not known here",
                     path ? np_files_text(h->files, np_text_of(path)) : "and a variable");
        return;
    }
    np_files_glob(h->files, h->from, np_sprintf(h->arena, "%s/*.cfg", np_files_literally(h->arena, path)), &paths, &n);
    if (!n && !is_folder(h, path))
        keep_config(h, path);
    for (size_t i = 0; i < n; i++)
        if (!is_folder(h, paths[i]))
            keep_config(h, paths[i]);
    if (h->n_configs == CONFIGS_MAX)
        np_files_fail(h->files, NEXTPORT_BLIND, h->from, "%s: HAProxy is started with %d files or more", path,
                      CONFIGS_MAX);
}

/* -C, wherever it stands: HAProxy goes there before it opens anything. */
static void take_folder(struct haproxy *h, const char *const *words, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++) {
        const char *folder = words[i + 1];
        if (!words[i] || strcmp(words[i], "-C") != 0 || (folder && !*folder))
            continue;
        h->folder = folder && *folder != '/' && h->folder ? below(h, folder) : folder;
    }
}

static void take_options(struct haproxy *h, const char *const *words, size_t n)
{
    bool is_rest = false;
    take_folder(h, words, n);
    for (size_t i = 0; i < n; i++) {
        const char *option = words[i] ? words[i] : "", *value = i + 1 < n ? words[i + 1] : NULL;
        const bool is_file = strcmp(option, "-f") == 0, is_name = strcmp(option, "-L") == 0,
                   is_master = strcmp(option, "-S") == 0;
        if (is_rest)
            add_config(h, words[i]);
        else if (strcmp(option, "--") == 0)
            is_rest = true;
        if (is_rest || !(is_file || is_name || is_master) || i + 1 == n)
            continue;
        i++;
        if (is_file)
            add_config(h, value);
        else if (is_master)
            h->master = value;
        else
            h->local_name = value;
        h->local_asked = h->local_asked || is_name;
    }
}

/* No file at all, and a word that may be anything. */
static bool is_hidden(const struct haproxy *h, const struct np_service *service)
{
    bool unknown = false, is_told = h->n_configs > 0;
    for (size_t i = 0; i < service->n; i++) {
        unknown = unknown || !service->words[i];
        is_told = is_told || (service->words[i] && strcmp(service->words[i], "-f") == 0);
    }
    return unknown && !is_told;
}

static struct haproxy *made_of(struct np_files *files, const struct np_service *service)
{
    struct haproxy *h = make(files, service->at);
    const struct np_environment *environment = &service->environment;
    h->is_start_known = true;
    for (size_t i = 0; i < environment->n; i++)
        *np_map_at(&h->environment, environment->variables[i].name) =
            np_strdup(h->arena, environment->variables[i].value);
    h->folder = service->folder;
    take_options(h, service->words, service->n);
    if (is_hidden(h, service))
        np_files_gap(files, service->at, "Give its files by --haproxy-config.",
                     "HAProxy is started with words that are not known here, and no -f");
    return h;
}

/* Of a file that a shell reads. What that would work out is not known. */
static void take_assignment(void *ctx, const struct np_variable *variable)
{
    static const char export[] = "export ";
    struct haproxy *h = ctx;
    const char *name = variable->name;
    if (strncmp(name, export, strlen(export)) == 0)
        name += strlen(export);
    *np_map_at(&h->environment, name) = strpbrk(variable->value, "$`") ? NULL : np_strdup(h->arena, variable->value);
}

/* Where systemd has no unit it is Debian's init script that starts HAProxy. */
static struct haproxy *made_by_init(struct np_files *files, struct np_position from)
{
    struct haproxy *h = make(files, from);
    const struct np_file *file = np_files_open(files, from, debian_file);
    *np_map_at(&h->environment, "CONFIG") = np_strdup(h->arena, main_file);
    h->is_start_known = file != NULL;
    if (file)
        np_environment_of(files, file, take_assignment, h);
    add_config(h, *np_map_at(&h->environment, "CONFIG"));
    const char *more = *np_map_at(&h->environment, "EXTRAOPTS"), *words[CONFIGS_MAX];
    struct np_text rest = np_text_of(more ? more : "");
    size_t n = 0;
    while (n < CONFIGS_MAX && np_unit_word(h->arena, &rest, &words[n]) > 0)
        n++;
    take_options(h, words, n);
    return h;
}

struct starts {
    struct haproxy **items;
    size_t n;
};

/* Every way in which HAProxy is started here, the service of its package first. */
static struct starts find_starts(struct np_files *files, struct np_position from)
{
    static const char program[] = "haproxy", own[] = "haproxy.service";
    static const char *const suffixes[] = {".service", NULL};
    static const struct np_units_place place = {
        .folders = np_units_system_folders, .suffixes = suffixes, .is_system = true, .by_systemd = true};
    struct np_units *units = np_alloc(files->ret->arena, sizeof *units);
    struct np_services services = {0};
    np_units_init(units, files, from, &place);
    const struct np_unit *unit = np_units_find(units, own);
    if (unit)
        np_service_read(units, unit, program, &services);
    const bool by_init = !services.n;
    np_services_of(units, program, own, &services);
    struct starts starts = {np_alloc_array(files->ret->arena, services.n + 1, sizeof(*starts.items)), 0};
    if (by_init)
        starts.items[starts.n++] = made_by_init(files, from);
    for (size_t i = 0; i < services.n; i++)
        starts.items[starts.n++] = made_of(files, &services.items[i]);
    return starts;
}

/* ---- The configuration ---------------------------------------------------------------------------------------- */

static void claim_master(struct haproxy *h)
{
    if (!h->master)
        return;
    const struct word word = {.at = h->from};
    struct np_text rest = np_text_of(h->master), address;
    np_text_split(&rest, ',', &address);
    h->section.kinds = OTHER;
    h->section.disabled = NO;
    h->section.begun = YES;
    take_address(h, &word, address,
                 (struct nextport_claim){.kind = NEXTPORT_CONFIGURED,
                                         .protocol = NEXTPORT_TCP,
                                         .holder = "master",
                                         .detail = np_sprintf(h->arena, "-S %s", np_files_text(h->files, address))});
    end_section(h);
}

static bool has_config(const struct haproxy *h, const char *path)
{
    for (size_t i = 0; i < h->n_configs; i++)
        if (strcmp(h->configs[i], path) == 0)
            return true;
    return false;
}

static bool has_config_below(const struct haproxy *h, const char *folder)
{
    for (size_t i = 0; i < h->n_configs; i++)
        if (np_text_begins(np_text_of(h->configs[i]), folder))
            return true;
    return false;
}

/* All files of the command line, in its order, as one configuration. `main`: one that is open already, or NULL. */
static enum nextport_status parse_all(struct haproxy *h, const struct np_file *main)
{
    enum nextport_status status = NEXTPORT_OK;
    claim_master(h);
    for (size_t i = 0; i < h->n_configs && status == NEXTPORT_OK; i++)
        status = main && strcmp(h->configs[i], main->path) == 0
                     ? parse_file(h, main)
                     : np_files_include_path(h->files, h->from, h->configs[i], parse_file, h);
    return status;
}

/* A file that somebody gave: the configuration of which it is a part, or of nobody, of whose start nothing is known. */
static enum nextport_status parse_given(void *ctx, const struct np_file *file)
{
    const struct np_position whole = {.file = file};
    const struct starts starts = find_starts(ctx, whole);
    for (size_t i = 0; i < starts.n; i++)
        if (has_config(starts.items[i], file->path))
            return parse_all(starts.items[i], file);
    return parse_file(make(ctx, whole), file);
}

/* In the places of a package, and started by nobody who is known. */
static void parse_idle(struct np_files *files, struct np_position from, const struct starts *starts, bool has_main)
{
    struct haproxy *reader = make(files, from);
    bool has_more = false;
    for (size_t i = starts->n; i > 0; i--) {
        has_more = has_more || has_config_below(starts->items[i - 1], more_files);
        if (has_config(starts->items[i - 1], main_file))
            reader = starts->items[i - 1];
    }
    reader->is_doubtful = true;
    if (has_main && !has_config(reader, main_file))
        np_files_include(files, from, main_file, parse_file, reader);
    if (has_main && !has_more)
        np_files_include(files, from, np_sprintf(reader->arena, "%s/*.cfg", more_files), parse_file, reader);
}

static bool is_installed(const struct np_look *look)
{
    static const char *const signs[] = {"/usr/sbin/haproxy", "/usr/local/sbin/haproxy"};
    bool found = look->settings->root != NULL;
    for (size_t i = 0; i < sizeof signs / sizeof *signs && !found; i++)
        found = np_reader_exists(look->reader, signs[i]);
    return found;
}

/* Without its files and its program there is none, and nothing else is opened. */
static bool look_around(struct np_files *files, struct np_position whole, void *ctx)
{
    const struct np_file *file;
    const char *why;
    const bool has_main = np_files_try(files, main_file, &file, &why) != NP_READ_ABSENT,
               has_debian = np_files_try(files, debian_file, &file, &why) != NP_READ_ABSENT;
    if (!has_main && !has_debian && !is_installed(ctx))
        return false;
    const struct starts starts = find_starts(files, whole);
    bool present = has_main;
    for (size_t i = 0; i < starts.n; i++) {
        struct haproxy *h = starts.items[i];
        /* the package's own service without the package's own file starts nothing */
        if (i == 0 && !has_main && h->n_configs == 1 && has_config(h, main_file))
            continue;
        present = true;
        parse_all(h, NULL);
    }
    parse_idle(files, whole, &starts, has_main);
    return present;
}

static enum nextport_status parse(struct np_evidence *ret, const char *file, struct np_text bytes,
                                  const struct np_include *include, struct nextport_error *err)
{
    struct np_files files;
    np_files_init(&files, "haproxy", ret, include, err);
    np_files_main(&files, file, bytes, parse_given, &files);
    return np_files_finish(&files);
}

static enum nextport_status look(struct np_look *look, struct nextport_error *err)
{
    static const char *const none[] = {NULL};
    if (np_files_look_around(look, &np_source_haproxy, look_around, look, err) != NEXTPORT_OK)
        return err->status;
    return np_files_look(look, &np_source_haproxy, &look->settings->haproxy_files, none, err);
}

/* "shop" of "frontend shop". */
static const char *label(struct np_arena *arena, const struct nextport_claim *claim)
{
    const char *blank = strchr(claim->holder, ' ');
    (void)arena;
    return blank && blank[1] ? blank + 1 : claim->holder;
}

static const char *const programs[] = {"haproxy", NULL};

const struct np_source np_source_haproxy = {
    .name = "haproxy",
    .about = "what HAProxy binds, started or stopped, in haproxy.cfg and what the service names",
    .policy = NEXTPORT_REQUIRE,
    .files = true,
    .adopts = "project",
    .label = label,
    .programs = programs,
    .look = look,
    .parse = parse,
};
