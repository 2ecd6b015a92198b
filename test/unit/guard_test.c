/* Who may change a file: descriptors judged, as Windows writes them down (SDDL), and what is made and read back.
 * SPDX-License-Identifier: MIT */
#include "host/windows/guard.h"

#include <sddl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* "this user" and the group of the tests that only judge */
#define USER "S-1-5-21-1-2-3-1001"
#define GROUP "S-1-5-21-1-2-3-1010"
#define STRANGER "S-1-5-21-1-2-3-1002"
#define TRUSTED_INSTALLER "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"

static struct nextport_error err;

/* ---- Judging ------------------------------------------------------------------------------------------------- */

static const struct {
    const char *what, *sddl;
    enum np_guard_kind kind;
    bool any_owner;
    enum np_guard wanted;
    const char *who; /* NULL: not looked at */
} descriptors[] = {
    /* What is promised. */
    {"the machine's folder",
     "O:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;;0x1201bf;;;" GROUP ")(A;OICIIO;0x1301bf;;;" GROUP
     ")(A;OICI;0x1200a9;;;BU)(A;OICI;RC;;;S-1-3-4)",
     NP_GUARD_WRITERS, false, NP_GUARD_SOUND, NULL},
    {"a file in it, made by a member",
     "O:" STRANGER "D:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA)(A;ID;0x1301bf;;;" GROUP ")(A;ID;0x1200a9;;;BU)(A;ID;RC;;;S-1-3-4)",
     NP_GUARD_WRITERS, true, NP_GUARD_SOUND, NULL},
    {"a user's folder", "O:" USER "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;" USER ")", NP_GUARD_PRIVATE, false,
     NP_GUARD_SOUND, NULL},
    {"an empty DACL lets nobody in", "O:BAD:P", NP_GUARD_WRITERS, false, NP_GUARD_SOUND, NULL},
    {"TrustedInstaller", "O:" TRUSTED_INSTALLER "D:P(A;;FA;;;" TRUSTED_INSTALLER ")", NP_GUARD_WRITERS, false,
     NP_GUARD_SOUND, NULL},
    {"readers", "O:SYD:(A;;0x1200a9;;;WD)(A;;GRGX;;;AN)", NP_GUARD_WRITERS, false, NP_GUARD_SOUND, NULL},
    {"whoever makes something in it", "O:SYD:(A;OICIIO;GA;;;CO)", NP_GUARD_WRITERS, false, NP_GUARD_SOUND, NULL},
    {"a deny alone", "O:SYD:(D;;FA;;;WD)(A;;FA;;;BA)", NP_GUARD_WRITERS, false, NP_GUARD_SOUND, NULL},

    /* What Windows makes by itself. */
    {"a folder in ProgramData that anyone made",
     "O:BAG:SYD:AI(A;OICIID;FA;;;SY)(A;OICIID;FA;;;BA)(A;OICIIOID;GA;;;CO)(A;OICIID;0x1200a9;;;BU)"
     "(A;CIID;DCLCRPCR;;;BU)",
     NP_GUARD_WRITERS, false, NP_GUARD_OPEN, "S-1-5-32-545"},
    {"and that is its owner's",
     "O:" STRANGER "D:AI(A;OICIID;FA;;;SY)(A;OICIID;FA;;;BA)(A;ID;FA;;;" STRANGER ")(A;OICIID;0x1200a9;;;BU)",
     NP_GUARD_WRITERS, false, NP_GUARD_FOREIGN, STRANGER},
    {"ProgramData itself",
     "O:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICIIO;GA;;;CO)(A;OICI;0x1200a9;;;BU)"
     "(A;CI;DCLCRPCR;;;BU)",
     NP_GUARD_ANCESTOR, false, NP_GUARD_SOUND, NULL},
    {"the system's drive",
     "O:" TRUSTED_INSTALLER "D:PAI(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;0x1200a9;;;BU)(A;OICIIO;SDGXGWGR;;;AU)"
     "(A;;LC;;;AU)",
     NP_GUARD_ROOT, false, NP_GUARD_SOUND, NULL},
    {"a drive for data", "O:BAD:(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;;0x1301bf;;;AU)(A;OICIIO;SDGXGWGR;;;AU)",
     NP_GUARD_ROOT, false, NP_GUARD_SOUND, NULL},
    {"a folder on it as an ancestor", "O:BAD:(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;0x1301bf;;;AU)", NP_GUARD_ANCESTOR,
     false, NP_GUARD_OPEN, "S-1-5-11"},

    /* Owners. */
    {"a stranger's file", "O:" STRANGER "D:P(A;;FA;;;SY)", NP_GUARD_WRITERS, false, NP_GUARD_FOREIGN, STRANGER},
    {"the users' file", "O:BUD:P(A;;FA;;;SY)", NP_GUARD_WRITERS, false, NP_GUARD_FOREIGN, "S-1-5-32-545"},
    {"the group's folder", "O:" GROUP "D:P(A;;FA;;;SY)", NP_GUARD_WRITERS, false, NP_GUARD_FOREIGN, GROUP},
    {"a stranger's ancestor", "O:" STRANGER "D:P(A;;FA;;;SY)", NP_GUARD_ANCESTOR, false, NP_GUARD_FOREIGN, STRANGER},
    {"no owner at all", "D:P(A;;FA;;;SY)", NP_GUARD_WRITERS, true, NP_GUARD_NONE, NULL},

    /* Rights. */
    {"no DACL", "O:SYG:SY", NP_GUARD_WRITERS, false, NP_GUARD_NONE, NULL},
    {"everyone, everything", "O:SYD:(A;;FA;;;WD)", NP_GUARD_WRITERS, false, NP_GUARD_OPEN, "S-1-1-0"},
    {"generic write", "O:SYD:(A;;GW;;;AU)", NP_GUARD_WRITERS, false, NP_GUARD_OPEN, "S-1-5-11"},
    {"generic everything", "O:SYD:(A;;GA;;;IU)", NP_GUARD_WRITERS, false, NP_GUARD_OPEN, "S-1-5-4"},
    {"as much as there is", "O:SYD:(A;;0x02000000;;;NU)", NP_GUARD_WRITERS, false, NP_GUARD_OPEN, "S-1-5-2"},
    {"write data", "O:SYD:(A;;0x2;;;BG)", NP_GUARD_WRITERS, false, NP_GUARD_OPEN, "S-1-5-32-546"},
    {"append", "O:SYD:(A;;0x4;;;AN)", NP_GUARD_WRITERS, false, NP_GUARD_OPEN, "S-1-5-7"},
    {"write extended attributes", "O:SYD:(A;;0x10;;;WD)", NP_GUARD_WRITERS, false, NP_GUARD_OPEN, NULL},
    {"delete what is in it", "O:SYD:(A;;0x40;;;WD)", NP_GUARD_WRITERS, false, NP_GUARD_OPEN, NULL},
    {"write attributes", "O:SYD:(A;;0x100;;;WD)", NP_GUARD_WRITERS, false, NP_GUARD_OPEN, NULL},
    {"delete", "O:SYD:(A;;SD;;;WD)", NP_GUARD_WRITERS, false, NP_GUARD_OPEN, NULL},
    {"change the DACL", "O:SYD:(A;;WD;;;WD)", NP_GUARD_WRITERS, false, NP_GUARD_OPEN, NULL},
    {"take it over", "O:SYD:(A;;WO;;;WD)", NP_GUARD_WRITERS, false, NP_GUARD_OPEN, NULL},
    {"another group", "O:SYD:(A;;FA;;;S-1-5-21-1-2-3-513)", NP_GUARD_WRITERS, false, NP_GUARD_OPEN,
     "S-1-5-21-1-2-3-513"},
    {"a weak rule behind a strong one", "O:SYD:(A;;FA;;;SY)(A;;FA;;;BA)(A;;0x2;;;WD)", NP_GUARD_WRITERS, false,
     NP_GUARD_OPEN, "S-1-1-0"},
    {"a deny before an allow", "O:SYD:(D;;FA;;;WD)(A;;FA;;;WD)", NP_GUARD_WRITERS, false, NP_GUARD_OPEN, NULL},
    {"for what will be made in it", "O:SYD:(A;OICIIO;FA;;;BU)", NP_GUARD_WRITERS, false, NP_GUARD_OPEN, NULL},
    {"only below an ancestor", "O:SYD:(A;OICIIO;FA;;;BU)", NP_GUARD_ANCESTOR, false, NP_GUARD_SOUND, NULL},
    {"an ancestor that can be renamed", "O:SYD:(A;;SD;;;BU)", NP_GUARD_ANCESTOR, false, NP_GUARD_OPEN, NULL},
    {"whose folders can be", "O:SYD:(A;;0x40;;;BU)", NP_GUARD_ROOT, false, NP_GUARD_OPEN, NULL},
    {"a condition may hold", "O:SYD:(XA;;FA;;;WD;(Member_of {SID(BA)}))", NP_GUARD_WRITERS, false, NP_GUARD_OPEN,
     "S-1-1-0"},
    {"for one kind of object", "O:SYD:(OA;;FA;00000000-0000-0000-0000-000000000001;;WD)", NP_GUARD_WRITERS, false,
     NP_GUARD_OPEN, "S-1-1-0"},
    {"the creator, here and now", "O:SYD:(A;OICI;FA;;;CO)", NP_GUARD_WRITERS, false, NP_GUARD_OPEN, "S-1-3-0"},
    {"the creator's group", "O:SYD:(A;OICIIO;GA;;;CG)", NP_GUARD_WRITERS, false, NP_GUARD_OPEN, "S-1-3-1"},
    {"an owner as a writer", "O:SYD:(A;;0x1301bf;;;S-1-3-4)", NP_GUARD_WRITERS, true, NP_GUARD_SOUND, NULL},
    {"an owner as a master", "O:SYD:(A;;FA;;;S-1-3-4)", NP_GUARD_WRITERS, true, NP_GUARD_OPEN, "S-1-3-4"},
    {"readers of what is private", "O:SYD:(A;OICI;0x1200a9;;;BU)", NP_GUARD_PRIVATE, false, NP_GUARD_OPEN, NULL},
    {"later readers of it", "O:SYD:(A;OICIIO;GR;;;WD)", NP_GUARD_PRIVATE, false, NP_GUARD_OPEN, NULL},
};

