/* allocation.pml - how nextport gives a port, as a model for Spin. README.md says what each step is in the code.
 *
 *     spin -a allocation.pml && cc -O1 -DSAFETY -o pan pan.c && ./pan -m100000               safety: the assertions
 *     spin -a -DLIVE allocation.pml && cc -O1 -DNFAIR=3 -o pan pan.c && ./pan -a -f -m100000     liveness: the formula
 *
 * Defects that can be built in, and must then be found: -DLOOK_FIRST, -DLOOK_ONCE, -DCLOSE_FIRST, -DANSWER_FIRST,
 * -DWITHDRAW_BLINDLY, -DSWEEP_BLINDLY, with LIVE -DLOCK_OUTLIVES. -DNO_QUEUE is none: the lock is only a queue.
 * SPDX-License-Identifier: MIT */

#define CALLERS 3
#ifdef LIVE
#define PORTS 1 /* who waits does not wait for ports */
#else
#define PORTS 2
#endif

/* Who has a lock, the transaction, or a bound port: a caller's number, or one of these. */
#define SWEEPER CALLERS
#define OUTSIDE (CALLERS + 1)
#define NOBODY (CALLERS + 2)

/* Callers 0 and 1 ask for the same owner, 2 for another one. 0: nobody. */
#define OWNER(caller) (1 + (caller) / 2)

/* The machine. */
byte bound[PORTS];   /* who has the port; binding is one step of the kernel */
bool configured;     /* a server is configured for port 0, running or not; written once, at any time */

/* The ledger's file, as it is after a crash. */
byte row[PORTS];     /* the owner whose lease this is; 0: none */
byte revision[PORTS]; /* of the row: who wrote it last. Each caller writes once, so no two changes leave the same */

byte queue = NOBODY;  /* flock on LEDGER-lock */
byte writer = NOBODY; /* BEGIN IMMEDIATE */

/* What is only here to be asked about. */
byte told[PORTS];    /* the owner who was told that it has this port */
byte handing[PORTS]; /* callers between commit and answer */
byte over;           /* callers that are done, one way or another */

/* Any process may be killed between any two steps. */
#define MAYBE_KILLED if :: true :: goto killed fi

inline set_up()
{
    for (port : 0 .. PORTS - 1) {
        bound[port] = NOBODY;
        revision[port] = NOBODY
    }
    port = 0
}

inline lock()
{
#ifndef NO_QUEUE
    atomic { queue == NOBODY -> queue = me };
    MAYBE_KILLED;
#endif
    atomic { writer == NOBODY -> writer = me }
}

inline unlock()
{
    writer = NOBODY;
#ifndef NO_QUEUE
    queue = NOBODY
#endif
}

inline read_leases()
{
    d_step {
        for (other : 0 .. PORTS - 1) {
            leased[other] = row[other]
        }
        other = 0
    }
}

/* kept = true and its port where the owner has a lease, else the first port to try is 0. */
inline find_own()
{
    d_step {
        kept = false;
        port = 0;
        for (other : 0 .. PORTS - 1) {
            if
            :: leased[other] == OWNER(me) && !kept -> kept = true; port = other
            :: else
            fi
        }
        other = 0
    }
}

/* The row, its neighbours and the probe, as the kernel and SQLite see them: one step, or it did not happen. */
inline commit()
{
    atomic {
        /* Nobody else took the port between the look and the lease. */
        assert(kept || bound[port] == me);
        row[port] = OWNER(me);
        revision[port] = me;
        handing[port]++
    }
}

inline close_probe()
{
    d_step {
        if
        :: !kept && bound[port] == me -> bound[port] = NOBODY
        :: else
        fi
    }
}

/* For the checker alone: what is not needed any more makes no states. */
inline forget_looks()
{
    d_step {
        seen = false;
        for (other : 0 .. PORTS - 1) {
            leased[other] = 0
        }
        other = 0
    }
}

inline answer()
{
    d_step {
        /* A port is answered after its lease is durable ... */
        assert(row[port] == OWNER(me));
        /* ... to one owner only ... */
        assert(told[port] == 0 || told[port] == OWNER(me));
        /* ... and it is the only one that this owner has. */
        for (other : 0 .. PORTS - 1) {
            assert(other == port || row[other] != OWNER(me))
        }
        other = 0;
        told[port] = OWNER(me)
    }
}

/* The row ends. */
inline drop(which)
{
    row[which] = 0;
    revision[which] = NOBODY;
    told[which] = 0
}

