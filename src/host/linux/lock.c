/* The queue before the ledger: flock(2) on PATH-lock. The kernel serves waiters in their order and frees the lock when
 * its process ends, however it ends; SQLite's own busy handler polls and starves. Correctness does not rest on it.
 *
 * flock(2) has no deadline. A thread blocks in it on our open file, and the caller waits for that thread as long as it
 * may. At the deadline the thread is cancelled; a lock won in the meantime is used if the thread could say so, and
 * closing the file gives it back if not.
 *
 * The lock belongs to the open file: a child that is forked and does not exec keeps it alive after our death, though not
 * after np_lock_release(), which unlocks before it closes.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "base/text.h"
#include "host/linux/linux.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct np_lock {
    int fd;
};

/* ---- The file ------------------------------------------------------------------------------------------------ */

/* Who may open the file may block everybody, be it only for reading: whoever may write the ledger, and nobody else. */
static void promised_mode(const char *ledger_path, enum np_place place, mode_t *ret_mode, gid_t *ret_gid)
{
    struct stat st;
    char folder[PATH_MAX];
    const char *slash = strrchr(ledger_path, '/');
    *ret_mode = 0600;
    *ret_gid = (gid_t)-1;
    bool known = lstat(ledger_path, &st) == 0;
    if (!known && place == NP_PLACE_MACHINE && slash != NULL) {
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - ledger_path), ledger_path);
        known = stat(folder, &st) == 0;
    }
    if (!known || (st.st_mode & S_IWGRP) == 0)
        return;
    *ret_mode = 0660;
    *ret_gid = st.st_gid;
}

static enum nextport_status too_open(const char *file, struct nextport_error *err)
{
    np_fail(err, NEXTPORT_DENIED, "%s: anyone may open it, and so block the ledger", file);
    np_hint(err, "Run 'nextport setup' as root, or 'chmod 600 %s' as its owner.", file);
    return NEXTPORT_DENIED;
}

static enum nextport_status keep_promise(int fd, const char *file, const char *ledger_path, enum np_place place,
                                         struct nextport_error *err)
{
    struct stat st;
    mode_t mode;
    gid_t gid;
    if (fstat(fd, &st) != 0)
        return np_fail_errno(err, NEXTPORT_FAILED, errno, "stat %s", file);
    if (!S_ISREG(st.st_mode))
        return np_fail(err, NEXTPORT_LEDGER, "%s: not a regular file", file);
    promised_mode(ledger_path, place, &mode, &gid);
    if (gid != (gid_t)-1 && st.st_gid != gid && fchown(fd, (uid_t)-1, gid) != 0)
        mode = 0600;
    if ((st.st_mode & 07777) == mode || fchmod(fd, mode) == 0)
        return NEXTPORT_OK;
    /* Somebody else's, and so for its owner to mend; a member of the group may go on with it. */
    return (st.st_mode & S_IRWXO) == 0 ? NEXTPORT_OK : too_open(file, err);
}

static enum nextport_status cannot_open(int reason, const char *file, struct nextport_error *err)
{
    static const struct {
        int reason;
        enum nextport_status status;
        const char *hint;
    } known[] = {
        {EACCES, NEXTPORT_DENIED, "Run as root, join the group nextport, or use a ledger of your own with --user."},
        {EPERM, NEXTPORT_DENIED, "Run as root, join the group nextport, or use a ledger of your own with --user."},
        {ELOOP, NEXTPORT_LEDGER, "The lock must be a regular file: look who put a link there, and remove it."},
        {EISDIR, NEXTPORT_LEDGER, "The lock must be a regular file: look who put a folder there, and remove it."},
        {ENXIO, NEXTPORT_LEDGER, "The lock must be a regular file: look who put a device there, and remove it."},
        {EROFS, NEXTPORT_LEDGER, "Mount the file system for writing, or use another ledger."},
        {ENOSPC, NEXTPORT_LEDGER, "Free space on its file system, then repeat the request."},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].reason != reason)
            continue;
        np_fail_errno(err, known[i].status, reason, "open %s", file);
        np_hint(err, "%s", known[i].hint);
        return known[i].status;
    }
    return np_fail_errno(err, NEXTPORT_FAILED, reason, "open %s", file);
}

