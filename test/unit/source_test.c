/* Sources that read files, by samples: test/source/SOURCE/NAME.in is a main file, NAME.claims what its parser must say
 * of it, one line for each claim, warning and failure. NAME.d/ is the root of the files it may include; the main file
 * itself lies there as /NAME.in. A file there that begins with "-> " stands for a link. With UPDATE_CLAIMS=1 in the environment the .claims are written: read the difference.
 * SPDX-License-Identifier: MIT */
#include "source/source.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/scratch.h"

/* ---- Files ---------------------------------------------------------------------------------------------------- */

/* NULL, with errno, when it cannot be read. */
static char *slurp(struct np_arena *arena, const char *path, size_t *ret_len)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    struct np_buf buf = {.arena = arena};
    char chunk[65536];
    np_buf_add(&buf, "", 0);
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, file)) > 0;)
        np_buf_add(&buf, chunk, n);
    bool bad = ferror(file) != 0;
    fclose(file);
    *ret_len = buf.len;
    return bad ? NULL : buf.ptr;
}

static void spill(const char *path, const char *text, size_t len)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

/* ---- Samples -------------------------------------------------------------------------------------------------- */

struct sample {
    struct np_arena *arena;
    const struct np_source *source;
    const char *folder, *name;
};

static const char *sample_path(const struct sample *sample, const char *suffix)
{
    return np_sprintf(sample->arena, "%s/%s%s", sample->folder, sample->name, suffix);
}

/* What a link leads to, as it says it, or NULL. */
static const char *link_of(const struct sample *sample, struct np_text bytes)
{
    struct np_text target = {bytes.ptr + 3, bytes.len - 3};
    return bytes.len > 3 && strncmp(bytes.ptr, "-> ", 3) == 0 ? np_text_dup(sample->arena, np_text_trim(target)) : NULL;
}

static enum np_read read_sample(void *ctx, struct np_arena *arena, const char *path, struct np_text *ret,
                                const char **why)
{
    const struct sample *sample = ctx;
    const char *link;
    ret->ptr = slurp(arena, np_sprintf(sample->arena, "%s%s", sample_path(sample, ".d"), path), &ret->len);
    if (ret->ptr && (link = link_of(sample, *ret)))
        return read_sample(
            ctx, arena,
            *link == '/' ? link : np_sprintf(sample->arena, "%.*s%s", (int)(strrchr(path, '/') + 1 - path), path, link),
            ret, why);
    if (ret->ptr)
        return NP_READ_OK;
    ret->len = 0;
    *why = errno == ENOENT ? "no such file" : "not a file";
    return errno == ENOENT ? NP_READ_ABSENT : NP_READ_BAD;
}

static enum np_read glob_sample(void *ctx, const char *pattern, const char *const **ret, size_t *ret_n,
                                const char **why)
{
    const struct sample *sample = ctx;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_reader *reader;
    if (np_reader_open(&reader, sample_path(sample, ".d"), sample->arena, &err) != NEXTPORT_OK)
        return NP_READ_OK; /* it has no files to include */
    const enum np_read outcome = np_reader_glob(reader, pattern, ret, ret_n, why);
    np_reader_close(reader);
    return outcome;
}

static struct np_entry sample_entry(struct sample *sample, const char *folder, const char *name)
{
    struct np_text bytes;
    bytes.ptr =
        slurp(sample->arena, np_sprintf(sample->arena, "%s%s/%s", sample_path(sample, ".d"), folder, name), &bytes.len);
    const char *link = bytes.ptr ? link_of(sample, bytes) : NULL;
    return (struct np_entry){.name = name,
                             .kind = !bytes.ptr ? NP_ENTRY_FOLDER
                                     : link     ? NP_ENTRY_LINK
                                                : NP_ENTRY_FILE,
                             .link = link};
}

