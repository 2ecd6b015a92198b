/* Keeping outgoing connections out of the pool: the dynamic ranges, of IPv4 and IPv6, TCP and UDP, are moved beside it by
 * netsh, which also makes that last. Never an excluded range of the pool: that would lock IIS out.
 *
 * What they were before is remembered beside the machine's ledger, so that it can be restored; and what they were changed
 * to, so that what somebody else changed since is left alone.
 * SPDX-License-Identifier: MIT */
#include "host/windows/dynamic.h"
#include "host/windows/netsh.h"
#include "host/windows/os.h"
#include "host/windows/shelf.h"

#include <string.h>

static const char file_name[] = "dynamic-ports";

/* ---- What there is ---------------------------------------------------------------------------------------------- */

struct ranges {
    struct np_dynamic rows[NP_DYNAMIC_RANGES];
    size_t n;
};

static enum nextport_status ask(struct np_arena *arena, struct np_dynamic *row, struct nextport_error *err)
{
    const char *question = np_dynamic_question(arena, row);
    struct np_text said;
    DWORD ended;
    if (np_netsh_run(arena, question, &said, &ended, NEXTPORT_BLIND, err) != NEXTPORT_OK)
        return err->status;
    if (np_netsh_dynamic(said, &row->now))
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_BLIND, "netsh %s: it said nothing that can be read, and ended with status %lu", question,
            ended);
    np_hint(err, "It says which ports outgoing connections get. See what 'netsh %s' prints.", question);
    return err->status;
}

static enum nextport_status ask_all(struct np_arena *arena, struct ranges *ret, struct nextport_error *err)
{
    static const struct np_dynamic all[NP_DYNAMIC_RANGES] = {
        {.protocol = NEXTPORT_TCP},
        {.protocol = NEXTPORT_UDP},
        {.ipv6 = true, .protocol = NEXTPORT_TCP},
        {.ipv6 = true, .protocol = NEXTPORT_UDP},
    };
    const bool only_ipv4 = np_has_no_ipv6();
    ret->n = 0;
    for (size_t i = 0; i < NP_DYNAMIC_RANGES; i++) {
        if (all[i].ipv6 && only_ipv4)
            continue;
        ret->rows[ret->n] = all[i];
        if (ask(arena, &ret->rows[ret->n++], err) != NEXTPORT_OK)
            return err->status;
    }
    return NEXTPORT_OK;
}

static bool same(struct nextport_range a, struct nextport_range b)
{
    return a.first == b.first && a.last == b.last;
}

static const struct np_dynamic *find(const struct ranges *ranges, const struct np_dynamic *row)
{
    for (size_t i = 0; i < ranges->n; i++)
        if (ranges->rows[i].ipv6 == row->ipv6 && ranges->rows[i].protocol == row->protocol)
            return &ranges->rows[i];
    return NULL;
}

static bool touches(const struct np_portset *pool, struct nextport_range range)
{
    const uint16_t next = np_portset_next(pool, range.first);
    return next && next <= range.last;
}

static bool is_in_force(const struct ranges *present, const struct np_portset *pool)
{
    for (size_t i = 0; i < present->n; i++)
        if (touches(pool, present->rows[i].now))
            return false;
    return true;
}

/* ---- What was changed -------------------------------------------------------------------------------------------- */

/* *ret_shelf: valid when `ret_has_shelf`. Nothing remembered is no row. */
static enum nextport_status recall(struct np_arena *arena, struct np_shelf *ret_shelf, bool *ret_has_shelf,
                                   struct ranges *ret, struct nextport_error *err)
{
    struct np_text text;
    ret->n = 0;
    *ret_has_shelf = np_shelf_find(arena, NP_PLACE_MACHINE, ret_shelf);
    if (!*ret_has_shelf || !np_shelf_has(arena, ret_shelf, file_name))
        return NEXTPORT_OK;
    if (np_shelf_read(arena, ret_shelf, file_name, &text) && np_dynamic_read(text, ret->rows, &ret->n) && ret->n > 0)
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_CONFLICT, "%s/%s is not what nextport wrote: damaged, or strangers may write it",
            ret_shelf->folder, file_name);
    np_hint(err, "Look at it, move it away if it is not needed, and try again.");
    return err->status;
}

static bool write_down(struct np_arena *arena, const struct np_shelf *shelf, const struct ranges *ranges)
{
    return np_shelf_write(arena, shelf, file_name, np_text_of(np_dynamic_compose(arena, ranges->rows, ranges->n)));
}

