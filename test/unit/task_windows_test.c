/* The scheduled task: its definition, the program it may run, and what the scheduler is told.
 * SPDX-License-Identifier: MIT */
#include "host/windows/task.h"

#include "host/windows/guard.h"
#include <expat.h>
#include <sddl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

#include <cmocka.h>

static int make_arena(void **state)
{
    *state = np_arena_new();
    return 0;
}

static int drop_arena(void **state)
{
    np_arena_free(*state);
    return 0;
}

/* ---- The definition, read as the scheduler does: by an XML parser ------------------------------------------------ */

struct reading {
    struct np_arena *arena;
    struct np_buf path, found; /* "/Task/Actions/Exec/Command=text" lines */
};

static void XMLCALL element_begins(void *ctx, const char *name, const char **attributes)
{
    struct reading *reading = ctx;
    (void)attributes;
    np_buf_printf(&reading->path, "/%s", name);
    np_buf_printf(&reading->found, "\n%s=", reading->path.ptr);
}

static void XMLCALL element_ends(void *ctx, const char *name)
{
    struct reading *reading = ctx;
    reading->path.len -= strlen(name) + 1;
    reading->path.ptr[reading->path.len] = '\0';
}

static void XMLCALL text_comes(void *ctx, const char *text, int n)
{
    struct reading *reading = ctx;
    np_buf_add(&reading->found, text, (size_t)n);
}

static const char *read_xml(struct np_arena *arena, const char *xml)
{
    struct reading reading = {.arena = arena, .path.arena = arena, .found.arena = arena};
    XML_Parser parser = XML_ParserCreate("UTF-8"); /* it is UTF-16 only once it is stored */
    assert_non_null(parser);
    XML_SetUserData(parser, &reading);
    XML_SetElementHandler(parser, element_begins, element_ends);
    XML_SetCharacterDataHandler(parser, text_comes);
    if (XML_Parse(parser, xml, (int)strlen(xml), XML_TRUE) != XML_STATUS_OK)
        fail_msg("line %lu: %s", XML_GetCurrentLineNumber(parser), XML_ErrorString(XML_GetErrorCode(parser)));
    XML_ParserFree(parser);
    return reading.found.ptr;
}

static void assert_has(const char *found, const char *line)
{
    if (!strstr(found, line))
        fail_msg("no '%s' in:%s", line, found);
}

static void the_definition_runs_a_sweep_every_hour_as_system(void **state)
{
    const char *found = read_xml(*state, np_task_xml(*state, "C:\\Program Files\\nextport\\nextport.exe"));
    assert_has(found, "\n/Task/Actions/Exec/Command=\"C:\\Program Files\\nextport\\nextport.exe\"");
    assert_has(found, "\n/Task/Actions/Exec/Arguments=sweep --quiet\n");
    assert_has(found, "\n/Task/Triggers/TimeTrigger/Repetition/Interval=PT1H\n");
    assert_has(found, "\n/Task/Principals/Principal/UserId=S-1-5-18\n");
    assert_has(found, "\n/Task/Settings/MultipleInstancesPolicy=IgnoreNew\n");
    assert_has(found, "\n/Task/Settings/StartWhenAvailable=true\n");
    assert_has(found, "\n/Task/Settings/ExecutionTimeLimit=PT5M\n");
}

static void a_path_stays_text_whatever_is_in_it(void **state)
{
    static const char path[] = "C:\\R&D <x>\\it's ]]> Gr\xC3\xBC\xC3\x9F"
                               "e\\nextport.exe";
    const char *found = read_xml(*state, np_task_xml(*state, path));
    assert_has(found, np_sprintf(*state, "\n/Task/Actions/Exec/Command=\"%s\"", path));
    assert_null(strstr(found, "/Task/x"));
}

static struct np_text stored(struct np_arena *arena, const char *program)
{
    const wchar_t *text = np_wide(arena, np_task_xml(arena, program));
    return (struct np_text){(const char *)text, wcslen(text) * sizeof *text};
}

static void a_definition_is_known_by_the_program_it_runs(void **state)
{
    static const char one[] = "C:\\R&D Gr\xC3\xBC\xC3\x9F"
                              "e\\nextport.exe";
    struct np_text kept = stored(*state, one);
    assert_true(np_task_runs(*state, kept, one));
    assert_false(np_task_runs(*state, kept, "C:\\R&D\\nextport.exe"));
    assert_false(np_task_runs(*state, kept, "nextport.exe")); /* only its end */
    assert_false(np_task_runs(*state, (struct np_text){"", 0}, one));
    char *xml = np_strdup(*state, np_task_xml(*state, one)), *user = strstr(xml, "S-1-5-18");
    assert_non_null(user);
    memcpy(user, "S-1-5-19", strlen("S-1-5-19")); /* as another user */
    const wchar_t *text = np_wide(*state, xml);
    assert_false(np_task_runs(*state, (struct np_text){(const char *)text, wcslen(text) * sizeof *text}, one));
}

