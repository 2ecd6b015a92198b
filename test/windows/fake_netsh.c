/* Stands in for netsh.exe, which Wine only has the name of: put into the system folder of a prefix and run with
 * WINEDLLOVERRIDES=netsh.exe=n. Prints FAKE_NETSH_DIR\NAME, where NAME is made of the question: "ipv4-excluded-tcp",
 * "ipv6-dynamic-tcp"; nothing when there is no such file. Appends NAME to FAKE_NETSH_DIR\calls. The first line of
 * FAKE_NETSH_DIR\status, if it is there, is what it ends with.
 * SPDX-License-Identifier: MIT */
#include <windows.h>

#include <fcntl.h>
#include <io.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *dir;

static FILE *open_file(const char *name, const char *mode)
{
    char path[MAX_PATH];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return fopen(path, mode);
}

/* "netsh int ipv4 show excludedportrange protocol=tcp", "netsh int ipv6 show dynamicport tcp" */
static int name_question(char *ret, size_t size, int argc, char **argv)
{
    if (argc != 6 || strcmp(argv[1], "int") != 0 || strcmp(argv[3], "show") != 0)
        return 0;
    const char *equals = strchr(argv[5], '=');
    snprintf(ret, size, "%s-%s-%s", argv[2], strcmp(argv[4], "dynamicport") == 0 ? "dynamic" : "excluded",
             equals ? equals + 1 : argv[5]);
    return 1;
}

/* One write at the end of the file, so that lines of several callers do not mix. */
static void note_call(const char *name)
{
    char path[MAX_PATH], line[64];
    DWORD n;
    snprintf(path, sizeof path, "%s/calls", dir);
    const int length = snprintf(line, sizeof line, "%s\n", name);
    HANDLE file = CreateFileA(path, FILE_APPEND_DATA, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_ALWAYS, 0, NULL);
    if (file == INVALID_HANDLE_VALUE || !WriteFile(file, line, (DWORD)length, &n, NULL))
        exit(90);
    CloseHandle(file);
}

static int ending(void)
{
    int status = 0;
    FILE *file = open_file("status", "rb");
    if (file && fscanf(file, "%d", &status) != 1)
        status = 91;
    if (file)
        fclose(file);
    return status;
}

int main(int argc, char **argv)
{
    char name[64], bytes[4096];
    dir = getenv("FAKE_NETSH_DIR");
    if (!dir || !name_question(name, sizeof name, argc, argv))
        return 92;
    note_call(name);
    _setmode(_fileno(stdout), _O_BINARY);
    FILE *file = open_file(name, "rb");
    if (file) {
        for (size_t n; (n = fread(bytes, 1, sizeof bytes, file)) > 0;)
            fwrite(bytes, 1, n, stdout);
        fclose(file);
    }
    return ending();
}
