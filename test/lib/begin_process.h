/* Begins a process, as CreateProcessW() does.
 *
 * Under load Wine now and then loses a child while it is loaded, and calls that an internal error; Windows does not know
 * this outcome. Nothing of the child has run then, so it is begun again.
 * SPDX-License-Identifier: MIT */
#ifndef BEGIN_PROCESS_H
#define BEGIN_PROCESS_H

#include <stdbool.h>
#include <winsock2.h> /* before windows.h, as it demands */

#include <windows.h>

static inline bool begin_process(const wchar_t *file, wchar_t *line, BOOL inherit, DWORD flags, STARTUPINFOW *info,
                                 PROCESS_INFORMATION *ret)
{
    bool begun = false;
    for (int tries = 0; tries < 5 && !begun; tries++) {
        begun = CreateProcessW(file, line, NULL, NULL, inherit, flags, NULL, NULL, info, ret);
        if (!begun && GetLastError() != ERROR_INTERNAL_ERROR)
            break;
    }
    return begun;
}

#endif
