/* The ledgers that exist.
 * SPDX-License-Identifier: MIT */
#include "ledger/ledger.h"

const struct np_ledger_ops *const np_ledgers[] = {&np_ledger_sqlite, NULL};
