/* `exec` on Windows.
 * SPDX-License-Identifier: MIT */
#include "cli.h"

enum nextport_status cli_exec(struct cli *cli, struct nextport_result **ret)
{
    (void)ret;
    return cli_usage(cli, NULL, "exec is not built yet");
}