static PSID sid_of(const char *text)
{
    PSID sid = NULL;
    assert_true(ConvertStringSidToSidA(text, &sid));
    return sid;
}

static const char *text_of(PSID sid)
{
    static char text[256];
    LPSTR found = NULL;
    text[0] = '\0';
    if (sid && ConvertSidToStringSidA(sid, &found))
        snprintf(text, sizeof text, "%s", found);
    LocalFree(found);
    return text;
}

/* NULL: this system cannot write it down. */
static PSECURITY_DESCRIPTOR descriptor(const char *sddl)
{
    PSECURITY_DESCRIPTOR sd = NULL;
    ConvertStringSecurityDescriptorToSecurityDescriptorA(sddl, SDDL_REVISION_1, &sd, NULL);
    return sd;
}

static void each_descriptor_is_judged_as_it_should_be(void **state)
{
    (void)state;
    struct np_trust trust = {.user = sid_of(USER), .group = sid_of(GROUP)};
    for (size_t i = 0; i < sizeof descriptors / sizeof *descriptors; i++) {
        PSID who = NULL;
        PSECURITY_DESCRIPTOR sd = descriptor(descriptors[i].sddl);
        if (!sd) {
            print_message("# skipped, this system cannot make it: %s\n", descriptors[i].what);
            continue;
        }
        trust.kind = descriptors[i].kind;
        const enum np_guard got = np_guard_judge(sd, &trust, descriptors[i].any_owner, &who);
        if (got != descriptors[i].wanted || (descriptors[i].who && strcmp(text_of(who), descriptors[i].who) != 0))
            fail_msg("%s: %d %s", descriptors[i].what, got, text_of(who));
        LocalFree(sd);
    }
    LocalFree(trust.user);
    LocalFree(trust.group);
}

