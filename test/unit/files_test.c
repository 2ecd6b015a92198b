/* The reader: what is read, what is refused, and that nothing leads out of an image.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "lib/image.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { NOBODY = 65534, PATIENCE = 200 };

/* In a folder that everyone may pass, so that what is denied is denied by the image. */
static int make_image(void **state)
{
    image_make(state);
    const struct image *image = *state;
    assert_int_equal(chmod(image->top, 0755), 0);
    return 0;
}

static void add_link(const struct image *image, const char *path, const char *target)
{
    assert_int_equal(symlink(target, image_in(image, path)), 0);
}

/* ---- Reading ---------------------------------------------------------------------------------------------------- */

static void a_file_is_read_whole(void **state)
{
    struct image *image = *state;
    char *long_text = np_alloc(image->arena, IMAGE_LIMIT + 1);
    memset(long_text, 'x', IMAGE_LIMIT);
    image_add_file(image, "/etc/empty", "");
    image_add_file(image, "/etc/short", "port 49000\n");
    image_add_file(image, "/etc/long", long_text);
    image_reads(image, "/etc/empty", "");
    image_reads(image, "/etc/short", "port 49000\n");
    image_reads(image, "/etc/long", long_text);
    assert_string_equal(np_reader_shown(image->reader, "/etc/short"), image_in(image, "/etc/short"));
}

static void what_is_no_file_is_refused_by_its_kind_and_nothing_waits(void **state)
{
    struct image *image = *state;
    char *too_long = np_alloc(image->arena, IMAGE_LIMIT + 2);
    memset(too_long, 'x', IMAGE_LIMIT + 1);
    image_add_file(image, "/etc/long", too_long);
    assert_int_equal(mkfifo(image_in(image, "/etc/fifo"), 0644), 0);
    add_link(image, "/etc/loop", "loop");
    image_refuses(image, "/etc/none", NP_READ_ABSENT, "no such file or directory");
    image_refuses(image, "/etc/fifo/none", NP_READ_ABSENT, "not a directory");
    image_refuses(image, "/etc", NP_READ_BAD, "a folder, not a file");
    image_refuses(image, "/etc/fifo", NP_READ_BAD, "a FIFO, not a file");
    image_refuses(image, "/etc/long", NP_READ_BAD, "larger than 65536 bytes, the most that is read");
    image_refuses(image, "/etc/loop", NP_READ_BAD, "too many levels of symbolic links");
}

/* Has anybody opened it since? */
static bool was_opened(int watch)
{
    char event[sizeof(struct inotify_event) + NAME_MAX + 1];
    const ssize_t n = read(watch, event, sizeof event);
    assert_true(n > 0 || errno == EAGAIN);
    return n > 0;
}

