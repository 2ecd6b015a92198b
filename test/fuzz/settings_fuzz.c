/* The configuration file's reader on any bytes; seeds: test/settings.
 * SPDX-License-Identifier: MIT */
#include "core/settings.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct np_policy_setting policies[] = {{"probe", NEXTPORT_REQUIRE, true},
                                                        {"iis", NEXTPORT_REQUIRE, false}};
    static const char *const formats[] = {"plain", "json", "auto", NULL};
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct np_arena *arena = np_arena_new();
    struct np_settings settings;
    np_settings_init(&settings, arena, policies, 2, formats);
    struct nextport_item *items;
    size_t n;
    np_settings_parse(&settings, "fuzz", (struct np_text){(const char *)data, size}, &err);
    np_settings_items(&settings, arena, &items, &n);
    np_arena_free(arena);
    return 0;
}
