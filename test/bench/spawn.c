/* Times whole processes, spawn to reap, in turns A B C A B C, so that whatever else the machine does meets all alike.
 * SPDX-License-Identifier: MIT
 *
 *     spawn [--rounds N] [--parallel N] [--out FILE] -- [@NETNS] COMMAND.. [+++ AFTER..] [-- ..]
 *
 * AFTER runs untimed after COMMAND and undoes what it did. @NETNS is a file that names a network namespace to run both
 * in. --parallel starts N copies at once and times them to the last one's end. --out keeps what the commands print.
 * One line for each command: median in microseconds, median of the ratios to the first command, exit status, and the most
 * memory that any run of it had at a time, in KiB. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_COMMANDS 16
#define MAX_PARALLEL 1024

extern char **environ;

struct command {
    char **argv, **after; /* after may be NULL */
    int net;              /* -1: ours */
    double *took;         /* microseconds, one for each round */
    int status;
    long memory; /* KiB */
};

struct bench {
    unsigned rounds, parallel;
    const char *out;
    struct command commands[MAX_COMMANDS];
    unsigned n;
    int home; /* our own network namespace */
    posix_spawn_file_actions_t quiet, kept;
};

static void fail(const char *what)
{
    fprintf(stderr, "spawn: %s: %s\n", what, strerror(errno));
    exit(125);
}

static void usage(void)
{
    fputs("usage: spawn [--rounds N] [--parallel N] [--out FILE] -- [@NETNS] COMMAND.. [+++ AFTER..] [-- ..]\n",
          stderr);
    exit(125);
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static unsigned number(const char *word, unsigned most)
{
    char *end = NULL;
    unsigned long value = word ? strtoul(word, &end, 10) : 0;
    if (!value || value > most || *end)
        usage();
    return (unsigned)value;
}

/* Cuts one command off the words: both lists end in place, with NULL. Returns where the next one begins. */
static char **cut_command(struct command *c, char **word)
{
    c->net = -1;
    if (*word && **word == '@' && (c->net = open(*word++ + 1, O_RDONLY | O_CLOEXEC)) < 0)
        fail(word[-1] + 1);
    c->argv = word;
    for (; *word && strcmp(*word, "--") != 0; word++) {
        if (strcmp(*word, "+++") == 0) {
            *word = NULL;
            c->after = word + 1;
        }
    }
    if (!c->argv[0] || word == c->argv || (c->after && word == c->after))
        usage();
    if (!*word)
        return word;
    *word = NULL;
    return word + 1;
}

static void read_words(struct bench *b, char **word)
{
    for (; *word && strcmp(*word, "--") != 0; word += 2) {
        if (strcmp(*word, "--rounds") == 0)
            b->rounds = number(word[1], 1000000);
        else if (strcmp(*word, "--parallel") == 0)
            b->parallel = number(word[1], MAX_PARALLEL);
        else if (strcmp(*word, "--out") == 0 && word[1])
            b->out = word[1];
        else
            usage();
    }
    if (!*word++)
        usage();
    while (*word && b->n < MAX_COMMANDS)
        word = cut_command(&b->commands[b->n++], word);
    if (*word || !b->n)
        usage();
}

static void prepare(struct bench *b)
{
    if ((b->home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) < 0)
        fail("/proc/self/ns/net");
    const char *out = b->out ? b->out : "/dev/null";
    int flags = O_WRONLY | O_CREAT | O_APPEND;
    if (posix_spawn_file_actions_init(&b->quiet) || posix_spawn_file_actions_init(&b->kept) ||
        posix_spawn_file_actions_addopen(&b->quiet, 1, "/dev/null", O_WRONLY, 0) ||
        posix_spawn_file_actions_addopen(&b->quiet, 2, "/dev/null", O_WRONLY, 0) ||
        posix_spawn_file_actions_addopen(&b->kept, 1, out, flags, 0644) ||
        posix_spawn_file_actions_addopen(&b->kept, 2, "/dev/null", O_WRONLY, 0))
        fail("file actions");
    for (unsigned i = 0; i < b->n; i++)
        if (!(b->commands[i].took = calloc(b->rounds, sizeof(double))))
            fail("memory");
}

static pid_t start(char **argv, const posix_spawn_file_actions_t *actions)
{
    pid_t pid;
    int error = posix_spawnp(&pid, argv[0], actions, NULL, argv, environ);
    if (error) {
        errno = error;
        fail(argv[0]);
    }
    return pid;
}

static int reap(pid_t pid, long *ret_memory)
{
    int status;
    struct rusage used;
    while (wait4(pid, &status, 0, &used) < 0)
        if (errno != EINTR)
            fail("wait4");
    *ret_memory = used.ru_maxrss > *ret_memory ? used.ru_maxrss : *ret_memory;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void enter(int net)
{
    if (net >= 0 && setns(net, CLONE_NEWNET) < 0)
        fail("setns");
}

static double time_copies(const struct bench *b, struct command *c)
{
    pid_t pids[MAX_PARALLEL];
    double started = now_us();
    for (unsigned i = 0; i < b->parallel; i++)
        pids[i] = start(c->argv, &b->kept);
    for (unsigned i = 0; i < b->parallel; i++) {
        int status = reap(pids[i], &c->memory);
        c->status = status > c->status ? status : c->status;
    }
    return now_us() - started;
}

static void run_once(const struct bench *b, struct command *c, unsigned round)
{
    enter(c->net);
    c->took[round] = time_copies(b, c);
    long unused = 0;
    if (c->after && reap(start(c->after, &b->quiet), &unused) != 0) {
        fprintf(stderr, "spawn: %s %s failed\n", c->after[0], c->after[1] ? c->after[1] : "");
        exit(125);
    }
    if (c->net >= 0)
        enter(b->home);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, unsigned n)
{
    qsort(values, n, sizeof *values, ascending);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* The ratio is taken within each round, before sorting separates what ran side by side. */
static void report(struct bench *b)
{
    double *ratios = calloc((size_t)b->n * b->rounds, sizeof(double));
    if (!ratios)
        fail("memory");
    for (unsigned i = 0; i < b->n; i++)
        for (unsigned r = 0; r < b->rounds; r++)
            ratios[i * b->rounds + r] = b->commands[i].took[r] / b->commands[0].took[r];
    for (unsigned i = 0; i < b->n; i++)
        printf("%.1f %.3f %d %ld\n", median(b->commands[i].took, b->rounds), median(&ratios[i * b->rounds], b->rounds),
               b->commands[i].status, b->commands[i].memory);
    free(ratios);
}

int main(int argc, char **argv)
{
    (void)argc;
    static struct bench bench = {.rounds = 101, .parallel = 1};
    read_words(&bench, argv + 1);
    prepare(&bench);
    for (unsigned i = 0; i < bench.n; i++) /* warm caches, untimed */
        run_once(&bench, &bench.commands[i], 0);
    for (unsigned r = 0; r < bench.rounds; r++)
        for (unsigned i = 0; i < bench.n; i++)
            run_once(&bench, &bench.commands[i], r);
    report(&bench);
    return 0;
}