static void whom_a_place_does_not_trust_is_a_stranger(void **state)
{
    (void)state;
    PSID who;
    const struct np_trust nobody = {0};
    PSECURITY_DESCRIPTOR sd = descriptor("O:" USER "D:P(A;;FA;;;SY)");
    assert_int_equal(np_guard_judge(sd, &nobody, false, &who), NP_GUARD_FOREIGN);
    LocalFree(sd);
    sd = descriptor("O:SYD:P(A;;0x1301bf;;;" GROUP ")");
    assert_int_equal(np_guard_judge(sd, &nobody, false, &who), NP_GUARD_OPEN);
    assert_string_equal(text_of(who), GROUP);
    LocalFree(sd);
}

/* Who may delete a folder may rename it, and another one takes its place. */
static void the_group_may_write_in_its_folder_and_not_move_it(void **state)
{
    (void)state;
    static const struct {
        const char *rights, *inherit;
        bool folder;
        enum np_guard wanted;
    } cases[] = {
        {"0x1201bf", "", true, NP_GUARD_SOUND},    {"0x1301bf", "", true, NP_GUARD_OPEN},
        {"0x1301bf", "OICI", true, NP_GUARD_OPEN}, {"0x1301bf", "OICIIO", true, NP_GUARD_SOUND},
        {"0x1301bf", "", false, NP_GUARD_SOUND},   {"WD", "", true, NP_GUARD_OPEN},
        {"WO", "", true, NP_GUARD_OPEN},           {"GA", "", true, NP_GUARD_OPEN},
        {"0x02000000", "", true, NP_GUARD_OPEN},
    };
    struct np_trust trust = {.user = sid_of(USER), .group = sid_of(GROUP)};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char sddl[256];
        PSID who;
        snprintf(sddl, sizeof sddl, "O:BAD:P(A;OICI;FA;;;BA)(A;%s;%s;;;" GROUP ")", cases[i].inherit, cases[i].rights);
        PSECURITY_DESCRIPTOR sd = descriptor(sddl);
        assert_non_null(sd);
        trust.folder = cases[i].folder;
        if (np_guard_judge(sd, &trust, false, &who) != cases[i].wanted)
            fail_msg("%s, a folder: %d", sddl, cases[i].folder);
        LocalFree(sd);
    }
    LocalFree(trust.user);
    LocalFree(trust.group);
}