static enum np_read list_sample(void *ctx, const char *folder, const struct np_entry **ret, size_t *ret_n,
                                const char **why)
{
    struct sample *sample = ctx;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_reader *reader;
    const struct np_entry *found;
    *ret_n = 0;
    if (np_reader_open(&reader, sample_path(sample, ".d"), sample->arena, &err) != NEXTPORT_OK)
        return NP_READ_ABSENT;
    const enum np_read outcome = np_reader_list(reader, folder, &found, ret_n, why);
    struct np_entry *entries = np_alloc_array(sample->arena, *ret_n + 1, sizeof *entries);
    for (size_t i = 0; i < *ret_n; i++)
        entries[i] = sample_entry(sample, folder, found[i].name);
    np_reader_close(reader);
    *ret = entries;
    return outcome;
}

static void print_claim(struct np_buf *out, const struct nextport_claim *claim)
{
    np_buf_printf(out, "%s %s %s %u", np_kind_name(claim->kind), np_certainty_name(claim->certainty),
                  np_protocol_name(claim->protocol), claim->first);
    if (claim->last != claim->first)
        np_buf_printf(out, "-%u", claim->last);
    np_buf_printf(out, " %s", claim->address ? claim->address : "-");
    if (claim->host)
        np_buf_printf(out, " for %s", np_neutral(out->arena, claim->host, false));
    np_buf_printf(out, " \"%s\" (%s) %s:%u\n", np_neutral(out->arena, claim->holder, false),
                  np_neutral(out->arena, claim->detail, false), claim->file, claim->line);
}

static void print_findings(struct np_buf *out, const struct np_evidence *evidence, enum nextport_status status,
                           const struct nextport_error *err)
{
    static const char *const levels[] = {"warning", "info", "verbose"};
    np_buf_add(out, "", 0);
    for (size_t i = 0; i < evidence->n_claims; i++)
        print_claim(out, &evidence->claims[i]);
    for (size_t i = 0; i < evidence->log->n_notes; i++)
        np_buf_printf(out, "%s: %s\n", levels[evidence->log->notes[i].level],
                      np_neutral(out->arena, evidence->log->notes[i].text, false));
    for (size_t i = 0; i < evidence->n_sightings; i++)
        np_buf_printf(out, "%s: %s\n", np_sight_name(evidence->sightings[i].sight), evidence->sightings[i].why);
    if (status == NEXTPORT_OK)
        return;
    np_buf_printf(out, "%s: %s\n", nextport_statuses[status].slug, np_neutral(out->arena, err->text, false));
    if (*err->hint)
        np_buf_printf(out, "hint: %s\n", err->hint);
}

static void check_sample(struct sample *sample)
{
    struct np_log log = {.arena = sample->arena};
    struct np_evidence evidence = {.arena = sample->arena, .log = &log};
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    const struct np_include include = {.read = read_sample, .glob = glob_sample, .list = list_sample, .ctx = sample};
    struct np_buf out = {.arena = sample->arena};
    struct np_text bytes;
    bytes.ptr = slurp(sample->arena, sample_path(sample, ".in"), &bytes.len);
    assert_non_null(bytes.ptr);
    const char *file = np_sprintf(sample->arena, "/%s.in", sample->name);
    enum nextport_status status = sample->source->parse(&evidence, file, bytes, &include, &err);
    print_findings(&out, &evidence, status, &err);
    if (getenv("UPDATE_CLAIMS"))
        spill(sample_path(sample, ".claims"), out.ptr, out.len);
    size_t len;
    const char *wanted = slurp(sample->arena, sample_path(sample, ".claims"), &len);
    if (!wanted || strcmp(wanted, out.ptr) != 0)
        fail_msg("%s: expected\n%s\nbut found\n%s", sample_path(sample, ".in"), wanted ? wanted : "(no .claims)",
                 out.ptr);
}

