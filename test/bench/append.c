/* The least a durable promise can be: a static program that appends a line to a file and waits until it is on disk.
 * SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <fcntl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    static const char line[] = "49000 Port 2026-11-22 14:05:00\n";
    int fd = argc == 2 ? open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    return fd < 0 || write(fd, line, sizeof line - 1) != sizeof line - 1 || fdatasync(fd) != 0;
}
