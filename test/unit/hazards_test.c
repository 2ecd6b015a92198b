/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/hazards.h"
#include "host/host.h"

static void what_browsers_do_not_open_is_in_order_and_each_port_once(void **state)
{
    (void)state;
    struct np_portset set = {{0}};
    np_hazards_browser(&set);
    assert_int_equal(np_portset_count(&set), np_n_browser_blocked);
    for (unsigned i = 1; i < np_n_browser_blocked; i++)
        assert_true(np_browser_blocked[i - 1] < np_browser_blocked[i]);
    assert_int_equal(np_n_browser_blocked, 82);
    assert_true(np_portset_has(&set, 6667) && np_portset_has(&set, 10080) && np_portset_has(&set, 1));
    assert_false(np_portset_has(&set, 80) || np_portset_has(&set, 443) || np_portset_has(&set, 8080));
}

static void the_ports_of_services_are_read_and_everything_else_is_passed_over(void **state)
{
    (void)state;
    static const struct {
        const char *text, *ports;
    } rows[] = {
        {"", ""},
        {"\n\n# http 80/tcp\n", ""},
        {"http\t80/tcp\twww # WorldWideWeb\nhttps 443/tcp\ndomain 53/udp", "53,80,443"},
        {"  http   80/TCP\r\nntp 123/Udp\r\n", "80,123"},
        {"a 1/tcp#x\nb 65535/udp", "1,65535"},
        {"a 0/tcp\nb 65536/tcp\nc -1/tcp\nd 99999999999999999999/tcp", ""},
        {"a 5/sctp\nb 6/ddp\nc 7/\nd /tcp\ne 8\nf tcp/9\n10/tcp\n# g 11/tcp\nh # 12/tcp", ""},
        {"a 13/tcp/udp\nb 14/tcpx\nc 1 5/tcp\nd 16,17/tcp\ne 18-19/tcp", ""},
        {"\xff\xfe 20/tcp\n\xef\xbb\xbf"
         "a 21/tcp",
         "20-21"},
    };
    struct np_arena *arena = np_arena_new();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct np_portset set = {{0}};
        np_hazards_services(&set, np_text_of(rows[i].text));
        assert_string_equal(np_portset_format(arena, &set), rows[i].ports);
    }
    struct np_portset set = {{0}};
    np_hazards_services(&set, (struct np_text){"a\0b 22/tcp\nc 23/tcp\0", 20});
    np_hazards_services(&set, (struct np_text){NULL, 0});
    assert_string_equal(np_portset_format(arena, &set), "22");
    np_arena_free(arena);
}

static void the_system_has_a_place_for_its_services(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    const char *path = np_host_services_file(arena);
    const size_t n = strlen(path), m = strlen("etc/services");
    assert_true(n > m && strcmp(path + n - m, "etc/services") == 0);
    np_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_browsers_do_not_open_is_in_order_and_each_port_once),
        cmocka_unit_test(the_ports_of_services_are_read_and_everything_else_is_passed_over),
        cmocka_unit_test(the_system_has_a_place_for_its_services),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
