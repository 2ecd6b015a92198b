/* SPDX-License-Identifier: MIT */
typedef int cli_not_yet_written;
