/* systemd's unit files: which file is a unit's, what is added to it, and what its values mean.
 * SPDX-License-Identifier: MIT */
#include "source/units.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- A machine in memory -------------------------------------------------------------------------------------- */

struct item {
    const char *path, *text; /* text "-> TARGET": a link */
};

struct machine {
    struct np_arena *arena;
    struct np_log log;
    struct np_evidence evidence;
    struct nextport_error err;
    const struct item *items; /* ends with a path of NULL */
    struct np_include include;
    struct np_files files;
    struct np_file folder;
    struct np_units units;
    struct np_buf out;
};

static const char *link_of(const struct item *item)
{
    return strncmp(item->text, "-> ", 3) == 0 ? item->text + 3 : NULL;
}

static enum np_read read_item(void *ctx, struct np_arena *arena, const char *path, struct np_text *ret,
                              const char **why)
{
    const struct machine *m = ctx;
    *why = "no such file";
    for (const struct item *item = m->items; item->path; item++) {
        if (strcmp(item->path, path) != 0)
            continue;
        const char *link = link_of(item);
        if (link)
            return read_item(ctx, arena, link, ret, why);
        *ret = np_text_of(item->text);
        return NP_READ_OK;
    }
    return NP_READ_ABSENT;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct np_entry *)a)->name, ((const struct np_entry *)b)->name);
}

static bool has(const struct np_entry *entries, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(entries[i].name, name) == 0)
            return true;
    return false;
}

static enum np_read list_items(void *ctx, const char *folder, const struct np_entry **ret, size_t *ret_n,
                               const char **why)
{
    const struct machine *m = ctx;
    struct np_entry *entries = np_alloc_array(m->arena, 64, sizeof *entries);
    const size_t len = strlen(folder);
    size_t n = 0;
    (void)why;
    for (const struct item *item = m->items; item->path; item++) {
        if (strncmp(item->path, folder, len) != 0 || item->path[len] != '/')
            continue;
        const char *name = item->path + len + 1, *slash = strchr(name, '/');
        name = slash ? np_strndup(m->arena, name, (size_t)(slash - name)) : name;
        if (has(entries, n, name))
            continue;
        entries[n++] = (struct np_entry){.name = name,
                                         .kind = slash           ? NP_ENTRY_FOLDER
                                                 : link_of(item) ? NP_ENTRY_LINK
                                                                 : NP_ENTRY_FILE,
                                         .link = slash ? NULL : link_of(item)};
    }
    qsort(entries, n, sizeof *entries, by_name);
    *ret = entries;
    *ret_n = n;
    return n ? NP_READ_OK : NP_READ_ABSENT;
}

static const char *const suffixes[] = {".socket", ".service", NULL};
static const struct np_units_place place = {
    .folders = np_units_system_folders, .suffixes = suffixes, .is_system = true, .by_systemd = true};

static struct machine *begin(const struct item *items)
{
    struct machine *m = calloc(1, sizeof *m);
    assert_non_null(m);
    m->arena = np_arena_new();
    m->log.arena = m->out.arena = m->arena;
    m->evidence = (struct np_evidence){.arena = m->arena, .log = &m->log};
    m->items = items;
    m->include = (struct np_include){.read = read_item, .list = list_items, .ctx = m};
    m->folder = (struct np_file){.path = "/etc/systemd", .name = "/etc/systemd"};
    np_files_init(&m->files, "systemd", &m->evidence, &m->include, &m->err);
    np_units_init(&m->units, &m->files, (struct np_position){.file = &m->folder}, &place);
    np_buf_add(&m->out, "", 0);
    return m;
}

static void end(struct machine *m)
{
    np_arena_free(m->arena);
    free(m);
}

/* ---- Which units there are ------------------------------------------------------------------------------------ */

static const char *names(struct machine *m, const char *suffix)
{
    const struct np_unit *const *units;
    size_t n;
    m->out.len = 0;
    np_buf_add(&m->out, "", 0);
    np_units_all(&m->units, suffix, &units, &n);
    for (size_t i = 0; i < n; i++)
        np_buf_printf(&m->out, "%s%s", i ? " " : "", units[i]->name);
    return np_strdup(m->arena, m->out.len ? m->out.ptr : "");
}

static const char *instances(struct machine *m, const char *template)
{
    const struct np_unit *const *units;
    size_t n;
    m->out.len = 0;
    np_units_instances(&m->units, np_units_find(&m->units, template), &units, &n);
    for (size_t i = 0; i < n; i++)
        np_buf_printf(&m->out, "%s%s", i ? " " : "", units[i]->name);
    return np_strdup(m->arena, m->out.len ? m->out.ptr : "");
}