/* ---- Entries that SDDL cannot write, byte by byte ------------------------------------------------------------ */

struct made {
    SECURITY_DESCRIPTOR sd;
    union {
        ACL acl;
        BYTE bytes[256];
    } dacl;
    PSID owner;
};

/* One entry of a type, with `before` bytes between its mask and the SID of Everyone. */
static void make(struct made *m, BYTE type, const BYTE *before, WORD n_before)
{
    static const BYTE everyone[] = {SID_REVISION, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0};
    const ACCESS_MASK all = FILE_ALL_ACCESS;
    ACE_HEADER head = {.AceType = type,
                       .AceSize = (WORD)(sizeof(ACE_HEADER) + sizeof all + n_before + sizeof everyone)};
    BYTE *at = m->dacl.bytes + sizeof(ACL);
    *m = (struct made){.owner = sid_of("S-1-5-18")};
    memcpy(at, &head, sizeof head);
    memcpy(at + sizeof head, &all, sizeof all);
    if (n_before > 0)
        memcpy(at + sizeof head + sizeof all, before, n_before);
    memcpy(at + sizeof head + sizeof all + n_before, everyone, sizeof everyone);
    m->dacl.acl = (ACL){.AclRevision = ACL_REVISION_DS, .AclSize = (WORD)(sizeof(ACL) + head.AceSize), .AceCount = 1};
    InitializeSecurityDescriptor(&m->sd, SECURITY_DESCRIPTOR_REVISION);
    SetSecurityDescriptorOwner(&m->sd, m->owner, FALSE);
    SetSecurityDescriptorDacl(&m->sd, TRUE, &m->dacl.acl, FALSE);
}