static unsigned check_samples(const struct np_source *source)
{
    char folder[SCRATCH_PATH], **names;
    snprintf(folder, sizeof folder, TEST_DIR "/source/%s", source->name);
    const size_t n = scratch_list(folder, ".in", &names);
    assert_true(n > 0);
    for (size_t i = 0; i < n; i++) {
        struct sample sample = {.arena = np_arena_new(), .source = source, .folder = folder};
        sample.name = np_strndup(sample.arena, names[i], strlen(names[i]) - strlen(".in"));
        check_sample(&sample);
        np_arena_free(sample.arena);
        free(names[i]);
    }
    free(names);
    return (unsigned)n;
}

static void every_sample_says_what_its_claims_say(void **state)
{
    (void)state;
    for (size_t i = 0; np_sources[i]; i++)
        if (np_sources[i]->parse)
            print_message("# %s: %u samples\n", np_sources[i]->name, check_samples(np_sources[i]));
}

/* ---- Files that are included twice ---------------------------------------------------------------------------- */

/* A file of which each read may give another text. */
struct twice {
    const char *const *texts;
    size_t n_reads;
};

static enum np_read read_twice(void *ctx, struct np_arena *arena, const char *path, struct np_text *ret,
                               const char **why)
{
    struct twice *twice = ctx;
    const char *text = twice->texts[twice->n_reads++];
    (void)path;
    *why = text ? NULL : "no such file";
    *ret = text ? np_text_of(np_strdup(arena, text)) : (struct np_text){0};
    return text ? NP_READ_OK : NP_READ_ABSENT;
}

static enum nextport_status parse_twice(struct np_evidence *evidence, struct twice *twice, struct nextport_error *err)
{
    const struct np_include include = {.read = read_twice, .ctx = twice};
    return np_source_nginx.parse(evidence, "/a.conf",
                                 np_text_of("events {} http { server { listen 7001; include b; }"
                                            "server { listen 7002; include b; } server { include b; } }"),
                                 &include, err);
}

static void a_file_included_again_is_read_again_once(void **state)
{
    (void)state;
    static const char *const texts[] = {"listen 7003;", "listen 7003;"};
    struct np_arena *arena = np_arena_new();
    struct np_log log = {.arena = arena};
    struct np_evidence evidence = {.arena = arena, .log = &log};
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct twice twice = {.texts = texts};
    assert_int_equal(parse_twice(&evidence, &twice, &err), NEXTPORT_OK);
    assert_int_equal(evidence.n_claims, 5);
    assert_int_equal(evidence.claims[4].first, 7003);
    assert_int_equal(twice.n_reads, 2);
    np_arena_free(arena);
}

static void a_file_that_changed_when_it_is_included_again_is_looked_at_anew(void **state)
{
    (void)state;
    static const char *const texts[][2] = {{"listen 7003;", "listen 7004;"},
                                           {"listen 7003;", "listen 7003; "},
                                           {"listen 7003;", NULL},
                                           {"listen 7003;", ""}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct np_arena *arena = np_arena_new();
        struct np_log log = {.arena = arena};
        struct np_evidence evidence = {.arena = arena, .log = &log};
        struct nextport_error err = NEXTPORT_ERROR_INIT;
        struct twice twice = {.texts = texts[i]};
        assert_int_equal(parse_twice(&evidence, &twice, &err), NEXTPORT_RETRY);
        assert_string_equal(err.text, "/a.conf:1:82: /b: it changed while the configuration was read");
        assert_int_equal(twice.n_reads, 2);
        np_arena_free(arena);
    }
}

/* ---- IIS: what no sample can show ----------------------------------------------------------------------------- */

static enum np_read read_denied(void *ctx, struct np_arena *arena, const char *path, struct np_text *ret,
                                const char **why)
{
    (void)ctx, (void)arena, (void)path, (void)ret;
    *why = "permission denied";
    return NP_READ_DENIED;
}

static enum nextport_status parse_iis(struct np_evidence *evidence, const char *text, const struct np_include *include,
                                      struct nextport_error *err)
{
    return np_source_iis.parse(evidence, "/a.config", np_text_of(text), include, err);
}

