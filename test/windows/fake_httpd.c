/* Stands in for httpd.exe: writes its words, and the variable NEXTPORT_TEST ("-" for none), into the file "words" beside it
 * and prints the file "dump" beside it. Without such a file it says so and ends with status 3.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <windows.h>

static FILE *open_beside(const char *name, const char *mode)
{
    char path[MAX_PATH + 16];
    GetModuleFileNameA(NULL, path, MAX_PATH);
    char *slash = strrchr(path, '\\');
    strcpy(slash ? slash + 1 : path, name);
    return fopen(path, mode);
}

int main(int argc, char **argv)
{
    char bytes[4096];
    const char *value = getenv("NEXTPORT_TEST");
    FILE *words = open_beside("words", "w"), *dump = open_beside("dump", "rb");
    for (int i = 1; words && i < argc; i++)
        fprintf(words, "%s\n", argv[i]);
    if (words)
        fprintf(words, "%s\n", value ? value : "-");
    if (!dump) {
        fputs("no dump\n", stderr);
        return 3;
    }
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, dump)) > 0;)
        fwrite(bytes, 1, n, stdout);
    return 0;
}
