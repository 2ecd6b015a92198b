/* SPDX-License-Identifier: MIT */
typedef int np_not_yet_written;