static void a_denied_redirection_is_unreadable_and_says_how_to_read_it(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    struct np_log log = {.arena = arena};
    struct np_evidence evidence = {.arena = arena, .log = &log};
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    const struct np_include include = {.read = read_denied};
    assert_int_equal(parse_iis(&evidence, "<configuration/>", &include, &err), NEXTPORT_BLIND);
    assert_string_equal(err.text, "read /redirection.config: permission denied");
    assert_non_null(strstr(err.hint, np_host_words.elevate));
    np_arena_free(arena);
}

static const char *many_sites(struct np_arena *arena, unsigned n, unsigned defaults)
{
    struct np_buf text = {.arena = arena};
    np_buf_puts(&text, "<configuration><system.applicationHost><sites>\n");
    for (unsigned i = 0; i < n; i++)
        np_buf_printf(&text,
                      "<site name='site %u'><bindings><binding protocol='http' bindingInformation='*:%u:'/>"
                      "</bindings></site>\n",
                      i, i % 65535 + 1);
    np_buf_puts(&text, "<siteDefaults><bindings>");
    for (unsigned i = 0; i < defaults; i++)
        np_buf_printf(&text, "<binding protocol='http' bindingInformation='*:%u:default'/>", i % 65535 + 1);
    np_buf_puts(&text, "</bindings></siteDefaults></sites></system.applicationHost></configuration>");
    return text.ptr;
}

static void ten_thousand_sites_are_all_seen(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    struct np_log log = {.arena = arena};
    struct np_evidence evidence = {.arena = arena, .log = &log};
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    assert_int_equal(parse_iis(&evidence, many_sites(arena, 10000, 0), NULL, &err), NEXTPORT_OK);
    assert_int_equal(evidence.n_claims, 10000);
    assert_int_equal(evidence.claims[9999].first, 10000);
    assert_string_equal(evidence.claims[9999].holder, "site 9999");
    assert_int_equal(evidence.claims[9999].line, 10001);
    np_arena_free(arena);
}

static void defaults_that_multiply_beyond_reason_are_unreadable(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    struct np_log log = {.arena = arena};
    struct np_evidence evidence = {.arena = arena, .log = &log};
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    assert_int_equal(parse_iis(&evidence, many_sites(arena, 10000, 10000), NULL, &err), NEXTPORT_BLIND);
    np_arena_free(arena);
}

static void a_file_beyond_the_bound_is_unreadable(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    struct np_log log = {.arena = arena};
    struct np_evidence evidence = {.arena = arena, .log = &log};
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    const size_t size = 8 * 1024 * 1024 + 1;
    char *bytes = np_alloc(arena, size);
    memset(bytes, ' ', size);
    assert_int_equal(np_source_iis.parse(&evidence, "/a.config", (struct np_text){bytes, size}, NULL, &err),
                     NEXTPORT_BLIND);
    assert_string_equal(err.text, "/a.config: larger than 8388608 bytes");
    np_arena_free(arena);
}

/* ---- IIS: the look at a machine ------------------------------------------------------------------------------- */

struct machine {
    char folder[SCRATCH_PATH];
    struct np_arena *arena;
    struct np_log log;
    struct np_evidence evidence;
    struct np_settings settings;
    struct np_look look;
};

static int make_machine(void **state)
{
    struct machine *m = calloc(1, sizeof *m);
    assert_non_null(m);
    scratch_make(m->folder, "source");
    m->arena = np_arena_new();
    m->log.arena = m->arena;
    m->evidence = (struct np_evidence){.arena = m->arena, .log = &m->log};
    np_settings_init(&m->settings, m->arena, &(struct np_policy_setting){"iis", NEXTPORT_REQUIRE, false}, 1,
                     (const char *const[]){NULL});
    m->look = (struct np_look){.settings = &m->settings, .ret = &m->evidence};
    *state = m;
    return 0;
}

