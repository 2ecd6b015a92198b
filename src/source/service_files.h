/* The configurations that services of systemd start a server with, for sources that read each by itself (services.c).
 * SPDX-License-Identifier: MIT */
#ifndef NP_SERVICE_FILES_H
#define NP_SERVICE_FILES_H

#include "source/source.h"

/* How a server is told its configuration. */
struct np_service_files {
    const char *program;
    char file, prefix;  /* letters of its options: the file, and the folder below which a relative one lies */
    const char *valued; /* those that have a value, which may stand in the next word */
    const char *base;   /* that folder where none is given; NULL: not known here */
};

/* `places` and behind them what services start the program with, for np_files_look(). What is not understood is a gap. Ends with
 * NULL, in the arena of the look. */
enum nextport_status np_services_files(struct np_look *, const struct np_source *, const struct np_service_files *,
                                       const char *const *places, const char *const **ret, struct nextport_error *);

#endif
