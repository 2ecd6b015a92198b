/* Programs that are run for what they print.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "host/linux/linux.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    OUT,
    LOG,
    TROUBLE, /* an errno value where the program could not be begun */
    N_PIPES,
    STEP_MS = 5,
};

struct run {
    int file; /* of the program, as it was vetted */
    int read[N_PIPES], write[N_PIPES];
    pid_t pid;
    struct np_buf printed[N_PIPES];
    int64_t deadline_ms;
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* What the child has beside its standard streams, each in its place. */
enum { TROUBLE_FD = STDERR_FILENO + 1, FILE_FD, FIRST_FREE_FD };

/* Above all of them, whichever this process has: the child puts them in their places one by one. */
static int make_pipe(struct run *run, unsigned i)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return errno;
    run->read[i] = fcntl(ends[0], F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    run->write[i] = fcntl(ends[1], F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    const int reason = run->read[i] < 0 || run->write[i] < 0 ? errno : 0;
    close(ends[0]);
    close(ends[1]);
    return reason;
}

/* Nothing of this process's but the three pipes goes on in the child. */
static void close_others(int first)
{
    if (syscall(SYS_close_range, (unsigned)first, ~0U, 0) == 0)
        return;
    const long most = sysconf(_SC_OPEN_MAX);
    for (int fd = first; fd < (most > 0 && most < 1 << 20 ? (int)most : 1 << 16); fd++)
        close(fd);
}

/* Only what may be called after a fork of a process that has threads. */
static void become(const struct run *run, const char *file, char *const argv[], char *const envp[])
{
    sigset_t none;
    sigemptyset(&none);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    const int null = open("/dev/null", O_RDONLY);
    if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(run->write[OUT], STDOUT_FILENO) >= 0 &&
        dup2(run->write[LOG], STDERR_FILENO) >= 0 && dup3(run->write[TROUBLE], TROUBLE_FD, O_CLOEXEC) >= 0 &&
        dup3(run->file, FILE_FD, O_CLOEXEC) >= 0 && chdir("/") == 0) {
        close_others(FIRST_FREE_FD);
        syscall(SYS_execveat, FILE_FD, "", argv, envp, AT_EMPTY_PATH);
        /* a script: its interpreter opens it by its path, on which nobody else can change anything */
        if (errno == ENOENT || errno == ENOSYS)
            execve(file, argv, envp);
    }
    const int reason = errno;
    if (write(TROUBLE_FD, &reason, sizeof reason) != (ssize_t)sizeof reason)
        _exit(126);
    _exit(127);
}

static int begin(struct run *run, const struct np_program *program, struct np_arena *arena)
{
    size_t n = 0;
    while (program->words[n])
        n++;
    const char **argv = np_alloc_array(arena, n + 2, sizeof *argv);
    argv[0] = program->file;
    memcpy(&argv[1], program->words, n * sizeof *argv);
    for (unsigned i = 0; i < N_PIPES; i++) {
        const int reason = make_pipe(run, i);
        if (reason)
            return reason;
    }
    run->pid = fork();
    if (run->pid == 0)
        become(run, program->file, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)program->environment);
    const int reason = errno;
    for (unsigned i = 0; i < N_PIPES; i++)
        close_fd(&run->write[i]);
    close_fd(&run->file);
    return run->pid < 0 ? reason : 0;
}

/* 0, or why no more can be read. */
static int read_some(struct run *run, unsigned i, size_t limit)
{
    char bytes[16384];
    const ssize_t n = read(run->read[i], bytes, sizeof bytes);
    if (n < 0)
        return errno == EINTR ? 0 : errno;
    if (n == 0)
        close_fd(&run->read[i]);
    else if ((size_t)n > limit - run->printed[i].len)
        return EFBIG;
    else
        np_buf_add(&run->printed[i], bytes, (size_t)n);
    return 0;
}

static int read_to_end(struct run *run, size_t limit)
{
    for (;;) {
        struct pollfd pollers[N_PIPES];
        bool open = false;
        for (unsigned i = 0; i < N_PIPES; i++) {
            pollers[i] = (struct pollfd){.fd = run->read[i], .events = POLLIN}; /* -1 is passed over */
            open = open || run->read[i] >= 0;
        }
        const int64_t left = run->deadline_ms - now_ms();
        if (!open)
            return 0;
        const int n = left > 0 ? poll(pollers, N_PIPES, (int)left) : 0;
        if (n == 0)
            return ETIMEDOUT;
        if (n < 0 && errno != EINTR)
            return errno;
        for (unsigned i = 0; i < N_PIPES && n > 0; i++) {
            const int reason = pollers[i].revents ? read_some(run, i, limit) : 0;
            if (reason)
                return reason;
        }
    }
}