static int end_machine(void **state)
{
    struct machine *m = *state;
    np_reader_close(m->look.reader);
    np_reader_close(m->look.given);
    np_arena_free(m->arena);
    const bool removed = scratch_remove(m->folder);
    free(m);
    return removed ? 0 : -1;
}

/* Writes a file below the machine's root, with its folders. */
static void put(struct machine *m, const char *path, const char *text)
{
    char *full = np_sprintf(m->arena, "%s%s", m->folder, path);
    for (char *slash = strchr(full + strlen(m->folder) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        scratch_add_folder(full);
        *slash = '/';
    }
    spill(full, text, strlen(text));
}

static const struct nextport_sighting *look_at(struct machine *m, const char *root, const char *file)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    if (root)
        assert_int_equal(np_settings_set(&m->settings, "machine.root", np_text_of(root), NP_BY_CALLER, "test", &err),
                         NEXTPORT_OK);
    if (file)
        assert_int_equal(np_settings_set(&m->settings, "iis.files", np_text_of(file), NP_BY_CALLER, "test", &err),
                         NEXTPORT_OK);
    assert_int_equal(np_reader_open(&m->look.reader, root, m->arena, &err), NEXTPORT_OK);
    assert_int_equal(np_reader_open(&m->look.given, NULL, m->arena, &err), NEXTPORT_OK);
    assert_int_equal(np_source_iis.look(&m->look, &err), NEXTPORT_OK);
    assert_int_equal(m->evidence.n_sightings, 1);
    return &m->evidence.sightings[0];
}

static bool claimed(const struct machine *m, uint16_t port)
{
    for (size_t i = 0; i < m->evidence.n_claims; i++)
        if (m->evidence.claims[i].first <= port && port <= m->evidence.claims[i].last)
            return true;
    return false;
}

#define ONE_SITE(port)                                                                                                 \
    "<configuration><system.applicationHost><sites><site name='shop'><bindings><binding protocol='http' "              \
    "bindingInformation='*:" #port ":'/></bindings></site></sites></system.applicationHost></configuration>"

static void a_machine_without_iis_is_absent(void **state)
{
    if (np_host_iis_installed()) {
        print_message("# this machine has IIS\n");
        skip();
    }
    assert_int_equal(look_at(*state, NULL, NULL)->sight, NEXTPORT_ABSENT);
    assert_false(claimed(*state, 81));
}

static void a_root_without_iis_is_absent(void **state)
{
    struct machine *m = *state;
    assert_int_equal(look_at(m, m->folder, NULL)->sight, NEXTPORT_ABSENT);
}

static void the_live_file_is_found_whatever_its_case(void **state)
{
    struct machine *m = *state;
    put(m, "/WINDOWS/system32/InetSrv/Config/ApplicationHost.config", ONE_SITE(49001));
    assert_int_equal(look_at(m, m->folder, NULL)->sight, NEXTPORT_SEEN);
    assert_true(claimed(m, 49001));
    assert_true(claimed(m, 81));
    assert_non_null(strstr(m->evidence.claims[0].file, m->folder));
}

static void a_given_file_is_read_beside_the_live_one(void **state)
{
    struct machine *m = *state;
    put(m, "/root/Windows/System32/inetsrv/config/applicationHost.config", ONE_SITE(49001));
    put(m, "/given/a.config", ONE_SITE(49002));
    const char *root = np_sprintf(m->arena, "%s/root", m->folder);
    const char *given = np_sprintf(m->arena, "%s/given/a.config", m->folder);
    assert_int_equal(look_at(m, root, given)->sight, NEXTPORT_SEEN);
    assert_true(claimed(m, 49001));
    assert_true(claimed(m, 49002));
}

static void a_given_file_that_is_missing_is_unreadable(void **state)
{
    struct machine *m = *state;
    const char *given = np_sprintf(m->arena, "%s/missing.config", m->folder);
    const struct nextport_sighting *s = look_at(m, NULL, given);
    assert_int_equal(s->sight, NEXTPORT_UNREADABLE);
    assert_int_equal(s->policy, NEXTPORT_REQUIRE);
    assert_non_null(strstr(s->why, "missing.config"));
    assert_non_null(s->hint);
}

