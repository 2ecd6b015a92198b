/* Podman's database has a row for each container: its configuration and its state, as JSON and a number. Of each an
 * inspection is made as Podman would answer it, so that all claims are made in one place.
 *
 * The bytes are a copy: SQLite opens it in memory, so that nobody's lock is taken and no file is made beside a database
 * that is another program's. Whoever reads the file sees to it that it was not written meanwhile.
 * SPDX-License-Identifier: MIT */
#include "source/podman_state.h"

#include "base/json.h"
#include "source/container.h"

#include <sqlite3.h>
#include <string.h>

enum {
    SCHEMA = 1,         /* of all releases that have this database, 4.8 to 6.1 */
    STEPS = 100 * 1000, /* of SQLite's machine, between two questions whether to go on */
    STEPS_MAX = 1000,   /* so many questions: a database may be made to keep us busy */
    ROW_MAX = 4 * 1024 * 1024,
    ROWS_MAX = 10000,
    BYTES_MAX = 64 * 1024 * 1024, /* of all rows, and of what is made of them */
    PORT_BYTES = 256,             /* what one port comes to, but for its texts */
    READ_VERSION = 18, /* of the file's head: 1 with a rollback journal, 2 with a write-ahead log beside it */
    ROLLBACK = 1,
};

static const char magic[] = "SQLite format 3";

bool np_podman_state_is_one(struct np_text bytes)
{
    return bytes.len > READ_VERSION + 1 && memcmp(bytes.ptr, magic, sizeof magic) == 0;
}

/* ---- One container ---------------------------------------------------------------------------------------------- */

/* What is still taken of a database that may be made to be endless. */
struct bounds {
    unsigned steps, rows;
    size_t bytes;
};

static bool take_bytes(struct bounds *bounds, size_t n)
{
    const bool within = n <= bounds->bytes;
    bounds->bytes -= within ? n : 0;
    return within;
}

struct port {
    const char *ip, *protocols; /* "tcp", or several with commas between */
    int64_t outside, inside, n;
};

/* false: too many. */
static bool write_port(struct np_json *json, struct np_arena *arena, const struct port *port, struct bounds *bounds)
{
    struct np_text rest = np_text_of(port->protocols), protocol;
    while (np_text_split(&rest, ',', &protocol))
        for (int64_t i = 0; i < port->n && port->outside + i <= 65535; i++) {
            if (!take_bytes(bounds, PORT_BYTES + strlen(port->ip ? port->ip : "") + protocol.len))
                return false;
            np_json_begin(json, np_sprintf(arena, "%d/%.*s", (int)(port->inside + i), (int)protocol.len, protocol.ptr),
                          '[');
            np_json_begin(json, NULL, '{');
            np_json_string(json, "HostIp", port->ip);
            np_json_string(json, "HostPort", np_sprintf(arena, "%d", (int)(port->outside + i)));
            np_json_end(json, '}');
            np_json_end(json, ']');
        }
    return true;
}

/* {"host_ip":"","container_port":80,"host_port":49000,"range":1,"protocol":"tcp"}; the first releases had other keys. */
static void read_port(struct np_json_reader *config, struct np_json *ret, struct bounds *bounds)
{
    static const char *const keys[] = {"host_ip", "host_port", "container_port", "range", "protocol",
                                       "hostIP",  "hostPort",  "containerPort",  NULL};
    struct port port = {.ip = "", .protocols = "tcp", .n = 1};
    uint64_t seen = 0;
    while (np_json_next(config) == NP_JSON_KEY)
        switch (np_json_which(config, keys, &seen)) {
        case 0:
        case 5:
            port.ip = np_json_read_text_or_null(config);
            break;
        case 1:
        case 6:
            port.outside = np_json_read_int(config, 0, 65535);
            break;
        case 2:
        case 7:
            port.inside = np_json_read_int(config, 0, 65535);
            break;
        case 3:
            port.n = np_json_read_int(config, 0, 65535);
            break;
        case 4:
            port.protocols = np_json_read_text(config);
            break;
        default:
            np_json_skip(config);
        }
    if (np_json_is_bad(config))
        return;
    port.n = port.n ? port.n : 1;
    port.protocols = port.protocols && *port.protocols ? port.protocols : "tcp";
    if (!write_port(ret, config->arena, &port, bounds))
        np_json_refuse(config, "too many ports");
}