static enum np_guard judge_made(struct made *m)
{
    PSID who;
    const struct np_trust nobody = {0};
    const enum np_guard ret = np_guard_judge(&m->sd, &nobody, false, &who);
    if (ret == NP_GUARD_OPEN)
        assert_string_equal(text_of(who), "S-1-1-0");
    LocalFree(m->owner);
    return ret;
}

static void every_type_of_entry_counts(void **state)
{
    (void)state;
    static const BYTE no_guid[4] = {0}, one_guid[4 + 16] = {1}, two_guids[4 + 32] = {3};
    struct made m;
    make(&m, ACCESS_ALLOWED_ACE_TYPE, NULL, 0);
    assert_int_equal(judge_made(&m), NP_GUARD_OPEN);
    make(&m, ACCESS_ALLOWED_CALLBACK_ACE_TYPE, NULL, 0);
    assert_int_equal(judge_made(&m), NP_GUARD_OPEN);
    make(&m, ACCESS_ALLOWED_OBJECT_ACE_TYPE, no_guid, sizeof no_guid);
    assert_int_equal(judge_made(&m), NP_GUARD_OPEN);
    make(&m, ACCESS_ALLOWED_OBJECT_ACE_TYPE, one_guid, sizeof one_guid);
    assert_int_equal(judge_made(&m), NP_GUARD_OPEN);
    make(&m, ACCESS_ALLOWED_CALLBACK_OBJECT_ACE_TYPE, two_guids, sizeof two_guids);
    assert_int_equal(judge_made(&m), NP_GUARD_OPEN);
    make(&m, ACCESS_DENIED_CALLBACK_ACE_TYPE, NULL, 0);
    assert_int_equal(judge_made(&m), NP_GUARD_SOUND);
    static const BYTE unknown[] = {ACCESS_ALLOWED_COMPOUND_ACE_TYPE, SYSTEM_AUDIT_ACE_TYPE, 0x15, 0xff};
    for (size_t i = 0; i < sizeof unknown; i++) {
        make(&m, unknown[i], NULL, 0);
        assert_int_equal(judge_made(&m), NP_GUARD_NONE);
    }
}

/* "D:NO_ACCESS_CONTROL" */
static void a_null_dacl_lets_everyone_in(void **state)
{
    (void)state;
    struct made m;
    make(&m, ACCESS_DENIED_ACE_TYPE, NULL, 0);
    assert_true(SetSecurityDescriptorDacl(&m.sd, TRUE, NULL, FALSE));
    assert_int_equal(judge_made(&m), NP_GUARD_NONE);
}

static void an_entry_that_leaves_its_bounds_is_not_believed(void **state)
{
    (void)state;
    struct made m;
    make(&m, ACCESS_ALLOWED_ACE_TYPE, NULL, 0);
    m.dacl.bytes[sizeof(ACL) + 8 + 1] = 15; /* a SID with more parts than there are bytes */
    assert_int_equal(judge_made(&m), NP_GUARD_NONE);
    make(&m, ACCESS_ALLOWED_ACE_TYPE, NULL, 0);
    m.dacl.bytes[sizeof(ACL) + 2] = 200; /* an entry longer than the list */
    assert_int_equal(judge_made(&m), NP_GUARD_NONE);
    make(&m, ACCESS_ALLOWED_ACE_TYPE, NULL, 0);
    m.dacl.bytes[sizeof(ACL) + 2] = 4; /* one that ends before its mask */
    assert_int_equal(judge_made(&m), NP_GUARD_NONE);
    make(&m, ACCESS_ALLOWED_OBJECT_ACE_TYPE, (const BYTE[]){3, 0, 0, 0}, 4); /* its two GUIDs are not there */
    assert_int_equal(judge_made(&m), NP_GUARD_NONE);
    make(&m, ACCESS_DENIED_ACE_TYPE, NULL, 0);
    m.dacl.acl.AceCount = 2; /* the second is missing */
    assert_int_equal(judge_made(&m), NP_GUARD_NONE);
}

/* ---- Promises ------------------------------------------------------------------------------------------------ */

