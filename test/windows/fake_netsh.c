/* Stands in for netsh.exe, which Wine only has the name of: put into the system folder of a prefix and run with
 * WINEDLLOVERRIDES=netsh.exe=n. Prints FAKE_NETSH_DIR\NAME, where NAME is made of the question: "ipv4-excluded-tcp",
 * "ipv6-dynamic-tcp"; nothing when there is no such file. Appends NAME to FAKE_NETSH_DIR\calls. The first line of
 * FAKE_NETSH_DIR\status, if it is there, is what it ends with.
 *
 * Obeys "int ipv4 set dynamicport tcp start=.. num=.." by writing what it prints from then on, and appends
 * "ipv4-set-tcp START NUM" to the calls; while there is FAKE_NETSH_DIR\deaf-ipv4-tcp, it does not obey.
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
    char path[MAX_PATH], line[128];
    DWORD n;
    snprintf(path, sizeof path, "%s/calls", dir);
    const int length = snprintf(line, sizeof line, "%s\n", name);
    HANDLE file = CreateFileA(path, FILE_APPEND_DATA, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_ALWAYS, 0, NULL);
    if (file == INVALID_HANDLE_VALUE || !WriteFile(file, line, (DWORD)length, &n, NULL))
        exit(90);
    CloseHandle(file);
}

/* "netsh int ipv4 set dynamicport tcp start=32616 num=16384" */
static int is_command(int argc, char **argv, unsigned *start, unsigned *num)
{
    return argc == 8 && strcmp(argv[1], "int") == 0 && strcmp(argv[3], "set") == 0 &&
           strcmp(argv[4], "dynamicport") == 0 && sscanf(argv[6], "start=%u", start) == 1 &&
           sscanf(argv[7], "num=%u", num) == 1;
}

static int obey(const char *family, const char *protocol, unsigned start, unsigned num)
{
    char name[64], call[96];
    snprintf(call, sizeof call, "%s-set-%s %u %u", family, protocol, start, num);
    note_call(call);
    snprintf(name, sizeof name, "deaf-%s-%s", family, protocol);
    FILE *deaf = open_file(name, "rb");
    if (deaf) {
        fclose(deaf);
        return 1;
    }
    snprintf(name, sizeof name, "%s-dynamic-%s", family, protocol);
    FILE *file = open_file(name, "wb");
    if (!file)
        return 93;
    fprintf(file, "\r\nProtocol %s Dynamic Port Range\r\n---------------------------------\r\n", protocol);
    fprintf(file, "Start Port      : %u\r\nNumber of Ports : %u\r\n\r\n", start, num);
    return fclose(file) == 0 ? 0 : 94;
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
    unsigned start, num;
    dir = getenv("FAKE_NETSH_DIR");
    if (dir && is_command(argc, argv, &start, &num))
        return obey(argv[2], argv[5], start, num);
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