/* ---- Who holds it -------------------------------------------------------------------------------------------- */

/* The note "PID TIME PROGRAM" is for people: it may be missing, stale (another program locked the file) or false. It is
 * written over the last one, padded, for to make a file shorter costs more than all else the lock does. */
struct holder {
    int64_t pid, since;
    char program[64];
};

enum { NOTE_SIZE = 128 };

/* Whether it could be written does not matter to the lock. */
static void write_note(int fd, const char *text)
{
    char note[NOTE_SIZE + 1];
    snprintf(note, sizeof note, "%-*.*s\n", NOTE_SIZE - 1, NOTE_SIZE - 1, text);
    if (pwrite(fd, note, NOTE_SIZE, 0) != NOTE_SIZE)
        errno = 0;
}

static void sign(int fd)
{
    char text[NOTE_SIZE];
    snprintf(text, sizeof text, "%lld %lld %.63s", (long long)getpid(), (long long)np_host_now(),
             program_invocation_short_name);
    write_note(fd, text);
}

static bool read_note(int fd, struct holder *ret)
{
    char note[NOTE_SIZE + 1];
    ssize_t n = pread(fd, note, NOTE_SIZE, 0);
    while (n > 0 && strchr(" \n", note[n - 1]) != NULL)
        n--;
    if (n <= 0)
        return false;
    note[n] = '\0';
    return sscanf(note, "%18" SCNd64 " %18" SCNd64 " %63[^\n]", &ret->pid, &ret->since, ret->program) == 3 &&
           ret->pid > 0;
}

/* The state letter of a process, after its name in brackets (proc_pid_stat(5)); '\0' when there is no such process. */
static char process_state(int64_t pid)
{
    char file[64], stat[512];
    snprintf(file, sizeof file, "/proc/%" PRId64 "/stat", pid);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return '\0';
    ssize_t n = read(fd, stat, sizeof stat - 1);
    close(fd);
    stat[n > 0 ? n : 0] = '\0';
    const char *bracket = strrchr(stat, ')');
    return bracket != NULL && bracket[1] == ' ' ? bracket[2] : '\0';
}

static enum nextport_status still_locked(int fd, const char *file, struct nextport_error *err)
{
    struct holder h;
    char state = read_note(fd, &h) ? process_state(h.pid) : '\0';
    if (state == '\0') {
        np_fail(err, NEXTPORT_RETRY, "%s: locked by a process that did not leave its name", file);
        np_hint(err, "Repeat the request, or allow more time with --wait; 'fuser %s' finds the process.", file);
        return NEXTPORT_RETRY;
    }
    const bool stopped = state == 'T' || state == 't';
    const int64_t age = np_host_now() - h.since;
    np_fail(err, NEXTPORT_RETRY, "%s: locked by process %" PRId64 " (%s%s) since %" PRId64 " s", file, h.pid, h.program,
            stopped ? ", stopped" : "", age > 0 ? age : 0);
    if (stopped)
        np_hint(err, "That process was stopped: let it go on with 'kill -CONT %" PRId64 "', or end it.", h.pid);
    else
        np_hint(err, "Repeat the request, or allow more time with --wait.");
    return NEXTPORT_RETRY;
}

/* ---- Waiting ------------------------------------------------------------------------------------------------- */

struct waiter {
    int fd;
    pthread_mutex_t mutex;
    pthread_cond_t done;
    bool finished;
    int reason; /* 0: the lock is ours */
    int before; /* what POSIX wants to tell of the cancel type; not on a stack that is torn down */
};

