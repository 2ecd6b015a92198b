/* Where Podman is told to keep its containers: what is taken of a storage.conf, and what is not understood. That Podman takes
 * the keys so was asked of release 4.3.1.
 * SPDX-License-Identifier: MIT */
#include "source/podman_storage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect(const char *text, const char *graphroot, const char *rootless_path)
{
    struct np_arena *arena = np_arena_new();
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_podman_storage said;
    assert_int_equal(np_podman_storage_read(arena, "f", np_text_of(text), &said, &err), NEXTPORT_OK);
    assert_true(np_equal(said.graphroot, graphroot));
    assert_true(np_equal(said.rootless_path, rootless_path));
    np_arena_free(arena);
}

static void the_keys_of_the_section_are_taken_however_they_are_written(void **state)
{
    (void)state;
    expect("", NULL, NULL);
    expect("[storage]\ndriver=\"vfs\"\ngraphroot = \"/srv/x\" # here\nrootless_storage_path='/srv/$USER'\n", "/srv/x",
           "/srv/$USER");
    expect("\r\n[ storage ] # s\r\n\tGraphRoot\t=\t'/a\\b'\r\n", "/a\\b", NULL);
    expect("storage.graphroot=\"/a \\\"b\\\\\"", "/a \"b\\", NULL);
    expect("\"storage\" . 'graphroot' = \"\"", "", NULL);
    expect(
        "[storage]\n\"graphroot\" = \"/a\"\n[storage.options]\nadditionalimagestores = [ # more\n  \"/b\", '/c]',\n]\n"
        "graphroot = \"/d\"\nx = {a = \"}\", b=[1,{}]}\n[[storage.y]]\nz = "
        "\"\"\"\n[storage]\ngraphroot=\"/e\"\n\"\"\"\n"
        "n = 1979-05-27 07:32:00\nt = true",
        "/a", NULL);
    expect("# graphroot = \"/a\"\n[other]\ngraphroot = \"/a\"\n#[storage]\nstorage.graphroot = \"/b\"\n", NULL, NULL);
}

static void what_is_not_understood_is_said_with_its_line(void **state)
{
    static const char *const texts[] = {"graphroot = \"/a\n", "graphroot = [\n\"/a\"",
                                        "graphroot = 7\n",    "graphroot = \"/a\" \"/b\"\n",
                                        "graphroot \"/a\"\n", "= \"/a\"\n",
                                        "x = \"\"\"\n",       "x = ]\n",
                                        "x = [ 1, 'a\n",      "[storage\n",
                                        "[[storage]\n",       "\xef\xbb\xbfx=1\n"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct np_arena *arena = np_arena_new();
        struct nextport_error err = NEXTPORT_ERROR_INIT;
        struct np_podman_storage said;
        const char *text = np_sprintf(arena, "[storage]\nrunroot = \"/r\"\n%s", texts[i]);
        assert_int_equal(np_podman_storage_read(arena, "f", np_text_of(text), &said, &err), NEXTPORT_BLIND);
        assert_memory_equal(err.text, "f:", strlen("f:"));
        np_arena_free(arena);
    }
    struct np_arena *arena = np_arena_new();
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_podman_storage said;
    const char *text = "[a]\nstorage = 1\n[b]\nx = 1 # y\n\n[c";
    assert_int_equal(np_podman_storage_read(arena, "f", np_text_of(text), &said, &err), NEXTPORT_BLIND);
    assert_string_equal(err.text, "f:6: a section's name that does not end");
    text = "storage = {graphroot = \"/a\"}";
    assert_int_equal(np_podman_storage_read(arena, "f", np_text_of(text), &said, &err), NEXTPORT_BLIND);
    np_arena_free(arena);
}

static void variables_are_filled_in_where_they_are_known(void **state)
{
    static const struct np_podman_place place = {.home = "/home/*", .uid = "1000"};
    static const struct {
        const char *path, *glob;
    } paths[] = {{"/srv/x", "/srv/x"},
                 {"/srv/[x]*", "/srv/\\[x]\\*"},
                 {"$HOME/a", "/home/*/a"},
                 {"/srv/${UID}-$UID", "/srv/1000-1000"},
                 {"/srv/$USER", NULL},
                 {"/srv/$OTHER", NULL},
                 {"/srv/${UID", NULL},
                 {"/srv/$", NULL},
                 {"srv", NULL}};
    struct np_arena *arena = np_arena_new();
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        assert_true(np_equal(np_podman_storage_glob(arena, paths[i].path, &place), paths[i].glob));
    np_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_keys_of_the_section_are_taken_however_they_are_written),
        cmocka_unit_test(what_is_not_understood_is_said_with_its_line),
        cmocka_unit_test(variables_are_filled_in_where_they_are_known),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