static void the_folder_that_counts_most_has_the_unit(void **state)
{
    (void)state;
    const struct item items[] = {
        {"/usr/lib/systemd/system/a.socket", "x"},     {"/run/systemd/transient/a.socket", "x"},
        {"/etc/systemd/system/a.socket", "x"},         {"/lib/systemd/system/b.socket", "x"},
        {"/run/systemd/generator.late/b.socket", "x"}, {NULL, NULL}};
    struct machine *m = begin(items);
    assert_string_equal(names(m, ".socket"), "a.socket b.socket");
    assert_string_equal(np_units_find(&m->units, "a.socket")->path, "/run/systemd/transient/a.socket");
    assert_string_equal(np_units_find(&m->units, "b.socket")->path, "/lib/systemd/system/b.socket");
    assert_null(np_units_find(&m->units, "c.socket"));
    end(m);
}

static void masked_units_and_names_that_are_none_are_left_out(void **state)
{
    (void)state;
    const struct item items[] = {{"/usr/lib/systemd/system/a.socket", "x"},
                                 {"/etc/systemd/system/a.socket", "-> /dev/null"},
                                 {"/etc/systemd/system/b.socket", "-> ../../../dev/null"},
                                 {"/etc/systemd/system/.c.socket", "x"},
                                 {"/etc/systemd/system/d e.socket", "x"},
                                 {"/etc/systemd/system/f.socket~", "x"},
                                 {"/etc/systemd/system/g.socket.dpkg-old", "x"},
                                 {"/etc/systemd/system/h.socket", "x"},
                                 {NULL, NULL}};
    struct machine *m = begin(items);
    assert_string_equal(names(m, ".socket"), "h.socket");
    assert_null(np_units_find(&m->units, "a.socket"));
    end(m);
}

static void a_link_to_a_unit_is_another_name_and_one_that_leads_out_a_unit(void **state)
{
    (void)state;
    const struct item items[] = {{"/usr/lib/systemd/system/shop.socket", "x"},
                                 {"/etc/systemd/system/web.socket", "-> /usr/lib/systemd/system/shop.socket"},
                                 {"/etc/systemd/system/www.socket", "-> web.socket"},
                                 {"/etc/systemd/system/out.socket", "-> /srv/shop.socket"},
                                 {"/etc/systemd/system/same.socket", "-> /lib/systemd/system/same.socket"},
                                 {"/lib/systemd/system/same.socket", "x"},
                                 {"/etc/systemd/system/l1.socket", "-> l2.socket"},
                                 {"/etc/systemd/system/l2.socket", "-> l1.socket"},
                                 {NULL, NULL}};
    struct machine *m = begin(items);
    assert_string_equal(names(m, ".socket"), "out.socket same.socket shop.socket");
    assert_string_equal(np_units_find(&m->units, "www.socket")->name, "shop.socket");
    assert_null(np_units_find(&m->units, "l1.socket"));
    end(m);
}

static void a_link_that_systemd_rejects_hides_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *name, *target;
        bool is_taken;
    } links[] = {{"a.socket", "b.socket", true},      {"a.socket", "b@1.socket", false},
                 {"a.socket", "b@.socket", false},    {"a.socket", "a.service", false},
                 {"a.socket", "a.socket", false},     {"a.socket", "deeper/b.service", false},
                 {"a.socket", "b.socket.old", false}, {"a.socket", "../../../srv/b@1.socket", true},
                 {"a@.socket", "b@.socket", true},    {"a@.socket", "b.socket", false},
                 {"a@.socket", "b@1.socket", false},  {"a@1.socket", "b@1.socket", true},
                 {"a@1.socket", "b@.socket", true},   {"a@1.socket", "b@2.socket", false},
                 {"a@1.socket", "b.socket", false}};
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        char name[64], other[64], target[64];
        snprintf(name, sizeof name, "/etc/systemd/system/%s", links[i].name);
        snprintf(other, sizeof other, "/usr/lib/systemd/system/%s", links[i].name);
        snprintf(target, sizeof target, "-> %s", links[i].target);
        const struct item items[] = {{name, target}, {other, "x"}, {NULL, NULL}};
        struct machine *m = begin(items);
        const struct np_unit *unit = np_units_find(&m->units, links[i].name);
        const bool is_other = unit && strcmp(unit->path, other) == 0;
        assert_int_equal(is_other, !links[i].is_taken);
        end(m);
    }
}