static void read_ports(struct np_json_reader *config, struct np_json *ret, struct bounds *bounds)
{
    enum np_json_token token = np_json_next(config);
    if (token == NP_JSON_NULL)
        return;
    if (token != NP_JSON_ARRAY)
        np_json_refuse(config, "the ports are not an array");
    while ((token = np_json_next(config)) == NP_JSON_OBJECT)
        read_port(config, ret, bounds);
    if (token != NP_JSON_ARRAY_END)
        np_json_refuse(config, "a port is not an object");
}

/* The numbers are Podman's. */
static void write_state(struct np_json *json, int state)
{
    static const char *const names[] = {"unknown", "created", "created",  "running", "exited",
                                        "paused",  "exited",  "removing", "stopping"};
    const bool is_known = state >= 0 && (size_t)state < sizeof names / sizeof *names;
    const char *name = is_known ? names[state] : "unknown";
    np_json_begin(json, "State", '{');
    np_json_string(json, "Status", name);
    np_json_bool(json, "Running", strcmp(name, "running") == 0 || strcmp(name, "paused") == 0);
    np_json_end(json, '}');
}

/* Makes {"Name":..,"State":{..},"HostConfig":{"PortBindings":{..},"RestartPolicy":{..}}}. */
static bool make_inspection(struct np_json_reader *config, const char *name, int state, struct bounds *bounds,
                            struct np_buf *ret)
{
    static const char *const keys[] = {"newPortMappings", "portMappings", "restart_policy", NULL};
    struct np_json json = {.out = ret};
    const char *restart = NULL;
    uint64_t seen = 0;
    np_json_begin(&json, NULL, '{');
    np_json_string(&json, "Name", name);
    write_state(&json, state);
    np_json_begin(&json, "HostConfig", '{');
    np_json_begin(&json, "PortBindings", '{');
    np_json_enter(config, NP_JSON_OBJECT);
    while (np_json_next(config) == NP_JSON_KEY) {
        const int which = np_json_which(config, keys, &seen);
        if (which == 0 || which == 1)
            read_ports(config, &json, bounds);
        else if (which == 2)
            restart = np_json_read_text_or_null(config);
        else
            np_json_skip(config);
    }
    np_json_finish(config);
    np_json_end(&json, '}');
    np_json_begin(&json, "RestartPolicy", '{');
    np_json_string(&json, "Name", restart);
    for (int i = 0; i < 3; i++)
        np_json_end(&json, '}');
    return !np_json_is_bad(config);
}

/* ---- All of them ------------------------------------------------------------------------------------------------- */

static struct np_text column(sqlite3_stmt *row, int i)
{
    const char *bytes = sqlite3_column_blob(row, i);
    return (struct np_text){bytes ? bytes : "", bytes ? (size_t)sqlite3_column_bytes(row, i) : 0};
}

static bool is_within(struct bounds *bounds, sqlite3_stmt *row)
{
    return bounds->rows-- && take_bytes(bounds, column(row, 0).len + column(row, 1).len);
}

static enum nextport_status claim_row(struct np_evidence *ret, const char *file, sqlite3_stmt *row,
                                      struct bounds *bounds, struct nextport_error *err)
{
    struct np_buf inspection = {.arena = ret->arena};
    struct np_json_reader config;
    const char *name = np_text_dup(ret->arena, column(row, 0));
    np_json_reader_init(&config, column(row, 1), 0, ret->arena);
    if (!make_inspection(&config, name, sqlite3_column_int(row, 2), bounds, &inspection)) {
        np_json_fail(&config, np_sprintf(ret->arena, "%s: container %s", file, name), err);
        return err->status = NEXTPORT_BLIND;
    }
    const struct np_container_text text = {file, {inspection.ptr, inspection.len}};
    return np_container_claim(ret, np_source_podman.name, name, &text, NULL, NULL, err);
}

static enum nextport_status fail_sqlite(const char *file, sqlite3 *db, struct nextport_error *err)
{
    return np_fail(err, NEXTPORT_BLIND, "%s: %s", file, sqlite3_errmsg(db));
}