static void what_is_no_file_is_not_even_opened(void **state)
{
    struct image *image = *state;
    const int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    assert_true(watch >= 0);
    assert_int_equal(mkfifo(image_in(image, "/etc/fifo"), 0644), 0);
    assert_true(inotify_add_watch(watch, image_in(image, "/etc/fifo"), IN_OPEN) >= 0);
    add_link(image, "/etc/link", "fifo");
    image_refuses(image, "/etc/link", NP_READ_BAD, "a FIFO, not a file");
    image_open_reader(image, NULL);
    image_refuses(image, image_in(image, "/etc/link"), NP_READ_BAD, "a FIFO, not a file");
    assert_false(was_opened(watch));
    close(open(image_in(image, "/etc/fifo"), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    assert_true(was_opened(watch));
    close(watch);
}

static void links_of_the_kernel_are_not_followed(void **state)
{
    struct image *image = *state;
    const char *why;
    image_add_file(image, "/etc/file", "x");
    const int file = open(image_in(image, "/etc/file"), O_RDONLY | O_CLOEXEC);
    assert_true(file >= 0);
    image_open_reader(image, NULL);
    assert_int_equal(image_read(image, np_sprintf(image->arena, "/proc/self/fd/%d", file), &why), NP_READ_BAD);
    close(file);
}

static void a_device_is_refused(void **state)
{
    struct image *image = *state;
    image_open_reader(image, NULL);
    image_refuses(image, "/dev/zero", NP_READ_BAD, "a device, not a file");
}

static void a_file_that_may_not_be_read_is_not_absent(void **state)
{
    struct image *image = *state;
    if (geteuid() != 0)
        skip();
    const char *why = NULL, *why_below = NULL;
    image_add_file(image, "/etc/private", "x");
    image_add_folder(image, "/etc/closed");
    assert_int_equal(chmod(image_in(image, "/etc/private"), 0600) | chmod(image_in(image, "/etc/closed"), 0700), 0);
    assert_int_equal(seteuid(NOBODY), 0);
    enum np_read outcome = image_read(image, "/etc/private", &why);
    enum np_read below = image_read(image, "/etc/closed/x", &why_below);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(outcome, NP_READ_DENIED);
    assert_int_equal(below, NP_READ_DENIED);
    assert_string_equal(why, "permission denied");
}

static void a_file_that_does_not_say_its_size_is_read_whole(void **state)
{
    struct image *image = *state;
    struct np_text text;
    const char *why;
    image_open_reader(image, NULL);
    assert_int_equal(np_reader_read(image->reader, "/proc/self/status", IMAGE_LIMIT, &text, &why), NP_READ_OK);
    assert_true(text.len > 100);
    assert_int_equal(np_reader_read(image->reader, "/proc/self/status", 100, &text, &why), NP_READ_BAD);
}

/* ---- The root --------------------------------------------------------------------------------------------------- */

static void no_link_leads_out_of_the_root(void **state)
{
    struct image *image = *state;
    image_add_file(image, "/etc/inside", "inside");
    add_link(image, "/etc/absolute", "/etc/inside");
    add_link(image, "/etc/up", "../../../../etc/inside");
    add_link(image, "/etc/out", "../../secret");
    add_link(image, "/etc/passwd", "/etc/passwd-of-the-host");
    add_link(image, "/etc/folder", "/../..");
    add_link(image, "/etc/proc", "/proc/self/root/etc/passwd");
    image_reads(image, "/etc/absolute", "inside");
    image_reads(image, "/etc/up", "inside");
    image_reads(image, "/../../etc/inside", "inside");
    image_reads(image, "/etc/folder/etc/inside", "inside");
    image_refuses(image, "/etc/out", NP_READ_ABSENT, "no such file or directory");
    image_refuses(image, "/../secret", NP_READ_ABSENT, "no such file or directory");
    image_refuses(image, "/etc/folder/secret", NP_READ_ABSENT, "no such file or directory");
    image_refuses(image, "/etc/passwd", NP_READ_ABSENT, "no such file or directory");
    image_refuses(image, "/etc/proc", NP_READ_ABSENT, "no such file or directory");
}

/* /proc/PID/root and /proc/PID/cwd are links that no path resolution confines. */
static void links_of_the_kernel_are_not_followed_in_an_image(void **state)
{
    struct image *image = *state;
    const char *why = NULL;
    image_open_reader(image, "/");
    assert_int_equal(image_read(image, "/proc/self/root/etc/passwd", &why), NP_READ_BAD);
}

static void a_root_that_is_none_is_refused(void **state)
{
    struct image *image = *state;
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_reader *reader;
    assert_int_equal(np_reader_open(&reader, "/nowhere", image->arena, &err), NEXTPORT_INPUT);
    assert_string_equal(err.text, "open root '/nowhere': no such file or directory");
    image_add_file(image, "/etc/file", "");
    assert_int_equal(np_reader_open(&reader, image_in(image, "/etc/file"), image->arena, &err), NEXTPORT_INPUT);
}

static void a_root_with_a_slash_is_shown_with_one(void **state)
{
    struct image *image = *state;
    image_open_reader(image, image_in(image, "/"));
    assert_string_equal(np_reader_shown(image->reader, "/etc"), image_in(image, "/etc"));
    image_open_reader(image, "/");
    assert_string_equal(np_reader_shown(image->reader, "/etc"), "/etc");
}

/* ---- Names without regard to case ------------------------------------------------------------------------------- */

static void names_are_found_without_regard_to_case(void **state)
{
    struct image *image = *state;
    image_add_folder(image, "/WINDOWS");
    image_add_folder(image, "/WINDOWS/System32");
    image_add_file(image, "/WINDOWS/System32/ApplicationHost.Config", "");
    image_add_file(image, "/etc/b", "");
    image_add_file(image, "/etc/B", "");
    assert_string_equal(image_find(image, "/windows/system32/applicationhost.config"),
                        "/WINDOWS/System32/ApplicationHost.Config");
    assert_string_equal(image_find(image, "//Windows//SYSTEM32/"), "/WINDOWS/System32");
    assert_string_equal(image_find(image, "/ETC/b"), "/etc/b");
    assert_string_equal(image_find(image, "/ETC/B"), "/etc/B");
    assert_null(image_find(image, "/windows/none/applicationhost.config"));
    assert_null(image_find(image, "/etc/b/below-a-file"));
}

static void an_unreadable_folder_on_the_way_is_said(void **state)
{
    struct image *image = *state;
    if (geteuid() != 0)
        skip();
    image_add_folder(image, "/Closed");
    assert_int_equal(chmod(image_in(image, "/Closed"), 0700), 0);
    const char *why = NULL;
    assert_int_equal(seteuid(NOBODY), 0);
    const char *name = np_reader_find_nocase(image->reader, "/closed/file", &why);
    assert_int_equal(seteuid(0), 0);
    assert_null(name);
    assert_string_equal(why, image_in(image, "/Closed: permission denied"));
}

/* ---- Globs ------------------------------------------------------------------------------------------------------ */

static void globs_match_below_the_root_in_order(void **state)
{
    struct image *image = *state;
    image_add_folder(image, "/etc/sites");
    image_add_folder(image, "/etc/sites/dir");
    image_add_file(image, "/etc/sites/b.conf", "");
    image_add_file(image, "/etc/sites/a.conf", "");
    image_add_file(image, "/etc/sites/.hidden.conf", "");
    image_add_file(image, "/etc/sites/c.txt", "");
    image_add_file(image, "/etc/sites/dir/d.conf", "");
    add_link(image, "/etc/enabled", "/etc/sites");
    add_link(image, "/etc/sites/gone.conf", "/nowhere");
    assert_string_equal(image_match(image, "/etc/sites/[ab].conf"), " /etc/sites/a.conf /etc/sites/b.conf");
    assert_string_equal(image_match(image, "/etc/enabled/[ab].conf"), " /etc/enabled/a.conf /etc/enabled/b.conf");
    assert_string_equal(image_match(image, "/e?c//s*/*/*.conf"), " /etc/sites/dir/d.conf");
    assert_string_equal(image_match(image, "/etc/sites/c.txt"), " /etc/sites/c.txt");
    assert_string_equal(image_match(image, "/etc/sites/none"), "");
    assert_string_equal(image_match(image, "/etc/sites/g*.conf"), " /etc/sites/gone.conf"); /* who opens it is told */
    assert_string_equal(image_match(image, "/etc/s*/gone.conf"), "");
    assert_string_equal(image_match(image, "/*/../../secret"), "");
    assert_string_equal(image_match(image, "/etc/sites/a.conf/*"), "");
}

static void a_glob_says_what_it_could_not_look_into(void **state)
{
    struct image *image = *state;
    if (geteuid() != 0)
        skip();
    image_add_folder(image, "/etc/closed");
    image_add_folder(image, "/etc/open");
    image_add_file(image, "/etc/open/a", "");
    assert_int_equal(chmod(image_in(image, "/etc/closed"), 0700), 0);
    assert_int_equal(seteuid(NOBODY), 0);
    const char *all = image_match(image, "/etc/*/*");
    assert_int_equal(seteuid(0), 0);
    assert_string_equal(all, np_sprintf(image->arena, "%s/etc/closed: permission denied /etc/open/a", image->root));
}

/* ---- Changes ---------------------------------------------------------------------------------------------------- */

static void watch(struct image *image)
{
    image_add_file(image, "/etc/watched", "one");
    image_add_folder(image, "/etc/sites");
    assert_true(image_settles(image));
}

/* Again where the machine was too busy to read it at once. */
static void what_was_written_just_now_counts_as_changed(void **state)
{
    struct image *image = *state;
    bool changed = false;
    for (int i = 0; i < PATIENCE && !changed; i++) {
        image_add_file(image, "/etc/watched", "one");
        image_reads(image, "/etc/watched", "one");
        changed = np_reader_changed(image->reader);
    }
    assert_true(changed);
}

static void a_file_written_again_is_noticed(void **state)
{
    struct image *image = *state;
    watch(image);
    image_add_file(image, "/etc/watched", "two");
    assert_true(np_reader_changed(image->reader));
    assert_true(image_settles(image));
}

static void a_file_put_in_the_place_of_another_is_noticed(void **state)
{
    struct image *image = *state;
    watch(image);
    image_add_file(image, "/etc/other", "one");
    assert_int_equal(rename(image_in(image, "/etc/other"), image_in(image, "/etc/watched")), 0);
    assert_true(np_reader_changed(image->reader));
}

static void a_file_that_was_absent_is_noticed_when_it_comes(void **state)
{
    struct image *image = *state;
    watch(image);
    image_add_file(image, "/etc/none", "");
    assert_true(np_reader_changed(image->reader));
}

static void a_file_that_goes_is_noticed(void **state)
{
    struct image *image = *state;
    watch(image);
    assert_int_equal(unlink(image_in(image, "/etc/watched")), 0);
    assert_true(np_reader_changed(image->reader));
}

static void a_new_name_in_a_folder_that_was_searched_is_noticed(void **state)
{
    struct image *image = *state;
    watch(image);
    image_add_file(image, "/etc/sites/new", "");
    assert_true(np_reader_changed(image->reader));
}

static void a_reader_that_read_nothing_has_nothing_to_notice(void **state)
{
    struct image *image = *state;
    assert_false(np_reader_changed(image->reader));
}

/* ---- Lists ---------------------------------------------------------------------------------------------------- */

static const char *list_of(struct image *image, const char *folder, enum np_read expected)
{
    static const char *const kinds[] = {"file", "folder", "link", "other", "unknown"};
    const struct np_entry *entries;
    struct np_buf out = {.arena = image->arena};
    const char *why;
    size_t n;
    np_buf_add(&out, "", 0);
    assert_int_equal(np_reader_list(image->reader, folder, &entries, &n, &why), expected);
    assert_true((why != NULL) == (expected != NP_READ_OK));
    for (size_t i = 0; i < n; i++)
        np_buf_printf(&out, "%s %s %s\n", kinds[entries[i].kind], entries[i].name,
                      entries[i].link ? entries[i].link : "-");
    return out.ptr;
}

static void a_folder_is_listed_in_order_with_what_its_links_say(void **state)
{
    struct image *image = *state;
    image_add_file(image, "/etc/b", "x");
    image_add_folder(image, "/etc/c.d");
    add_link(image, "/etc/a", "/nowhere/at all");
    add_link(image, "/etc/d", "b");
    assert_int_equal(mkfifo(image_in(image, "/etc/.pipe"), 0600), 0);
    assert_string_equal(list_of(image, "/etc", NP_READ_OK),
                        "other .pipe -\nlink a /nowhere/at all\nfile b -\nfolder c.d -\nlink d b\n");
    assert_string_equal(list_of(image, "/missing", NP_READ_ABSENT), "");
    assert_string_equal(list_of(image, "/etc/b", NP_READ_ABSENT), "");
    add_link(image, "/out", "../..");
    assert_string_equal(list_of(image, "/out", NP_READ_OK), "folder etc -\nlink out ../..\n");
}

static void two_names_of_one_folder_are_the_same(void **state)
{
    struct image *image = *state;
    image_add_folder(image, "/usr");
    add_link(image, "/lib", "usr");
    assert_true(np_reader_is_same(image->reader, "/lib", "/usr"));
    assert_false(np_reader_is_same(image->reader, "/etc", "/usr"));
    assert_false(np_reader_is_same(image->reader, "/missing", "/missing"));
}

static void a_new_name_in_a_folder_that_was_listed_is_noticed(void **state)
{
    struct image *image = *state;
    bool changed = true;
    for (int i = 0; i < PATIENCE && changed; i++) {
        np_host_pause_ms(5);
        image_open_reader(image, image->root);
        list_of(image, "/etc", NP_READ_OK);
        changed = np_reader_changed(image->reader);
    }
    assert_false(changed);
    assert_null(strstr(list_of(image, "/etc", NP_READ_OK), "new"));
    image_add_file(image, "/etc/new", "x");
    assert_true(np_reader_changed(image->reader));
    assert_non_null(strstr(list_of(image, "/etc", NP_READ_OK), "file new -"));
}

/* ---- From one request to the next --------------------------------------------------------------------------------- */

/* What one request asks, by a reader of this machine: a file, one that is missing, a folder's names, and whether there is a
 * program. For asker 3, and another file for asker 4. */
static void ask_all(struct image *image)
{
    const char *why;
    const struct np_entry *entries;
    size_t n;
    np_reader_ask_for(image->reader, 3);
    image_read(image, image_in(image, "/etc/watched"), &why);
    image_read(image, image_in(image, "/etc/none"), &why);
    np_reader_list(image->reader, image_in(image, "/etc/sites"), &entries, &n, &why);
    np_reader_exists(image->reader, image_in(image, "/etc/program"));
    np_reader_command_of(image->reader, image_in(image, "/etc/pid"));
    np_reader_ask_for(image->reader, 4);
    image_read(image, image_in(image, "/etc/other"), &why);
}

/* Packed, of asker 3, once it is old enough. */
static struct np_text written_down(struct image *image)
{
    struct np_buf buf = {.arena = image->arena};
    image_add_file(image, "/etc/watched", "one");
    image_add_file(image, "/etc/pid", np_sprintf(image->arena, "%d\n", (int)getpid()));
    image_add_folder(image, "/etc/sites");
    for (int i = 0; i < PATIENCE; i++) {
        image_open_reader(image, NULL);
        ask_all(image);
        buf.len = 0;
        if (np_reader_write_down(image->reader, 3, &buf))
            return (struct np_text){buf.ptr, buf.len};
        np_host_pause_ms(5);
    }
    fail_msg("it never settles");
    return (struct np_text){0};
}

static bool is_still_so(struct image *image, struct np_text written)
{
    struct np_unpack unpack = np_unpack_begin(written);
    image_open_reader(image, NULL);
    np_reader_ask_for(image->reader, 3);
    const bool is_so = np_reader_take_over(image->reader, &unpack, false);
    assert_false(unpack.broken);
    assert_true(!is_so || np_unpack_is_done(&unpack));
    /* who believes it finds out all the same */
    unpack = np_unpack_begin(written);
    image_open_reader(image, NULL);
    assert_true(np_reader_take_over(image->reader, &unpack, true));
    assert_int_equal(np_reader_changed(image->reader), !is_so);
    return is_so;
}

static void what_was_seen_is_still_so_until_anything_of_it_changes(void **state)
{
    struct image *image = *state;
    const struct np_text written = written_down(image);
    const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_true(is_still_so(image, written));
    image_add_file(image, "/etc/other", "of another asker");
    assert_true(is_still_so(image, written));
    assert_int_equal(utimensat(AT_FDCWD, image_in(image, "/etc/watched"), old, 0), 0);
    assert_false(is_still_so(image, written));
}

/* As a tool does that unpacks an archive, or one that means to hide it. */
static void a_file_with_the_size_and_times_of_the_old_one_is_another(void **state)
{
    struct image *image = *state;
    struct stat st;
    const struct np_text written = written_down(image);
    const char *path = image_in(image, "/etc/watched");
    assert_int_equal(stat(path, &st), 0);
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    image_add_file(image, "/etc/watched", "two");
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_false(is_still_so(image, written));
}

static void what_was_missing_is_noticed_when_it_comes_and_what_was_there_when_it_goes(void **state)
{
    struct image *image = *state;
    struct np_text written = written_down(image);
    image_add_file(image, "/etc/none", "");
    assert_false(is_still_so(image, written));
    assert_int_equal(unlink(image_in(image, "/etc/none")), 0);
    assert_true(is_still_so(image, written));
    image_add_file(image, "/etc/program", "");
    assert_false(is_still_so(image, written));
    assert_int_equal(unlink(image_in(image, "/etc/program")), 0);
    image_add_file(image, "/etc/sites/new", "");
    assert_false(is_still_so(image, written));
    written = written_down(image);
    assert_int_equal(unlink(image_in(image, "/etc/watched")), 0);
    assert_false(is_still_so(image, written));
}

/* For somebody who may not look there it would be as missing as before. */
static void what_was_missing_is_noticed_when_it_comes_to_where_one_may_not_look(void **state)
{
    struct image *image = *state;
    if (geteuid() != 0)
        skip();
    const struct np_text written = written_down(image);
    image_add_folder(image, "/closed");
    assert_int_equal(chmod(image_in(image, "/closed"), 0700), 0);
    assert_int_equal(seteuid(NOBODY), 0);
    const bool before = is_still_so(image, written);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(symlink(image_in(image, "/closed/file"), image_in(image, "/etc/none")), 0);
    assert_int_equal(seteuid(NOBODY), 0);
    const bool after = is_still_so(image, written);
    assert_int_equal(seteuid(0), 0);
    assert_true(before);
    assert_false(after);
    assert_int_equal(unlink(image_in(image, "/etc/none")), 0);
    assert_int_equal(symlink("none", image_in(image, "/etc/none")), 0); /* goes round */
    assert_false(is_still_so(image, written));
}

static void a_link_that_leads_nowhere_any_more_is_noticed(void **state)
{
    struct image *image = *state;
    struct np_buf buf = {.arena = image->arena};
    image_add_file(image, "/etc/target", "");
    add_link(image, "/etc/flag", "target");
    image_open_reader(image, NULL);
    assert_string_equal(image_match(image, image_in(image, "/etc/flag")),
                        np_sprintf(image->arena, " %s", image_in(image, "/etc/flag")));
    assert_true(np_reader_write_down(image->reader, 0, &buf));
    const struct np_text written = {buf.ptr, buf.len};
    assert_true(is_still_so(image, written));
    assert_int_equal(unlink(image_in(image, "/etc/target")), 0);
    assert_false(is_still_so(image, written));
}

static void a_process_that_is_another_now_is_noticed(void **state)
{
    struct image *image = *state;
    struct np_text written = written_down(image);
    image_add_file(image, "/etc/pid", np_sprintf(image->arena, "%d\n", (int)getppid()));
    assert_false(is_still_so(image, written));
    image_add_file(image, "/etc/pid", np_sprintf(image->arena, "%d", (int)getpid())); /* only what it says counts */
    assert_true(is_still_so(image, written));
}

static void a_link_that_leads_elsewhere_is_noticed(void **state)
{
    struct image *image = *state;
    image_add_file(image, "/etc/one", "same");
    image_add_file(image, "/etc/two", "same");
    add_link(image, "/etc/watched", "one");
    const struct np_text written = written_down(image);
    assert_true(is_still_so(image, written));
    assert_int_equal(unlink(image_in(image, "/etc/watched")), 0);
    add_link(image, "/etc/watched", "two");
    assert_false(is_still_so(image, written));
}

static void what_is_fresh_is_not_written_down(void **state)
{
    struct image *image = *state;
    struct np_buf buf = {.arena = image->arena};
    bool written = true;
    for (int i = 0; i < PATIENCE && written; i++) { /* again where the machine was too busy */
        image_add_file(image, "/etc/watched", "one");
        image_open_reader(image, NULL);
        ask_all(image);
        buf.len = 0;
        written = np_reader_write_down(image->reader, 3, &buf);
    }
    assert_false(written);
}

static void what_changed_while_it_was_looked_at_is_not_written_down(void **state)
{
    struct image *image = *state;
    struct np_buf buf = {.arena = image->arena};
    const char *why;
    written_down(image);
    image_add_file(image, "/etc/watched", "two");
    for (int i = 0; i < PATIENCE; i++) { /* until the later stamp alone would do */
        np_host_pause_ms(1);
        image_read(image, image_in(image, "/etc/watched"), &why);
    }
    assert_true(np_reader_changed(image->reader));
    assert_false(np_reader_write_down(image->reader, 4, &buf));
    np_reader_begin_look(image->reader);
    image_read(image, image_in(image, "/etc/watched"), &why);
    assert_true(np_reader_write_down(image->reader, 4, &buf));
}

static void what_lies_where_times_do_not_tell_is_not_written_down(void **state)
{
    struct image *image = *state;
    struct np_buf buf = {.arena = image->arena};
    const char *why;
    image_open_reader(image, NULL);
    assert_int_equal(image_read(image, "/proc/version", &why), NP_READ_OK);
    assert_false(np_reader_write_down(image->reader, 0, &buf));
    image_open_reader(image, NULL);
    assert_int_equal(image_read(image, "/proc/none/at-all", &why), NP_READ_ABSENT);
    assert_false(np_reader_write_down(image->reader, 0, &buf));
    image_open_reader(image, image->root);
    assert_false(np_reader_write_down(image->reader, 0, &buf));
}

static void what_was_written_down_is_refused_when_it_is_cut_off(void **state)
{
    struct image *image = *state;
    const struct np_text written = written_down(image);
    for (size_t n = 0; n < written.len; n++) {
        struct np_unpack unpack = np_unpack_begin((struct np_text){np_strndup(image->arena, written.ptr, n), n});
        image_open_reader(image, NULL);
        assert_false(np_reader_take_over(image->reader, &unpack, true));
        assert_false(np_reader_changed(image->reader));
    }
}

#define image_test(f) cmocka_unit_test_setup_teardown(f, make_image, image_drop)

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        image_test(a_file_is_read_whole),
        image_test(what_is_no_file_is_refused_by_its_kind_and_nothing_waits),
        image_test(what_is_no_file_is_not_even_opened),
        image_test(links_of_the_kernel_are_not_followed),
        image_test(a_device_is_refused),
        image_test(a_file_that_may_not_be_read_is_not_absent),
        image_test(a_file_that_does_not_say_its_size_is_read_whole),
        image_test(no_link_leads_out_of_the_root),
        image_test(links_of_the_kernel_are_not_followed_in_an_image),
        image_test(a_root_that_is_none_is_refused),
        image_test(a_root_with_a_slash_is_shown_with_one),
        image_test(names_are_found_without_regard_to_case),
        image_test(an_unreadable_folder_on_the_way_is_said),
        image_test(globs_match_below_the_root_in_order),
        image_test(a_glob_says_what_it_could_not_look_into),
        image_test(what_was_written_just_now_counts_as_changed),
        image_test(a_file_written_again_is_noticed),
        image_test(a_file_put_in_the_place_of_another_is_noticed),
        image_test(a_file_that_was_absent_is_noticed_when_it_comes),
        image_test(a_file_that_goes_is_noticed),
        image_test(a_new_name_in_a_folder_that_was_searched_is_noticed),
        image_test(a_folder_is_listed_in_order_with_what_its_links_say),
        image_test(two_names_of_one_folder_are_the_same),
        image_test(a_new_name_in_a_folder_that_was_listed_is_noticed),
        image_test(a_reader_that_read_nothing_has_nothing_to_notice),
        image_test(what_was_seen_is_still_so_until_anything_of_it_changes),
        image_test(a_file_with_the_size_and_times_of_the_old_one_is_another),
        image_test(what_was_missing_is_noticed_when_it_comes_and_what_was_there_when_it_goes),
        image_test(what_was_missing_is_noticed_when_it_comes_to_where_one_may_not_look),
        image_test(a_link_that_leads_nowhere_any_more_is_noticed),
        image_test(a_process_that_is_another_now_is_noticed),
        image_test(a_link_that_leads_elsewhere_is_noticed),
        image_test(what_is_fresh_is_not_written_down),
        image_test(what_changed_while_it_was_looked_at_is_not_written_down),
        image_test(what_lies_where_times_do_not_tell_is_not_written_down),
        image_test(what_was_written_down_is_refused_when_it_is_cut_off),
    };
    return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