/* ---- The plan ---------------------------------------------------------------------------------------------------- */

static bool choose(const struct ranges *present, const struct np_portset *pool, struct nextport_range *ret)
{
    unsigned size = 0;
    for (size_t i = 0; i < present->n; i++) {
        const unsigned now = present->rows[i].now.last - present->rows[i].now.first + 1u;
        size = now > size ? now : size;
    }
    return np_dynamic_choose(pool, size, ret);
}

static const char *list(struct np_arena *arena, const struct ranges *ranges)
{
    struct np_buf out = {.arena = arena};
    for (size_t i = 0; i < ranges->n; i++)
        np_buf_printf(&out, "%s%s %s %u-%u", i ? ", " : "", ranges->rows[i].ipv6 ? "IPv6" : "IPv4",
                      ranges->rows[i].protocol == NEXTPORT_UDP ? "UDP" : "TCP", ranges->rows[i].now.first,
                      ranges->rows[i].now.last);
    return out.ptr;
}

static const char *commands(struct np_arena *arena, const struct ranges *present, struct nextport_range to)
{
    struct np_buf out = {.arena = arena};
    for (size_t i = 0; i < present->n; i++)
        np_buf_printf(&out, "netsh %s\n", np_dynamic_command(arena, &present->rows[i], to));
    return out.ptr;
}

static const char *no_room(struct np_arena *arena)
{
    return np_sprintf(arena,
                      "Beside the pool there is no room for the %d ports that outgoing connections need at least: make "
                      "the pool smaller.",
                      NP_DYNAMIC_FEWEST);
}

enum nextport_status np_host_protect_plan(struct np_arena *arena, const struct np_portset *pool,
                                          struct np_protection *ret, struct nextport_error *err)
{
    struct ranges present, remembered;
    struct np_shelf shelf;
    struct nextport_range to;
    bool has_shelf;
    if (recall(arena, &shelf, &has_shelf, &remembered, err) != NEXTPORT_OK ||
        ask_all(arena, &present, err) != NEXTPORT_OK)
        return err->status;
    *ret = (struct np_protection){.present = np_sprintf(arena, "dynamic ports: %s", list(arena, &present)),
                                  .in_force = is_in_force(&present, pool)};
    if (remembered.n > 0)
        ret->ours = np_sprintf(arena, "the dynamic ports were before: %s", list(arena, &remembered));
    if (ret->in_force)
        return NEXTPORT_OK;
    if (choose(&present, pool, &to))
        ret->text = commands(arena, &present, to);
    else
        ret->cannot = no_room(arena);
    return NEXTPORT_OK;
}

/* ---- Changing it ------------------------------------------------------------------------------------------------- */

static enum nextport_status denied(struct nextport_error *err)
{
    np_fail(err, NEXTPORT_DENIED, "change the dynamic ports: only %s may", np_host_words.admin);
    np_hint(err, "%s.", np_host_words.elevate);
    return err->status;
}

/* What netsh ends with is not documented, and what it says is in the user's language: what counts is what it shows
 * afterwards. */
static enum nextport_status move(struct np_arena *arena, const struct np_dynamic *row, struct nextport_range to,
                                 struct nextport_error *err)
{
    const char *command = np_dynamic_command(arena, row, to);
    struct np_dynamic now = *row;
    struct np_text said;
    DWORD ended;
    if (np_netsh_run(arena, command, &said, &ended, NEXTPORT_FAILED, err) != NEXTPORT_OK ||
        ask(arena, &now, err) != NEXTPORT_OK)
        return err->status;
    if (same(now.now, to))
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_FAILED, "netsh %s: it ended with status %lu, and the range is %u-%u", command, ended,
            now.now.first, now.now.last);
    np_hint(err, "See what 'netsh %s' prints as an administrator.", command);
    return err->status;
}

/* The machine's folder, made where it is missing. */
static enum nextport_status need_shelf(struct np_arena *arena, struct np_shelf *ret, struct nextport_error *err)
{
    const char *ledger = np_host_machine_ledger(arena);
    if (np_host_ledger_folder(ledger, NP_PLACE_MACHINE, err) != NEXTPORT_OK)
        return np_wrap(err, "remember the dynamic ports");
    if (np_shelf_find(arena, NP_PLACE_MACHINE, ret))
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_DENIED, "remember the dynamic ports: strangers may write where %s lies", ledger);
    np_hint(err, "%s: it makes the folder anew or says what is wrong with it.", np_host_words.setup);
    return err->status;
}

