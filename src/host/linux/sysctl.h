/* The kernel's list of ports kept out of automatic assignment, and the file of ours that sets it at every start. Pure: knows
 * texts and sets, and neither /proc nor /etc.
 * SPDX-License-Identifier: MIT */
#ifndef NP_SYSCTL_H
#define NP_SYSCTL_H

#include "core/portset.h"

#define NP_SYSCTL_KEY "net.ipv4.ip_local_reserved_ports"
#define NP_SYSCTL_NAME "60-nextport.conf"

enum {
    NP_SYSCTL_WRITE_MAX = 4095, /* bytes: the kernel takes no more of one write, and drops the rest without a word */
    NP_SYSCTL_FILE_MAX = 16384, /* bytes of our file: `next` reads it */
    NP_SYSCTL_FEWEST = 1000,    /* ports that outgoing connections are left with, at least */
};

/* "80,8000-8003\n"; an empty list is a newline. Adds to the set. */
bool np_sysctl_parse(struct np_portset *, struct np_text);

/* What `bytes`, a file of sysctl.d(5), sets the list to; its last word counts. false: it says nothing of it, or something
 * that the kernel would refuse. */
bool np_sysctl_setting(struct np_text bytes, struct np_portset *ret);

/* Our file. */
struct np_sysctl_file {
    struct np_portset all;  /* what it sets */
    struct np_portset ours; /* what of that nobody else had reserved */
    const char *scope;      /* the network namespace it was made in: np_host_scope() */
};

char *np_sysctl_compose(struct np_arena *, const struct np_sysctl_file *);
/* false: not byte for byte what np_sysctl_compose() writes, so somebody else had a hand in it. */
bool np_sysctl_read(struct np_arena *, struct np_text, struct np_sysctl_file *ret);

/* What of `live`, the kernel's list in the namespace `scope`, this file put there: each range of ours that is there whole.
 * A list that has only a part of it was made by somebody else since; and what was made for the machine's own namespace says
 * nothing about others, which begin with an empty list. */
struct np_portset np_sysctl_ours(const struct np_sysctl_file *, const struct np_portset *live, const char *scope);

struct np_sysctl_present {
    struct np_portset live;            /* the kernel's list */
    struct np_portset elsewhere;       /* what other files set it to, all together */
    struct nextport_range ephemeral;   /* of outgoing connections */
    const struct np_sysctl_file *file; /* NULL: there is none of ours */
    const char *scope;
};

struct np_sysctl_wanted {
    struct np_portset live;     /* the kernel's list as it should be: what others put there, and the pool */
    struct np_sysctl_file file; /* the same for the next start, with what other files set */
    const char *cannot;         /* NULL, or why not, and what to do instead */
};

void np_sysctl_want(struct np_arena *, const struct np_sysctl_present *, const struct np_portset *pool,
                    struct np_sysctl_wanted *ret);
/* The kernel's list without ours. */
struct np_portset np_sysctl_without(const struct np_sysctl_present *);

/* Are all of `inner` in `outer`? */
bool np_sysctl_covers(const struct np_portset *outer, const struct np_portset *inner);

#endif