static void a_template_has_the_instances_that_something_wants(void **state)
{
    (void)state;
    const struct item items[] = {
        {"/usr/lib/systemd/system/shop@.socket", "x"},
        {"/usr/lib/systemd/system/web@.socket", "-> shop@.socket"},
        {"/etc/systemd/system/shop@own.socket", "x"},
        {"/etc/systemd/system/shop@masked.socket", "-> /dev/null"},
        {"/etc/systemd/system/shop@link.socket", "-> /usr/lib/systemd/system/shop@.socket"},
        {"/etc/systemd/system/sockets.target.wants/shop@49001.socket", "-> /usr/lib/systemd/system/shop@.socket"},
        {"/etc/systemd/system/sockets.target.wants/shop@masked.socket", "-> /nowhere"},
        {"/etc/systemd/system/other.target.requires/web@49002.socket", "-> /nowhere"},
        {"/run/systemd/system/x.target.upholds/shop@49001.socket", "-> /nowhere"},
        {NULL, NULL}};
    struct machine *m = begin(items);
    assert_string_equal(names(m, ".socket"), "shop@.socket shop@own.socket");
    assert_string_equal(instances(m, "shop@.socket"), "shop@49001.socket shop@49002.socket shop@link.socket");
    end(m);
}

/* ---- Settings ------------------------------------------------------------------------------------------------- */

static void print_setting(void *ctx, const struct np_setting *setting)
{
    struct machine *m = ctx;
    np_buf_printf(&m->out, "%u:%u %.*s.%.*s=%.*s\n", setting->at.line, setting->at.column, (int)setting->section.len,
                  setting->section.ptr, (int)setting->key.len, setting->key.ptr, (int)setting->value.len,
                  setting->value.ptr);
}

static void drop_ins_are_read_by_their_file_names_the_most_important_folder_first(void **state)
{
    (void)state;
    const struct item items[] = {{"/usr/lib/systemd/system/foo-bar@.socket", "[S]\nA=unit\n"},
                                 {"/usr/lib/systemd/system/foo-bar@1.socket.d/30.conf", "[S]\nA=30\n"},
                                 {"/usr/lib/systemd/system/foo-bar@.socket.d/20.conf", "[S]\nA=20\n"},
                                 {"/usr/lib/systemd/system/foo-.socket.d/40.conf", "[S]\nA=40\n"},
                                 {"/usr/lib/systemd/system/socket.d/10.conf", "[S]\nA=10\n"},
                                 {"/usr/lib/systemd/system/foo-bar@1.socket.d/50.conf", "[S]\nA=hidden\n"},
                                 {"/etc/systemd/system/foo-.socket.d/50.conf", "[S]\nA=50\n"},
                                 {"/usr/lib/systemd/system/foo-bar@1.socket.d/60.conf", "[S]\nA=masked\n"},
                                 {"/etc/systemd/system/foo-bar@.socket.d/60.conf", "-> /dev/null"},
                                 {"/etc/systemd/system/foo-bar@.socket.d/70.txt", "[S]\nA=70\n"},
                                 {"/etc/systemd/system/x@.socket", "-> foo-bar@.socket"},
                                 {"/etc/systemd/system/x@1.socket.d/35.conf", "[S]\nA=35\n"},
                                 {NULL, NULL}};
    struct machine *m = begin(items);
    assert_true(np_unit_read(&m->units, np_units_find(&m->units, "foo-bar@1.socket"), print_setting, m));
    assert_string_equal(m->out.ptr,
                        "2:1 S.A=unit\n2:1 S.A=10\n2:1 S.A=20\n2:1 S.A=30\n2:1 S.A=35\n2:1 S.A=40\n2:1 S.A=50\n");
    end(m);
}

static void drop_ins_of_one_name_all_count_where_systemd_leaves_it_to_chance(void **state)
{
    (void)state;
    const struct item items[] = {{"/usr/lib/systemd/system/a.socket", "[S]\nA=unit\n"},
                                 {"/etc/systemd/system/x.socket", "-> /usr/lib/systemd/system/a.socket"},
                                 {"/etc/systemd/system/y.socket", "-> x.socket"},
                                 {"/etc/systemd/system/x.socket.d/10.conf", "[S]\nA=x\n"},
                                 {"/usr/lib/systemd/system/x.socket.d/10.conf", "[S]\nA=hidden\n"},
                                 {"/usr/lib/systemd/system/y.socket.d/10.conf", "[S]\nA=y\n"},
                                 {"/etc/systemd/system/y.socket.d/20.conf", "[S]\nA=hidden\n"},
                                 {"/usr/lib/systemd/system/a.socket.d/20.conf", "[S]\nA=own\n"},
                                 {"/etc/systemd/system/socket.d/10.conf", "[S]\nA=hidden\n"},
                                 {NULL, NULL}};
    struct machine *m = begin(items);
    assert_true(np_unit_read(&m->units, np_units_find(&m->units, "y.socket"), print_setting, m));
    assert_string_equal(m->out.ptr, "2:1 S.A=unit\n2:1 S.A=x\n2:1 S.A=y\n2:1 S.A=own\n");
    end(m);
}