/* What the system does for a process that has ended: locks and sockets go, the transaction never was. */
inline clear_up()
{
    atomic {
        if :: queue == me
#ifndef LOCK_OUTLIVES
            -> queue = NOBODY
#endif
        :: else fi;
        if :: writer == me -> writer = NOBODY :: else fi;
        for (other : 0 .. PORTS - 1) {
            if :: bound[other] == me -> bound[other] = NOBODY :: else fi
        }
        other = 0
    }
}

proctype caller(byte me)
{
    byte leased[PORTS];
    byte port, other;
    bool seen, kept, counted;

    seen = configured;
#ifdef LOOK_FIRST
    read_leases();
#endif
    lock();
    MAYBE_KILLED;
    /* The file's stamp is compared; what is written later comes after this request. */
    atomic {
#ifndef LOOK_ONCE
        seen = configured;
#endif
        assert(seen == configured)
    };
#ifndef LOOK_FIRST
    read_leases();
#endif
    find_own();

    if
    :: kept
    :: else ->
        do
        :: port == PORTS -> goto nothing
        :: else ->
            if
            :: seen && port == 0 || leased[port] != 0 -> port++
            :: else ->
                atomic {
                    if
                    :: bound[port] == NOBODY -> bound[port] = me; break
                    :: else -> port++
                    fi
                }
            fi
        od
    fi;
    MAYBE_KILLED;

    forget_looks();
#ifdef CLOSE_FIRST
    close_probe();
#endif
#ifdef ANSWER_FIRST
    answer();
    MAYBE_KILLED;
#endif
    commit();
    counted = true;
    MAYBE_KILLED;
    unlock();
    MAYBE_KILLED;
    close_probe();
    MAYBE_KILLED;
    if
    :: true ->
        d_step { answer(); handing[port]--; counted = false };
    :: true -> /* nobody reads it */
        goto withdraw
    fi;
    goto finished;

nothing:
    unlock();
    goto finished;

withdraw:
    atomic { handing[port]--; counted = false };
    lock();
    MAYBE_KILLED;
    atomic {
        if
        /* Nobody asked for it meanwhile: the row is as this request left it. */
#ifdef WITHDRAW_BLINDLY
        :: row[port] == OWNER(me) -> assert(told[port] == 0 && handing[port] == 0); drop(port)
#else
        :: !kept && row[port] != 0 && revision[port] == me -> assert(told[port] == 0 && handing[port] == 0); drop(port)
#endif
        :: else
        fi
    };
    unlock();
    goto finished;

killed:
    clear_up();

finished:
    atomic {
        if :: counted -> handing[port]-- :: else fi;
        over++;
        port = 0; kept = false; counted = false
    };
    forget_looks()
}

/* Ends a lease that is due, when nothing has its port. Every lease is due at some time, but not while its answer is on
 * its way: nobody stands still for as long as a lease lives. */
proctype sweeper()
{
    byte port;
    atomic { queue == NOBODY && writer == NOBODY -> queue = SWEEPER; writer = SWEEPER };
    atomic {
        select (port : 0 .. PORTS - 1);
        if
#ifdef SWEEP_BLINDLY
        :: row[port] != 0 && handing[port] == 0 ->
#else
        :: row[port] != 0 && handing[port] == 0 && bound[port] == NOBODY && !(configured && port == 0) ->
#endif
            /* Nothing that is in use is ever freed. */
            assert(bound[port] != OUTSIDE && !(configured && port == 0));
            drop(port)
        :: else
        fi;
        port = 0
    };
    atomic { queue = NOBODY; writer = NOBODY }
}

/* All other programs, those that got their port from nextport among them: they bind ports as they like. */
active proctype outside()
{
    byte port;
end:
    do
    :: atomic {
        select (port : 0 .. PORTS - 1);
        if
        :: bound[port] == NOBODY -> bound[port] = OUTSIDE
        :: bound[port] == OUTSIDE -> bound[port] = NOBODY
        :: else
        fi;
        port = 0
    }
    od
}

proctype administrator()
{
    configured = true
}

init
{
    byte port;
    atomic {
        set_up();
        run caller(0);
        run caller(1);
        run caller(2);
        run sweeper();
        run administrator()
    }
}

#ifdef LIVE
/* Whoever is killed, and wherever: everyone else gets an answer. */
ltl everyone_ends { <> (over == CALLERS) }
#endif