/* One unreadable container does not hide the others; the first error is told. */
static enum nextport_status claim_rows(struct np_evidence *ret, const char *file, sqlite3 *db, sqlite3_stmt *row,
                                       struct bounds *bounds, struct nextport_error *err)
{
    enum nextport_status status = NEXTPORT_OK;
    int got;
    while ((got = sqlite3_step(row)) == SQLITE_ROW) {
        struct nextport_error one = NEXTPORT_ERROR_INIT;
        if (!is_within(bounds, row))
            return np_fail(err, NEXTPORT_BLIND, "%s: more than %d containers, or than %d bytes of them", file, ROWS_MAX,
                           BYTES_MAX);
        if (claim_row(ret, file, row, bounds, &one) != NEXTPORT_OK && status == NEXTPORT_OK) {
            status = one.status;
            *err = one;
        }
    }
    return got == SQLITE_DONE || status != NEXTPORT_OK ? status : fail_sqlite(file, db, err);
}

static enum nextport_status check_schema(const char *file, sqlite3 *db, struct nextport_error *err)
{
    sqlite3_stmt *row;
    if (sqlite3_prepare_v2(db, "SELECT SchemaVersion FROM DBConfig", -1, &row, NULL) != SQLITE_OK)
        return fail_sqlite(file, db, err);
    const int got = sqlite3_step(row), schema = got == SQLITE_ROW ? sqlite3_column_int(row, 0) : 0;
    sqlite3_finalize(row);
    return schema == SCHEMA ? NEXTPORT_OK
                            : np_fail(err, NEXTPORT_BLIND, "%s: schema %d is not known, %d is", file, schema, SCHEMA);
}

/* In no order: to sort is to hold them all. */
static enum nextport_status claim_all(struct np_evidence *ret, const char *file, sqlite3 *db, struct bounds *bounds,
                                      struct nextport_error *err)
{
    static const char rows[] = "SELECT c.Name, c.JSON, s.State FROM ContainerConfig c "
                               "LEFT JOIN ContainerState s ON s.ID = c.ID";
    sqlite3_stmt *row;
    if (check_schema(file, db, err) != NEXTPORT_OK)
        return err->status;
    if (sqlite3_prepare_v2(db, rows, -1, &row, NULL) != SQLITE_OK)
        return fail_sqlite(file, db, err);
    const enum nextport_status status = claim_rows(ret, file, db, row, bounds, err);
    sqlite3_finalize(row);
    return status;
}

static int is_enough(void *ctx)
{
    struct bounds *bounds = ctx;
    return !bounds->steps || !--bounds->steps;
}

/* What a database says of itself is not trusted: it may come from an image. */
static int open_copy(struct np_arena *arena, struct np_text bytes, struct bounds *bounds, sqlite3 **ret)
{
    unsigned char *copy = np_alloc(arena, bytes.len);
    memcpy(copy, bytes.ptr, bytes.len);
    int failed = sqlite3_open_v2(":memory:", ret, SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY, NULL);
    if (failed)
        return failed;
    sqlite3_db_config(*ret, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(*ret, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(*ret, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    sqlite3_limit(*ret, SQLITE_LIMIT_LENGTH, ROW_MAX);
    sqlite3_progress_handler(*ret, STEPS, is_enough, bounds);
    return sqlite3_deserialize(*ret, "main", copy, (sqlite3_int64)bytes.len, (sqlite3_int64)bytes.len,
                               SQLITE_DESERIALIZE_READONLY);
}

enum nextport_status np_podman_state_claim(struct np_evidence *ret, const char *file, struct np_text bytes,
                                           struct nextport_error *err)
{
    sqlite3 *db = NULL;
    struct bounds bounds = {.steps = STEPS_MAX, .rows = ROWS_MAX, .bytes = BYTES_MAX};
    if (!np_podman_state_is_one(bytes))
        return np_fail(err, NEXTPORT_BLIND, "%s: not a database of SQLite", file);
    if (bytes.ptr[READ_VERSION] != ROLLBACK)
        return np_fail(err, NEXTPORT_BLIND, "%s: a part of it is in a write-ahead log", file);
    enum nextport_status status = open_copy(ret->arena, bytes, &bounds, &db) == SQLITE_OK
                                      ? claim_all(ret, file, db, &bounds, err)
                                      : fail_sqlite(file, db, err);
    sqlite3_close(db);
    return status;
}