static const char *settings_of(struct machine *m, const char *text, size_t len)
{
    const struct np_file file = {.path = "/a", .name = "/a", .bytes = {text, len}};
    m->out.len = 0;
    np_buf_add(&m->out, "", 0);
    np_settings_of(&m->files, &file, print_setting, m);
    return m->out.ptr;
}

static void lines_are_read_as_systemd_reads_them(void **state)
{
    (void)state;
    static const char text[] = "lost=1\n[A]\n# c = 1\n; c = 2\n  key  =  a value  \r\nempty=\n=no\nno\n"
                               "long = 1 \\\n# between\n  2 \\\n\nnext=\\\\\n[B] \n a=b=c\0z=1\n last=1\\";
    struct machine *m = begin((const struct item[]){{NULL, NULL}});
    assert_string_equal(settings_of(m, text, sizeof text - 1),
                        "5:3 A.key=a value\n6:1 A.empty=\n9:1 A.long=1  2\n13:1 A.next=\\\\\n15:2 B.a=b=c\n"
                        "15:8 B.z=1\n16:2 B.last=1\n");
    assert_string_equal(settings_of(m, "[A]\na=1\n[B\nb=2\n", 16), "2:1 A.a=1\n");
    assert_non_null(strstr(m->log.notes[0].text, "/a:3:1: "));
    end(m);
}

/* ---- Values --------------------------------------------------------------------------------------------------- */

static void specifiers_are_filled_in_where_they_are_known(void **state)
{
    (void)state;
    static const struct {
        const char *unit, *text, *value;
    } cases[] = {
        {"a-b@c-d\\x2de.socket", "%n %N %p %i %I %j %%", "a-b@c-d\\x2de.socket a-b@c-d\\x2de a-b c-d\\x2de c/d-e b %"},
        {"a-b.socket", "%n|%P|%i|%J|%t|%", "a-b.socket|a/b||b|/run|%"},
        {"a@.socket", "%p", "a"},
        {"a@.socket", "1%i", NULL},
        {"a@.socket", "%n", NULL},
        {"a.socket", "%H", NULL},
        {"a.socket", "%?%e", "%?%e"},
    };
    const struct item items[] = {{"/etc/systemd/system/a-b@.socket", "x"},
                                 {"/etc/systemd/system/a-b.socket", "x"},
                                 {"/etc/systemd/system/a@.socket", "x"},
                                 {"/etc/systemd/system/a.socket", "x"},
                                 {NULL, NULL}};
    struct machine *m = begin(items);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *value = np_unit_expand(&m->units, np_units_find(&m->units, cases[i].unit), cases[i].text);
        if (cases[i].value)
            assert_string_equal(value, cases[i].value);
        else
            assert_null(value);
    }
    end(m);
}

static void words_are_unquoted_and_unescaped(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    struct np_text rest = np_text_of(" a \"b c\" d' e 'f \\x41\\101\\u00e4\\s\\\\ \\q g");
    static const char *const wanted[] = {"a", "b c", "d e f", "AA\xc3\xa4 \\"};
    const char *word;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(np_unit_word(arena, &rest, &word), 1);
        assert_string_equal(word, wanted[i]);
    }
    assert_int_equal(np_unit_word(arena, &rest, &word), -1);
    rest = np_text_of("  ");
    assert_int_equal(np_unit_word(arena, &rest, &word), 0);
    rest = np_text_of("\"a");
    assert_int_equal(np_unit_word(arena, &rest, &word), -1);
    np_arena_free(arena);
}

/* ---- The environment ------------------------------------------------------------------------------------------ */

static void take_environment(void *ctx, const struct np_setting *setting)
{
    np_environment_take(ctx, setting);
}

