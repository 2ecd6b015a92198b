/* The next free port for a program of one's own, in the ledger named on the command line.
 *
 *     cc next.c $(pkg-config --cflags --libs nextport) -o next && ./next /tmp/ledger.db
 *
 * SPDX-License-Identifier: MIT */
#include <nextport.h>

#include <stdio.h>

static int complain(const struct nextport_error *err)
{
    fprintf(stderr, "next: %s\n", err->text);
    if (err->hint[0])
        fprintf(stderr, "next: %s\n", err->hint);
    return (int)err->status;
}

int main(int argc, char **argv)
{
    struct nextport_error err = NEXTPORT_ERROR_INIT;
    struct nextport_request ask = NEXTPORT_REQUEST_INIT;
    struct nextport_result *answer = NULL;
    struct nextport *np = nextport_new();

    if (argc == 2)
        nextport_set(np, "ledger.file", argv[1], "the command line", &err);
    if (err.status == NEXTPORT_OK && nextport_load(np, NULL, &err) == NEXTPORT_OK)
        nextport_next(np, &ask, &answer, &err);

    if (err.status != NEXTPORT_OK)
        complain(&err);
    else
        printf("%u\n", answer->ports[0].port);

    nextport_result_free(answer);
    nextport_free(np);
    return (int)err.status;
}