/* ---- The program ------------------------------------------------------------------------------------------------ */

static void open_up(const char *folder)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    PSECURITY_DESCRIPTOR weak = NULL;
    bool changed = false;
    assert_true(ConvertStringSecurityDescriptorToSecurityDescriptorW(L"D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;WD)",
                                                                     SDDL_REVISION_1, &weak, NULL));
    if (np_guard_apply(folder, weak, &changed, &err) != NEXTPORT_OK)
        fail_msg("%s", err.text);
    LocalFree(weak);
    assert_true(changed);
}

/* A folder of the test's own, as the machine's are made or open to all users, with an empty program in it. */
static const char *make_program(struct np_arena *arena, const char *name, bool open_to_all)
{
    char *folder = np_sprintf(arena, "C:/nextport-test-%lu-%s", GetCurrentProcessId(), name);
    char *file = np_sprintf(arena, "%s/nextport.exe", folder);
    SECURITY_ATTRIBUTES promised = {.nLength = sizeof promised};
    promised.lpSecurityDescriptor = np_guard_promise(arena, NP_PLACE_MACHINE, NP_PROMISED_FOLDER, NULL);
    assert_true(CreateDirectoryW(np_wide_path(arena, folder), &promised));
    if (open_to_all)
        open_up(folder);
    HANDLE handle = CreateFileW(np_wide_path(arena, file), GENERIC_WRITE, 0, NULL, CREATE_NEW, 0, NULL);
    assert_true(handle != INVALID_HANDLE_VALUE);
    CloseHandle(handle);
    return file;
}

static void drop_program(struct np_arena *arena, const char *file)
{
    char *folder = np_strdup(arena, file);
    *strrchr(folder, '/') = '\0';
    assert_true(DeleteFileW(np_wide_path(arena, file)));
    assert_true(RemoveDirectoryW(np_wide_path(arena, folder))); /* so nothing else was left in it */
}

static void assert_refused(struct np_arena *arena, const char *program, PSID user)
{
    const char *why = np_task_refusal(arena, program, user);
    if (!why)
        fail_msg("%s is accepted", program);
    assert_non_null(strstr(why, "%ProgramFiles%\\nextport"));
}

static void a_program_that_is_not_there_or_oddly_placed_is_refused(void **state)
{
    PSID user = np_guard_user(*state);
    assert_refused(*state, "C:/nextport.exe", user);
    assert_refused(*state, "C:/100%/nextport.exe", user);
    assert_refused(*state, "C:/no-such-folder/nextport.exe", user);
}

static void a_program_that_others_can_replace_is_refused(void **state)
{
    PSID user = np_guard_user(*state);
    const char *sound = make_program(*state, "sound", false), *weak = make_program(*state, "weak", true);
    const char *why = np_task_refusal(*state, sound, user);
    if (why)
        fail_msg("%s", why);
    assert_refused(*state, weak, user);
    drop_program(*state, sound);
    drop_program(*state, weak);
}

/* ---- The scheduler ---------------------------------------------------------------------------------------------- */

static bool is_scheduled(void)
{
    struct np_arena *arena = np_arena_new();
    bool there =
        np_host_exists(np_sprintf(arena, "%s/Tasks/nextport sweep", np_narrow(arena, np_system_folder(arena))));
    np_arena_free(arena);
    return there;
}

static void the_task_is_made_replaced_for_another_program_and_removed(void **state)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_task task;
    bool changed;
    /* a machine in use has a task that is not ours to remove */
    if (!GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "wine_get_version"))
        skip();
    const char *one = make_program(*state,
                                   "R&D Gr\xC3\xBC\xC3\x9F"
                                   "e",
                                   false);
    const char *other = make_program(*state, "other", false);
    assert_false(is_scheduled());
    if (np_task_register(*state, one, &changed, &err) != NEXTPORT_OK)
        fail_msg("%s", err.text);
    assert_true(changed && is_scheduled());
    assert_int_equal(np_task_register(*state, other, &changed, &err), NEXTPORT_OK);
    assert_true(changed && is_scheduled());
    assert_int_equal(np_host_remove_task(*state, &task, &err), NEXTPORT_OK);
    assert_true(task.changed && !is_scheduled());
    assert_string_equal(task.name, "nextport sweep");
    assert_int_equal(np_host_remove_task(*state, &task, &err), NEXTPORT_OK);
    assert_false(task.changed);
    drop_program(*state, one);
    drop_program(*state, other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_definition_runs_a_sweep_every_hour_as_system, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(a_path_stays_text_whatever_is_in_it, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(a_definition_is_known_by_the_program_it_runs, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(a_program_that_is_not_there_or_oddly_placed_is_refused, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(a_program_that_others_can_replace_is_refused, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(the_task_is_made_replaced_for_another_program_and_removed, make_arena,
                                        drop_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
