/* A command for `nextport exec`, alike on every system.
 *     command words WORD..       prints each of its words on a line, between '<' and '>'
 *     command values NAME..      prints the values of environment variables, "-" for none
 *     command end STATUS
 *     command wait NAME          prints a variable's value and waits until its standard input ends
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_value(const char *name)
{
    const char *value = getenv(name);
    printf("%s\n", value ? value : "-");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "end") == 0 && argc == 3)
        return atoi(argv[2]);
    for (int i = 2; i < argc; i++)
        if (strcmp(what, "words") == 0)
            printf("<%s>\n", argv[i]);
        else
            print_value(argv[i]);
    while (strcmp(what, "wait") == 0 && getchar() != EOF)
        continue;
    return 0;
}