static void what_is_promised_is_sound(void **state)
{
    (void)state;
    static const enum np_place places[] = {NP_PLACE_MACHINE, NP_PLACE_USER, NP_PLACE_GIVEN};
    struct np_arena *arena = np_arena_new();
    PSID who, group = sid_of(GROUP);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        for (enum np_promised what = NP_PROMISED_FOLDER; what <= NP_PROMISED_LOCK; what++) {
            PSECURITY_DESCRIPTOR sd = np_guard_promise(arena, places[i], what, group);
            struct np_trust trust = {
                .user = np_guard_user(arena), .group = group, .folder = what == NP_PROMISED_FOLDER};
            SECURITY_DESCRIPTOR_CONTROL control;
            DWORD revision;
            PSID owner;
            BOOL defaulted;
            assert_non_null(sd);
            assert_true(GetSecurityDescriptorControl(sd, &control, &revision));
            assert_true(control & SE_DACL_PROTECTED);
            assert_true(GetSecurityDescriptorOwner(sd, &owner, &defaulted));
            assert_int_equal(owner != NULL, what == NP_PROMISED_FOLDER || what == NP_PROMISED_FILE);
            if (!owner)
                continue;
            assert_int_equal(np_guard_judge(sd, &trust, false, &who), NP_GUARD_SOUND);
            trust.group = NULL; /* but whom the place does not trust, it gives nothing */
            assert_int_equal(np_guard_judge(sd, &trust, false, &who), NP_GUARD_OPEN);
            assert_string_equal(text_of(who), GROUP);
        }
    LocalFree(group);
    np_arena_free(arena);
}

static void only_the_machines_ledger_has_readers_and_its_lock_has_none(void **state)
{
    (void)state;
    static const struct {
        enum np_place place;
        enum np_promised what;
        bool readers;
    } cases[] = {
        {NP_PLACE_MACHINE, NP_PROMISED_FOLDER, true},    {NP_PLACE_MACHINE, NP_PROMISED_FILE, true},
        {NP_PLACE_MACHINE, NP_PROMISED_NEIGHBOUR, true}, {NP_PLACE_MACHINE, NP_PROMISED_LOCK, false},
        {NP_PLACE_USER, NP_PROMISED_FOLDER, false},      {NP_PLACE_GIVEN, NP_PROMISED_LOCK, false},
    };
    struct np_arena *arena = np_arena_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        PSECURITY_DESCRIPTOR sd = np_guard_promise(arena, cases[i].place, cases[i].what, NULL);
        LPSTR text = NULL;
        assert_true(ConvertSecurityDescriptorToStringSecurityDescriptorA(sd, SDDL_REVISION_1, DACL_SECURITY_INFORMATION,
                                                                         &text, NULL));
        const char *users = strstr(text, ";;;BU)");
        assert_int_equal(users != NULL || strstr(text, "S-1-5-32-545") != NULL, cases[i].readers);
        LocalFree(text);
    }
    np_arena_free(arena);
}

/* ---- The system ---------------------------------------------------------------------------------------------- */

static char folder[MAX_PATH * 4];

/* In ProgramData, with a name of its own, '/'-separated. */
static int make_folder(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    const char *base = np_host_machine_ledger(arena);
    err = (struct nextport_error)NEXTPORT_ERROR_INIT;
    snprintf(folder, sizeof folder, "%.*s/nextport-guard-%lu", (int)(strstr(base, "/nextport/") - base), base,
             GetCurrentProcessId());
    SECURITY_ATTRIBUTES with = {
        .nLength = sizeof with,
        .lpSecurityDescriptor = np_guard_promise(arena, NP_PLACE_MACHINE, NP_PROMISED_FOLDER, np_guard_group(arena))};
    const bool made = CreateDirectoryW(np_wide_path(arena, folder), &with);
    np_arena_free(arena);
    return made ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    static const char *const entries[] = {"/file", "/second", "/below"};
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        const wchar_t *entry = np_wide_path(arena, np_sprintf(arena, "%s%s", folder, entries[i]));
        if (!DeleteFileW(entry))
            RemoveDirectoryW(entry);
    }
    const bool removed = RemoveDirectoryW(np_wide_path(arena, folder));
    np_arena_free(arena);
    return removed ? 0 : -1;
}