/* It may close its streams before it ends. Its number stays its own until it is taken leave of. */
static int wait_for_end(struct run *run)
{
    for (;;) {
        siginfo_t ended = {.si_pid = 0};
        const int reason =
            waitid(P_PID, (id_t)run->pid, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 && errno != EINTR ? errno : 0;
        if (reason || ended.si_pid == run->pid)
            return reason;
        if (now_ms() >= run->deadline_ms)
            return ETIMEDOUT;
        poll(NULL, 0, STEP_MS);
    }
}

/* With it ends what it started. */
static void end_run(struct run *run, int *ret_status)
{
    if (run->pid > 0) {
        kill(-run->pid, SIGKILL);
        kill(run->pid, SIGKILL); /* no harm when it has ended; it may not have a group of its own yet */
        while (waitpid(run->pid, ret_status, 0) < 0 && errno == EINTR)
            continue;
    }
    for (unsigned i = 0; i < N_PIPES; i++) {
        close_fd(&run->read[i]);
        close_fd(&run->write[i]);
    }
    close_fd(&run->file);
}

/* ---- Who may change it ---------------------------------------------------------------------------------------- */

static bool is_trusted(const struct stat *st)
{
    return st->st_uid == 0 || st->st_uid == geteuid();
}

static bool is_open(const struct stat *st)
{
    return (st->st_mode & (S_IWGRP | S_IWOTH)) != 0;
}

static enum nextport_status refuse(const char *file, const char *what, struct nextport_error *err)
{
    return np_fail(err, NEXTPORT_DENIED, "%s: others than root and this user may change %s", file, what);
}

static enum nextport_status cannot(const char *file, struct nextport_error *err)
{
    const int reason = errno;
    return np_fail_errno(err, reason == EACCES ? NEXTPORT_DENIED : NEXTPORT_FAILED, reason, "%s", file);
}

/* Every folder above `path`, and every link on the way: who may change one of them can put another file in its place. In a
 * sticky folder they may add, but not replace. */
static enum nextport_status vet_way(const char *file, const char *path, struct nextport_error *err)
{
    char part[PATH_MAX];
    struct stat st;
    for (size_t i = 0; path[i] && i + 1 < sizeof part; i++) {
        if (path[i] != '/')
            continue;
        memcpy(part, path, i + 1);
        part[i ? i : 1] = '\0';
        if (lstat(part, &st) != 0)
            return cannot(file, err);
        if (S_ISLNK(st.st_mode) && !is_trusted(&st))
            return refuse(file, part, err);
        if (stat(part, &st) != 0)
            return cannot(file, err);
        if (!is_trusted(&st) || (is_open(&st) && !(st.st_mode & S_ISVTX)))
            return refuse(file, part, err);
    }
    return NEXTPORT_OK;
}

/* As it is named, and where that leads. *ret_fd is good for nothing but to run it. */
static enum nextport_status vet(const char *file, int *ret_fd, struct nextport_error *err)
{
    char real[PATH_MAX];
    struct stat st, link;
    const int fd = open(file, O_PATH | O_CLOEXEC);
    *ret_fd = fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    if (fd >= 0)
        close(fd);
    if (*ret_fd < 0 || fstat(*ret_fd, &st) != 0 || lstat(file, &link) != 0 || !realpath(file, real))
        return cannot(file, err);
    if (!S_ISREG(st.st_mode) || !is_trusted(&st) || is_open(&st) || !is_trusted(&link))
        return refuse(file, "it", err);
    return vet_way(file, file, err) == NEXTPORT_OK ? vet_way(file, real, err) : err->status;
}

enum nextport_status np_host_vet(const char *file, struct nextport_error *err)
{
    int fd;
    const enum nextport_status status = vet(file, &fd, err);
    close_fd(&fd);
    return status;
}

/* ---- One run ------------------------------------------------------------------------------------------------- */

/* Where the caller ignores the signal, the system forgets how a child ended, and gives its number to others. */
static enum nextport_status check_signal(const char *file, struct nextport_error *err)
{
    struct sigaction present;
    if (sigaction(SIGCHLD, NULL, &present) == 0 && present.sa_handler != SIG_IGN && !(present.sa_flags & SA_NOCLDWAIT))
        return NEXTPORT_OK;
    np_fail(err, NEXTPORT_FAILED, "run %s: this process ignores SIGCHLD and would not learn how it ends", file);
    np_hint(err, "Set that signal to its default before the call.");
    return err->status;
}

static enum nextport_status failed(const struct np_program *program, int reason, struct nextport_error *err)
{
    if (reason == EFBIG)
        return np_fail(err, NEXTPORT_FAILED, "run %s: it printed more than %zu bytes", program->file, program->limit);
    if (reason == ETIMEDOUT)
        return np_fail(err, NEXTPORT_FAILED, "run %s: it did not end within %u ms", program->file, program->budget_ms);
    return np_fail_errno(err, reason == EACCES || reason == EPERM ? NEXTPORT_DENIED : NEXTPORT_FAILED, reason, "run %s",
                         program->file);
}

enum nextport_status np_host_run(struct np_arena *arena, const struct np_program *program, struct np_printed *ret,
                                 struct nextport_error *err)
{
    struct run run = {.pid = -1, .file = -1, .deadline_ms = now_ms() + program->budget_ms};
    int status = 0, trouble = 0;
    if (check_signal(program->file, err) != NEXTPORT_OK)
        return err->status;
    if (vet(program->file, &run.file, err) != NEXTPORT_OK) {
        close_fd(&run.file);
        return err->status;
    }
    for (unsigned i = 0; i < N_PIPES; i++) {
        run.read[i] = run.write[i] = -1;
        run.printed[i].arena = arena;
        np_buf_puts(&run.printed[i], "");
    }
    int reason = begin(&run, program, arena);
    if (!reason)
        reason = read_to_end(&run, program->limit);
    if (!reason)
        reason = wait_for_end(&run);
    end_run(&run, &status);
    if (!reason && run.printed[TROUBLE].len == sizeof trouble) {
        memcpy(&trouble, run.printed[TROUBLE].ptr, sizeof trouble);
        reason = trouble;
    }
    if (reason)
        return failed(program, reason, err);
    *ret = (struct np_printed){.out = {run.printed[OUT].ptr, run.printed[OUT].len},
                               .log = {run.printed[LOG].ptr, run.printed[LOG].len},
                               .status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)};
    return NEXTPORT_OK;
}