static void *wait_in_kernel(void *ctx)
{
    struct waiter *w = ctx;
    int reason;
    /* Cancelled at any instruction only here, where nothing is held but perhaps the lock itself. */
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &w->before);
    do
        reason = flock(w->fd, LOCK_EX) == 0 ? 0 : errno;
    while (reason == EINTR);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &w->before);
    pthread_mutex_lock(&w->mutex);
    w->reason = reason;
    w->finished = true;
    pthread_cond_signal(&w->done);
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

/* Signals meant for the program must not end up in our thread. */
static int start_thread(pthread_t *ret, struct waiter *w)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int reason = pthread_create(ret, NULL, wait_in_kernel, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return reason;
}

static bool is_finished_by(struct waiter *w, const struct timespec *deadline)
{
    pthread_mutex_lock(&w->mutex);
    while (!w->finished && pthread_cond_timedwait(&w->done, &w->mutex, deadline) != ETIMEDOUT)
        continue;
    bool finished = w->finished;
    pthread_mutex_unlock(&w->mutex);
    return finished;
}

static struct timespec deadline_after(int64_t seconds)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)(seconds < NP_DURATION_MAX ? seconds : NP_DURATION_MAX);
    return t;
}

/* 0, ETIMEDOUT, or why it failed. */
static int lock_within(int fd, int64_t wait_s)
{
    struct waiter w = {.fd = fd, .mutex = PTHREAD_MUTEX_INITIALIZER, .reason = ETIMEDOUT};
    const struct timespec deadline = deadline_after(wait_s);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w.done, &attr);
    pthread_condattr_destroy(&attr);
    pthread_t thread;
    int reason = start_thread(&thread, &w);
    if (reason == 0) {
        if (!is_finished_by(&w, &deadline))
            pthread_cancel(thread);
        pthread_join(thread, NULL);
        reason = w.reason;
    }
    pthread_cond_destroy(&w.done);
    pthread_mutex_destroy(&w.mutex);
    return reason;
}

static enum nextport_status lock_file(int fd, const char *file, int64_t wait_s, struct nextport_error *err)
{
    int reason = flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    if (reason == EWOULDBLOCK && wait_s > 0)
        reason = lock_within(fd, wait_s);
    if (reason == 0)
        return NEXTPORT_OK;
    if (reason == EWOULDBLOCK || reason == ETIMEDOUT)
        return still_locked(fd, file, err);
    return np_fail_errno(err, NEXTPORT_FAILED, reason, "lock %s", file);
}

enum nextport_status np_lock_take(struct np_lock **ret, const char *ledger_path, enum np_place place, int64_t wait_s,
                                  struct nextport_error *err)
{
    char file[PATH_MAX];
    if (snprintf(file, sizeof file, "%s-lock", ledger_path) >= (int)sizeof file)
        return np_fail(err, NEXTPORT_INPUT, "the ledger's path is too long");
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
    if (fd < 0)
        return cannot_open(errno, file, err);
    enum nextport_status st = keep_promise(fd, file, ledger_path, place, err);
    if (st == NEXTPORT_OK)
        st = lock_file(fd, file, wait_s, err);
    struct np_lock *lock = st == NEXTPORT_OK ? malloc(sizeof *lock) : NULL;
    if (st == NEXTPORT_OK && lock == NULL)
        st = np_fail(err, NEXTPORT_FAILED, "lock %s: out of memory", file);
    if (st != NEXTPORT_OK) {
        close(fd);
        return st;
    }
    sign(fd);
    lock->fd = fd;
    *ret = lock;
    return NEXTPORT_OK;
}

void np_lock_release(struct np_lock *lock)
{
    if (lock == NULL)
        return;
    write_note(lock->fd, ""); /* whoever locks it next without a note is not mistaken for us */
    if (flock(lock->fd, LOCK_UN) != 0)
        errno = 0;
    close(lock->fd);
    free(lock);
}