static const char *inside(struct np_arena *arena, const char *name)
{
    return np_sprintf(arena, "%s/%s", folder, name);
}

static enum nextport_status vet(const char *path, bool is_folder, bool *ret_there)
{
    struct np_arena *arena = np_arena_new();
    const struct np_trust trust = np_guard_trust(arena, NP_PLACE_MACHINE);
    err = (struct nextport_error)NEXTPORT_ERROR_INIT;
    enum nextport_status status = np_guard_vet(path, is_folder, &trust, false, ret_there, &err);
    np_arena_free(arena);
    return status;
}

static void what_was_made_is_sound_and_what_is_absent_is_not_there(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    bool there = false;
    assert_int_equal(vet(folder, true, &there), NEXTPORT_OK);
    assert_true(there);
    assert_int_equal(vet(inside(arena, "file"), false, &there), NEXTPORT_OK);
    assert_false(there);
    assert_int_equal(vet(inside(arena, "no/such"), false, &there), NEXTPORT_OK);
    assert_false(there);
    np_arena_free(arena);
}

static void only_the_right_kind_with_one_name_is_accepted(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    const char *file = inside(arena, "file");
    bool there;
    assert_int_equal(vet(folder, false, &there), NEXTPORT_LEDGER);
    assert_non_null(strstr(err.text, "a folder, not a plain file"));
    assert_string_equal(err.hint, "That is a folder: name a file in it.");
    assert_int_equal(np_host_make_file(file, &err), NEXTPORT_OK);
    assert_int_equal(np_host_make_file(file, &err), NEXTPORT_CONFLICT);
    assert_int_equal(vet(file, false, &there), NEXTPORT_OK);
    assert_int_equal(vet(file, true, &there), NEXTPORT_INPUT);
    assert_non_null(strstr(err.hint, "is not a folder"));
    assert_true(CreateHardLinkW(np_wide_path(arena, inside(arena, "second")), np_wide_path(arena, file), NULL));
    assert_int_equal(vet(file, false, &there), NEXTPORT_LEDGER);
    assert_non_null(strstr(err.text, "a file with a second name"));
    assert_true(err.hint[0] != '\0');
    np_arena_free(arena);
}

/* Everyone may write: the one weakness that Wine keeps, in the bits of a Unix file's mode. */
static void what_everyone_may_write_is_refused_and_mended(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    bool there, changed = false;
    const char *file = inside(arena, "file");
    PSECURITY_DESCRIPTOR weak = descriptor("D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;WD)");
    PSECURITY_DESCRIPTOR promise = np_guard_promise(arena, NP_PLACE_MACHINE, NP_PROMISED_FILE, NULL);
    assert_int_equal(np_host_make_file(file, &err), NEXTPORT_OK);
    assert_int_equal(np_guard_apply(file, weak, &changed, &err), NEXTPORT_OK);
    assert_true(changed);
    assert_int_equal(vet(file, false, &there), NEXTPORT_DENIED);
    assert_true(there);
    assert_non_null(strstr(err.text, "(S-1-1-0) may write to it"));
    assert_non_null(strstr(err.hint, "nextport-guard-"));
    assert_non_null(strstr(err.hint, "\\file\" /inheritance:d /remove:g *S-1-1-0"));
    assert_null(strchr(strstr(err.hint, "icacls"), '\''));
    assert_int_equal(np_guard_apply(file, promise, &changed, &err), NEXTPORT_OK);
    assert_int_equal(vet(file, false, &there), NEXTPORT_OK);
    changed = false;
    assert_int_equal(np_guard_apply(file, promise, &changed, &err), NEXTPORT_OK);
    assert_false(changed);
    LocalFree(weak);
    np_arena_free(arena);
}