/* As everything was before. */
static void put_back(struct np_arena *arena, const struct np_shelf *shelf, const struct ranges *moved, size_t n,
                     const struct ranges *remembered)
{
    struct nextport_error ignored = NEXTPORT_ERROR_INIT;
    for (size_t i = 0; i < n; i++)
        move(arena, &moved->rows[i], moved->rows[i].now, &ignored);
    if (remembered->n > 0)
        write_down(arena, shelf, remembered);
    else
        np_shelf_remove(arena, shelf, file_name);
}

/* What is to be remembered: as they were before the first change of ours that still holds. */
static void note(struct ranges *ret, const struct ranges *present, const struct ranges *remembered,
                 struct nextport_range to)
{
    *ret = *present;
    for (size_t i = 0; i < ret->n; i++) {
        const struct np_dynamic *before = find(remembered, &ret->rows[i]);
        if (before && same(before->set, ret->rows[i].now))
            ret->rows[i].now = before->now;
        ret->rows[i].set = to;
    }
}

static enum nextport_status move_all(struct np_arena *arena, const struct np_shelf *shelf, const struct ranges *present,
                                     const struct ranges *remembered, struct nextport_range to,
                                     struct nextport_error *err)
{
    for (size_t i = 0; i < present->n; i++)
        if (!same(present->rows[i].now, to) && move(arena, &present->rows[i], to, err) != NEXTPORT_OK) {
            put_back(arena, shelf, present, i + 1, remembered);
            return err->status;
        }
    return NEXTPORT_OK;
}

/* Remembered first: what is changed and not remembered could not be undone. */
enum nextport_status np_host_protect(struct np_arena *arena, const struct np_portset *pool, bool *ret_changed,
                                     struct nextport_error *err)
{
    struct ranges present, remembered, kept;
    struct np_shelf shelf;
    struct nextport_range to;
    bool has_shelf;
    *ret_changed = false;
    if (recall(arena, &shelf, &has_shelf, &remembered, err) != NEXTPORT_OK ||
        ask_all(arena, &present, err) != NEXTPORT_OK)
        return err->status;
    if (is_in_force(&present, pool))
        return NEXTPORT_OK;
    if (!choose(&present, pool, &to)) {
        np_fail(err, NEXTPORT_FAILED, "the pool %s cannot be protected", np_portset_format(arena, pool));
        np_hint(err, "%s", no_room(arena));
        return err->status;
    }
    if (!np_host_privileged())
        return denied(err);
    if (!has_shelf && need_shelf(arena, &shelf, err) != NEXTPORT_OK)
        return err->status;
    note(&kept, &present, &remembered, to);
    if (!write_down(arena, &shelf, &kept))
        return np_fail(err, NEXTPORT_FAILED, "write %s/%s", shelf.folder, file_name);
    const enum nextport_status status = move_all(arena, &shelf, &present, &remembered, to, err);
    np_forget_os_ports(arena);
    *ret_changed = status == NEXTPORT_OK;
    return status;
}

static enum nextport_status restore(struct np_arena *arena, const struct ranges *present,
                                    const struct ranges *remembered, struct nextport_error *err)
{
    for (size_t i = 0; i < present->n; i++) {
        const struct np_dynamic *before = find(remembered, &present->rows[i]);
        if (before && same(before->set, present->rows[i].now) && !same(before->now, before->set) &&
            move(arena, &present->rows[i], before->now, err) != NEXTPORT_OK)
            return err->status;
    }
    return NEXTPORT_OK;
}

/* Forgotten last: as long as it is remembered, this can be repeated. */
enum nextport_status np_host_unprotect(struct np_arena *arena, bool *ret_changed, struct nextport_error *err)
{
    struct ranges present, remembered;
    struct np_shelf shelf;
    bool has_shelf;
    *ret_changed = false;
    if (recall(arena, &shelf, &has_shelf, &remembered, err) != NEXTPORT_OK)
        return err->status;
    if (remembered.n == 0)
        return NEXTPORT_OK;
    if (!np_host_privileged())
        return denied(err);
    if (ask_all(arena, &present, err) != NEXTPORT_OK)
        return err->status;
    const enum nextport_status status = restore(arena, &present, &remembered, err);
    np_forget_os_ports(arena);
    if (status != NEXTPORT_OK)
        return status;
    if (!np_shelf_remove(arena, &shelf, file_name))
        return np_fail(err, NEXTPORT_FAILED, "remove %s/%s", shelf.folder, file_name);
    *ret_changed = true;
    return NEXTPORT_OK;
}
