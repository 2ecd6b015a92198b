#!/bin/sh
# SPDX-License-Identifier: MIT
# What people paste into a deployment step: no lease, and two callers get the same port.
ss -Htan | awk '{ n = split($4, part, ":"); used[part[n]] = 1 }
    END { for (port = 49000; port <= 65000; port++) if (!(port in used)) { print port; exit } }'