static void an_ancestor_that_everyone_may_empty_is_refused(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    const struct np_trust trust = np_guard_trust(arena, NP_PLACE_MACHINE);
    bool changed = false;
    const char *path = inside(arena, "below/ledger.db");
    assert_true(CreateDirectoryW(np_wide_path(arena, inside(arena, "below")), NULL));
    assert_int_equal(np_guard_vet_above(path, &trust, &err), NEXTPORT_OK);
    PSECURITY_DESCRIPTOR weak = descriptor("D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;WD)");
    assert_int_equal(np_guard_apply(folder, weak, &changed, &err), NEXTPORT_OK);
    assert_int_equal(np_guard_vet_above(path, &trust, &err), NEXTPORT_DENIED);
    assert_non_null(strstr(err.text, "may exchange what is in it"));
    LocalFree(weak);
    np_arena_free(arena);
}

static void a_file_in_the_path_is_bad_input(void **state)
{
    (void)state;
    struct np_arena *arena = np_arena_new();
    const struct np_trust trust = np_guard_trust(arena, NP_PLACE_MACHINE);
    assert_int_equal(np_host_make_file(inside(arena, "file"), &err), NEXTPORT_OK);
    assert_int_equal(np_guard_vet_above(inside(arena, "file/ledger.db"), &trust, &err), NEXTPORT_INPUT);
    assert_int_equal(np_guard_vet_above(inside(arena, "no/such/ledger.db"), &trust, &err), NEXTPORT_OK);
    np_arena_free(arena);
}

static void a_path_becomes_a_drives_path_or_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum nextport_status status;
        const char *full;
    } cases[] = {
        {"C:\\x\\ledger.db", NEXTPORT_OK, "C:/x/ledger.db"},
        {"C:/x/./y/../ledger.db", NEXTPORT_OK, "C:/x/ledger.db"},
        {"\\\\?\\C:\\x\\ledger.db", NEXTPORT_OK, "C:/x/ledger.db"},
        {"C:/x/l\xc3\xa9"
         "dger 100%#.db",
         NEXTPORT_OK,
         "C:/x/l\xc3\xa9"
         "dger 100%#.db"},
        {"C:/x/", NEXTPORT_INPUT, NULL},
        {"C:\\", NEXTPORT_INPUT, NULL},
        {"", NEXTPORT_INPUT, NULL},
        {"C:/x/ledger.db:stream", NEXTPORT_INPUT, NULL},
        {"\\\\.\\PhysicalDrive0", NEXTPORT_INPUT, NULL},
        {"\\\\server\\share\\ledger.db", NEXTPORT_LEDGER, NULL},
        {"//server/share/ledger.db", NEXTPORT_LEDGER, NULL},
        {"\\\\?\\UNC\\server\\share\\ledger.db", NEXTPORT_LEDGER, NULL},
        {"\\\\?\\Volume{1}\\ledger.db", NEXTPORT_INPUT, NULL},
    };
    struct np_arena *arena = np_arena_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *full = NULL;
        err = (struct nextport_error)NEXTPORT_ERROR_INIT;
        const enum nextport_status got = np_guard_full_path(arena, cases[i].path, &full, &err);
        if (got != cases[i].status || (cases[i].full && strcmp(full, cases[i].full) != 0))
            fail_msg("\"%s\": %d %s %s", cases[i].path, got, full ? full : "", err.text);
        assert_int_equal(got != NEXTPORT_OK, err.hint[0] != '\0');
    }
    np_arena_free(arena);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_descriptor_is_judged_as_it_should_be),
        cmocka_unit_test(whom_a_place_does_not_trust_is_a_stranger),
        cmocka_unit_test(the_group_may_write_in_its_folder_and_not_move_it),
        cmocka_unit_test(every_type_of_entry_counts),
        cmocka_unit_test(a_null_dacl_lets_everyone_in),
        cmocka_unit_test(an_entry_that_leaves_its_bounds_is_not_believed),
        cmocka_unit_test(what_is_promised_is_sound),
        cmocka_unit_test(only_the_machines_ledger_has_readers_and_its_lock_has_none),
        TEST(what_was_made_is_sound_and_what_is_absent_is_not_there),
        TEST(only_the_right_kind_with_one_name_is_accepted),
        TEST(what_everyone_may_write_is_refused_and_mended),
        TEST(an_ancestor_that_everyone_may_empty_is_refused),
        TEST(a_file_in_the_path_is_bad_input),
        cmocka_unit_test(a_path_becomes_a_drives_path_or_is_refused),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