static void a_file_that_may_not_be_read_is_unreadable(void **state)
{
    struct machine *m = *state;
    put(m, "/a.config", ONE_SITE(49001));
    const char *given = np_sprintf(m->arena, "%s/a.config", m->folder);
    if (!scratch_deny(m->folder, given)) {
        print_message("# this system lets us read what everyone is denied\n");
        skip();
    }
    const struct nextport_sighting *s = look_at(m, NULL, given);
    scratch_permit(given);
    assert_int_equal(s->sight, NEXTPORT_UNREADABLE);
    assert_non_null(strstr(s->hint, np_host_words.elevate));
}

static void a_half_written_file_is_unreadable_and_its_claims_are_there_once(void **state)
{
    struct machine *m = *state;
    char text[] = ONE_SITE(49001);
    text[sizeof text - 5] = '\0';
    put(m, "/a.config", text);
    const struct nextport_sighting *s = look_at(m, NULL, np_sprintf(m->arena, "%s/a.config", m->folder));
    assert_int_equal(s->sight, NEXTPORT_UNREADABLE);
    assert_non_null(strstr(s->why, "/a.config:1:"));
    assert_true(claimed(m, 49001));
    assert_int_equal(m->evidence.n_claims, 2);
}

static void a_shared_configuration_below_the_root_is_read_instead(void **state)
{
    struct machine *m = *state;
    put(m, "/Windows/System32/inetsrv/config/applicationHost.config", ONE_SITE(49001));
    put(m, "/Windows/System32/inetsrv/config/Redirection.config",
        "<configuration><configurationRedirection enabled='true' path='C:\\Shared\\IIS'/></configuration>");
    put(m, "/shared/iis/applicationhost.config", ONE_SITE(49002));
    assert_int_equal(look_at(m, m->folder, NULL)->sight, NEXTPORT_SEEN);
    assert_false(claimed(m, 49001));
    assert_true(claimed(m, 49002));
    assert_non_null(strstr(m->log.notes[0].text, "one ledger"));
}

static void a_file_seen_does_not_outweigh_one_that_is_not(void **state)
{
    struct machine *m = *state;
    put(m, "/Windows/System32/inetsrv/config/applicationHost.config", ONE_SITE(49001));
    assert_int_equal(look_at(m, m->folder, "/nowhere/a.config")->sight, NEXTPORT_UNREADABLE);
    assert_true(claimed(m, 49001));
}

#define MACHINE_TEST(name) cmocka_unit_test_setup_teardown(name, make_machine, end_machine)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sample_says_what_its_claims_say),
        cmocka_unit_test(a_file_included_again_is_read_again_once),
        cmocka_unit_test(a_file_that_changed_when_it_is_included_again_is_looked_at_anew),
        cmocka_unit_test(a_denied_redirection_is_unreadable_and_says_how_to_read_it),
        cmocka_unit_test(ten_thousand_sites_are_all_seen),
        cmocka_unit_test(defaults_that_multiply_beyond_reason_are_unreadable),
        cmocka_unit_test(a_file_beyond_the_bound_is_unreadable),
        MACHINE_TEST(a_machine_without_iis_is_absent),
        MACHINE_TEST(a_root_without_iis_is_absent),
        MACHINE_TEST(the_live_file_is_found_whatever_its_case),
        MACHINE_TEST(a_given_file_is_read_beside_the_live_one),
        MACHINE_TEST(a_given_file_that_is_missing_is_unreadable),
        MACHINE_TEST(a_file_that_may_not_be_read_is_unreadable),
        MACHINE_TEST(a_half_written_file_is_unreadable_and_its_claims_are_there_once),
        MACHINE_TEST(a_shared_configuration_below_the_root_is_read_instead),
        MACHINE_TEST(a_file_seen_does_not_outweigh_one_that_is_not),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