static const char *environment_of(struct machine *m, const char *name)
{
    struct np_environment environment;
    const struct np_unit *unit = np_units_find(&m->units, name);
    m->out.len = 0;
    np_buf_add(&m->out, "", 0);
    np_environment_init(&environment, &m->units, unit);
    np_unit_read(&m->units, unit, take_environment, &environment);
    np_environment_finish(&environment, NULL);
    for (size_t i = 0; i < environment.n; i++)
        np_buf_printf(&m->out, "%s=%s %s:%u\n", environment.variables[i].name, environment.variables[i].value,
                      environment.variables[i].at.file->path, environment.variables[i].at.line);
    return m->out.ptr;
}

static void files_of_the_environment_win_and_what_is_unset_is_gone(void **state)
{
    (void)state;
    const struct item items[] = {
        {"/etc/systemd/system/a.service",
         "[Service]\nEnvironment=LOST=1\nEnvironment=\nEnvironmentFile=-/etc/a\nEnvironmentFile=-/etc/missing\n"
         "Environment=A=1 \"B=two words\" 3=x C=%p D=%H\nEnvironment=E=5 F=6 G=7\nUnsetEnvironment=F G=8\n"},
        {"/etc/a", "A=file\nE='six'\n"},
        {NULL, NULL}};
    struct machine *m = begin(items);
    assert_string_equal(environment_of(m, "a.service"),
                        "B=two words /etc/systemd/system/a.service:6\nC=a /etc/systemd/system/a.service:6\n"
                        "D=(null) /etc/systemd/system/a.service:6\nG=7 /etc/systemd/system/a.service:7\n"
                        "A=file /etc/a:1\nE=six /etc/a:2\n");
    assert_int_equal(m->log.n_notes, 0);
    end(m);
}

static void a_missing_file_of_the_environment_is_warned_of(void **state)
{
    (void)state;
    const struct item items[] = {{"/etc/systemd/system/a.service", "[Service]\nEnvironmentFile=/etc/missing\n"},
                                 {NULL, NULL}};
    struct machine *m = begin(items);
    assert_string_equal(environment_of(m, "a.service"), "");
    assert_non_null(strstr(m->log.notes[0].text, "/etc/missing"));
    end(m);
}

static void print_variable(void *ctx, const struct np_variable *variable)
{
    struct machine *m = ctx;
    np_buf_printf(&m->out, "%u <%s>=<%s>\n", variable->at.line, variable->name, variable->value);
}

static void files_of_assignments_are_read_as_systemd_reads_them(void **state)
{
    (void)state;
    static const char text[] =
        "# A=0\n; B=0\nA=1\n B = two words  \nC='x' 'y'z\nD=\"a\\\"b\\$c\\d\\\ne\"\nE=a\"b\"\nF=1\\\n2\n"
        "G='1\n2'\nH=\nno\nexport I=1\nJ=\\ \nK=1 # no comment\r\nL=\"open";
    const struct np_file file = {.path = "/a", .name = "/a", .bytes = {text, sizeof text - 1}};
    struct machine *m = begin((const struct item[]){{NULL, NULL}});
    np_environment_of(&m->files, &file, print_variable, m);
    assert_string_equal(m->out.ptr, "3 <A>=<1>\n4 <B>=<two words>\n5 <C>=<xyz>\n6 <D>=<a\"b$c\\de>\n8 <E>=<a\"b\">\n"
                                    "9 <F>=<12>\n11 <G>=<1\n2>\n13 <H>=<>\n15 <export I>=<1>\n16 <J>=< >\n"
                                    "17 <K>=<1 # no comment>\n18 <L>=<open>\n");
    end(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_folder_that_counts_most_has_the_unit),
        cmocka_unit_test(masked_units_and_names_that_are_none_are_left_out),
        cmocka_unit_test(a_link_to_a_unit_is_another_name_and_one_that_leads_out_a_unit),
        cmocka_unit_test(a_link_that_systemd_rejects_hides_nothing),
        cmocka_unit_test(a_template_has_the_instances_that_something_wants),
        cmocka_unit_test(drop_ins_are_read_by_their_file_names_the_most_important_folder_first),
        cmocka_unit_test(drop_ins_of_one_name_all_count_where_systemd_leaves_it_to_chance),
        cmocka_unit_test(lines_are_read_as_systemd_reads_them),
        cmocka_unit_test(specifiers_are_filled_in_where_they_are_known),
        cmocka_unit_test(words_are_unquoted_and_unescaped),
        cmocka_unit_test(files_of_the_environment_win_and_what_is_unset_is_gone),
        cmocka_unit_test(a_missing_file_of_the_environment_is_warned_of),
        cmocka_unit_test(files_of_assignments_are_read_as_systemd_reads_them),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
